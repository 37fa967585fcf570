"""The end of a job: `run.json` comes last and says what there is."""

import hashlib
import json
import logging
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.elements import Pair
from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.accounting import (
    CLIPS,
    FRAMES,
    SEEDS_FINGERPRINT,
    VIDEOS,
    Counter,
    Counts,
    dead_letters,
)
from clipseed.run.files import RunFile, describe_file
from clipseed.run.manifest import IndexFacts
from clipseed.run.reader import Run
from index_service.build.build_index import IndexConfig, build_index
from index_service.store.index_directory import IndexManifest
from models.embedders.descriptor import describe
from tests.support.made_media import still
from transforms.run.manifest import (
    RunInfo,
    WriteRunManifest,
    index_facts,
    write_run,
)
from transforms.run.tables import write_pairs
from transforms.tally import Tally

# --- writing -------------------------------------------------------------------------

PAIR = Pair("a.mp4", 0, 10, "c", "clip", "a", "seed", "a.png", 1, 0.75, 5, "ok")


def info(root: str) -> RunInfo:
    return RunInfo(root, {"fps": 1.0}, "hash", "descriptor-v1", 0.6, 0.5, 1e9)


def write_shards(root: str) -> list[RunFile]:
    """Write two files of pairs, and one of something else."""
    files = []
    for name, pairs in (("pairs/0", [PAIR]), ("pairs/1", [PAIR._replace(video="b")])):
        with storage.writing(f"{root}/{name}") as path:
            write_pairs(path, pairs, "hash")
            files.append(describe_file(path, name, 1))
    storage.write_bytes(f"{root}/clips/0", b"clip")
    return [*files, RunFile("clips/0", 1, 4, hashlib.sha256(b"clip").hexdigest())]


def test_a_run_says_what_it_is_made_of(root: str) -> None:
    files = write_shards(root)
    storage.write_bytes(f"{root}/work/seeds/part", b"scratch")
    sums = {FRAMES: 2, CLIPS: 1, SEEDS_FINGERPRINT: 99}
    written = write_run(
        info(root), sums, [*files[::-1], files[0]], IndexFacts("none", 0)
    )
    run = Run.open(root, verify="checksums")
    assert run.manifest == written
    csv_bytes = b'"a.mp4",0,10,"c"\n"b",0,10,"c"\n'
    assert storage.read_bytes(f"{root}/pairs.csv", 99) == csv_bytes
    digest = hashlib.sha256(csv_bytes).hexdigest()
    csv_file = RunFile("pairs.csv", 2, len(csv_bytes), digest)
    assert run.manifest.files == (csv_file, files[2], *files[:2])
    assert list(run.pairs()) == [PAIR, PAIR._replace(video="b")]
    assert not storage.exists(f"{root}/work")
    mining = run.mining
    assert mining.counts == Counts({FRAMES: 2, CLIPS: 1})
    assert (mining.config, mining.config_hash) == ({"fps": 1.0}, "hash")
    assert (mining.embedder, mining.threshold) == ("descriptor-v1", 0.6)
    assert (mining.min_similarity, mining.started) == (0.5, 1e9)
    assert mining.seeds_fingerprint == 99
    assert {"apache-beam", "av", "numpy"} <= set(mining.versions)
    assert mining.index == IndexFacts("none", 0)


def test_what_does_not_balance_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        write_run(info(str(tmp_path)), {VIDEOS: 1}, [], IndexFacts("none", 0))
    (message,) = caplog.messages
    assert message.startswith("accounting does not balance")
    assert "extract_frames" in message


def test_a_run_whose_pairs_are_gone_has_no_run_json(tmp_path: Path) -> None:
    files = write_shards(str(tmp_path))
    (tmp_path / "pairs/1").unlink()
    with pytest.raises(InputError, match="not_found"):
        write_run(info(str(tmp_path)), {}, files, IndexFacts("none", 0))
    assert not (tmp_path / "run.json").exists()
    assert not (tmp_path / "pairs.csv").exists()


@pytest.fixture
def manifest(tmp_path: Path) -> IndexManifest:
    images = np.stack([still(scene, 224, 224) for scene in (1, 2)])
    place = tmp_path / "index"
    config = IndexConfig()
    return build_index(place, ["a", "b"], describe(images), "e", 0.6, None, config)


@pytest.mark.parametrize(
    ("audits", "found", "pairs", "recall"),
    [([(9, 10), (4, 4), (0, 2)], 13, 16, 13 / 16), ([], 0, 0, None)],
)
def test_the_recall_measured_on_frames_is_told(
    manifest: IndexManifest,
    audits: list[tuple[int, int]],
    found: int,
    pairs: int,
    recall: float | None,
) -> None:
    facts = index_facts(manifest, audits)
    assert (facts.kind, facts.seeds, facts.recall) == ("exact", 2, 1.0)
    assert (facts.audit_found, facts.audit_pairs) == (found, pairs)
    assert facts.recall_on_frames == recall == facts.as_json()["recall_on_frames"]
    assert IndexFacts.from_json(json.loads(json.dumps(facts.as_json()))) == facts


# --- in a pipeline -------------------------------------------------------------------


def test_a_tally_is_one_sum_or_nothing() -> None:
    with TestPipeline(runner="FnApiRunner") as pipeline:
        words = pipeline | beam.Create(["a", "bcd", "ef"])
        none = words | beam.Filter(lambda _: False)
        assert_that(words | Tally(FRAMES), equal_to([(FRAMES, 3)]), label="count")
        chars = words | "Chars" >> Tally(CLIPS, len)
        assert_that(chars, equal_to([(CLIPS, 6)]), label="sum")
        assert_that(none | "None" >> Tally(FRAMES), equal_to([]), label="nothing")


def test_a_counter_may_be_of_each_element() -> None:
    def of(word: str) -> Counter:
        return dead_letters("probe", word)

    with TestPipeline(runner="FnApiRunner") as pipeline:
        sums = pipeline | beam.Create(["a", "b", "a"]) | Tally(of)
        assert_that(sums, equal_to([(of("a"), 2), (of("b"), 1)]))


def test_run_json_waits_for_all_that_it_tells_of(tmp_path: Path) -> None:
    files = write_shards(str(tmp_path))
    with TestPipeline(runner="FnApiRunner") as pipeline:
        words = pipeline | "Words" >> beam.Create(["a", "b"])
        written = pipeline | "Files" >> beam.Create(files)
        no_index = words | "NoIndex" >> beam.FlatMap(lambda _: []).with_output_types(
            IndexManifest
        )
        audits = pipeline | "Audits" >> beam.Create([(1, 2), (2, 2)])
        runs = pipeline | WriteRunManifest(
            info(str(tmp_path)), words | Tally(FRAMES), written, no_index, audits
        )
        counts = runs | beam.Map(lambda manifest: manifest.mining.counts)
        assert_that(counts, equal_to([Counts({FRAMES: 2})]))
    run = Run.open(tmp_path)
    assert run.mining.counts[FRAMES] == 2 and len(run.manifest.files) == 4
