"""The figures of the made world as Markdown."""

from collections.abc import Mapping

from benchmarks.made_world.measures import CHANCE, FACTS, GALLERY, Measures


def as_markdown(
    measured: Mapping[str, Measures], agreement: Mapping[str, float]
) -> str:
    """Format one row per model, in percent throughout.

    Args:
        measured: by name of the model.
        agreement: share of mined pairs whose caption is true of the clip, by fact.
    """
    rows = [
        ["", "R@1", "median rank", *FACTS],
        ["---", *["---:"] * (len(FACTS) + 2)],
    ]
    for name, result in measured.items():
        facts = [f"{100 * result.facts[fact]:.0f}" for fact in FACTS]
        rows.append([name, f"{result.recall:.1f}", f"{result.median_rank:g}", *facts])
    chances = [f"{100 * CHANCE[fact]:.0f}" for fact in FACTS]
    rows.append(["chance", f"{100 / GALLERY:.1f}", f"{(GALLERY + 1) / 2:g}", *chances])
    said = [f"{100 * agreement[f]:.0f}" if f in agreement else "" for f in FACTS]
    rows.append(["mined captions that are true", "", "", *said])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
