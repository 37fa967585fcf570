"""Dataflow without the cloud: job graphs, templates, and what is refused before."""

import csv
import io
import json
from collections.abc import Iterator

import pytest
from apache_beam.internal.gcp import auth
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from PIL import Image

from beam_pipeline.flex_template import launch
from beam_pipeline.mine import run
from beam_pipeline.mining.config import parse_mine
from beam_pipeline.runners.dataflow import (
    check,
    hinted,
    images,
    is_dataflow,
    runs_later,
)
from clipseed.io import storage
from clipseed.io.listing import list_files
from tests.support.made_media import still

IMAGE = "us-docker.pkg.dev/proj-x/clipseed/worker:abc123"
GPU = "type:nvidia-l4;count:1;install-nvidia-driver"
TPU = "worker_accelerator=type:tpu-v5-lite-podslice;topology:1x1"
CLOUD = {
    "runner": "DataflowRunner",
    "project": "proj-x",
    "region": "us-central1",
    "sdk_container_image": IMAGE,
    "machine_type": "n2-standard-8",
    "num_workers": "3",
    "max_num_workers": "90",
    "service_account_email": "miner@proj-x.iam.gserviceaccount.com",
    "subnetwork": "regions/us-central1/subnetworks/private",
    "no_use_public_ips": "",
    "job_name": "mine",
}


@pytest.fixture(scope="module", autouse=True)
def no_credentials() -> Iterator[None]:
    """Beam looks for credentials for 20 s where there are none, `--no_auth` or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth._Credentials, "_credentials_init", True)
        yield


@pytest.fixture(scope="module")
def places(bucket: str) -> dict[str, str]:
    """Put seeds and videos into an emulated bucket, as flags of `clipseed mine`."""
    image, table = io.BytesIO(), io.StringIO()
    Image.fromarray(still(1)).save(image, "PNG")
    csv.writer(table).writerows([("image", "caption"), ("one.png", "a caption")])
    storage.write_bytes(f"{bucket}/in/one.png", image.getvalue())
    storage.write_bytes(f"{bucket}/in/seeds.csv", table.getvalue().encode())
    storage.write_bytes(f"{bucket}/in/videos/a.mp4", b"is not opened here")
    return {
        "seeds": f"{bucket}/in/seeds.csv",
        "videos": f"{bucket}/in/videos",
        "output": f"{bucket}/run",
        "temp_location": f"{bucket}/tmp",
        "accelerator": GPU,
    }


def flags(**values: str | None) -> list[str]:
    """Turn values into flags: an empty one is a switch, None is left out."""
    return [
        f"--{name}={value}" if value else f"--{name}"
        for name, value in values.items()
        if value is not None
    ]


# --- the graph -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(places: dict[str, str], bucket: str) -> dict[str, bytes]:
    """Return the files that a flex template's launch writes for Dataflow, by name."""
    where = f"{bucket}/templates/mine"
    storage.write_bytes(f"{bucket}/run/run.json", b"{}")
    given = {**places, **CLOUD, "runner": None, "sdk_container_image": None}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CLIPSEED_WORKER_IMAGE", IMAGE)
        parameters = flags(**given, template_location=where, overwrite="true")
        assert launch([*parameters, "--no_auth"]) == 0
    assert not storage.exists(f"{bucket}/run/run.json")
    staged = [uri for uri in list_files(f"{bucket}/tmp") if uri.endswith("pipeline.pb")]
    assert len(staged) == 1
    return {
        uri.rpartition("/")[2]: storage.read_bytes(uri, 1 << 24)
        for uri in (where, *staged)
    }


@pytest.fixture(scope="module")
def graph(template: dict[str, bytes]) -> beam_runner_api_pb2.Pipeline:
    return beam_runner_api_pb2.Pipeline.FromString(template["pipeline.pb"])


def test_only_the_two_embedding_steps_ask_for_an_accelerator(
    graph: beam_runner_api_pb2.Pipeline,
) -> None:
    ((hint, steps),) = hinted(graph).items()
    assert hint == GPU
    assert {name.split("/")[0] for name in steps} == {"EmbedSeeds", "EmbedFrames"}
    assert all(name.split("/")[1] == "RunEmbedder" for name in steps)


def test_decoding_and_matching_stay_on_workers_without(
    graph: beam_runner_api_pb2.Pipeline,
) -> None:
    parts = graph.components
    plain = {
        step.unique_name.split("/")[0]
        for step in parts.transforms.values()
        if step.environment_id
        and not parts.environments[step.environment_id].resource_hints
    }
    assert plain >= {"SplitVideos", "ExtractFrames", "Match", "WriteClips"}


