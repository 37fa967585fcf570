"""Start Beam's Python workers for engines on this host (environment EXTERNAL).

    python -m engines.worker_pool PORT [MEMORY_MIB]

Beam's own pool (`worker_pool_main`) listens on every interface, so that anyone on the
network can run code; starts whatever `python` is on PATH, so that a job hangs where
that is another environment; and pipes a worker's output to where nobody reads it. This
one listens on loopback only, starts its own interpreter, lets workers write to its log,
and limits their memory.

A worker runs from `StartWorker` until the engine closes its connection or exits.
`StopWorker` must not stop it by its id: each TaskManager of a host counts its workers
from one, so two of them have the same id.
"""

import resource
import subprocess
import sys
import threading
from concurrent import futures
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as wire

# No time limit on output buffers, for the reason in beam_pipeline/runners/local.py.
_WORKER = (
    "import sys; from apache_beam.runners.worker.sdk_worker import SdkHarness; "
    "SdkHarness(sys.argv[1], worker_id=sys.argv[2], data_buffer_time_limit_ms=0).run()"
)


class WorkerPool(wire.BeamFnExternalWorkerPoolServicer):
    """Starts one process per worker that an engine asks for."""

    def __init__(self) -> None:
        self._workers: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def StartWorker(
        self, request: api.StartWorkerRequest, context: Any
    ) -> api.StartWorkerResponse:
        """Start a worker."""
        control = request.control_endpoint.url
        command = [sys.executable, "-c", _WORKER, control, request.worker_id]
        with self._lock:
            self._workers = [w for w in self._workers if w.poll() is None]
            self._workers.append(subprocess.Popen(command))
        return api.StartWorkerResponse()

    def StopWorker(
        self, request: api.StopWorkerRequest, context: Any
    ) -> api.StopWorkerResponse:
        """Do nothing: the engine closes the worker's connection next."""
        return api.StopWorkerResponse()


def serve(port: int, memory_mib: int | None) -> None:
    """Serve on loopback until the process is ended.

    Args:
        port: the port to listen on.
        memory_mib: memory limit of each process. One that allocates more fails, and the
            engine retries. RLIMIT_DATA, so that mapped files do not count.
    """
    if memory_mib is not None:
        limit = memory_mib << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    server = grpc.server(futures.ThreadPoolExecutor(8))
    wire.add_BeamFnExternalWorkerPoolServicer_to_server(WorkerPool(), server)
    if not server.add_insecure_port(f"127.0.0.1:{port}"):
        raise SystemExit(f"worker_pool: port {port} is in use; choose another")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
