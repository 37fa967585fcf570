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

The child's side is `decoder_process`.
"""

import contextlib
import functools
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
from transforms.media.isolation.containment import (
    DECODER_CRASHED,
    MAX_FAILED_SHARE,
    canary,
    contained,
)
from transforms.media.isolation.decoder_process import (
    END,
    GRACE_S,
    INPUT_ERROR,
    READ,
    read_exactly,
)
from transforms.media.media_file import MediaFile

# Frames are bigger than a usual pipe: each wait for the reader is a switch of cores.
_PIPE_BYTES = 1 << 20
# How long a child may take to start and to take up a call: imports, on a busy machine.
_START_S = 120.0
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

    Attributes:
        read_bytes: what the last call read of its file; all that it was allowed to
            where the child died in it.
    """

    def __init__(
        self, isolate: bool = True, max_failed_share: float = MAX_FAILED_SHARE
    ) -> None:
        self._isolate = isolate
        canary.max_share = max_failed_share
        self._child: _Child | None = None
        self.read_bytes = 0

    def iterate(
        self,
        function: Callable[..., Iterator[Any]],
        *args: object,
        file: str | None = None,
        max_bytes: int | None = None,
        limit_s: float,
    ) -> Iterator[Any]:
        """Yield what `function(*args)` yields; the function must be importable.

        Args:
            function: a module-level generator function.
            args: picklable arguments.
            file: path of the input; it is opened here, and the function gets it as a
                `MediaFile` before its other arguments.
            max_bytes: how many bytes may be read of the file; None for any number.
            limit_s: how long it may take until its next item.

        Raises:
            InputError: what the function raised, `decoder_error` for any other
                exception, `decode_timeout` when it hung, `decoder_crashed` when its
                process died, or `decoder_memory`.
            TooManyFailures: too many inputs ended unexpectedly.
        """
        self.read_bytes = 0
        try:
            with contextlib.ExitStack() as stack:
                opened = stack.enter_context(MediaFile.open(file)) if file else None
                if opened is not None:
                    opened.max_bytes = max_bytes
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
            try:
                yield from contained(function, *([file] if file else []), *args)
            finally:
                self.read_bytes = file.read_bytes if file else 0
            return
        finished = False
        self.read_bytes = (file.max_bytes or 0) if file else 0
        child = self._hand_over((function, args, limit_s), file)
        try:
            while True:
                kind, value = child.receive(limit_s)
                if kind == READ:
                    self.read_bytes = value
                elif kind == END:
                    finished = True
                    return
                elif kind == INPUT_ERROR:
                    finished = True
                    raise InputError(*value)
                else:
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
                [sys.executable, "-m", "transforms.media.isolation.decoder_process"],
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
        opened = (file.suffix, file.max_bytes) if file else None
        data = pickle.dumps((opened, pickle.dumps(call, protocol=5)), protocol=5)
        try:
            header = len(data).to_bytes(8, "big")
            socket.send_fds(self._calls, [header], [file.fd] if file else [])
            self._calls.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise self._crash() from None

    def receive(self, limit_s: float) -> tuple[int, Any]:
        replies = self._process.stdout
        assert replies is not None
        ready, _, _ = select.select([replies], [], [], limit_s + GRACE_S)
        if not ready:
            raise InputError(
                "decode_timeout",
                f"The decoder returned nothing for {limit_s:g} s and was ended "
                "(--video_timeout_s).",
            )
        try:
            size = int.from_bytes(read_exactly(replies, 8), "big")
            return pickle.loads(read_exactly(replies, size))
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
