"""A server that is offered four times what it can do, for a minute."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.index import load
from index_service.build.build_index import IndexConfig, build_index


@pytest.mark.ci_only
@pytest.mark.measures
def test_it_holds_four_times_its_capacity_for_a_minute(tmp_path: Path) -> None:
    count = 100_000
    rows, ids = load.vectors(count, 0), [f"{i:06d}" for i in range(count)]
    config = IndexConfig(exact_below=count + 1)
    build_index(tmp_path / "index", ids, rows, "made@1", 0.6, None, config)
    command = [sys.executable, "-m", "beam_pipeline.cli", "index", "serve"]
    server = subprocess.Popen(
        [*command, str(tmp_path / "index"), "--port=0", "--max_requests=16"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        figures = load.measure(address, server.pid, 60, 4)
        assert server.poll() is None
    finally:
        server.terminate()
        assert server.wait(30) == 0
    ends = figures["ends"]
    # Refusals have a reason, and the server continues to answer what it can.
    assert set(ends) == {"answered", "RESOURCE_EXHAUSTED"}
    assert ends["RESOURCE_EXHAUSTED"] > ends["answered"] > 0
    assert figures["memory_second_half_mb"] < 1.1 * figures["memory_first_half_mb"]
    assert figures["recovery_s"] < 5
