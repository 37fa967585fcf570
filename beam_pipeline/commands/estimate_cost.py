"""`clipseed estimate-cost`: the cost of mining a corpus, and what it assumes."""

import argparse
import dataclasses
import math
from collections.abc import Sequence

from beam_pipeline.cost_model import Assumptions, Corpus, Costs, estimate

_SHARD_BYTES = 1e9
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def run(argv: Sequence[str]) -> int:
    """Runs `clipseed estimate-cost`; gives the exit status."""
    parser = _parser()
    flags = vars(parser.parse_args(argv))
    corpus = Corpus(*(flags.pop(name) for name in Corpus._fields))
    sampling, gpu = flags.pop("sampling"), flags.pop("gpu")
    assumptions = Assumptions(**flags)
    costs = estimate(corpus, assumptions, sampling, gpu)
    print(describe(corpus, costs, sampling, gpu))
    print("\nassumptions (each is a flag)")
    print(describe_assumptions(assumptions))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clipseed estimate-cost",
        description="Reckons what mining a corpus would cost, from measured constants.",
    )
    add = parser.add_argument_group("what is mined, and how").add_argument
    add("--videos", type=_count, required=True, help="how many, such as 150e6")
    add("--hours", type=_count, required=True, help="of all videos together")
    add("--seeds", type=_count, required=True, help="how many")
    add("--sampling", choices=["exact", "keyframe"], default="exact",
        help="as of `clipseed mine` (exact)")  # fmt: skip
    add("--gpu", choices=["none", "embedding", "all"], default="none",
        help="none: cores embed; embedding: workers of their own do (--accelerator), "
        "frames travel to them; all: every worker has a GPU (none)")  # fmt: skip
    add = parser.add_argument_group("assumptions").add_argument
    for field in dataclasses.fields(Assumptions):
        text = f"{field.metadata['what']} ({field.default:g}: "
        add(f"--{field.name}", type=_above_zero, default=field.default,
            help=text.replace("%", "%%") + field.metadata["source"] + ")")  # fmt: skip
    return parser


def _count(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def describe(corpus: Corpus, costs: Costs, sampling: str, gpu: str) -> str:
    """The costs as text."""
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
    """A number of bytes, in a unit that suits it.

    Example:
        >>> size(1_300_000_000)
        '1.3 GB'
    """
    power = min(len(_UNITS) - 1, int(math.log10(max(count, 1.0)) // 3))
    return f"{count / 1000**power:,.3g} {_UNITS[power]}"


def describe_assumptions(given: Assumptions) -> str:
    """Each constant, what it is, and where it is from."""
    lines = []
    for field in dataclasses.fields(given):
        value = getattr(given, field.name)
        source = field.metadata["source"] if value == field.default else "as given"
        lines.append(
            f"  --{field.name:18} {value:>10g}  {field.metadata['what']} [{source}]"
        )
    return "\n".join(lines)
