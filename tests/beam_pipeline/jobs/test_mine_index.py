"""Mining with an index that is there already: from files, and from servers."""

import csv
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from PIL import Image

from beam_pipeline.cli import main
from beam_pipeline.mine import run
from clipseed.run.accounting import SEEDS_MATCHED, SEEDS_WITHOUT_CAPTION
from clipseed.run.reader import Run
from index_service.wire import search_pb2 as wire
from index_service.wire.search_pb2_grpc import IndexServiceStub
from models.embedders.descriptor import DIMENSION, EMBEDDER_ID
from tests.support.made_media import film, still, write_video
from tests.support.mined import mine
from tests.support.servers.index_server import (
    Process,
    make_index,
    server_process,
    unit_rows,
)

SHARDS, REPLICAS = 3, 2
SETTINGS = ("--part_s=3", "--clip_fps=2")
SCENES = range(1, 7)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    (root / "videos").mkdir()
    rows = [("image", "caption")]
    for scene in SCENES:
        write_video(root / "videos" / f"{scene}.mp4", film(scene, 9))
        Image.fromarray(still(scene)).save(root / f"{scene}.png")
        rows.append((f"{scene}.png", f"scene {scene}"))
    for name, chosen in (("seeds.csv", rows), ("fewer.csv", rows[:4])):
        with (root / name).open("w", newline="") as file:
            csv.writer(file).writerows(chosen)
    return root


def mine_to(corpus: Path, name: str, *flags: str, **places: str) -> Path:
    return mine(corpus, corpus / name, *SETTINGS, *flags, **places)


@pytest.fixture(scope="module")
def in_job(corpus: Path) -> bytes:
    pairs = (mine_to(corpus, "in_job") / "pairs.csv").read_bytes()
    assert pairs.count(b"\n") == len(SCENES)
    return pairs


@pytest.fixture(scope="module")
def index(corpus: Path) -> Path:
    output = corpus / "index"
    flags = ["--embedder=descriptor", f"--shards={SHARDS}", "--threshold=0.6"]
    seeds = f"--seeds={corpus / 'seeds.csv'}"
    assert main(["index", "build", seeds, f"--output={output}", *flags]) == 0
    return output


def test_an_index_of_files_gives_the_same_pairs(
    corpus: Path, in_job: bytes, index: Path
) -> None:
    output = mine_to(corpus, "from_files", f"--index={index}")
    assert (output / "pairs.csv").read_bytes() == in_job
    facts = Run.open(output).mining.index
    assert (facts.kind, facts.seeds) == ("exact", len(SCENES))
    assert not (output / "index").exists()


def test_seeds_of_the_index_without_a_caption_are_counted(
    corpus: Path, in_job: bytes, index: Path
) -> None:
    output = mine_to(corpus, "fewer", f"--index={index}", seeds="fewer.csv")
    pairs = (output / "pairs.csv").read_text().splitlines()
    assert sorted(line.split(",")[-1] for line in pairs) == [
        f'"scene {i}"' for i in (1, 2, 3)
    ]
    counts = Run.open(output).mining.counts
    assert counts[SEEDS_WITHOUT_CAPTION] == 3 and counts[SEEDS_MATCHED] == 6


@pytest.fixture
def servers(index: Path) -> Iterator[list[list[Process]]]:
    """Yield replicas of each shard, as processes."""
    with ExitStack() as stack:
        yield [
            [stack.enter_context(server_process(shard)) for _ in range(REPLICAS)]
            for shard in sorted(index.glob("shard-*"))
        ]


def kill_when_busy(replicas: list[Process], killed: list[Process]) -> None:
    """SIGKILL to the first replica that has answered a query."""
    channels = [grpc.insecure_channel(replica.address) for replica in replicas]
    stubs = [IndexServiceStub(channel) for channel in channels]
    until = time.monotonic() + 60
    while not killed and time.monotonic() < until:
        for replica, stub in zip(replicas, stubs, strict=True):
            if stub.Stats(wire.StatsRequest(), timeout=5).queries:
                replica.process.kill()
                killed.append(replica)
                break
        time.sleep(0.002)
    for channel in channels:
        channel.close()


def test_a_killed_replica_changes_nothing(
    corpus: Path, in_job: bytes, servers: list[list[Process]]
) -> None:
    shards = ["|".join(f"grpc://{r.address}" for r in shard) for shard in servers]
    killed: list[Process] = []
    killer = threading.Thread(target=kill_when_busy, args=(servers[1], killed))
    killer.start()
    output = mine_to(corpus, "served", f"--index={','.join(shards)}")
    killer.join()
    assert len(killed) == 1 and killed[0].process.wait(5) == -9
    assert (output / "pairs.csv").read_bytes() == in_job


@pytest.mark.parametrize("what", ["other", "nothing", "nobody", "no address"])
def test_an_index_that_does_not_fit_is_refused_before_work_starts(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    rows = unit_rows(20, dimension=DIMENSION)
    other = make_index(tmp_path / "other", rows, embedder=EMBEDDER_ID + "x")
    index, said = {
        "other": (str(other), "use that embedder"),
        "nothing": (str(tmp_path / "nothing"), "build an index first"),
        "nobody": ("grpc://127.0.0.1:1", "shard 0 does not answer (127.0.0.1:1"),
        "no address": ("grpc://127.0.0.1", "is not an address"),
    }[what]
    places = [f"--seeds={corpus / 'seeds.csv'}", f"--videos={corpus / 'videos'}"]
    output = tmp_path / "run"
    assert run([*places, f"--output={output}", f"--index={index}"]) == 2
    assert said in capsys.readouterr().err and not output.exists()
