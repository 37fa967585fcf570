"""Running decoders in a child process, so that a bad input never affects other inputs.

FFmpeg runs in C: code that hangs or crashes there can be ended only from outside. A
child also frees the worker's interpreter while it decodes, so that threads of one
worker keep several cores busy.

What may happen to a call, and what becomes of it:

- It raises: a dead letter (`contained`). The child lives on.
- It hangs: no item within the time limit; the child is killed, `decode_timeout`.
- Its process dies, or is killed by the system: `decoder_crashed`.
- It wants too much memory: `decoder_memory`, or a crash.
- The child dies before it takes the call up: no fault of the input. A new child gets
  the call; if that dies as well, so be it.
- The caller stops iterating: the child is killed, as it may be in the middle of C code.

The child reads calls from a socket on its standard input: pickles, and the input as an
open file. It answers with pickled items on its standard output. Before it starts on the
first input it confines itself (`sandbox`): what it then can read is that open file and
Python's own code. Its main program is this module.
"""

import contextlib
import functools
import importlib.util
import logging
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from clipseed.errors import InputError
from transforms.media.isolation import sandbox
from transforms.media.isolation.containment import (
    DECODER_CRASHED,
    MAX_FAILED_SHARE,
    canary,
    contained,
    unexpected,
)
from transforms.media.media_file import MediaFile

# How much longer than its own time limit a call may take before its child is killed.
_GRACE_S = 5.0
# Frames are bigger than a usual pipe: each wait for the reader is a switch of cores.
_PIPE_BYTES = 1 << 20
# How long a child may take to start and to take up a call: imports, on a busy machine.
_START_S = 120.0
_ITEM, _END, _INPUT_ERROR, _TAKEN = 0, 1, 2, 3
# One thread does what a decoder needs, and a confined process starts with one.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Isolation:
    """Iterates over generator functions in a child process, or in this one.

    A child serves many calls, one after the other; it starts with the first and is
    replaced when it had to be killed. Not for use by several threads at once.

    Example:
        isolation = Isolation(isolate=True)
        for frame in isolation.iterate(extract_frames, config, file=path, limit_s=600):
            ...
    """

    def __init__(
        self, isolate: bool = True, max_failed_share: float = MAX_FAILED_SHARE
    ) -> None:
        self._isolate = isolate
        canary.max_share = max_failed_share
        self._child: _Child | None = None

    def iterate(
        self,
        function: Callable[..., Iterator[Any]],
        *args: object,
        file: str | None = None,
        limit_s: float,
    ) -> Iterator[Any]:
        """Yield what `function(*args)` yields; the function must be importable.

        Args:
            function: a module-level generator function.
            args: picklable arguments.
            file: path of the input; it is opened here, and the function gets it as a
                `MediaFile` before its other arguments.
            limit_s: how long it may take until its next item.

        Raises:
            InputError: what the function raised, `decoder_error` for any other
                exception, `decode_timeout` when it hung, `decoder_crashed` when its
                process died, or `decoder_memory`.
            TooManyFailures: too many inputs ended unexpectedly.
        """
        try:
            with contextlib.ExitStack() as stack:
                opened = stack.enter_context(MediaFile.open(file)) if file else None
                yield from self._run(function, args, opened, limit_s)
        except InputError as error:
            canary.count(error.reason, error.message)
            raise
        canary.count("")

    def _run(
        self,
        function: Callable[..., Iterator[Any]],
        args: tuple[object, ...],
        file: MediaFile | None,
        limit_s: float,
    ) -> Iterator[Any]:
        if not self._isolate:
            yield from contained(function, *([file] if file else []), *args)
            return
        finished = False
        child = self._hand_over((function, args, limit_s), file)
        try:
            while True:
                kind, value = child.receive(limit_s)
                if kind == _END:
                    finished = True
                    return
                if kind == _INPUT_ERROR:
                    finished = True
                    raise InputError(*value)
                yield value
        finally:
            if not finished:  # Killed, crashed, failed or abandoned half-way.
                self.close()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _hand_over(self, call: object, file: MediaFile | None) -> "_Child":
        """Give a call to the child; to a new one if the old one died with no call."""
        while True:
            is_new = self._child is None
            child = self._child = self._child or _Child()
            try:
                child.send(call, file)
                _, missing = child.receive(_START_S)
                _tell_once(missing)
                return child
            except InputError:
                self.close()
                if is_new:
                    raise


