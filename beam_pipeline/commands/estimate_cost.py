"""`clipseed estimate-cost`: the cost of mining a corpus, and what it assumes."""

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from beam_pipeline.cost_model import Assumptions, Corpus, Costs, estimate
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
    print(describe(given, costs, given.sampling, given.gpu))
    if sys.stdout.isatty():
        print()
        Console().print(assumptions_table(given))
    else:
        print("\nassumptions (each is a flag)")
        print(describe_assumptions(given))
    return 0


def describe(corpus: Corpus, costs: Costs, sampling: str, gpu: str) -> str:
    """Return the costs as text."""
    shards = max(1, math.ceil(costs.stored_bytes["clips"] / _SHARD_BYTES))
    lines = [
        f"{corpus.videos:,.0f} videos, {corpus.hours:,.0f} hours, {corpus.seeds:,.0f} "
        f"seeds; sampling {sampling}; GPUs: {gpu}",
        "",
        f"{'core hours':24}{sum(costs.core_hours.values()):16,.0f}",
        *(f"  {name:22}{hours:16,.0f}" for name, hours in costs.core_hours.items()),
        f"{'GPU hours':24}{costs.gpu_hours:16,.0f}",
        f"{'shuffled':24}{size(sum(costs.shuffle_bytes.values())):>16}",
        *(f"  {name:22}{size(n):>16}" for name, n in costs.shuffle_bytes.items()),
        f"{'memory a worker':24}{size(costs.worker_bytes):>16}",
        *(f"{name + ', stored':24}{size(n):>16}"
          for name, n in costs.stored_bytes.items()),
        f"{'--num_shards':24}{shards:16,d}  for files of about {size(_SHARD_BYTES)}",
    ]  # fmt: skip
    return "\n".join(lines)


def size(count: float) -> str:
    """Return a number of bytes in a unit that suits it.

    Example:
        >>> size(1_300_000_000)
        '1.3 GB'
    """
    power = min(len(_UNITS) - 1, int(math.log10(max(count, 1.0)) // 3))
    return f"{count / 1000**power:,.3g} {_UNITS[power]}"


def assumptions_table(given: Assumptions) -> Table:
    """Return the constants as a table for a terminal."""
    table = Table(title="Assumptions (each is a flag)", title_justify="left")
    for title in ("Flag", "Value", "Meaning", "Source"):
        table.add_column(title, justify="right" if title == "Value" else "left")
    for cells in _assumptions(given):
        table.add_row(*map(Text, cells))
    return table


def describe_assumptions(given: Assumptions) -> str:
    """Return the constants as lines of plain text."""
    return "\n".join(
        f"  {name:20} {value:>10}  {meaning} [{source}]"
        for name, value, meaning, source in _assumptions(given)
    )


def _assumptions(given: Assumptions) -> Iterator[tuple[str, str, str, str]]:
    """Yield each constant's flag, its value, what it is, and where it is from."""
    for constant in flags_of(Assumptions):
        value, details = getattr(given, constant.name), constant.details
        source = details.source if value == constant.default else "as given"
        yield f"--{constant.name}", f"{value:g}", details.help, source
