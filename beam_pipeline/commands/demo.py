"""`clipseed demo`: a small corpus, rendered, mined, and checked against the truth."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from beam_pipeline import mine
from beam_pipeline.demo.corpus import AS_OF, render_corpus
from beam_pipeline.demo.truth import Verdict, check_pairs

_DEFAULT_DIR = "demo_run"


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `clipseed demo`; gives the exit status: 0 when the right clips were found.

    Flags that are not the demo's own go to `clipseed mine`.
    """
    parser = argparse.ArgumentParser(
        prog="clipseed demo",
        description="Renders a small corpus of moving scenes with sound, mines it for "
        "the captions of its seed images, and checks what was found.",
    )
    parser.add_argument("--output", default=_DEFAULT_DIR, help="where everything goes")
    flags, mine_flags = parser.parse_known_args(argv)
    output = Path(flags.output)
    corpus = output / "corpus"
    start_s = time.monotonic()
    print(f"Rendering films, sounds and seed images into {corpus} ...")
    shutil.rmtree(corpus, ignore_errors=True)
    truth = render_corpus(corpus)
    print(f"... {time.monotonic() - start_s:.0f} s. Mining:")
    status = mine.run(mine_arguments(corpus, output / "run", mine_flags))
    if status:
        return status
    verdict = check_pairs(output / "run" / "pairs.csv", truth)
    print(report(verdict, _seed_count(corpus) - len(truth)))
    print(f"\nLook at it:  ./run inspect {output / 'run'}")
    return 0 if verdict.ok else 1


def mine_arguments(corpus: Path, run_dir: Path, more: Sequence[str]) -> list[str]:
    """The flags that mine a rendered corpus; also printed, to be learned from."""
    arguments = [
        f"--seeds={corpus / 'seeds.csv'}",
        f"--videos={corpus / 'videos.csv'}",
        f"--output={run_dir}",
        f"--as_of={AS_OF.isoformat()}",
        "--overwrite",
        *more,
    ]
    print("  clipseed mine " + " ".join(arguments), flush=True)
    return arguments


def _seed_count(corpus: Path) -> int:
    return len(list((corpus / "seeds").glob("*.jpg")))


def report(verdict: Verdict, absent: int) -> str:
    """What the demo found, in words; `absent` seeds have no scene in any film."""
    lines = [
        f"{verdict.found} of {verdict.expected} seeds found in their own scene",
        f"{len(verdict.elsewhere)} more clips of them in scenes that look alike",
        f"{len(verdict.wrong)} clips for the {absent} seeds that no film shows",
        "The right clips were found." if verdict.ok else "The demo FAILED.",
    ]
    return "\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run())
