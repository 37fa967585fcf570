"""`clipseed inspect`: what a run holds, in figures and in pictures."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from beam_pipeline.contact_sheet import Example, draw_sheet
from beam_pipeline.summary import read_run, summary
from transforms import storage
from transforms.clip_record import ClipRecord, decode, read_records
from transforms.elements import Reject, Rejected
from transforms.fetch import FetchConfig
from transforms.images import ImageLimits, decode_image
from transforms.load_seeds import read_image
from transforms.read_seeds import SeedsConfig, list_seed_files, read_seeds

_SHOWN_PAIRS = 10
Row = dict[str, Any]


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `clipseed inspect`; gives the exit status.

    0: the run is whole; 1: files are missing or damaged; 2: there is no finished run.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags = _parser().parse_args(argv)
    try:
        manifest = read_run(flags.directory)
    except Reject:
        print(
            f"clipseed inspect: {flags.directory} is not a finished run: it has no "
            "run.json (still running, or broken off: mine again with this --output)",
            file=sys.stderr,
        )
        return 2
    damaged = list(damage(flags.directory, manifest, flags.verify))
    for problem in damaged:
        print(f"clipseed inspect: {problem}", file=sys.stderr)
    if damaged:
        return 1
    print(summary(flags.directory, manifest))
    pairs = read_pairs(flags.directory, manifest)
    print(f"\n{rejected_text(flags.directory, manifest)}\n\n{pairs_text(pairs)}")
    if not flags.no_sheet and pairs:
        path = flags.sheet or storage.join(flags.directory, "contact_sheet.png")
        chosen = choose(pairs, flags.examples)
        sheet = draw_sheet(list(examples(flags.directory, manifest, chosen)))
        with storage.writing(path) as local_path:
            sheet.save(local_path, format="PNG")
        print(f"\ncontact sheet  {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clipseed inspect", description="Prints what a run holds, and draws it."
    )
    parser.add_argument("directory", help="a run directory")
    parser.add_argument("--verify", action="store_true", help="compare checksums too")
    parser.add_argument("--sheet", help="PNG (default: contact_sheet.png in the run)")
    parser.add_argument("--no_sheet", action="store_true", help="draw nothing")
    parser.add_argument("--examples", type=int, default=12, help="rows of the sheet")
    return parser


def damage(run_dir: str, manifest: Row, verify: bool) -> Iterator[str]:
    """Yields what is wrong with the files that `run.json` lists."""
    for entry in manifest["files"]:
        uri = storage.join(run_dir, entry["path"])
        try:
            with storage.localize(uri) as path:
                if os.path.getsize(path) != entry["bytes"]:
                    yield f"{uri} has another size than run.json says"
                elif verify and _sha256(path) != entry["sha256"]:
                    yield f"{uri} has another checksum than run.json says"
        except Reject as reject:
            yield reject.message


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _local_files(run_dir: str, manifest: Row, folder: str) -> Iterator[str]:
    for entry in manifest["files"]:
        if entry["path"].startswith(f"{folder}/") and entry["records"]:
            with storage.localize(storage.join(run_dir, entry["path"])) as path:
                yield path


def read_pairs(run_dir: str, manifest: Row) -> list[Row]:
    """The rows of `pairs/`, in the order of `pairs.csv`."""
    files = _local_files(run_dir, manifest, "pairs")
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def rejected_text(run_dir: str, manifest: Row) -> str:
    """Dead letters by stage and reason, with an example each."""
    counts: dict[tuple[str, str], list[Rejected]] = {}
    for path in _local_files(run_dir, manifest, "rejected"):
        with open(path, encoding="utf-8") as file:
            for line in file:
                letter = Rejected(**json.loads(line))
                counts.setdefault((letter.stage, letter.reason), []).append(letter)
    if not counts:
        return "nothing was rejected"
    lines = [
        f"  {len(letters):5d}  {stage}: {reason}, such as {letters[0].key}: "
        f"{letters[0].message}"
        for (stage, reason), letters in sorted(counts.items())
    ]
    return "\n".join(["rejected", *lines])


def pairs_text(pairs: Sequence[Row]) -> str:
    """The first pairs, a line each."""
    lines = [
        f"  {_clock(row['start_us'])}-{_clock(row['end_us'])}  {row['similarity']:.3f}"
        f"  #{row['rank']:<2d} {row['sound']:7s}  {row['video']}  {row['caption']!r}"
        for row in pairs[:_SHOWN_PAIRS]
    ]
    return "\n".join([f"pairs, {len(lines)} of {len(pairs)}", *lines])


def _clock(time_us: int) -> str:
    minutes, seconds = divmod(time_us / 1e6, 60)
    return f"{minutes:.0f}:{seconds:04.1f}"


def choose(pairs: Sequence[Row], count: int) -> list[Row]:
    """Pairs to look at: the best of some seeds, and those nearest to the threshold."""
    ordered = sorted(
        pairs, key=lambda r: (-r["similarity"], r["seed_id"], r["caption"])
    )
    best: dict[str, Row] = {}
    for row in ordered:
        best.setdefault(row["seed_id"], row)
    chosen = list(best.values())[: (count + 1) // 2]
    for row in reversed(ordered):
        if len(chosen) >= count:
            break
        if row not in chosen:
            chosen.append(row)
    return sorted(chosen, key=lambda row: -row["similarity"])


def examples(run_dir: str, manifest: Row, rows: Sequence[Row]) -> Iterator[Example]:
    """Joins pairs with their clips and seed images."""
    clips = _read_clips(run_dir, manifest, {row["clip_id"] for row in rows})
    seeds = _read_seeds(manifest["config"], {row["image"] for row in rows})
    for row in rows:
        yield Example(
            row["caption"],
            [
                f"similarity {row['similarity']:.3f}, rank {row['rank']}",
                f"{row['video']} at {_clock(row['time_us'])}, sound {row['sound']}",
            ],
            row["time_us"],
            clips[row["clip_id"]],
            seeds.get(row["image"]),
        )


def _read_clips(run_dir: str, manifest: Row, ids: set[str]) -> dict[str, ClipRecord]:
    clips = {}
    for path in _local_files(run_dir, manifest, "clips"):
        for data in read_records(path):
            clip = decode(data)
            if clip.clip_id in ids:
                clips[clip.clip_id] = clip
    return clips


def _read_seeds(config: Row, references: set[str]) -> dict[str, np.ndarray]:
    """The seed images that can still be loaded: uint8 [h, w, 3] by reference."""
    names = ("seeds_format", "image_column", "caption_column")
    seeds_config = SeedsConfig(*(config[name] for name in names))
    fetch = FetchConfig(allow_private=config["allow_private"])
    found: dict[str, np.ndarray] = {}
    try:
        for uri in list_seed_files(config["seeds"]):
            for row in read_seeds(uri, seeds_config):
                if isinstance(row, Rejected) or row.reference not in references:
                    continue
                if row.reference not in found and row.uri:
                    data = read_image(row, fetch)
                    found[row.reference] = decode_image(data, ImageLimits())
                if len(found) == len(references):
                    return found
    except Reject as reject:
        print(f"clipseed inspect: a seed image: {reject.message}", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(run())
