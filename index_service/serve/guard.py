"""What every call passes before, and while, it is answered.

States of a call: opened ─► (refused without being read) ─► receiving its message ─►
answering ─► sending. Each rule prevents one failure:

- The token is checked before anything of the message is read, and HTTP/2 bounds the
  calls of a connection. So strangers cost no memory.
- A message must arrive in time. A call that is opened and left alone would otherwise be
  kept forever; it costs no thread, since calls are coroutines.
- A connection receives one message at a time, so what is incomplete stays small.
- A client that did wrong waits a moment before its next message is read, so a loop of
  bad requests takes little of the server's time.
- An answer must be received in time, see `Outbox`.

On the wire a stream of one message equals a unary call, so all handlers are registered
as streams: only these can be read, and written, under a time limit.
"""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from index_service.serve.limits import Limits
from index_service.serve.metrics import Metrics
from index_service.serve.outbox import Outbox, Parts, Unread
from index_service.serve.peers import Peer, Peers
from index_service.serve.refusal import (
    RETRY_AFTER_MS,
    RETRY_HINT,
    Refusal,
    too_late,
)

_OPEN_METHODS = ("/grpc.health.v1.Health/", "/grpc.reflection.")


class Guard(grpc.aio.ServerInterceptor):
    """Refuses calls that may not be made, and bounds those that may.

    Args:
        token: what calls must carry, except for health and reflection; "" for nothing.
        limits: see `Limits`.
        metrics: counts refusals.
    """

    def __init__(self, token: str, limits: Limits, metrics: Metrics) -> None:
        self._expected = f"Bearer {token}".encode() if token else b""
        self._body_s = limits.max_body_s
        self._peers = Peers()
        self._outbox = Outbox(limits.max_unread_bytes, limits.max_body_s)
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return a guarded handler of the method; None if there is no such method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        may = self._may(handler_call_details)

        async def answer(_: Any, context: Any) -> None:
            await self._call(handler, context, may)

        return grpc.stream_stream_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )

    def _may(self, details: grpc.HandlerCallDetails) -> bool:
        if not self._expected or details.method.startswith(_OPEN_METHODS):
            return True
        sent = dict(details.invocation_metadata).get("authorization", "")
        sent = sent if isinstance(sent, bytes) else sent.encode()
        return hmac.compare_digest(sent, self._expected)

    async def _call(self, handler: Any, context: Any, may: bool) -> None:
        """Answer a call, or end it with the reason why not."""
        refusal = await self._try(handler, context, may)
        if refusal is None:
            return
        self._metrics.refused.labels(refusal.reason).inc()
        logging.debug("refused: %s: %s", refusal.reason, refusal.message)
        hint = () if refusal.fault else ((RETRY_HINT, str(RETRY_AFTER_MS)),)
        await context.abort(refusal.code, f"{refusal.reason}: {refusal.message}", hint)

    async def _try(self, handler: Any, context: Any, may: bool) -> Refusal | None:
        """Answer a call; return why not.

        gRPC keeps the exception that ends a call as long as the call, and an exception
        keeps the local variables of all that raised it and what it came from. So the
        refusal is stripped of them: they include the message.
        """
        try:
            with self._peers.call(context.peer()) as peer:
                try:
                    await self._answer(handler, context, peer, may)
                except Refusal as error:
                    if error.fault:
                        peer.slow_down()
                    error.__cause__ = error.__context__ = None
                    return error.with_traceback(None)
        except Unread:
            self._metrics.refused.labels("unread_answer").inc()
            # A status would wait behind what was sent, in vain, and gRPC's asyncio
            # server cannot reset a call. So one part stays in memory until the client
            # reads or leaves, and the call takes one of its connection's streams.
            raise asyncio.CancelledError from None
        return None

    async def _answer(self, handler: Any, context: Any, peer: Peer, may: bool) -> None:
        if not may:
            async with peer.turn:
                await asyncio.sleep(peer.wait_s)
            raise Refusal(
                grpc.StatusCode.UNAUTHENTICATED, "bad_token", "send the server's token"
            )
        if handler.request_streaming:  # Reflection alone.
            messages = self._messages(context, peer)
            async for reply in handler.stream_stream(messages, context):
                await self._send(context, reply)
            return
        message = await self._message(context, peer)
        if message is grpc.aio.EOF:
            raise _no_message()
        if handler.response_streaming:  # `Health.Watch` alone: it writes by itself.
            await handler.unary_stream(message, context)
            return
        await self._send(context, await handler.unary_unary(message, context))

    async def _send(self, context: Any, reply: Any) -> None:
        if not isinstance(reply, Parts):
            reply = Parts([reply], reply.ByteSize())
        await self._outbox.send(context, reply)

    async def _messages(self, context: Any, peer: Peer) -> AsyncIterator[Any]:
        while (message := await self._message(context, peer)) is not grpc.aio.EOF:
            yield message

    async def _message(self, context: Any, peer: Peer) -> Any:
        """Receive the next message, when the connection's turn has come."""
        try:
            async with asyncio.timeout(self._body_s), peer.turn:
                await asyncio.sleep(peer.wait_s)
                return await context.read()
        except TimeoutError:
            raise too_late(
                "no_message", f"no message came within {self._body_s:g} s; send it"
            ) from None
        except DecodeError:
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                "bad_message",
                "the message is not of the method's type; see search.proto",
            ) from None


def _no_message() -> Refusal:
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "no_message", "the call ended without one"
    )
