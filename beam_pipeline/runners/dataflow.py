"""Mine on Dataflow: check what it requires, and describe a graph that is only built.

`clipseed mine --runner=DataflowRunner ...` takes Dataflow's own flags (`--project`,
`--region`, `--temp_location`, `--sdk_container_image`, `--machine_type`,
`--max_num_workers`, `--service_account_email`, `--subnetwork`, ...). With
`--accelerator` the two embedding steps, of frames and of seeds, ask for workers of
their own (right fitting); everything else stays on workers without an accelerator.
Frames then travel from one kind of worker to the other, 150 kB each. With
`--dataflow_service_options=worker_accelerator=...` instead every worker has one, a GPU
or a TPU, and no frame travels: `clipseed estimate-cost` estimates both.
"""

import os
import re
from typing import TYPE_CHECKING, Any, cast

from apache_beam import Pipeline
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)
from apache_beam.portability.api import beam_runner_api_pb2

from beam_pipeline.mining.preflight import ConfigError
from beam_pipeline.report.terminal import Block, facts
from clipseed.flags import flags_of
from clipseed.io.storage import is_remote

if TYPE_CHECKING:
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

_ACCELERATOR = "beam:resources:accelerator:v1"
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?")
_READ_HERE = {"denylist"}  # when the job is built; no worker opens it


def is_dataflow(options: PipelineOptions) -> bool:
    """Return whether the job is for Dataflow, in any spelling that Beam accepts."""
    runner = options.view_as(StandardOptions).runner or ""
    return runner.lower().removesuffix("runner").split(".")[-1] == "dataflow"


def is_dry_run(options: PipelineOptions) -> bool:
    """Return whether the graph is only built, neither submitted nor stored."""
    return bool(options.view_as(TestOptions).dry_run)


def runs_later(options: PipelineOptions) -> bool:
    """Return whether `Pipeline.run` ends before the job has run, without a result."""
    cloud = options.view_as(GoogleCloudOptions)
    return is_dry_run(options) or bool(is_dataflow(options) and cloud.template_location)


def check(config: Any, options: PipelineOptions) -> None:
    """Refuse what Dataflow would fail on only after minutes, or silently.

    Args:
        config: flags of the job.
        options: Beam's.

    Raises:
        ConfigError: a flag is missing, or workers could not reach a path.
    """
    if not is_dataflow(options):
        if is_dry_run(options):
            raise ConfigError("--dry_run needs --runner=DataflowRunner")
        return
    _check_given(options)
    services = options.view_as(GoogleCloudOptions).dataflow_service_options or []
    everywhere = [s for s in services if s.startswith("worker_accelerator=")]
    if getattr(config, "accelerator", "") and everywhere:
        raise ConfigError(
            "--accelerator (for the embedding steps' own workers) and "
            "--dataflow_service_options=worker_accelerator=... (for all workers) "
            "exclude each other: give one"
        )
    for flag in flags_of(type(config)):
        path = getattr(config, flag.name) if flag.details.remote else None
        if path and flag.name not in _READ_HERE and not is_remote(path):
            raise ConfigError(f"{flag.option} {path}: {_OUT_OF_REACH}")
    embedder = getattr(config, "embedder", "")
    model = embedder.removeprefix("hub:").removeprefix("onnx:")
    if "/" in model and not is_remote(model) and os.path.exists(model):
        raise ConfigError(f"--embedder {embedder}: {_OUT_OF_REACH}")


_OUT_OF_REACH = (
    "Dataflow's workers do not reach this machine's files; copy it to a bucket and "
    "name it gs://BUCKET/..."
)
_NEEDED = {
    "project": "the Google Cloud project to run in",
    "region": "such as us-central1",
    "temp_location": "gs://BUCKET/tmp",
    "sdk_container_image": "the worker image that this repository's Dockerfile builds",
}


def _check_given(options: PipelineOptions) -> None:
    given = options.get_all_options()
    for name, what in _NEEDED.items():
        if not given[name]:
            raise ConfigError(f"DataflowRunner needs --{name}: {what}")
    for name in ("temp_location", "staging_location", "template_location"):
        place = given[name]
        if place and not _BUCKET.fullmatch(place):  # Beam would ask for two minutes.
            raise ConfigError(f"--{name} {place}: give it as gs://BUCKET/FOLDER")


def built_graph(pipeline: Pipeline) -> beam_runner_api_pb2.Pipeline:
    """Return the graph of a pipeline that Dataflow's runner has built."""
    return cast("DataflowRunner", pipeline.runner).proto_pipeline


def describe(
    graph: beam_runner_api_pb2.Pipeline, options: PipelineOptions, output: str
) -> Block:
    """Return a summary of what was built, one line per item."""
    template = options.view_as(GoogleCloudOptions).template_location
    built = f"a template in {template}" if template else "the job graph (dry run)"
    steps = [t for t in graph.components.transforms.values() if not t.subtransforms]
    rows = [
        ("built", f"{built}; nothing was submitted"),
        ("steps", str(len(steps))),
        ("images", ", ".join(sorted(images(graph)))),
        ("workers", _workers(options.view_as(WorkerOptions))),
        *(("on " + hint, ", ".join(names)) for hint, names in hinted(graph).items()),
        ("output", output),
    ]
    return facts(rows)


def _workers(options: WorkerOptions) -> str:
    machine = options.machine_type or "machines of Dataflow's choice"
    bounds = [options.num_workers, options.max_num_workers]
    count = " to ".join(str(bound) for bound in bounds if bound)
    return f"{machine}, {count or 'as many as Dataflow chooses'}"


def images(graph: beam_runner_api_pb2.Pipeline) -> set[str]:
    """Return the container images that the steps run in."""
    return {
        beam_runner_api_pb2.DockerPayload.FromString(
            environment.payload
        ).container_image
        for environment in graph.components.environments.values()
    }


def hinted(graph: beam_runner_api_pb2.Pipeline) -> dict[str, list[str]]:
    """Return the steps that ask for an accelerator, by what they ask for."""
    found: dict[str, list[str]] = {}
    for step in graph.components.transforms.values():
        if step.subtransforms or not step.environment_id:
            continue
        environment = graph.components.environments[step.environment_id]
        hint = environment.resource_hints.get(_ACCELERATOR)
        if hint:
            found.setdefault(hint.decode(), []).append(step.unique_name)
    return {hint: sorted(names) for hint, names in found.items()}
