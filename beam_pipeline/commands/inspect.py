"""`clipseed inspect`: what a run holds, in figures and in pictures."""

import argparse
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.report.contact_sheet import draw_sheet, printable
from beam_pipeline.report.examples import Row, load_examples, span, survey
from beam_pipeline.report.summary import read_run, summary
from clipseed.errors import DeadLetter, InputError
from clipseed.io import storage
from clipseed.io.gcs import blob_of, input_errors, is_gs
from transforms.run.manifest import FORMAT

_MAX_EXAMPLES = 200
_LINE_CHARS = 200
_BATCH = 4096


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `clipseed inspect`; gives the exit status.

    0: the run is whole; 1: files are missing or damaged, or the sheet cannot be
    written; 2: there is no finished run.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags = _parser().parse_args(argv)
    try:
        manifest = open_run(flags.directory)
    except InputError as reject:
        return _fail(reject.message, 2)
    damaged = list(damage(flags.directory, manifest, flags.verify))
    for problem in damaged:
        _fail(problem)
    if damaged:
        files = f"{len(damaged)} of {len(manifest['files'])} files"
        return _fail(f"{files} are missing or damaged: copy them again, or mine again")
    try:
        chosen = _print_run(flags.directory, manifest, flags.examples)
        if chosen and not flags.no_sheet:
            _save_sheet(flags.directory, manifest, chosen, flags.sheet)
    except InputError as reject:
        return _fail(reject.message)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clipseed inspect", description="Prints what a run holds, and draws it."
    )
    parser.add_argument("directory", help="a run directory, local or gs://")
    parser.add_argument("--verify", action="store_true", help="compare checksums too")
    parser.add_argument("--sheet", help="PNG (default: contact_sheet.png in the run, "
                        "where that is local)")  # fmt: skip
    parser.add_argument("--no_sheet", action="store_true", help="draw nothing")
    parser.add_argument("--examples", type=_example_count, default=12,
                        help="rows of the sheet")  # fmt: skip
    return parser


def _example_count(text: str) -> int:
    if not 1 <= int(text) <= _MAX_EXAMPLES:
        raise argparse.ArgumentTypeError(f"give a number from 1 to {_MAX_EXAMPLES}")
    return int(text)


def _fail(problem: str, status: int = 1) -> int:
    _say(f"clipseed inspect: {printable(problem)}", to_error=True)
    return status


def _say(text: str, to_error: bool = False) -> None:
    """Prints; what the terminal's encoding lacks comes as a backslash escape."""
    stream = sys.stderr if to_error else sys.stdout
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


# --- files ---------------------------------------------------------------------------


def open_run(run_dir: str) -> Row:
    """Reads the `run.json` of a finished run.

    Raises:
        InputError: `not_found` where there is none, `not_a_run` where it is another
        thing.
    """
    try:
        manifest = read_run(run_dir)
    except InputError as reject:
        raise InputError(
            reject.reason,
            f"{run_dir} is not a finished run ({reject.message}): it is still "
            "running, or was broken off; mine again with this --output",
        ) from reject
    except ValueError as error:
        message = f"{run_dir} is not a finished run: its run.json is damaged ({error})"
        raise InputError("not_a_run", message) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        message = f"{run_dir} is not a finished run of format {FORMAT}: mine it again"
        raise InputError("not_a_run", message)
    if "counts" not in manifest:
        message = (
            f"{run_dir} was cut of a benchmark, not mined: there is no tally of it"
        )
        raise InputError("not_a_run", message)
    return manifest


def damage(run_dir: str, manifest: Row, verify: bool) -> Iterator[str]:
    """Yields what is wrong with the files that `run.json` lists."""
    for entry in manifest["files"]:
        uri = storage.join(run_dir, entry["path"])
        try:
            if _size(uri) != entry["bytes"]:
                yield f"{uri} has another size than run.json says"
            elif verify and _sha256(uri) != entry["sha256"]:
                yield f"{uri} has another checksum than run.json says"
        except InputError as reject:
            yield reject.message


def _size(uri: str) -> int:
    """Bytes of a file, without reading it: a run may hold terabytes."""
    with input_errors(uri):
        if not is_gs(uri):
            return os.path.getsize(uri)
        blob = blob_of(uri)
        blob.reload()
        return blob.size


