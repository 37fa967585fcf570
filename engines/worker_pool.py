"""Starts Beam's Python workers for engines on this host (environment EXTERNAL).

    python -m engines.worker_pool PORT [MEMORY_MIB]

Beam's own pool (`worker_pool_main`) listens on every interface, where whoever asks may
have code run, starts whatever `python` is on PATH, and puts what a worker prints into a
pipe that nobody reads. This one keeps to loopback, starts its own interpreter, lets
workers write to its log, and bounds their memory.
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

# No limit in time on output buffers: see beam_pipeline/runners/local.py.
_WORKER = (
    "import sys; from apache_beam.runners.worker.sdk_worker import SdkHarness; "
    "SdkHarness(sys.argv[1], worker_id=sys.argv[2], data_buffer_time_limit_ms=0).run()"
)


class WorkerPool(wire.BeamFnExternalWorkerPoolServicer):
    """One process a worker that an engine asks for.

    It ends when the engine closes the connection to it, or goes. To end it by its id
    would be wrong: the TaskManagers of a host count their workers alike.
    """

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
        """Has nothing to do: the engine closes the connection next."""
        return api.StopWorkerResponse()


def serve(port: int, memory_mib: int | None) -> None:
    """Serve on loopback until the process is ended.

    Args:
        port: where.
        memory_mib: what each process may allocate; one that asks for more fails, and
            the engine tries again. RLIMIT_DATA: mapped files do not count.
    """
    if memory_mib is not None:
        limit = memory_mib << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    server = grpc.server(futures.ThreadPoolExecutor(8))
    wire.add_BeamFnExternalWorkerPoolServicer_to_server(WorkerPool(), server)
    if not server.add_insecure_port(f"127.0.0.1:{port}"):
        raise SystemExit(f"worker_pool: port {port} is taken")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