class _Child:
    """The process, and what goes to and from it."""

    def __init__(self) -> None:
        self._calls, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "transforms.media.isolation.worker_process"],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                bufsize=0,  # Read-ahead bytes would hide from select.
                env={
                    **os.environ,
                    **_ONE_THREAD,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                pipesize=_PIPE_BYTES,
            )

    def send(self, call: object, file: MediaFile | None) -> None:
        suffix = file.suffix if file else None
        data = pickle.dumps((suffix, pickle.dumps(call, protocol=5)), protocol=5)
        try:
            header = len(data).to_bytes(8, "big")
            socket.send_fds(self._calls, [header], [file.fd] if file else [])
            self._calls.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise self._crash() from None

    def receive(self, limit_s: float) -> tuple[int, Any]:
        replies = self._process.stdout
        assert replies is not None
        ready, _, _ = select.select([replies], [], [], limit_s + _GRACE_S)
        if not ready:
            raise InputError(
                "decode_timeout",
                f"The decoder returned nothing for {limit_s:g} s and was ended "
                "(--video_timeout_s).",
            )
        try:
            size = int.from_bytes(_read_exactly(replies, 8), "big")
            return pickle.loads(_read_exactly(replies, size))
        except EOFError:
            raise self._crash() from None

    def close(self) -> None:
        self._process.kill()
        self._calls.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def _crash(self) -> InputError:
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return InputError(
                "decode_timeout",
                "The decoder used more CPU time than a video may (--video_timeout_s).",
            )
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return InputError(DECODER_CRASHED, f"The decoder's process died: {how}.")


@functools.cache
def _tell_once(missing: tuple[str, ...]) -> None:
    if missing:
        logging.warning(
            "decoders run with less protection than usual: this kernel does not offer "
            "%s (docs/security.md)",
            " and ".join(missing),
        )


def _read_exactly(pipe: Any, size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = pipe.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return data


# --- the child ------------------------------------------------------------------------


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
        sandbox.limit_cpu(limit_s + _GRACE_S)
        reply(_TAKEN, missing)
        with file or contextlib.nullcontext(), _silent(nowhere):
            _answer(function, ([file] if file else []) + list(args), reply)


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
    args: list[Any],
    reply: Callable[..., None],
) -> None:
    try:
        for item in contained(function, *args):
            reply(_ITEM, item)
    except InputError as error:
        reply(_INPUT_ERROR, (error.reason, error.message))
    except BrokenPipeError:  # Nobody listens any more.
        raise
    except Exception as error:  # An item that cannot be pickled.
        fault = unexpected(error)
        reply(_INPUT_ERROR, (fault.reason, fault.message))
    else:
        reply(_END)


def _receive_call(calls: socket.socket) -> tuple[MediaFile | None, Any] | None:
    """Return the input and the call; None when there are no more."""
    header, fds, _, _ = socket.recv_fds(calls, 8, 1)
    while 0 < len(header) < 8:
        header += calls.recv(8 - len(header))
    if not header:
        return None
    with calls.makefile("rb", buffering=0) as pipe:
        data = _read_exactly(pipe, int.from_bytes(header, "big"))
    suffix, call = pickle.loads(data)
    file = MediaFile(fds[0], suffix) if fds else None
    return file, pickle.loads(call)


def _our_code() -> list[str]:
    """Return the folders of the packages that decoding may still import from."""
    specs = map(importlib.util.find_spec, ("clipseed", "models", "transforms"))
    places = (spec.submodule_search_locations for spec in specs if spec is not None)
    return [path for found in places for path in found or ()]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        _serve()
