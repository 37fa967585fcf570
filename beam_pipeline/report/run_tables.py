"""The tables of `clipseed inspect`: accounting, dead letters and pairs of a run."""

from collections.abc import Sequence

from rich.text import Text

from beam_pipeline.report.contact_sheet import printable
from beam_pipeline.report.examples import clip_times
from beam_pipeline.report.terminal import Block, table
from clipseed.elements import Pair
from clipseed.errors import DeadLetter
from clipseed.run.accounting import StageAccount
from clipseed.run.reader import Run

_LINE_CHARS = 200


def accounting(stages: Sequence[StageAccount]) -> Block:
    """Return what came into each stage, what went out, and what was dropped why."""
    width = max(14, *(len(stage.stage) for stage in stages))
    lines = [f"{'accounting':{width + 2}s}  {'in':>8s}  {'out':>8s}  dropped"]
    rows = []
    for stage in stages:
        dropped = [f"{count} {why}" for why, count in stage.dropped.items() if count]
        note = "" if stage.balanced else "  (DOES NOT BALANCE)"
        why = f"{', '.join(dropped)}{note}"
        figures = f"{stage.stage:{width}s}  {stage.inputs:8d}  {stage.outputs:8d}"
        lines.append(f"  {figures}  {why}".rstrip())
        rows.append([stage.stage, str(stage.inputs), str(stage.outputs), why])
    columns = ["stage", "in", "out", "dropped"]
    return Block(
        "\n".join(lines), table("Accounting", columns, rows, numbers=columns[1:3])
    )


def rejected(run: Run) -> Block:
    """Return the dead letters by stage and reason, with an example of each."""
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], DeadLetter] = {}
    for dead_letter in run.dead_letters():
        kind = dead_letter.stage, dead_letter.reason
        counts[kind] = counts.get(kind, 0) + 1
        first.setdefault(kind, dead_letter)
    if not counts:
        return Block("nothing was rejected", Text("Nothing was rejected"))
    rows = [
        [str(counts[kind]), *kind, _one_line(f"{first[kind].key}: {example.message}")]
        for kind, example in sorted(first.items())
    ]
    lines = [
        f"  {count:>5}  {stage}: {reason}, such as {example}"
        for count, stage, reason, example in rows
    ]
    columns = ["count", "stage", "reason", "example"]
    drawn = table("Rejected", columns, rows, numbers=["count"])
    return Block("\n".join(["rejected", *lines]), drawn)


def pairs(first: Sequence[Pair], count: int) -> Block:
    """Return the first pairs, a line each, of so many."""
    title = f"pairs, {len(first)} of {count}"
    rows = [
        [
            clip_times(pair),
            f"{pair.similarity:.3f}",
            str(pair.rank),
            pair.sound,
            _one_line(pair.video),
            _one_line(pair.caption),
        ]
        for pair in first
    ]
    lines = [
        f"  {times}  {similarity}  #{rank:<2s} {sound:7s}  {video}  {caption}"
        for times, similarity, rank, sound, video, caption in rows
    ]
    columns = ["clip", "similarity", "rank", "sound", "video", "caption"]
    drawn = table(title.capitalize(), columns, rows, numbers=columns[1:3])
    return Block("\n".join([title, *lines]), drawn)


def _one_line(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LINE_CHARS else text[: _LINE_CHARS - 1] + "…"