def _sha256(uri: str) -> str:
    with storage.localize(uri) as path, input_errors(uri), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _local_files(run_dir: str, manifest: Row, folder: str) -> Iterator[str]:
    for entry in manifest["files"]:
        if entry["path"].startswith(f"{folder}/") and entry["records"]:
            with storage.localize(storage.join(run_dir, entry["path"])) as path:
                yield path


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turns what a file of wrong content may raise into an InputError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        message = f"{path} is damaged ({error}): --verify checks all files"
        raise InputError("damaged_file", message) from error


# --- figures -------------------------------------------------------------------------


def _print_run(run_dir: str, manifest: Row, count: int) -> list[Row]:
    """Prints all but the pictures; gives the pairs to draw."""
    _say(summary(run_dir, manifest))
    _say(f"\n{accounting_text(manifest)}\n\n{rejected_text(run_dir, manifest)}")
    first, chosen = survey(read_pairs(run_dir, manifest), count)
    _say(f"\n{pairs_text(first, manifest['counts'].get('pairs', 0))}")
    return chosen


def accounting_text(manifest: Row) -> str:
    """What came into each stage, what went out, and what was dropped why."""
    lines = [f"{'accounting':16s}  {'in':>8s}  {'out':>8s}  dropped"]
    for row in manifest["accounting"]:
        dropped = [f"{count} {why}" for why, count in row["dropped"].items() if count]
        note = "" if row["balanced"] else "  (DOES NOT BALANCE)"
        figures = f"{row['stage']:14s}  {row['in']:8d}  {row['out']:8d}"
        lines.append(f"  {figures}  {', '.join(dropped)}{note}".rstrip())
    return "\n".join(lines)


def rejected_text(run_dir: str, manifest: Row) -> str:
    """Dead letters by stage and reason, with an example each."""
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], DeadLetter] = {}
    for path in _local_files(run_dir, manifest, "rejected"):
        with _reading(path), open(path, encoding="utf-8") as file:
            for line in file:
                letter = DeadLetter(**json.loads(line))
                kind = letter.stage, letter.reason
                counts[kind] = counts.get(kind, 0) + 1
                first.setdefault(kind, letter)
    if not counts:
        return "nothing was rejected"
    lines = [
        f"  {counts[kind]:5d}  {kind[0]}: {kind[1]}, such as "
        + _one_line(f"{letter.key}: {letter.message}")
        for kind, letter in sorted(first.items())
    ]
    return "\n".join(["rejected", *lines])


def pairs_text(first: Sequence[Row], count: int) -> str:
    """The first pairs, a line each, of so many."""
    lines = [
        f"  {span(row)}  {row['similarity']:.3f}  #{row['rank']:<2d} "
        f"{row['sound']:7s}  {_one_line(row['video'])}  {_one_line(row['caption'])}"
        for row in first
    ]
    return "\n".join([f"pairs, {len(lines)} of {count}", *lines])


def _one_line(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LINE_CHARS else text[: _LINE_CHARS - 1] + "…"


def read_pairs(run_dir: str, manifest: Row) -> Iterator[list[Row]]:
    """The rows of `pairs/` in batches, in the order of `pairs.csv`."""
    for path in _local_files(run_dir, manifest, "pairs"):
        with _reading(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                yield batch.to_pylist()


# --- pictures ------------------------------------------------------------------------


def _save_sheet(
    run_dir: str, manifest: Row, rows: list[Row], sheet: str | None
) -> None:
    if sheet is None and is_gs(run_dir):
        return _say("\ncontact sheet  none: name a local file with --sheet")
    uri = sheet or storage.join(run_dir, "contact_sheet.png")
    title = (
        f"{len(rows)} of {manifest['counts']['pairs']} pairs, the best and the "
        f"weakest above {manifest['threshold']:g}: {run_dir}"
    )
    picture = draw_sheet(title, load_examples(run_dir, manifest["config"], rows, _fail))
    try:
        with storage.writing(uri) as local_path:
            picture.save(local_path, format="PNG")
    except OSError as error:
        message = (
            f"the contact sheet cannot be written to {uri} ({error}): give --sheet"
        )
        raise InputError("unwritable", message) from error
    _say(f"\ncontact sheet  {uri}")


if __name__ == "__main__":
    sys.exit(run())
