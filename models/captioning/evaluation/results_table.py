"""Captioning figures as Markdown, beside the paper's (its table 2)."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from models.captioning.evaluation.coco import METRICS


class Published(NamedTuple):
    """A row of the paper: captions of MSR-VTT's 2,990 test videos, from frames."""

    name: str
    scores: Mapping[str, float]


def _row(name: str, bleu: float, cider: float, meteor: float) -> Published:
    return Published(name, {"BLEU-4": bleu, "CIDEr": cider, "METEOR": meteor})


_PAPER_CLIPS = 2990
PAPER: Mapping[str, tuple[Published, ...]] = {
    "msr_vtt_captions": (
        _row("HowTo100M, V, fine-tuned", 47.33, 55, 37.11),
        _row("VideoCC3M, V, fine-tuned", 45.47, 55, 36.96),
        _row("HowTo100M, V, zero-shot", 7.5, 0.5, 8.23),
        _row("VideoCC3M, V, zero-shot", 13.23, 8.24, 11.34),
    )
}


def as_markdown(
    label: str,
    scores: Mapping[str, float] | None,
    loss: float,
    clips: int,
    protocol: str,
) -> str:
    """Return a table of one row, below it the paper's.

    Args:
        label: of the row.
        scores: by metric; None: there are none.
        loss: in nats per token.
        clips: that were measured.
        protocol: whose rows of the paper are wanted; others have none.
    """
    columns = (*METRICS, "loss", "clips")
    head = f"| | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|"
    rows = [
        f"| {label} {_cells(scores or {})} {loss:.3f} | {clips} |",
        *_paper(protocol),
    ]
    return "\n".join([head, *rows])


def _paper(protocol: str) -> Iterator[str]:
    for name, scores in PAPER.get(protocol, ()):
        yield f"| paper, MSR-VTT: {name} {_cells(scores)} | {_PAPER_CLIPS} |"


def _cells(scores: Mapping[str, float]) -> str:
    cells = (f"{scores[name]:.2f}" if name in scores else "" for name in METRICS)
    return f"| {' | '.join(cells)} |"
