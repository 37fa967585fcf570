"""Ways to damage a file, each decided by a seed alone.

name, data = mutate(Source("a.mp4", data), sources, random.Random("seed/17"))
"""

import random
import re
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.fuzz.sources import Source

# What text files, and files that name others, begin with.
_TEXTS = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile:///etc/passwd\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
    b"v=0\nc=IN IP4 127.0.0.1\nm=video 1 RTP/AVP 96\n",
    b"WEBVTT\n\n00:00.000 --> 00:09.000\nhello\n",
    b"hello, world\n" * 50,
    b"",
)
_SUFFIXES = (".mp4", ".webm", ".avi", ".flv", ".h264", ".mp3", ".gif", ".txt", "")
# The fields that say how long a file, a track or a sample lasts.
_DURATION = re.compile(rb"mvhd|mdhd|tkhd|stts|elst|mehd|\x44\x89|\x2a\xd7\xb1|avih|strh"
                       rb"|duration")  # fmt: skip
_CHUNK = re.compile(rb"[a-zA-Z][a-zA-Z0-9 ]{3}")
_NUMBERS = (0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Damage = Callable[[bytearray, random.Random], None]


class Mutant(NamedTuple):
    """A damaged file: how, what it is called, what is in it."""

    mutation: str
    name: str
    data: bytes


def mutate(source: Source, sources: Sequence[Source], rng: random.Random) -> Mutant:
    """Damage a file in one of many ways, or in two."""
    mutation = rng.choice((*DAMAGES, "splice", "text", "suffix"))
    stem, dot, suffix = source.name.rpartition(".")
    suffix = dot + suffix
    data = bytearray(source.data)
    if mutation == "splice":
        other = rng.choice(sources).data
        data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]
    elif mutation == "text":
        data = bytearray(rng.choice(_TEXTS))
    elif mutation == "suffix":
        suffix = rng.choice(_SUFFIXES)
    else:
        DAMAGES[mutation](data, rng)
        if data and rng.random() < 0.2:
            DAMAGES[rng.choice(tuple(DAMAGES))](data, rng)
    return Mutant(mutation, stem + suffix, bytes(data))


# What spreadsheets, other programs and strangers leave in text.
_ODD_TEXTS = (
    b'"', b'""', b"'", b",", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xe9",
    b"\xef\xbb\xbf", b"\xed\xa0\x80", b"{", b"}", b"[]", b"null", b"\\ud800", b"1e999",
    b"/etc/passwd", b"../../etc/passwd", b"file:///etc/passwd", b"/dev/stdin",
    b"http://127.0.0.1:1/a.png", b"x" * 70_000, b"," * 3000, b"[" * 3000, b"\n" * 3000,
)  # fmt: skip


def mutate_text(source: Source, rng: random.Random) -> Mutant:
    """Put odd texts into a file that holds text, or instead of a few of its bytes."""
    data = bytearray(source.data)
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.choice((0, 1, 8))] = rng.choice(_ODD_TEXTS)
    return Mutant("odd_text", source.name, bytes(data))


def _flip(data: bytearray, rng: random.Random, count: int, end: int) -> None:
    for _ in range(count):
        data[rng.randrange(end)] ^= 1 << rng.randrange(8)


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    _flip(data, rng, rng.choice((1, 10, 100, 1000)), len(data))


def _flip_header(data: bytearray, rng: random.Random) -> None:
    _flip(data, rng, rng.choice((1, 3, 10)), min(len(data), 600))


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _block(data: bytearray, rng: random.Random) -> slice:
    start = rng.randrange(len(data))
    return slice(start, start + rng.choice((1, 4, 16, 256, 4096)))


def _zero(data: bytearray, rng: random.Random) -> None:
    block = _block(data, rng)
    data[block] = bytes(len(data[block]))


def _noise(data: bytearray, rng: random.Random) -> None:
    block = _block(data, rng)
    data[block] = rng.randbytes(len(data[block]))


def _insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice((1, 4, 100, 5000)))


def _remove(data: bytearray, rng: random.Random) -> None:
    del data[_block(data, rng)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[_block(data, rng)]


def _number(data: bytearray, rng: random.Random) -> None:
    """Set a field somewhere to zero, one, or as large as it can be."""
    _put_number(data, rng, rng.randrange(len(data)))


def _put_number(data: bytearray, rng: random.Random, at: int) -> None:
    size, order = rng.choice(((2, "H"), (4, "I"), (8, "Q"))), rng.choice("<>")
    value = rng.choice(_NUMBERS) & (1 << 8 * size[0]) - 1
    data[at : at + size[0]] = struct.pack(order + size[1], value)[: len(data) - at]


def _edit_chunk(data: bytearray, rng: random.Random) -> None:
    """Edit the size before the name of a box or chunk, the name, or what follows."""
    found = [match.start() for match in _CHUNK.finditer(data, 0, 20_000)]
    if not found:
        return
    at = rng.choice(found)
    kind = rng.randrange(3)
    if kind == 0:
        _put_number(data, rng, max(0, at - 4))
    elif kind == 1:
        data[at : at + 4] = rng.choice((b"free", b"trak", b"moov", b"JUNK", b"avc1"))
    else:
        _put_number(data, rng, min(len(data) - 1, at + 4 + rng.randrange(40)))


def _edit_duration(data: bytearray, rng: random.Random) -> None:
    found = [match.end() for match in _DURATION.finditer(data)]
    for at in rng.sample(found, min(len(found), rng.choice((1, 2, 9)))):
        _put_number(data, rng, min(len(data) - 1, at + 4 * rng.randrange(7)))


DAMAGES: dict[str, Damage] = {
    "flip_bits": _flip_bits,
    "flip_header": _flip_header,
    "truncate": _truncate,
    "zero": _zero,
    "noise": _noise,
    "insert": _insert,
    "remove": _remove,
    "repeat": _repeat,
    "number": _number,
    "chunk": _edit_chunk,
    "duration": _edit_duration,
}
