"""`clipseed evaluate`: retrieval figures of a trained model on a run's clips."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from transforms.elements import Reject


def run(argv: Sequence[str]) -> int:
    """Evaluates; gives 0, or 2 if it could not."""
    parser = argparse.ArgumentParser(
        prog="clipseed evaluate",
        description="Text to clip and clip to text over the clips of a run: recall at "
        "1, 5 and 10, median and mean rank; ties count as chance.",
    )
    add = parser.add_argument
    add("model", help="output directory of `clipseed train`")
    add("--data", required=True, help="run directory")
    add("--segments", type=int, default=4, help="of a clip, equally spaced (4)")
    add("--batch_size", type=int, default=16)
    add("--without", choices=["", "video", "audio"], default="", help="masked")
    add("--output", type=Path, help="file of the figures, JSON")
    flags = parser.parse_args(argv)
    from models.clip_dataset import EvaluationData
    from models.evaluate import embed_run, evaluate
    from models.results_table import as_markdown
    from models.trained import load_trained

    try:
        trained = load_trained(flags.model)
        data = EvaluationData(flags.data, trained.config.segment, flags.segments)
        embedded = embed_run(trained.encoder, data, flags.batch_size, flags.without)
        figures = evaluate(embedded)
    except Reject as reject:
        print(f"clipseed evaluate: {reject.message}", file=sys.stderr)
        return 2
    print(as_markdown(figures))
    if flags.output:
        text = json.dumps({k: v._asdict() for k, v in figures.items()}, indent=2)
        flags.output.write_text(text + "\n")
    return 0
