"""Checksums of a checkpoint's files, kept in its folder.

They are written after the checkpoint, so one without them was not finished. Orbax does
not check the bytes of arrays: a changed one would show up as a NaN loss.
"""

import json

from clipseed.errors import InputError
from clipseed.hashing import checksum
from clipseed.io import storage
from clipseed.io.listing import list_files

_FILE = "checksums.json"
_MAX_BYTES = 1 << 26
UNFINISHED = "it was not finished"


def write_sums(checkpoint: str) -> None:
    """Write the checksums of a checkpoint, a folder that is local or `gs://`."""
    sums = {name: _checksum(checkpoint, name) for name in _names(checkpoint)}
    text = json.dumps(sums, indent=2) + "\n"
    storage.write_bytes(storage.join(checkpoint, _FILE), text.encode())


def problem_of(checkpoint: str) -> str:
    """Return what is wrong with a checkpoint: `UNFINISHED`, or damage; "" for none."""
    try:
        text = storage.read_bytes(storage.join(checkpoint, _FILE), _MAX_BYTES)
    except InputError as error:
        return UNFINISHED if error.reason == "not_found" else error.message
    try:
        sums: dict[str, str] = json.loads(text)
        for name, expected in sums.items():
            if _checksum(checkpoint, name) != expected:
                return f"{name} is not what was written"
    except InputError as error:
        return error.message
    except (ValueError, AttributeError):
        return f"{_FILE} is not what was written"
    return ""


def _names(checkpoint: str) -> list[str]:
    root = f"{checkpoint}/"
    names = [uri.removeprefix(root) for uri in list_files(checkpoint)]
    return [name for name in names if name != _FILE]


def _checksum(checkpoint: str, name: str) -> str:
    with storage.localize(storage.join(checkpoint, name)) as path:
        return checksum(path)