def test_every_step_runs_in_the_image(graph: beam_runner_api_pb2.Pipeline) -> None:
    assert images(graph) == {IMAGE}


def test_the_template_holds_the_workers_options(template: dict[str, bytes]) -> None:
    job = json.loads(template["mine"])
    asked = job["environment"]["sdkPipelineOptions"]["options"]
    for name in ("project", "region", "machine_type", "subnetwork", "job_name"):
        assert asked[name] == CLOUD[name]
    assert (asked["num_workers"], asked["max_num_workers"]) == (3, 90)
    assert asked["service_account_email"] == CLOUD["service_account_email"]
    assert asked["use_public_ips"] is False


# --- the command ---------------------------------------------------------------------


def test_a_dry_run_says_what_it_built_and_touches_nothing(
    places: dict[str, str], bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write_bytes(f"{bucket}/done/run.json", b"{}")
    given = {**places, **CLOUD, "output": f"{bucket}/done"}
    before = list_files(bucket)
    assert run([*flags(**given), "--overwrite", "--dry_run", "--no_auth"]) == 0
    assert list_files(bucket) == before
    said = capsys.readouterr().out
    assert "the job graph (dry run); nothing was submitted" in said
    assert f"  images  {IMAGE}\n" in said
    assert " workers  n2-standard-8, 3 to 90\n" in said
    assert f"on {GPU}  EmbedFrames/RunEmbedder/" in said


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"output": "/tmp/run"}, "--output /tmp/run: Dataflow's workers do not reach"),
        ({"seeds": "seeds.csv"}, "--seeds seeds.csv: Dataflow's workers do not reach"),
        ({"videos": "films"}, "--videos films: Dataflow's workers do not reach"),
        ({"index": "idx"}, "--index idx: Dataflow's workers do not reach"),
        ({"embedder": "hub:/"}, "--embedder hub:/: Dataflow's workers do not reach"),
        ({"project": None}, "DataflowRunner needs --project: the Google Cloud project"),
        ({"region": None}, "DataflowRunner needs --region: such as us-central1"),
        ({"temp_location": None}, "DataflowRunner needs --temp_location: gs://BUCKET"),
        ({"temp_location": "/tmp"}, "--temp_location /tmp: give it as gs://BUCKET"),
        ({"temp_location": "gs://b/x"}, "--temp_location gs://b/x: give it as gs://BU"),
        ({"sdk_container_image": None}, "DataflowRunner needs --sdk_container_image: "),
        ({"dataflow_service_options": TPU}, "--accelerator (for the embedding steps'"),
        ({"runner": "FnApiRunner"}, "--dry_run needs --runner=DataflowRunner"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(
    places: dict[str, str],
    changed: dict[str, str | None],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {**places, **CLOUD, **changed}
    assert run([*flags(**given), "--dry_run", "--no_auth"]) == 2
    assert capsys.readouterr().err.startswith(f"clipseed mine: {problem}")


def test_tpus_are_asked_for_every_worker(places: dict[str, str]) -> None:
    wanted = {"dataflow_service_options": TPU, "machine_type": "ct5lp-hightpu-1t"}
    model = {"accelerator": None, "embedder": "gs://seeds/clip"}
    one_process = {"experiments": "no_use_multiple_sdk_containers"}
    given = flags(**{**places, **CLOUD, **wanted, **model, **one_process})
    config, beam_flags = parse_mine(given)
    options = PipelineOptions(beam_flags)
    check(config, options)
    assert options.get_all_options()["dataflow_service_options"] == [TPU]


def test_a_slip_of_the_pen_is_no_flag_of_dataflow(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(flags(**places, **CLOUD, machine_typ="n2-standard-4"))
    assert caught.value.code == 2
    hint = "unknown flag --machine_typ; did you mean --machine_type?"
    assert capsys.readouterr().err == f"clipseed mine: {hint}\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--runner=DataflowRunner"], (True, False)),
        (["--runner=dataflow", "--dry_run=True"], (True, True)),
        (["--runner=DataflowRunner", "--template_location=gs://b/t"], (True, True)),
        (["--runner=FlinkRunner", "--template_location=gs://b/t"], (False, False)),
        ([], (False, False)),
    ],
)
def test_who_runs_when(given: list[str], expected: tuple[bool, bool]) -> None:
    options = PipelineOptions(given)
    assert (is_dataflow(options), runs_later(options)) == expected
