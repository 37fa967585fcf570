"""A server process: the service, health, reflection, metrics, and clean shutdown."""

from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from clipseed.errors import InputError
from index_service.client.credentials import (
    ServerSecurity,
    read_token,
    server_credentials,
)
from index_service.serve import event_loop, service
from index_service.serve.guard import Guard
from index_service.serve.limits import Limits
from index_service.serve.metrics import Metrics
from index_service.serve.service import IndexService
from index_service.serve.versions import Versions

# A connection that does not answer a ping is closed, and so is one without calls; gRPC
# clients connect again by themselves.
_PING_AFTER_MS, _PING_TIMEOUT_MS, _IDLE_MS = 30_000, 10_000, 300_000
_HANDSHAKE_MS = 5_000
_METADATA_BYTES = 8 << 10


@dataclass(frozen=True)
class ServerConfig:
    """How to serve an index.

    Attributes:
        directory: an index, or one shard of an index.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        metrics_port: port of the metrics, on the same address; -1 for none, 0 for any.
        limits: see `Limits`.
        security: see `ServerSecurity`.
        drain_s: time that running calls have to finish after `stop`.
    """

    directory: str
    host: str = "127.0.0.1"
    port: int = 0
    metrics_port: int = -1
    limits: Limits = field(default_factory=Limits)
    security: ServerSecurity = field(default_factory=ServerSecurity)
    drain_s: float = 10.0


class IndexServer:
    """A running server.

    Attributes:
        port: the port that it listens on.
        metrics_port: the port of the metrics, or None.
        service: the service that answers calls.

    Raises:
        InputError: `damaged_index`, `bad_security`, or `cannot_listen`.
    """

    def __init__(self, config: ServerConfig) -> None:
        credentials = server_credentials(config.security, config.host)
        token_file = config.security.token_file
        token = read_token(token_file) if token_file else ""
        self._drain_s = config.drain_s
        metrics = Metrics()
        versions = Versions(Path(config.directory))
        self.service = IndexService(versions, config.limits, metrics)
        self._health = health.aio.HealthServicer()
        try:
            guard = Guard(token, config.limits, metrics)
            self.port = event_loop.run(self._start(config, guard, credentials))
        except InputError:
            self.service.close()
            raise
        self.metrics_port: int | None = None
        if config.metrics_port >= 0:
            web, _ = start_http_server(
                config.metrics_port, config.host, metrics.registry
            )
            self._web = web
            self.metrics_port = web.server_port

    def stop(self) -> None:
        """Report that the server is going down, let running calls finish, and stop."""
        event_loop.run(self._stop())
        self.service.close()
        if self.metrics_port is not None:
            self._web.shutdown()
            self._web.server_close()

    async def _start(
        self,
        config: ServerConfig,
        guard: Guard,
        credentials: grpc.ServerCredentials | None,
    ) -> int:
        self._server = grpc.aio.server(
            interceptors=[guard], options=_options(config.limits)
        )
        self._server.add_generic_rpc_handlers((self.service.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (service.NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        port = self._listen(f"{config.host}:{config.port}", credentials)
        await self._server.start()
        for name in ("", service.NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    def _listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise InputError(
                "cannot_listen", f"cannot listen on {address}; choose another port"
            ) from error

    async def _stop(self) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._drain_s)


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        ("grpc.max_concurrent_streams", limits.max_requests_per_peer),
        ("grpc.keepalive_time_ms", _PING_AFTER_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        # Without it the windows of streams grow, and so does what a client may send
        # before anybody reads it.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.so_reuseport", 0),
    ]
