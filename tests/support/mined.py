"""How the tests mine: as little work as their claim needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from clipseed.run.reader import Run

# One thread, no gRPC between runner and worker: half the CPU of a small job. That other
# workers write the same bytes is tested in jobs/test_mine.py and test_mine_flags.py.
ONE_WORKER = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
# What a user's job does on a machine of two cores.
TWO_WORKERS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
SMALL = ("--num_shards=2", *ONE_WORKER)

Place = TypeVar("Place", Path, str)


def mining_flags(
    corpus: Path | str,
    output: Path | str,
    *more: str,
    seeds: Path | str = "seeds.csv",
    videos: Path | str = "videos",
    settings: Sequence[str] = SMALL,
) -> list[str]:
    """Return the flags that mine a corpus.

    Args:
        corpus: the folder of the corpus, local or `gs://`.
        output: the run directory.
        more: flags of this job; they come last, so they win over `settings`.
        seeds: in the corpus, or absolute.
        videos: in the corpus, or absolute.
        settings: flags that all jobs of a file share.
    """
    places = [
        f"--{flag}={name if Path(name).is_absolute() else f'{corpus}/{name}'}"
        for flag, name in (("seeds", seeds), ("videos", videos))
    ]
    return [*places, f"--output={output}", *settings, *more]


def mine(corpus: Path | str, output: Place, *more: str, **flags: Any) -> Place:
    """Mine a corpus; return the run directory, checked, where nothing was lost.

    The arguments are those of `mining_flags`.
    """
    from beam_pipeline.mine import run

    assert run(mining_flags(corpus, output, *more, **flags)) == 0
    accounts = Run.open(output, verify="checksums").mining.accounting
    assert accounts
    for stage in accounts:
        assert stage.inputs == stage.outputs + sum(stage.dropped.values()), stage
    return output


def pairs(run_dir: Path | str) -> list[dict[str, Any]]:
    """Return the rows of `pairs/`, by column."""
    return [pair._asdict() for pair in Run.open(run_dir).pairs()]


def matches(run_dir: Path | str) -> list[dict[str, Any]]:
    """Return the rows of `matches/`, by column."""
    return [match._asdict() for match in Run.open(run_dir).matches()]
