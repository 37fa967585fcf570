"""Seeds in webdataset shards, as img2dataset writes them.

A shard is a tar in which the members of one sample are adjacent: `KEY.jpg`, `KEY.txt`
(the caption), `KEY.json` (url, caption, status). Images are not read here: a row has
the image's offset in the tar, so that only offsets are shuffled. The webdataset library
reads whole samples, so it cannot do that. Source: READMEs of img2dataset, webdataset.
"""

import io
import json
import os
import posixpath
import re
import tarfile
from collections.abc import Iterator
from itertools import groupby

from clipseed.elements import SeedRow
from clipseed.errors import DeadLetter, InputError
from clipseed.io.storage import localize

_STAGE = "read_seeds"
_IMAGES = ("jpg", "jpeg", "png", "webp")
_READ = frozenset((*_IMAGES, "txt", "json"))
_MAX_TEXT_BYTES = 1 << 20  # A larger file cannot be a caption.
_BLOCK_BYTES = 512
_STATUS = re.compile(r"[a-z][a-z0-9_]{0,63}")
# tarfile also raises what int(), split() and indexing raise on damaged header fields,
# and recurses per extended header.
_DAMAGED = (
    tarfile.TarError,
    ValueError,
    ArithmeticError,
    LookupError,
    RecursionError,
)


def read_shard(uri: str) -> Iterator[SeedRow | DeadLetter]:
    """Yield the samples of one tar shard, in order.

    Samples whose download failed, or without a caption or an image, become dead
    letters. A truncated or corrupt shard yields the samples before the damage, then one
    dead letter for the rest.
    """
    with localize(uri) as path, _BoundedReader(io.FileIO(path)) as file:
        try:
            tar = _open(file)
        except _DAMAGED:
            yield _broken(uri)
            return
        with tar:
            members = _whole_members(tar, path)
            for key, group in groupby(members, key=_sample_key):
                sample = {end: m for m in group if (end := _extension(m)) in _READ}
                yield _sample(tar, uri, f"{posixpath.basename(uri)}/{key}", sample)
            if not _ended_well(tar, path):
                yield _broken(uri)


class _BoundedReader(io.BufferedReader):
    """A file of which no header can make tarfile read more than a text may have.

    The size of an extended header is the file's own word, and may be negative: to the
    end of the file.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes, or raise ReadError."""
        if size is None or not 0 <= size <= _MAX_TEXT_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def _open(file: _BoundedReader) -> tarfile.TarFile:
    # backslashreplace: member names become keys, which have to be encodable.
    return tarfile.open(
        fileobj=file, mode="r:", encoding="utf-8", errors="backslashreplace"
    )


def _broken(uri: str) -> DeadLetter:
    message = "the tar is truncated or corrupt from here on; copy it again"
    return DeadLetter(_STAGE, uri, "truncated_shard", message)


def _whole_members(tar: tarfile.TarFile, path: str) -> Iterator[tarfile.TarInfo]:
    """Yield the plain files of a tar that are complete."""
    size_bytes = os.path.getsize(path)
    read_to = 0
    while True:
        try:
            member = tar.next()
        except _DAMAGED:
            return  # `_ended_well` reports it.
        # It would grow by a kilobyte per member; the stubs do not know it.
        tar.members.clear()  # type: ignore[attr-defined]
        if member is None or member.offset_data + member.size > size_bytes:
            return
        if member.size < 0 or tar.offset <= read_to:
            return  # A negative size would make tarfile read in a circle.
        read_to = tar.offset
        if member.isreg() and not member.issparse():
            yield member


def _ended_well(tar: tarfile.TarFile, path: str) -> bool:
    """Return whether reading stopped at the end mark; tarfile also stops at garbage."""
    if not 0 < tar.offset < os.path.getsize(path):
        return False
    with open(path, "rb") as file:
        file.seek(tar.offset)
        return file.read(_BLOCK_BYTES) == bytes(_BLOCK_BYTES)


def _sample_key(member: tarfile.TarInfo) -> str:
    folder, name = posixpath.split(member.name)
    return posixpath.join(folder, name.partition(".")[0])


def _extension(member: tarfile.TarInfo) -> str:
    return posixpath.basename(member.name).partition(".")[2].lower()


def _sample(
    tar: tarfile.TarFile, uri: str, key: str, members: dict[str, tarfile.TarInfo]
) -> SeedRow | DeadLetter:
    """Make a row of one sample; `key` names it when it has no URL."""
    try:
        facts = _facts(tar, members)
        image = next((members[end] for end in _IMAGES if end in members), None)
        if image is None:
            raise InputError(
                "missing_image", f"the sample has no {' / '.join(_IMAGES)}"
            )
        caption = _text(tar, members["txt"]) if "txt" in members else facts["caption"]
        if not isinstance(caption, str):
            raise InputError(
                "missing_caption", "the sample has neither txt nor a caption"
            )
    except InputError as error:
        return DeadLetter(_STAGE, key, error.reason, error.message)
    reference = facts["url"] or f"{key}.{_extension(image)}"
    return SeedRow(reference, uri, caption, image.offset_data, image.size)


def _facts(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]
) -> dict[str, str | None]:
    """Return `url` and `caption` of KEY.json, each None if it has none.

    Raises:
        InputError: the download's status when it failed; `bad_json`, `not_utf8`.
    """
    text = _text(tar, members["json"]) if "json" in members else "{}"
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            "bad_json", f"the sample's json cannot be read: {error}"
        ) from None
    if not isinstance(facts, dict):
        raise InputError("bad_json", "the sample's json is not an object {…}")
    status = facts.get("status", "success")
    if status != "success":
        reason = status if _STATUS.fullmatch(str(status)) else "bad_status"
        raise InputError(reason, f"status {status!r}: {facts.get('error_message')}")
    return {name: _own_text(facts.get(name)) for name in ("url", "caption")}


def _own_text(value: object) -> str | None:
    """Return `value` if it is text; JSON may contain lone surrogates."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            "not_utf8", "the sample's json holds a lone surrogate, not a character"
        ) from None
    return value


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.size > _MAX_TEXT_BYTES:
        raise InputError(
            "text_too_long",
            f"{member.name} has {member.size} bytes, too many for a caption",
        )
    file = tar.extractfile(member)
    assert file is not None  # `_whole_members` lets plain files through only
    try:
        return file.read().decode()
    except UnicodeDecodeError as error:
        raise InputError("not_utf8", f"{member.name} is not UTF-8: {error}") from None
