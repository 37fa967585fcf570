"""Send answers to clients that may never receive them, in bounded memory."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple


class Parts(NamedTuple):
    """An answer that is sent in parts.

    Attributes:
        messages: the parts, made as they are sent.
        size: bytes that the answer holds in memory until then.
    """

    messages: Iterable[Any]
    size: int


class Unread(Exception):
    """A client does not receive its answer."""


class Outbox:
    """The answers that clients have not received yet.

    A client that does not read keeps its answer in the server's memory. So an answer
    has a limited time, and when all of them take more than `max_bytes`, the oldest is
    dropped: a client that reads has its answer long before.

    Args:
        max_bytes: size of all unread answers.
        max_s: time to receive an answer.
    """

    def __init__(self, max_bytes: int, max_s: float) -> None:
        self._max_bytes = max_bytes
        self._max_s = max_s
        self._sizes: dict[asyncio.Task[None], int] = {}

    @property
    def unread_bytes(self) -> int:
        """Size of the answers on their way."""
        return sum(self._sizes.values())

    async def send(self, context: Any, answer: Parts) -> None:
        """Send an answer.

        Raises:
            Unread: the client does not receive it.
        """
        task = asyncio.ensure_future(_write(context, answer.messages))
        # A call that ends meanwhile leaves its write to fail alone.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._sizes[task] = answer.size
        while self.unread_bytes > self._max_bytes and len(self._sizes) > 1:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            oldest.cancel()
        try:
            await asyncio.wait({task}, timeout=self._max_s)
        finally:
            self._sizes.pop(task, None)
            if not task.done():
                task.cancel()
        if not task.done() or task.cancelled():
            raise Unread
        task.result()


async def _write(context: Any, messages: Iterable[Any]) -> None:
    for message in messages:
        await context.write(message)
