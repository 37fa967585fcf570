"""`clipseed search`: find clips by a description."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from beam_pipeline.commands.index_clips import ABOUT, INDEX, embedder_of, find
from beam_pipeline.report.terminal import Block, show, table
from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags

if TYPE_CHECKING:
    from clipseed.run.clip_record import ClipRecord


@flags
class SearchFlags:
    """All flags of `clipseed search`."""

    text: str = flag("What is to be seen or heard", positional=True)
    index: Path = flag("Index of `clipseed index-clips`")
    top_k: int = flag("Number of clips to find", default=5, at_least=1)
    sheet: Path | None = flag("PNG file of the clips found", default=None)


COMMAND_LINE = CommandLine(
    "clipseed search", SearchFlags, "Find clips by a description."
)


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed search`; return 0, or 2 if that is not possible."""
    given = COMMAND_LINE.parse(arguments)
    try:
        found = search(given.text, given.index, given.top_k)
    except InputError as error:
        print(f"clipseed search: {error.message}", file=sys.stderr)
        return 2
    show(_table(found))
    if given.sheet:
        _draw(given.text, found, given.sheet)
    return 0


def search(text: str, index_dir: Path, top_k: int) -> "list[tuple[float, ClipRecord]]":
    """Return the clips nearest to a description, with their similarities.

    Raises:
        InputError: the index, its run or its model cannot be read.
    """
    from clipseed.run.clip_record import decode
    from clipseed.run.files import RUN_JSON
    from clipseed.run.reader import Run
    from index_service.search.open_index import open_index
    from models.retrieval.task import retrieval_encoder
    from models.training.load import CONFIG, load_trained

    try:
        about = json.loads((index_dir / ABOUT).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            "no_index",
            f"{index_dir} is not an index of clips; make one with `clipseed "
            "index-clips`",
        ) from error
    model = find(about["model"], index_dir, CONFIG)
    run_dir = find(about["run"], index_dir, RUN_JSON)
    encoder = retrieval_encoder(load_trained(model))
    index = open_index(str(index_dir / INDEX), embedder_of(model))
    matches = index.search(encoder.texts([text]), top_k, None)
    clips = Run.open(run_dir, verify="nothing").open_clips()
    numbers = [int(name.partition("/")[0]) for name in matches.ids]
    records = [decode(clips.read(number)) for number in numbers]
    return list(zip(matches.similarities.tolist(), records, strict=True))


def _table(found: "list[tuple[float, ClipRecord]]") -> Block:
    lines = [
        f"{place:>3}  {similarity:.3f}  {_where(clip)}"
        for place, (similarity, clip) in enumerate(found, start=1)
    ]
    rows = [
        [f"{similarity:.3f}", clip.video, _extent(clip), clip.captions[0].text]
        for similarity, clip in found
    ]
    columns = ["similarity", "video", "clip", "caption"]
    return Block("\n".join(lines), table("", columns, rows, numbers=columns[:1]))


def _where(clip: "ClipRecord") -> str:
    return f"{clip.video}  {_extent(clip)}  ({clip.captions[0].text})"


def _extent(clip: "ClipRecord") -> str:
    return f"{clip.start_us / 1e6:.1f}-{clip.end_us / 1e6:.1f} s"


def _draw(text: str, found: "list[tuple[float, ClipRecord]]", path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    from beam_pipeline.report.contact_sheet import (
        Example,
        draw_sheet,
        pick_frames,
        thumbnail,
    )

    rows = []
    for similarity, clip in found:
        frames, middle = pick_frames(clip, (clip.start_us + clip.end_us) // 2)
        facts = (f"similarity {similarity:.3f}", _where(clip), clip.sound_verdict)
        poster = thumbnail(Image.open(BytesIO(frames[middle])))
        rows.append(
            Example(clip.captions[0].text, facts, poster, frames, -1, clip.samples)
        )
    draw_sheet(f"clips for: {text}", rows).save(path)
