"""Python workers for engines, asked for by Beam's portable runner."""

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that

from engines.daemons import Daemons, free_ports, listens, wait_until

LIMIT_MIB = 4096


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[int]:
    """Return the port of a pool."""
    (port,) = free_ports(1)
    daemons = Daemons(tmp_path)
    command = ["-m", "engines.worker_pool", str(port), str(LIMIT_MIB)]
    daemons.start("pool", [sys.executable, *command])
    try:
        assert wait_until(lambda: listens(port), 90, lambda: bool(daemons.running()))
        yield port
    finally:
        daemons.stop()


@pytest.mark.ci_only
def test_work_is_done_in_a_process_of_bounded_memory(pool: int) -> None:
    flags = ["--runner=PortableRunner", "--job_endpoint=embed"]
    flags += ["--environment_type=EXTERNAL", f"--environment_config=localhost:{pool}"]

    def where(number: int) -> tuple[int, int, int]:
        return number, os.getpid(), resource.getrlimit(resource.RLIMIT_DATA)[0]

    def check(found: list[tuple[int, int, int]], parent: int = os.getpid()) -> None:
        assert sorted(number for number, _, _ in found) == [1, 2, 3]
        assert {limit for _, _, limit in found} == {LIMIT_MIB << 20}
        assert parent not in {pid for _, pid, _ in found}

    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        assert_that(pipeline | beam.Create([1, 2, 3]) | beam.Map(where), check)
