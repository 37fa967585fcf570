"""The errors of a disk that output cannot be written to, in one line.

    except OSError as error:
        line = output_problem(error)  # "run/pairs.csv cannot be written: ..."

A full disk or a folder without permission is not a bug: its traceback helps nobody.
"""

import errno
import os
import re

_ADVICE = {
    errno.ENOSPC: "the disk is full; free space",
    errno.EDQUOT: "the quota is used up; free space",
    errno.EFBIG: "the file is larger than the system allows; raise the limit (ulimit)",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; change it, or choose another place",
    errno.EPERM: "permission denied; change it, or choose another place",
    errno.ENOTDIR: "a part of the path is a file; choose another place",
    errno.EISDIR: "it is a folder; choose another name",
    errno.EEXIST: "a file is where a folder should be; choose another place",
}
_IN_TEXT = re.compile(r"\[Errno (\d+)\] (.*?)(?: \[while running|\\n|\n|$)")
_NAME = re.compile(r": '([^']+)'$")


def output_problem(error: BaseException) -> str:
    """Return what a user can do about an error of writing; "" for any other error.

    Runners raise errors of their own, with the text of a worker's inside.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _ADVICE:
            return _line(cause.errno, cause.strerror or "", cause.filename)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError):
        return ""
    found = [(int(n), text) for n, text in _IN_TEXT.findall(str(error))]
    found = [(number, text) for number, text in found if number in _ADVICE]
    for number, text in sorted(found, key=lambda each: not _is_ours(each[1])):
        name = _NAME.search(text)
        return _line(number, text, name[1] if name else None)
    return ""


def _line(number: int, text: str, name: str | bytes | None) -> str:
    if _is_ours(text):
        return text
    what = os.fsdecode(name) if isinstance(name, str | bytes) else "the output"
    return f"{what} cannot be written: {_ADVICE[number]}, and run again"


def _is_ours(text: str) -> bool:
    """Return whether `storage.writing` has said what failed already."""
    return " cannot be written: " in text
