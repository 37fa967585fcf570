"""Retrieval figures as Markdown and as JSON, beside the paper's.

    print(as_markdown(figures, "msr_vtt", "A+V, zero-shot"))

The paper's figures are its tables 1 (pretraining data), 3 (CLIP) and 4 (sounds): text
to clip, by the protocols of `transforms.benchmarks.registry`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from clipseed.errors import InputError
from models.retrieval.metrics import CUTS, Retrieval


class Published(NamedTuple):
    """A row of the paper.

    Attributes:
        name: what was trained on what, V: frames, A: sound.
        at_1: R@1 in percent; so the others. None: not published.
    """

    name: str
    at_1: float | None
    at_5: float | None
    at_10: float | None


class _Group(NamedTuple):
    title: str
    candidates: int
    queries: int
    rows: tuple[Published, ...]


PAPER = {
    "msr_vtt": _Group(
        "MSR-VTT 1k-A",
        1000,
        1000,
        (
            Published("from scratch, V", 9.4, 22.5, 31.7),
            Published("HowTo100M, V, fine-tuned", 33.1, 62.3, 72.3),
            Published("VideoCC3M, V, fine-tuned", 35.0, 63.1, 75.1),
            Published("VideoCC3M, A+V, fine-tuned", 35.8, 65.1, 76.9),
            Published("HowTo100M, V, zero-shot", 8.6, 16.9, 25.8),
            Published("VideoCC3M, V, zero-shot", 18.9, 37.5, 47.1),
            Published("VideoCC3M, A+V, zero-shot", 20.4, 39.5, 50.3),
            Published("CLIP4Clip, WiT, V, zero-shot", 30.6, 54.4, 64.3),
            Published("CLIP4Clip, WiT + VideoCC, V, zero-shot", 33.7, 57.9, 67.9),
        ),
    ),
    "audiocaps": _Group(
        "AudioCaps",
        778,
        0,
        (
            Published("AudioCaps alone, A", 32.0, None, 82.3),
            Published("VideoCC3M, A, fine-tuned", 35.5, None, 84.5),
            Published("VideoCC3M, A+V, fine-tuned", 43.2, None, 88.9),
            Published("VideoCC3M, A, zero-shot", 8.7, None, 37.7),
            Published("VideoCC3M, A+V, zero-shot", 10.6, None, 45.2),
        ),
    ),
    "clotho": _Group(
        "Clotho",
        1045,
        5225,
        (
            Published("VideoCC3M, A, fine-tuned", 8.4, None, None),
            Published("VideoCC3M, A, zero-shot", 3.0, None, None),
            Published("VideoCC3M + AudioCaps, A, fine-tuned", 12.6, None, None),
        ),
    ),
}
_HEAD = (
    "| | " + " | ".join(f"R@{cut}" for cut in CUTS) + " | median | mean | queries | "
    "candidates |\n|---|---|---|---|---|---|---|---|"
)


def as_markdown(
    figures: Mapping[str, Retrieval], protocol: str = "", label: str = ""
) -> str:
    """Return a table: a row per entry, below them the paper's rows.

    Args:
        figures: what was measured, by name (underscores become spaces).
        protocol: whose rows of the paper are wanted; "": none.
        label: what follows each measured row's name.

    Raises:
        InputError: `unknown_protocol`.
    """
    suffix = f": {label}" if label else ""
    rows = (
        _row(name.replace("_", " ") + suffix, found) for name, found in figures.items()
    )
    return "\n".join([_HEAD, *rows, *_paper(protocol)])


def as_json(
    figures: Mapping[str, Retrieval],
    protocol: str = "",
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Return the same as JSON, beside facts; the paper's rows are under `paper`.

    Raises:
        InputError: `unknown_protocol`.
    """
    content: dict = {name: found._asdict() for name, found in figures.items()}
    content |= facts or {}
    if protocol:
        rows = _published(protocol).rows
        content["paper"] = {row.name: {"recall": row[1:]} for row in rows}
    return json.dumps(content, indent=2) + "\n"


def _row(name: str, found: Retrieval) -> str:
    recall = " | ".join(f"{value:.1f}" for value in found.recall)
    return (
        f"| {name} | {recall} | {found.median_rank:g} | "
        f"{found.mean_rank:.1f} | {found.queries} | {found.candidates} |"
    )


def _paper(protocol: str) -> Iterator[str]:
    if not protocol:
        return
    group = _published(protocol)
    for name, *values in group.rows:
        recall = " | ".join("" if v is None else f"{v:.1f}" for v in values)
        yield (
            f"| paper, {group.title}: {name} | {recall} | | | "
            f"{group.queries or ''} | {group.candidates} |"
        )


def _published(protocol: str) -> _Group:
    if protocol not in PAPER:
        raise InputError(
            "unknown_protocol",
            f"the paper has no figures of {protocol!r}; name one of {', '.join(PAPER)}",
        )
    return PAPER[protocol]
