"""A server process: the service, health, reflection, metrics, and clean shutdown."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from clipseed.errors import InputError
from index_service.client.credentials import (
    ServerSecurity,
    TokenInterceptor,
    read_token,
    server_credentials,
)
from index_service.serve.limits import Limits
from index_service.serve.metrics import Metrics
from index_service.serve.service import IndexService
from index_service.serve.versions import Versions
from index_service.wire import search_pb2
from index_service.wire.search_pb2_grpc import add_IndexServiceServicer_to_server

SERVICE = search_pb2.DESCRIPTOR.services_by_name["IndexService"].full_name
# Threads for refusals and health checks while as many requests as allowed are running.
_SPARE_THREADS = 8
_CALLS_PER_REQUEST = 4


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
        metrics = Metrics()
        self._drain_s = config.drain_s
        versions = Versions(Path(config.directory))
        self.service = IndexService(versions, config.limits, metrics)
        self._server = _grpc_server(config)
        self._health = health.HealthServicer()
        self._register()
        try:
            self.port = self._listen(config, credentials)
        except InputError:
            self.service.batcher.close()
            raise
        self.metrics_port: int | None = None
        if config.metrics_port >= 0:
            web, _ = start_http_server(
                config.metrics_port, config.host, metrics.registry
            )
            self._web = web
            self.metrics_port = web.server_port
        self._server.start()
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> None:
        """Report that the server is going down, let running calls finish, and stop."""
        self._health.enter_graceful_shutdown()
        self._server.stop(self._drain_s).wait()
        self.service.batcher.close()
        if self.metrics_port is not None:
            self._web.shutdown()
            self._web.server_close()

    def _register(self) -> None:
        add_IndexServiceServicer_to_server(self.service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    def _listen(
        self, config: ServerConfig, credentials: grpc.ServerCredentials | None
    ) -> int:
        address = f"{config.host}:{config.port}"
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise InputError(
                "cannot_listen", f"cannot listen on {address}; choose another port"
            ) from error

    def _set_health(self, status: int) -> None:
        """Set the health of the server and of the service to a `ServingStatus`."""
        for name in ("", SERVICE):
            self._health.set(name, status)


def _grpc_server(config: ServerConfig) -> grpc.Server:
    limits = config.limits
    interceptors: list[grpc.ServerInterceptor] = []
    if config.security.token_file:
        interceptors.append(TokenInterceptor(read_token(config.security.token_file)))
    return grpc.server(
        ThreadPoolExecutor(limits.max_requests + _SPARE_THREADS),
        interceptors=interceptors,
        maximum_concurrent_rpcs=limits.max_requests * _CALLS_PER_REQUEST
        + _SPARE_THREADS,
        options=[
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            ("grpc.so_reuseport", 0),
        ],
    )
