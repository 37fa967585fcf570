"""Running decoders in a child process, so that one bad file cannot take the job along.

FFmpeg runs in C: code that hangs or crashes there can be ended only from outside. A
child also frees the worker's interpreter while it decodes, so that threads of one
worker keep several cores busy.

The child reads pickled calls from its standard input and answers with pickled items;
`python -m transforms.media.worker_process` is its main program.
"""

import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import IO, Any

from clipseed.errors import InputError

# How much longer than its own time limit a call may take before its child is killed.
_GRACE_S = 5.0
# Frames are bigger than a usual pipe: each wait for the reader is a switch of cores.
_PIPE_BYTES = 1 << 20
# How long a child may take to start and to take up a call: imports, on a busy machine.
_START_S = 120.0
_ITEM, _END, _REJECT, _BUG, _TAKEN = 0, 1, 2, 3, 4


class Isolation:
    """Iterates over generator functions in a child process, or in this one.

    A child serves many calls, one after the other; it starts with the first and is
    replaced when it had to be killed. Not for use by several threads at once.

    Example:
        isolation = Isolation(isolate=True)
        for frame in isolation.iterate(extract_frames, path, config, limit_s=600):
            ...
    """

    def __init__(self, isolate: bool = True) -> None:
        self._isolate = isolate
        self._child: subprocess.Popen[bytes] | None = None

    def iterate(
        self, function: Callable[..., Iterator[Any]], *args: object, limit_s: float
    ) -> Iterator[Any]:
        """Yields what `function(*args)` yields; the function must be importable.

        Args:
            function: a module-level generator function.
            args: picklable arguments.
            limit_s: how long it may take until its next item.

        Raises:
            InputError: what the function raised, `decode_timeout` when it hung, or
                `decoder_crashed` when its process died.
            RuntimeError: the function failed in any other way: a bug.
        """
        if not self._isolate:
            yield from function(*args)
            return
        finished = False
        child = self._hand_over((function, args))
        try:
            while True:
                kind, value = self._receive(child, limit_s)
                if kind == _END:
                    finished = True
                    return
                if kind == _REJECT:
                    finished = True
                    raise InputError(*value)
                if kind == _BUG:
                    raise RuntimeError(f"in the decoder's process:\n{value}")
                yield value
        finally:
            if not finished:  # Killed, crashed, failed or abandoned half-way.
                self.close()

    def close(self) -> None:
        """Ends the child."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            child.wait()

    def _hand_over(self, call: object) -> subprocess.Popen[bytes]:
        """Gives a call to the child; to a new one if the old one died with no call.

        What ends a child before it takes up the call is no fault of the input.
        """
        while True:
            is_new = self._child is None
            child = self._start()
            try:
                self._send(child, call)
                self._receive(child, _START_S)
                return child
            except InputError:
                self.close()
                if is_new:
                    raise

    def _start(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "transforms.media.worker_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,  # Read-ahead bytes would hide from select.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                pipesize=_PIPE_BYTES,
            )
        return self._child

    def _send(self, child: subprocess.Popen[bytes], call: object) -> None:
        assert child.stdin is not None
        try:
            child.stdin.write(pickle.dumps(call, protocol=5))
        except BrokenPipeError:
            raise self._crash(child) from None

    def _receive(
        self, child: subprocess.Popen[bytes], limit_s: float
    ) -> tuple[int, Any]:
        assert child.stdout is not None
        ready, _, _ = select.select([child.stdout], [], [], limit_s + _GRACE_S)
        if not ready:
            raise InputError(
                "decode_timeout",
                f"The decoder gave nothing for {limit_s:g} s and was ended "
                "(--video_timeout_s).",
            )
        try:
            size = int.from_bytes(_read_exactly(child.stdout, 8), "big")
            return pickle.loads(_read_exactly(child.stdout, size))
        except EOFError:
            raise self._crash(child) from None

    def _crash(self, child: subprocess.Popen[bytes]) -> InputError:
        code = child.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return InputError("decoder_crashed", f"The decoder's process died: {how}.")


def _read_exactly(pipe: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = pipe.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        rest = rest[count:]
    return data


def _serve() -> None:
    """The child's loop: calls in, items out, until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints must not mix with the replies.

    def reply(kind: int, value: object = None) -> None:
        data = pickle.dumps((kind, value), protocol=5)
        replies.write(len(data).to_bytes(8, "big"))
        replies.write(data)
        replies.flush()

    while True:
        try:
            function, args = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        reply(_TAKEN)
        try:
            for item in function(*args):
                reply(_ITEM, item)
        except InputError as reject:
            reply(_REJECT, (reject.reason, reject.message))
        except Exception:  # A bug stops the job here as it would in the parent.
            reply(_BUG, traceback.format_exc())
        else:
            reply(_END)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        _serve()
