"""Lines of a text file that may be gzipped, and may come from a stranger.

Memory is bounded by `MAX_ROW_CHARS`, and work by how often gzip may expand a file.
"""

import gzip
import io
from collections.abc import Iterator

from clipseed.errors import InputError
from clipseed.io.storage import open_binary

MAX_ROW_CHARS = 1 << 20  # No row of captions and references is near it.
# Text that people compressed shrinks 3 to 50 times; a gzip bomb, 1,000 times.
_MAX_EXPANSION = 200
_MAX_EXPANDED_CHARS = 1 << 26  # Up to here a small file may expand as it likes.


def read_lines(uri: str, newline: str) -> Iterator[str]:
    """Yield lines with their ends; bytes that are not UTF-8 become surrogates.

    The surrogates show which row is bad; a strict decoder would fail the whole stream.
    Of a line that is too long only the first `MAX_ROW_CHARS` are yielded.

    Raises:
        InputError: `expands_too_much`.
    """
    with open_binary(uri) as raw:
        zipped = uri.lower().endswith(".gz")
        stream = gzip.GzipFile(fileobj=raw) if zipped else raw
        chars, check_at = 0, _MAX_EXPANDED_CHARS
        is_rest = False
        with io.TextIOWrapper(
            stream, "utf-8-sig", errors="surrogateescape", newline=newline
        ) as text:
            while piece := text.readline(MAX_ROW_CHARS):
                if not is_rest:
                    yield piece
                is_rest = len(piece) == MAX_ROW_CHARS and piece[-1] not in "\r\n"
                chars += len(piece)
                if chars >= check_at:
                    _check_expansion(uri, chars, raw.tell())
                    check_at = chars + _MAX_EXPANDED_CHARS


def _check_expansion(uri: str, chars: int, compressed_bytes: int) -> None:
    if chars > _MAX_EXPANSION * compressed_bytes:
        raise InputError(
            "expands_too_much",
            f"{uri} has more than {_MAX_EXPANSION} times its size when decompressed, "
            "which no table of captions has; decompress it, and look at it",
        )
