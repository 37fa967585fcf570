"""Mine a corpus of damaged files in a process of its own, and look at all it leaves.

problems = check_job(Path("work"), count=2000, seed=3).problems
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.fuzz.corpus import GOOD_VIDEOS, Corpus, write_corpus
from benchmarks.processes import ROOT, pss_bytes, tree
from clipseed.errors import InputError
from clipseed.run.clip_record import decode, encode
from clipseed.run.files import CLIPS
from clipseed.run.outcomes import unaccounted
from clipseed.run.reader import Run

MOST_BYTES = 2_684_354_560  # 2.5 GiB
_EVERY_S = 0.5
_TF_MESSAGES = "TF_CPP_MIN_LOG_LEVEL"
# What a job says every minute.
_PROGRESS = re.compile(r"\d+ s  ")
_FLAGS = (
    "--clip_s=1", "--clip_fps=5", "--top_k=2", "--video_timeout_s=30", "--num_shards=4",
    "--no_keep_embeddings", "--max_failed_share=1",
)  # fmt: skip
# What a job may leave in its output; the outcome of the damages is none of these.
_ENTRIES = {
    "pairs.csv", "pairs", "matches", "clips", "rejected", "videos", "seeds", "index",
    "run.json",
}  # fmt: skip


class Job(NamedTuple):
    """What came of a job.

    Attributes:
        problems: what should not be, in words.
        outcomes: inputs by kind, and by what became of them.
        mutations: damaged files by kind and way.
        seconds: that it took.
        tree_bytes: most memory of its process and all that it started.
    """

    problems: list[str]
    outcomes: Counter[tuple[str, str]]
    mutations: Counter[tuple[str, str]]
    seconds: float
    tree_bytes: int


class _Ended(NamedTuple):
    status: int
    stderr: str
    seconds: float
    tree_bytes: int
    left_over: list[str]


def check_job(root: Path, count: int, seed: int, shards: bool = False) -> Job:
    """Mine good files alone and among damaged ones, and compare.

    Args:
        root: an empty folder.
        count: number of damaged files.
        seed: of the damages.
        shards: whether the seeds are webdataset shards.
    """
    alone = write_corpus(root / "alone", 0, seed, shards)
    among = write_corpus(root / "among", count, seed, shards)
    first = _mine(alone, root / "alone_run")
    ended = _mine(among, root / "among_run")
    problems = [*_left(first, root / "alone_run"), *_left(ended, root / "among_run")]
    outcomes: Counter[tuple[str, str]] = Counter()
    try:
        run = Run.open(root / "among_run", verify="checksums")
        problems += _of_results(run, among)
        if _good(run) != _good(Run.open(root / "alone_run")):
            problems.append("the clips and pairs of the good files have changed")
        outcomes = _outcomes(run)
    except InputError as error:
        problems.append(error.message)
    return Job(problems, outcomes, among.mutations, ended.seconds, ended.tree_bytes)


def _mine(corpus: Corpus, output: Path) -> _Ended:
    """Run the job, with a folder for temporary files that must be empty afterwards."""
    output.parent.mkdir(exist_ok=True)
    places = (f"--seeds={corpus.seeds}", f"--videos={corpus.videos}")
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as said:
        start_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "beam_pipeline.cli", "mine",
             *places, f"--output={output}", *_FLAGS],
            cwd=ROOT,
            env=_as_users_run(PYTHONPATH=str(ROOT), TMPDIR=scratch),
            stdout=subprocess.DEVNULL,
            stderr=said,
        )  # fmt: skip
        members, tree_bytes = _watch(process)
        seconds = time.monotonic() - start_s
        left = [f"process {member.pid}" for member in members if member.is_running()]
        left += [f"temporary file {name}" for name in sorted(os.listdir(scratch))]
        said.seek(0)
        stderr = said.read().decode(errors="backslashreplace")
    return _Ended(process.returncode, stderr, seconds, tree_bytes, left)


def _as_users_run(**settings: str) -> dict[str, str]:
    """Return the environment, without what JAX sets in it for TensorFlow's messages."""
    return {k: v for k, v in os.environ.items() if k != _TF_MESSAGES} | settings


def _watch(process: "subprocess.Popen[bytes]") -> tuple[set[psutil.Process], int]:
    """Wait for a process; return all that it started, and their most memory."""
    members: set[psutil.Process] = set()
    most_bytes = 0
    while process.poll() is None:
        now = tree(process.pid)
        members.update(now)
        most_bytes = max(most_bytes, sum(map(pss_bytes, now)))
        time.sleep(_EVERY_S)
    return members, most_bytes


def _left(ended: _Ended, output: Path) -> Iterator[str]:
    """Yield what is wrong with how a job ended, and what it left besides its result."""
    if ended.status:
        yield f"the status is {ended.status}"
    lines = [e for e in ended.stderr.splitlines() if not _PROGRESS.match(e)]
    yield from (f"on stderr: {line}" for line in lines[:20])
    yield from (f"left over: {what}" for what in ended.left_over)
    if ended.tree_bytes > MOST_BYTES:
        yield f"the tree took {ended.tree_bytes} bytes of memory"
    entries = output.iterdir() if output.exists() else ()
    extra = {path.name for path in entries} - _ENTRIES
    extra |= {path.name for path in output.rglob(".*")}
    yield from (f"left over: {name} in the output" for name in sorted(extra))


def _of_results(run: Run, corpus: Corpus) -> Iterator[str]:
    """Yield inputs that are not accounted for: by the run, or beside it."""
    yield from unaccounted(run)
    told = {dead_letter.key for dead_letter in run.dead_letters()}
    videos = {row.video for row in run.videos()} | told
    yield from (f"nothing is said of {name}" for name in corpus.inputs - videos)
    images = {row.image for row in run.seeds()} | told
    yield from (f"nothing is said of {name}" for name in corpus.images - images)
    for stage in run.mining.accounting:
        if not stage.balanced:
            yield f"the sums of {stage.stage} do not balance"


def _good(run: Run) -> tuple[list[tuple], list[bytes]]:
    """Return the pairs of good files, and the bytes of their clips."""
    pairs = [pair for pair in run.pairs() if pair.video in GOOD_VIDEOS]
    records = [
        encode(clip)
        for uri in run.uris(CLIPS)
        for clip in _clips(uri)
        if clip.video in GOOD_VIDEOS
    ]
    return sorted(pairs), sorted(records)


def _clips(uri: str) -> Iterator:
    from clipseed.run.tfrecord import read_records

    return map(decode, read_records(uri))


def _outcomes(run: Run) -> Counter[tuple[str, str]]:
    """Return how many inputs were used, used in part, or left out for a reason."""
    reasons: dict[str, dict[str, str]] = {"video": {}, "seed": {}}
    of_videos = ("probe", "extract_frames")
    for dead_letter in run.dead_letters():
        kind = "video" if dead_letter.stage in of_videos else "seed"
        reasons[kind].setdefault(dead_letter.key, dead_letter.reason)
    counts: Counter[tuple[str, str]] = Counter()
    for video in run.videos():
        counts["video", _outcome(video.frames, video.video, reasons["video"])] += 1
    for seed in run.seeds():
        counts["seed", _outcome(seed.loaded, seed.image, reasons["seed"])] += 1
    for stage, kind in (("list_videos", "video"), ("read_seeds", "row")):
        for reason, count in run.mining.counts.by_reason(stage, "dead_letters").items():
            counts[kind, reason] += count
    return counts


def _outcome(used: int, name: str, reasons: Mapping[str, str]) -> str:
    if not used:
        return reasons.get(name, "lost")
    return "used, with breaks" if name in reasons else "used"
