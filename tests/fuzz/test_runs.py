"""Damaged run directories and checkpoints: every change is noticed and named."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz.mutations import DAMAGES
from clipseed.elements import Pair, RankedMatch
from clipseed.errors import DeadLetter, InputError
from clipseed.run import tables
from clipseed.run.clip_record import encode
from clipseed.run.manifest import RunManifest
from clipseed.run.outcomes import SeedOutcome, VideoOutcome, unaccounted
from clipseed.run.reader import Run
from clipseed.run.writer import RunWriter
from models.training.checkpoint_sums import problem_of, write_sums
from tests.support.mining_facts import MINING
from tests.support.tiny_run import clip_record

PAIR = Pair("a.mp4", 0, 10, "c", "clip", "A", "S", "s.png", 1, 0.75, 5, "ok")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a run with a row or two in each table."""
    root = tmp_path_factory.mktemp("runs") / "whole"
    writer = RunWriter(str(root))
    write: dict[str, Callable[[str], int]] = {
        "pairs": lambda path: tables.write_pairs(path, [PAIR] * 3, "h"),
        "matches": lambda path: tables.write_matches(
            path, [RankedMatch("S", "a.mp4", "A", 5, 0.75, 1, "e")] * 9, "h"
        ),
        "videos": lambda path: tables.write_videos(
            path, [VideoOutcome("A", "a.mp4", 1, 2, 2, 9, 0)], "h"
        ),
        "seeds": lambda path: tables.write_seeds(
            path, [SeedOutcome("S", "s.png", 2, 2, 0, 1)], "h"
        ),
        "rejected": lambda path: tables.write_dead_letters(
            path, [DeadLetter("list_videos", "b.mp4", "not_found", "It is gone.")]
        ),
    }
    files = [writer.write_shard(name, 0, 1, write[name]) for name in write]
    files.append(writer.write_clips(0, 1, [encode(clip_record(1, ["c"], frames=2))]))
    files.append(writer.write_pairs_csv([tables.CsvPair(*PAIR[:4])]))
    writer.finish(RunManifest(tuple(files), MINING))
    assert read_all(Run.open(root, verify="checksums")) == []
    return root


def read_all(run: Run) -> list[str]:
    for read in (run.pairs, run.matches, run.dead_letters, run.clips, run.pairs_csv):
        assert len(list(read())) < 1000
    return list(unaccounted(run))


def damaged(folder: Path, rng: random.Random) -> bool:
    """Damage one file below a folder; return whether its bytes have changed."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    data = bytearray(path.read_bytes())
    DAMAGES[rng.choice(sorted(DAMAGES))](data, rng)
    changed = bytes(data) != path.read_bytes()
    path.write_bytes(data)
    return changed


def test_no_damage_of_a_run_goes_unnoticed(whole: Path, tmp_path: Path) -> None:
    """With checksums each is named; without, nothing but a named error comes of it."""
    noticed = 0
    for number in range(200):
        rng = random.Random(f"run/{number}")
        copy = Path(shutil.copytree(whole, tmp_path / str(number)))
        if not damaged(copy, rng):
            continue
        noticed += 1
        try:
            run = Run.open(copy, verify="checksums")
        except InputError as error:
            assert error.reason in ("damaged_run", "not_a_run")
        else:  # A figure in run.json, which no checksum covers.
            assert (copy / "run.json").read_bytes() != (whole / "run.json").read_bytes()
            assert run.manifest.files == Run.open(whole).manifest.files
        try:
            read_all(Run.open(copy, verify="nothing"))
        except InputError as error:
            assert error.reason in (
                "damaged_run", "not_a_run", "damaged_shard", "bad_record",
                "bad_pairs_row", "not_mined", "not_found",
            ), number  # fmt: skip
    assert noticed > 150


def test_no_damage_of_a_checkpoint_goes_unnoticed(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    for name, size in (("manifest.ocdbt", 200), ("d/0a", 5000), ("_METADATA", 900)):
        (whole / name).parent.mkdir(parents=True, exist_ok=True)
        (whole / name).write_bytes(random.Random(name).randbytes(size))
    write_sums(str(whole))
    assert problem_of(str(whole)) == ""
    for number in range(100):
        rng = random.Random(f"checkpoint/{number}")
        copy = Path(shutil.copytree(whole, tmp_path / str(number)))
        if damaged(copy, rng):
            assert problem_of(str(copy)), number
