"""`clipseed index serve`: answer searches over gRPC."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields

from clipseed.errors import InputError
from index_service.client.credentials import ServerSecurity
from index_service.serve.server import IndexServer, ServerConfig
from index_service.serve.service import Limits

_LIMITS = {
    "message_bytes": "largest request",
    "queries": "in a request",
    "k": "matches a query",
    "requests": "answered at a time; more are refused",
    "waiting": "queries that may wait; more are refused",
    "batch": "queries searched at once",
    "threads": "that search",
    "audit_one_in": "one batch in this many is searched exactly too; 0: none",
}


def run(argv: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT; SIGHUP loads the directory again.

    Gives 0 after a clean end, 2 if it could not start.
    """
    config = _parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    # Before any thread is there, so that all of them leave the signals to `sigwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        server = IndexServer(config)
    except InputError as reject:
        print(f"clipseed index serve: {reject.message}", file=sys.stderr)
        return 2
    print(f"listening on {config.host}:{server.port}", flush=True)
    if server.metrics_port is not None:
        print(f"metrics on {config.host}:{server.metrics_port}", flush=True)
    while signal.sigwait(wanted) == signal.SIGHUP:
        try:
            server.service.reload()
        except InputError as reject:
            logging.error("the old index goes on: %s", reject.message)
    server.stop()
    return 0


def _parse(argv: Sequence[str]) -> ServerConfig:
    parser = argparse.ArgumentParser(
        prog="clipseed index serve",
        description="Serves an index, or one shard of one, over gRPC.",
    )
    add = parser.add_argument
    add("directory", help="what `clipseed index build` wrote, or one of its shards")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=50051, help="0: any free one")
    add("--metrics_port", type=int, default=-1, help="Prometheus metrics over HTTP")
    add("--drain_s", type=float, default=10.0, help="for calls that go on at the end")
    secure = parser.add_argument_group("security").add_argument
    secure("--tls_cert", default="", help="certificate chain, PEM")
    secure("--tls_key", default="", help="its private key, PEM")
    secure("--tls_client_ca", default="", help="who signs clients' certificates, PEM")
    secure("--token_file", default="", help="token that every call must carry")
    limit = parser.add_argument_group("limits").add_argument
    defaults = Limits(threads=max(1, len(os.sched_getaffinity(0)) - 1))
    for entry in fields(Limits):
        value = getattr(defaults, entry.name)
        text = f"{_LIMITS[entry.name]} ({value})"
        limit(f"--max_{entry.name}" if entry.name in _CAPPED else f"--{entry.name}",
              dest=entry.name, type=int, default=value, help=text)  # fmt: skip
    given = parser.parse_args(argv)
    limits = Limits(
        **{entry.name: getattr(given, entry.name) for entry in fields(Limits)}
    )
    security = ServerSecurity(
        given.tls_cert, given.tls_key, given.tls_client_ca, given.token_file
    )
    return ServerConfig(
        given.directory, given.host, given.port, given.metrics_port, limits, security,
        given.drain_s,
    )  # fmt: skip


_CAPPED = frozenset(("message_bytes", "queries", "k", "requests", "waiting", "batch"))
