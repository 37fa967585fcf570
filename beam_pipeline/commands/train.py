"""`clipseed train`: a dual encoder on what was mined."""

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import replace

from clipseed.errors import InputError


def run(argv: Sequence[str]) -> int:
    """Trains; gives 0, or 1 if it could not, 2 for wrong settings."""
    parser = argparse.ArgumentParser(
        prog="clipseed train",
        description="Trains a retrieval model on mined clips, or goes on "
        "where the output directory's last checkpoint stands.",
    )
    add = parser.add_argument
    add("config", help="`base`, `tiny`, `clip4clip`, or a Python file with a `config`")
    add("--data", action="append", default=[], help="run directory; may be repeated")
    add("--output", required=True, help="directory of the training run")
    add("--set", action="append", default=[], metavar="FIELD=VALUE",
        help="overrides a field, such as optimizer.learning_rate=0.01")  # fmt: skip
    flags = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("absl").setLevel(logging.WARNING)  # Orbax tells every step.
    from models.data.loader import Source
    from models.training.config import load_config
    from models.training.loop import train
    from models.training.overrides import override

    try:
        config = load_config(flags.config)
        if flags.data:
            config = replace(config, data=tuple(map(Source, flags.data)))
        metrics = train(override(config, flags.set), flags.output)
    except InputError as reject:
        print(f"clipseed train: {reject.message}", file=sys.stderr)
        return 1 if reject.reason == "not_finite" else 2
    if math.isnan(metrics.loss):
        print("no step was left to do")
    else:
        print(f"loss {float(metrics.loss):.4f}, right {float(metrics.accuracy):.0%}")
    return 0
