"""`clipseed index serve`: answer searches over gRPC."""

import logging
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags
from index_service.serve.limits import Limits

if TYPE_CHECKING:
    from index_service.serve.server import ServerConfig

_MAX_PORT = 65_535


@flags
class SecurityFlags:
    """Security."""

    tls_cert: str = flag(
        "PEM file of the server's certificate chain", default="", metavar="PATH"
    )
    tls_key: str = flag(
        "PEM file of the certificate's private key", default="", metavar="PATH"
    )
    tls_client_ca: str = flag(
        "PEM file of the authority that signs clients' certificates (mutual TLS)",
        default="",
        metavar="PATH",
    )
    token_file: str = flag(
        "File of the token that every call must carry", default="", metavar="PATH"
    )


@flags
class ServeFlags(SecurityFlags, Limits):
    """All flags of `clipseed index serve`."""

    directory: str = flag(
        "What `clipseed index build` wrote, or one of its shards", positional=True
    )
    host: str = flag("Address to listen on", default="127.0.0.1")
    port: int = flag(
        "Port to listen on; 0: any free one",
        default=50051,
        at_least=0,
        at_most=_MAX_PORT,
    )
    metrics_port: int | None = flag(
        "Port of Prometheus metrics over HTTP; 0: any free one",
        default=None,
        default_text="no metrics",
        at_least=0,
        at_most=_MAX_PORT,
    )
    drain_s: float = flag(
        "Time for calls to finish when the server stops",
        unit="seconds",
        default=10.0,
        at_least=0,
    )


COMMAND_LINE = CommandLine(
    "clipseed index serve",
    ServeFlags,
    "Serve an index, or one shard of one, over gRPC. SIGHUP loads the directory again.",
)


def run(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP loads the directory again.

    Returns:
        0 after a clean end, 2 if the server cannot start.
    """
    config = _config(COMMAND_LINE.parse(arguments))
    from index_service.serve.server import IndexServer

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    # Before any thread is there, so that all of them leave the signals to `sigwait`.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        server = IndexServer(config)
    except InputError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        print(f"clipseed index serve: {error.message}", file=sys.stderr)
        return 2
    print(f"listening on {config.host}:{server.port}", flush=True)
    if server.metrics_port is not None:
        print(f"metrics on {config.host}:{server.metrics_port}", flush=True)
    while signal.sigwait(wanted) == signal.SIGHUP:
        try:
            server.service.reload()
        except InputError as error:
            logging.error(
                "could not reload, still serving the old index: %s", error.message
            )
    server.stop()
    return 0


def _config(given: ServeFlags) -> "ServerConfig":
    from index_service.client.credentials import ServerSecurity
    from index_service.serve.server import ServerConfig

    security = ServerSecurity(
        given.tls_cert, given.tls_key, given.tls_client_ca, given.token_file
    )
    metrics_port = -1 if given.metrics_port is None else given.metrics_port
    return ServerConfig(
        given.directory, given.host, given.port, metrics_port, given, security,
        given.drain_s,
    )  # fmt: skip
