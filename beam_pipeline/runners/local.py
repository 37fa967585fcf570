"""How a job runs on this machine: in one process, on all its cores."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from clipseed.io.scratch import scratch_folder

_RUNNER = "FnApiRunner"


def local_defaults(flags: list[str]) -> list[str]:
    """Beam flags for a run in this process, on all its cores, unless told otherwise."""
    given = {flag.split("=")[0] for flag in flags if flag.startswith("--")}
    if PipelineOptions(flags).view_as(StandardOptions).runner not in (None, _RUNNER):
        return flags
    defaults = {
        "--runner": _RUNNER,
        "--direct_running_mode": "multi_threading",
        "--direct_num_workers": str(len(os.sched_getaffinity(0))),
    }
    return flags + [f"{k}={v}" for k, v in defaults.items() if k not in given]


@contextmanager
def opened_pipeline(options: PipelineOptions) -> Iterator[beam.Pipeline]:
    """Yield a pipeline whose temporary folder is swept if the process is killed."""
    with scratch_folder() as folder:
        pipeline = beam.Pipeline(options=options)
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
        pipeline.local_tempdir = folder
        yield pipeline


def send_whole_elements_only() -> None:
    """Stop Beam's threaded workers from sending half an element.

    Every second a thread of the worker sends what its output buffer holds, even while
    another thread is in the middle of writing an element there. When a coder written in
    Python (the schema coder is) has let the other thread in, the bytes are torn apart:
    the reader decodes garbage, or reads forever until memory is full (seen with Beam
    2.77). Without the limit in time a buffer is sent between two elements, by size;
    clusters' workers have none by default.
    """
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
