"""Run the pipeline of a job on any runner, and say how it ended."""

import sys
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.report import summary
from beam_pipeline.report.progress import showing_progress
from beam_pipeline.report.terminal import show
from beam_pipeline.runners import dataflow
from beam_pipeline.runners.failures import tracebacks_held
from beam_pipeline.runners.local import send_whole_elements_only
from clipseed.io.download import downloads_deleted
from transforms.media.isolation.containment import fault_in


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
    pipeline = beam.Pipeline(options=options)
    try:
        with (
            tracebacks_held(lambda error: bool(fault_in(str(error)))),
            showing_progress(),
            downloads_deleted(),
        ):
            build(pipeline)
            result = pipeline.run()
            if not dataflow.runs_later(options):
                result.wait_until_finish()
    except Exception as error:
        fault = fault_in(str(error))
        if not fault:
            raise
        print(f"{command}: {fault}", file=sys.stderr)
        return 1
    if dataflow.runs_later(options):
        show(dataflow.describe(dataflow.built_graph(pipeline), options, output))
        return 0
    return summary.report(output)
