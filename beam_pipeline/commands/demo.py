"""`clipseed demo`: a small corpus, rendered, mined, and checked against the truth."""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from beam_pipeline.mining.config import COMMAND_LINE as MINE
from beam_pipeline.mining.settings import check_beam_flags
from clipseed.flags import CommandLine, flag, flags
from clipseed.run.files import PAIRS_CSV

if TYPE_CHECKING:
    from beam_pipeline.demo.truth import Verdict


@flags
class DemoFlags:
    """All flags of `clipseed demo`."""

    output: Path = flag(
        "Directory of the corpus and of the run", default=Path("demo_run")
    )


COMMAND_LINE = CommandLine(
    "clipseed demo",
    DemoFlags,
    "Render a small corpus of moving scenes with sound, mine it for the captions of "
    "its seed images, and check what was found.",
    others="clipseed mine",
)


def run(argv: Sequence[str] | None = None) -> int:
    """Run `clipseed demo`; return 0 if the right clips were found."""
    arguments = sys.argv[1:] if argv is None else argv
    given, mine_flags = COMMAND_LINE.parse_known(arguments)
    _check(mine_flags)
    from beam_pipeline import mine
    from beam_pipeline.demo.corpus import render_corpus
    from beam_pipeline.demo.truth import check_pairs

    output = given.output
    corpus = output / "corpus"
    start_s = time.monotonic()
    print(f"Rendering films, sounds and seed images into {corpus} ...")
    shutil.rmtree(corpus, ignore_errors=True)
    truth = render_corpus(corpus)
    print(f"... {time.monotonic() - start_s:.0f} s. Mining:")
    status = mine.run(mine_arguments(corpus, output / "run", mine_flags))
    if status:
        return status
    verdict = check_pairs(output / "run" / PAIRS_CSV, truth)
    print(report(verdict, _seed_count(corpus) - len(truth)))
    print(f"\nLook at it:  ./run inspect {output / 'run'}")
    return 0 if verdict.ok else 1


def _check(mine_flags: Sequence[str]) -> None:
    """Refuse wrong flags of `clipseed mine` before the corpus is rendered."""
    needed = ["--seeds=s", "--videos=v", "--output=o"]
    _, left = MINE.parse_known([*needed, *mine_flags])
    check_beam_flags(MINE, left)


def mine_arguments(corpus: Path, run_dir: Path, more: Sequence[str]) -> list[str]:
    """Return the flags that mine a rendered corpus; print them, to be learned from."""
    from beam_pipeline.demo.corpus import AS_OF

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


def report(verdict: "Verdict", absent: int) -> str:
    """Say what the demo found; `absent` seeds have no scene in any film."""
    lines = [
        f"{verdict.found} of {verdict.expected} seeds found in their own scene",
        f"{len(verdict.elsewhere)} more clips of them in scenes that look alike",
        f"{len(verdict.wrong)} clips for the {absent} seeds that no film shows",
        "The right clips were found." if verdict.ok else "The demo FAILED.",
    ]
    return "\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run())
