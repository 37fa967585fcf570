"""`clipseed train`: train a model on mined clips."""

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import replace

from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags
from clipseed.io.output_lock import locking_output


@flags
class TrainFlags:
    """All flags of `clipseed train`."""

    config: str = flag(
        "base, tiny, clip4clip (retrieval), av_gpt2, tiny_av_gpt2 (captions), or a "
        "Python file that defines `config`",
        positional=True,
    )
    data: tuple[str, ...] = flag(
        "Run directory to train on; may be repeated",
        default=(),
        default_text="those of the config",
        metavar="PATH",
    )
    output: str = flag("Directory of the training run", metavar="PATH")
    set: tuple[str, ...] = flag(
        "Override a field of the config, such as optimizer.learning_rate=0.01; may be "
        "repeated",
        default=(),
        metavar="FIELD=VALUE",
    )


COMMAND_LINE = CommandLine(
    "clipseed train",
    TrainFlags,
    "Train a model of retrieval or of captions on the clips of runs, or resume from "
    "the last checkpoint in the output directory.",
)


def run(arguments: Sequence[str]) -> int:
    """Train; return 0, 1 if the loss was not finite, or 2 for wrong settings."""
    given = COMMAND_LINE.parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from models.data.loader import Source
    from models.training.config import load_config
    from models.training.loop import train
    from models.training.overrides import override

    try:
        config = load_config(given.config)
        if given.data:
            config = replace(config, data=tuple(map(Source, given.data)))
        with locking_output(given.output):
            metrics = train(override(config, given.set), given.output)
    except InputError as error:
        print(f"clipseed train: {error.message}", file=sys.stderr)
        return 1 if error.reason == "not_finite" else 2
    if math.isnan(metrics.loss):
        print("no step was left to train")
    else:
        named = {"loss": metrics.loss, **metrics.named}
        print(", ".join(f"{name} {float(value):.4f}" for name, value in named.items()))
    return 0
