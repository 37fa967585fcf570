"""Run the pipeline of a job on any runner, and say how it ended."""

import sys
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.report import summary
from beam_pipeline.report.progress import showing_progress
from beam_pipeline.report.terminal import show
from beam_pipeline.runners import dataflow
from beam_pipeline.runners.failures import fault_line, tracebacks_held
from beam_pipeline.runners.local import opened_pipeline, send_whole_elements_only
from clipseed.io.download import downloads_deleted


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
