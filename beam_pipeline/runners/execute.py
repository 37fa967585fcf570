"""Run the pipeline of a job on any runner, and say how it ended."""

import sys
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.mining.preflight import ConfigError
from beam_pipeline.report import summary
from beam_pipeline.report.progress import showing_progress
from beam_pipeline.report.terminal import show
from beam_pipeline.runners import dataflow
from beam_pipeline.runners.failures import fault_line, tracebacks_held
from beam_pipeline.runners.local import opened_pipeline, send_whole_elements_only
from clipseed.errors import InputError
from clipseed.io.download import downloads_deleted
from clipseed.io.output_lock import locking_output
from index_service.client.shard_client import ShardDown


def run_alone(command: str, output: str, run: Callable[[], int]) -> int:
    """Run a job that has its output for itself; return its exit status.

    2, after one line, if another job has it, or if the job cannot start: `run` then
    raises a ConfigError, an InputError or ShardDown.
    """
    try:
        with locking_output(output):
            return run()
    except (ConfigError, InputError, ShardDown) as error:
        what = error.message if isinstance(error, InputError) else error
        print(f"{command}: {what}", file=sys.stderr)
        return 2


def execute(
    command: str,
    options: PipelineOptions,
    build: Callable[[beam.Pipeline], object],
    output: str,
) -> int:
    """Run a job; return the exit status.

    0: done, or built to run later; 1: the job failed, or everything in it did.

    Args:
        command: that the job belongs to; it opens messages.
        options: Beam's.
        build: builds the graph.
        output: run directory, whose summary is printed at the end.
    """
    send_whole_elements_only()
    try:
        with (
            tracebacks_held(lambda error: bool(fault_line(error))),
            opened_pipeline(options) as pipeline,
            showing_progress(),
            downloads_deleted(),
        ):
            build(pipeline)
            result = pipeline.run()
            if not dataflow.runs_later(options):
                result.wait_until_finish()
    except Exception as error:
        fault = fault_line(error)
        if not fault:
            raise
        print(f"{command}: {fault}", file=sys.stderr)
        return 1
    if dataflow.runs_later(options):
        show(dataflow.describe(dataflow.built_graph(pipeline), options, output))
        return 0
    return summary.report(output)
