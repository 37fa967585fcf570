"""Retrieval figures as a table, beside the paper's."""

from collections.abc import Mapping

from models.retrieval_metrics import Retrieval

# MSR-VTT 1k-A, text to video, zero-shot (paper, tables 1 and 2): R@1, R@5, R@10.
PAPER = {
    "paper, MSR-VTT zero-shot, HowTo100M, V": (8.6, 16.9, 25.8),
    "paper, MSR-VTT zero-shot, VideoCC3M, V": (18.9, 37.5, 47.1),
    "paper, MSR-VTT zero-shot, VideoCC3M, A+V": (20.4, 39.5, 50.3),
}
_HEAD = """| | R@1 | R@5 | R@10 | median | mean | queries | candidates |
|---|---|---|---|---|---|---|---|"""


def as_markdown(figures: Mapping[str, Retrieval], paper: bool = False) -> str:
    """A Markdown table, a row an entry; with the paper's rows below if asked for."""
    rows = [_HEAD]
    for name, found in figures.items():
        recall = " | ".join(f"{value:.1f}" for value in found.recall)
        rows.append(
            f"| {name.replace('_', ' ')} | {recall} | {found.median_rank:g} | "
            f"{found.mean_rank:.1f} | {found.queries} | {found.candidates} |"
        )
    if paper:
        for name, values in PAPER.items():
            recall = " | ".join(f"{value:.1f}" for value in values)
            rows.append(f"| {name} | {recall} | | | 1000 | 1000 |")
    return "\n".join(rows)
