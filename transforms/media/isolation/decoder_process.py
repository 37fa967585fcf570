"""The decoder process: it answers calls, confined to the input of each.

It reads calls from a socket on its standard input: pickles, and the input as an open
file. It answers with pickled items on its standard output. Before it starts on the
first input it confines itself (`sandbox`): what it then can read is that open file and
Python's own code. `worker_process` starts it, with this module as its main program.
"""

import contextlib
import importlib.util
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from clipseed.errors import InputError
from transforms.media.isolation import sandbox
from transforms.media.isolation.containment import contained, unexpected
from transforms.media.media_file import MediaFile

# What a reply says: the call was taken, an item, bytes read of the input, the end.
TAKEN, ITEM, READ, END, INPUT_ERROR = range(5)
# How much longer than its own time limit a call may take before its child is killed.
GRACE_S = 5.0


def _serve() -> None:
    """Answer calls until there are no more."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints must not mix with the replies.
    calls = socket.socket(fileno=os.dup(0))

    def reply(kind: int, value: object = None) -> None:
        data = pickle.dumps((kind, value), protocol=5)
        replies.write(len(data).to_bytes(8, "big"))
        replies.write(data)
        replies.flush()

    missing: tuple[str, ...] | None = None
    nowhere = os.open(os.devnull, os.O_WRONLY)  # Confined, it could not be opened.
    while (request := _receive_call(calls)) is not None:
        file, (function, args, limit_s) = request
        if missing is None:  # Not before: a call names the modules it needs.
            missing = sandbox.confine(_our_code())
        sandbox.limit_cpu(limit_s + GRACE_S)
        reply(TAKEN, missing)
        with file or contextlib.nullcontext(), _silent(nowhere):
            _answer(function, file, args, reply)


@contextlib.contextmanager
def _silent(nowhere: int) -> Iterator[None]:
    """Drop what C libraries say of an input on stderr; its dead letter says it."""
    kept = os.dup(2)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _answer(
    function: Callable[..., Iterator[Any]],
    file: MediaFile | None,
    args: Sequence[Any],
    reply: Callable[..., None],
) -> None:
    try:
        try:
            for item in contained(function, *([file] if file else []), *args):
                reply(ITEM, item)
        finally:
            if file is not None:
                reply(READ, file.read_bytes)
    except InputError as error:
        reply(INPUT_ERROR, (error.reason, error.message))
    except BrokenPipeError:  # Nobody listens any more.
        raise
    except Exception as error:  # An item that cannot be pickled.
        fault = unexpected(error)
        reply(INPUT_ERROR, (fault.reason, fault.message))
    else:
        reply(END)


def _receive_call(calls: socket.socket) -> tuple[MediaFile | None, Any] | None:
    """Return the input and the call; None when there are no more."""
    header, fds, _, _ = socket.recv_fds(calls, 8, 1)
    while 0 < len(header) < 8:
        header += calls.recv(8 - len(header))
    if not header:
        return None
    with calls.makefile("rb", buffering=0) as pipe:
        data = read_exactly(pipe, int.from_bytes(header, "big"))
    opened, call = pickle.loads(data)
    file = MediaFile(fds[0], *opened) if fds else None
    return file, pickle.loads(call)


def read_exactly(pipe: Any, size: int) -> bytearray:
    """Read so many bytes; raise EOFError where there are no more."""
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = pipe.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return data


def _our_code() -> list[str]:
    """Return the folders of the packages that decoding may still import from."""
    specs = map(importlib.util.find_spec, ("clipseed", "models", "transforms"))
    places = (spec.submodule_search_locations for spec in specs if spec is not None)
    return [path for found in places for path in found or ()]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        _serve()
