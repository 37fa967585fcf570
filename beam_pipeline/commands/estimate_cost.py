"""`clipseed estimate-cost`: the cost of mining a corpus, and what it assumes."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from beam_pipeline.cost_model import Assumptions, Corpus, Costs, estimate
from beam_pipeline.report.terminal import Block, show, table
from clipseed.flags import CommandLine, flag, flags, flags_of

_SHARD_BYTES = 1e9
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


@flags
class EstimateFlags(Corpus, Assumptions):
    """All flags of `clipseed estimate-cost`."""

    sampling: Literal["exact", "keyframe"] = flag(
        "Sampling, as of `clipseed mine`", default="exact"
    )
    gpu: Literal["none", "embedding", "all"] = flag(
        "Workers with a GPU. none: cores embed; embedding: separate workers embed "
        "(--accelerator) and frames travel to them; all: every worker has one",
        default="none",
    )


COMMAND_LINE = CommandLine(
    "clipseed estimate-cost",
    EstimateFlags,
    "Estimate the cost of mining a corpus, from measured constants.",
)


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed estimate-cost`; return the exit status."""
    given = COMMAND_LINE.parse(arguments)
    costs = estimate(given, given, given.sampling, given.gpu)
    print(_heading(given, given.sampling, given.gpu), end="\n\n")
    show(costs_block(costs))
    print()
    show(assumptions_block(given))
    return 0


def _heading(corpus: Corpus, sampling: str, gpu: str) -> str:
    return (
        f"{corpus.videos:,.0f} videos, {corpus.hours:,.0f} hours, {corpus.seeds:,.0f} "
        f"seeds; sampling {sampling}; GPUs: {gpu}"
    )


def costs_block(costs: Costs) -> Block:
    """Return the costs, one per line."""
    shards = max(1, math.ceil(costs.stored_bytes["clips"] / _SHARD_BYTES))
    note = f"for files of about {size(_SHARD_BYTES)}"
    rows = [
        ("core hours", f"{sum(costs.core_hours.values()):,.0f}"),
        *((f"  {name}", f"{hours:,.0f}") for name, hours in costs.core_hours.items()),
        ("GPU hours", f"{costs.gpu_hours:,.0f}"),
        ("shuffled", size(sum(costs.shuffle_bytes.values()))),
        *((f"  {name}", size(n)) for name, n in costs.shuffle_bytes.items()),
        ("memory a worker", size(costs.worker_bytes)),
        *((f"{name}, stored", size(n)) for name, n in costs.stored_bytes.items()),
        ("--num_shards", f"{shards:,d}"),
    ]
    lines = [f"{name:24}{amount:>16}" for name, amount in rows]
    drawn = table("", ["cost", "amount"], rows, numbers=["amount"])
    drawn.caption = f"--num_shards: {note}"
    return Block("\n".join([*lines[:-1], f"{lines[-1]}  {note}"]), drawn)


def size(count: float) -> str:
    """Return a number of bytes in a unit that suits it.

    Example:
        >>> size(1_300_000_000)
        '1.3 GB'
    """
    power = min(len(_UNITS) - 1, int(math.log10(max(count, 1.0)) // 3))
    return f"{count / 1000**power:,.3g} {_UNITS[power]}"


def assumptions_block(given: Assumptions) -> Block:
    """Return the constants, one per line."""
    rows = list(_assumptions(given))
    lines = [
        f"  {name:20} {value:>10}  {meaning} [{source}]"
        for name, value, meaning, source in rows
    ]
    title = "assumptions (each is a flag)"
    columns = ["flag", "value", "meaning", "source"]
    drawn = table(title.capitalize(), columns, rows, numbers=["value"])
    return Block("\n".join([title, *lines]), drawn)


def _assumptions(given: Assumptions) -> Iterator[tuple[str, str, str, str]]:
    """Yield each constant's flag, its value, what it is, and where it is from."""
    for constant in flags_of(Assumptions):
        value, details = getattr(given, constant.name), constant.details
        source = details.source if value == constant.default else "as given"
        yield f"--{constant.name}", f"{value:g}", details.help, source
