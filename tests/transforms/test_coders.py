"""What is shuffled in the real job graph is encoded by schema and never pickled."""

import re
from typing import Any

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.pipeline_context import PipelineContext

from beam_pipeline.mine import build_pipeline
from beam_pipeline.mining.config import parse_mine
from beam_pipeline.mining.plan import make_plan
from clipseed.elements import ClipCaption, Match, Pair, Seed, SeedRow, Video, VideoPart
from clipseed.errors import DeadLetter
from clipseed.run.accounting import Counter
from clipseed.run.files import RunFile
from clipseed.run.outcomes import SeedOutcome, VideoOutcome
from models.embedders.registry import load_embedder
from transforms.coders import ELEMENTS
from transforms.seeds.load_images import SeedBatch
from transforms.seeds.outcomes import SeedTrace

# What pickles every element that is not of a primitive type.
PICKLING = re.compile("FastPrimitives|Pickle|Dill")
GROUP = common_urns.primitives.GROUP_BY_KEY.urn
COMBINE = common_urns.composites.COMBINE_PER_KEY.urn
RESHUFFLE = common_urns.composites.RESHUFFLE.urn


class Graph:
    """The job's graph as a runner gets it; coders by step, as text."""

    def __init__(self) -> None:
        flags = ["--seeds=seeds.csv", "--videos=videos", "--output=run"]
        config, _ = parse_mine(flags)
        plan = make_plan(config, ["seeds.csv"], load_embedder("descriptor"))
        pipeline = beam.Pipeline()
        build_pipeline(pipeline, plan)
        self._parts = pipeline.to_runner_api().components
        self._context = PipelineContext(self._parts)

    def inputs(self, urn: str) -> dict[str, str]:
        return {
            step.unique_name: self._coder(self._parts.pcollections[name].coder_id)
            for step in self._parts.transforms.values()
            if step.spec.urn == urn
            for name in step.inputs.values()
        }

    def accumulators(self) -> dict[str, str]:
        return {
            step.unique_name: self._coder(
                api.CombinePayload.FromString(step.spec.payload).accumulator_coder_id
            )
            for step in self._parts.transforms.values()
            if step.spec.urn == COMBINE
        }

    def _coder(self, coder_id: str) -> str:
        return str(self._context.coders.get_by_id(coder_id))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph()


def test_the_text_of_a_coder_shows_what_it_is_made_of() -> None:
    unknown = coders.registry.get_coder(beam.typehints.List[Graph])
    for coder in (unknown, coders.NullableCoder(unknown)):
        assert PICKLING.search(str(coders.TupleCoder([coders.BytesCoder(), coder])))


def test_reshuffled_elements_are_rows(graph: Graph) -> None:
    assert graph.inputs(RESHUFFLE) == {
        "SpreadSeeds": "RowCoder",
        "SplitVideos/SpreadVideos": "RowCoder",
    }


def test_grouped_elements_are_rows(graph: Graph) -> None:
    of_beam = re.compile(
        "/ReshufflePerKey/|Combine|KeepBest|AddParts|AddUp|CountOutcomes|AddTraces"
    )
    grouped = graph.inputs(GROUP)
    ours = {name: coder for name, coder in grouped.items() if not of_beam.search(name)}
    shard = "TupleCoder[VarIntCoder, NullableCoder[RowCoder]]"
    tables = (
        *("WriteMatches", "WritePairs", "WriteRejected", "WriteClips"),
        *("WriteVideos", "WriteSeeds"),
    )
    sides = "TupleCoder[NullableCoder[RowCoder], NullableCoder[ListCoder[RowCoder]]]"
    assert ours == {
        **{f"{table}/GroupIntoShards/Group": shard for table in tables},
        "ExtractFrames/SpreadParts/Group": "TupleCoder[StrUtf8Coder, RowCoder]",
        "JoinCaptions/BySeed": f"TupleCoder[StrUtf8Coder, {sides}]",
    }


def test_combined_elements_are_rows_or_numbers(graph: Graph) -> None:
    tally = "TupleCoder[RowCoder, VarIntCoder]"
    combined = graph.inputs(COMBINE)
    others = {name: coder for name, coder in combined.items() if coder != tally}
    assert set(others) < set(combined)
    assert others == {
        "SelectMatches/KeepBest": "TupleCoder[StrUtf8Coder, RowCoder]",
        # Its key is None.
        "BuildIndex/SampleParts/CombinePerKey": (
            "TupleCoder[DeterministicFastPrimitivesCoderV2, RowCoder]"
        ),
        "AccountForVideos/AddParts": (
            "TupleCoder[TupleCoder[StrUtf8Coder, StrUtf8Coder], "
            f"TupleCoder[{', '.join(['VarIntCoder'] * 5)}]]"
        ),
        "AccountForSeeds/AddTraces": "TupleCoder[StrUtf8Coder, RowCoder]",
    }


def test_partial_results_are_rows_or_numbers(graph: Graph) -> None:
    """Sums of numbers need no schema: Beam's coder knows numbers."""
    inputs, accumulators = graph.inputs(COMBINE), graph.accumulators()
    of_rows = {
        name: accumulators[name]
        for name, coder in inputs.items()
        if coder.endswith("RowCoder]")
    }
    assert of_rows == {
        "SelectMatches/KeepBest": "ListCoder[RowCoder]",
        "BuildIndex/SampleParts/CombinePerKey": "ListCoder[RowCoder]",
        "AccountForSeeds/AddTraces": "ListCoder[RowCoder]",
    }


VIDEO = Video("id", "dir/film.mp4", "gs://bucket/dir/film.mp4")
ROW = SeedRow("a.png", "/a.png", 'a "caption",\n\t— ünïcödé', 7, 9, b"\0\xff")


@pytest.mark.parametrize(
    "element",
    [
        VIDEO,
        ROW,
        SeedBatch("file-000001", [ROW, ROW._replace(embedding=b"")]),
        Seed("seed", "a.png", ""),
        VideoPart(VIDEO, 0, 2**62),
        Match("seed", 0.1 + 0.2, VIDEO, 2**40),
        DeadLetter("probe", "film.mp4", "not_a_video", "It is a text."),
        Counter("probe", "dead_letters", "not_a_video"),
        RunFile("clips/x.tfrecord", 3, 2**40, "0f"),
        VideoOutcome("id", "film.mp4", 1, 2, 2, 3, 0),
        SeedOutcome("seed", "a.png", 2, 1, 1, 1),
        SeedTrace("seed", embedded=1),
        ClipCaption("seed", "a.png", "a\0caption", 1, 0.7, 0, VIDEO),
        Pair("film.mp4", 0, 1, "c", "clip", "id", "seed", "a.png", 1, 0.7, 0, "ok"),
    ],
    ids=lambda element: type(element).__name__,
)
def test_elements_come_through_their_schema_whole(element: tuple) -> None:
    coder = coders.registry.get_coder(type(element))
    assert isinstance(coder, coders.RowCoder)
    assert not PICKLING.search(str(coder.components))
    back = coder.decode(coder.encode(element))
    assert back == element and type(back) is type(element)
    if isinstance(back, SeedBatch):
        assert [type(row) for row in back.rows] == [SeedRow, SeedRow]
    if isinstance(back, VideoPart | Match | ClipCaption):
        assert type(back.video) is Video


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda element: element.__name__)
def test_what_is_shuffled_has_fields_alone(element: Any) -> None:
    plain = {*dir(tuple), *element._fields}
    assert {n for n in dir(element) if not n.startswith("_")} <= plain
