"""The summary of a run at its end."""

import sys

from beam_pipeline.report.terminal import Block, facts, show
from clipseed.elements import ASR, PSEUDOLABEL, TRANSFERRED
from clipseed.run.accounting import (
    CAPTIONS_CHOSEN,
    CLIPS,
    CLIPS_US,
    FRAMES,
    FRAMES_CAPTIONED,
    FRAMES_TO_CAPTION,
    MATCHES,
    PAIRS,
    PARTS,
    PARTS_REUSED,
    SEED_ROWS,
    SEEDS,
    SEEDS_MATCHED,
    SEEDS_WITHOUT_CAPTION,
    SELECTED,
    UTTERANCES,
    UTTERANCES_USED,
    VIDEOS,
    VIDEOS_BROKEN,
    VIDEOS_FAILED,
    VIDEOS_MINED,
    VIDEOS_TRANSCRIBED,
    Counts,
)
from clipseed.run.manifest import IndexFacts, MiningFacts
from clipseed.run.reader import Run


def summary(run_dir: str, mining: MiningFacts) -> Block:
    """Return the figures of a run, a line each."""
    counts = mining.counts
    verdicts = counts.sound_verdicts.items()
    rows = [
        *_SOURCES[mining.source](mining),
        ("pairs", f"{counts[PAIRS]}"),
        ("clips", f"{counts[CLIPS]}, {counts[CLIPS_US] / 3.6e9:.3f} hours"),
        ("sound", ", ".join(f"{n} {verdict}" for verdict, n in verdicts) or "none"),
        ("seconds", f"{mining.seconds:.1f}"),
        ("output", run_dir),
    ]  # fmt: skip
    return facts(rows)


def _transferred(mining: MiningFacts) -> list[tuple[str, str]]:
    counts = mining.counts
    return [
        ("seeds", f"{counts[SEEDS]} of {counts[SEED_ROWS]} rows"),
        ("videos", _videos(mining)),
        ("frames", f"{counts[FRAMES]}{_reused(counts)}"),
        ("index", _index(mining.index)),
        ("matches", f"{counts[MATCHES]} above {mining.min_similarity:g}"),
        ("matched", f"{counts[SEEDS_MATCHED]} seeds above {mining.threshold:g}"
         + _uncaptioned(counts[SEEDS_WITHOUT_CAPTION])),
    ]  # fmt: skip


def _spoken(mining: MiningFacts) -> list[tuple[str, str]]:
    counts = mining.counts
    listed = next(s for s in mining.accounting if s.stage == "list_videos")
    return [
        ("videos", f"{listed.inputs} in, {counts[VIDEOS]} read, "
         f"{counts[VIDEOS_TRANSCRIBED]} with speech"),
        ("speech", f"{counts[UTTERANCES]} utterances, {counts[UTTERANCES_USED]} used"),
    ]  # fmt: skip


def _pseudolabelled(mining: MiningFacts) -> list[tuple[str, str]]:
    counts = mining.counts
    return [
        ("videos", _videos(mining)),
        ("frames", f"{counts[FRAMES_TO_CAPTION]}, {counts[FRAMES_CAPTIONED]} "
         "captioned"),
        ("captions", f"{counts[CAPTIONS_CHOSEN]} chosen"),
    ]  # fmt: skip


_SOURCES = {TRANSFERRED: _transferred, PSEUDOLABEL: _pseudolabelled, ASR: _spoken}
_COMMANDS = {
    TRANSFERRED: "clipseed mine",
    PSEUDOLABEL: "clipseed caption",
    ASR: "clipseed transcribe",
}


def _videos(mining: MiningFacts) -> str:
    counts = mining.counts
    listed = next(s for s in mining.accounting if s.stage == "list_videos")
    filtered = counts.dead_letters_of("filter_videos")
    failed = counts[VIDEOS_FAILED] + counts.dead_letters_of("list_videos")
    return (
        f"{listed.inputs} in, {filtered} filtered, {failed} failed, "
        f"{counts[VIDEOS_MINED]} mined ({counts[VIDEOS_BROKEN]} broken off)"
    )


def _reused(counts: Counts) -> str:
    reused = counts[PARTS_REUSED]
    return f", those of {reused} of {counts[PARTS]} parts from before" if reused else ""


def _index(index: IndexFacts) -> str:
    recall = "none" if index.recall is None else f"{index.recall:.4f}"
    on_frames = index.recall_on_frames
    if on_frames is not None:
        recall += f"; on frames {on_frames:.4f} of {index.audit_pairs} pairs"
    return f"{index.kind}, {index.seeds} seeds, recall {recall}"


def _uncaptioned(seeds: int) -> str:
    return f", {seeds} of them in the index without a caption" if seeds else ""


def failure(mining: MiningFacts) -> str | None:
    """Return why a finished run still failed: everything of a kind was rejected."""
    counts = mining.counts
    if mining.source != TRANSFERRED:
        return None if counts[CLIPS] else "no clip was written"
    if not mining.index.seeds:
        return "no seed could be used"
    if not counts[VIDEOS_MINED]:
        if counts[VIDEOS_FAILED] or counts.dead_letters_of("list_videos"):
            return "no video could be decoded"
        if not counts.dead_letters_of("filter_videos"):
            return "there was no video"
    if counts[SELECTED] and not counts[CLIPS]:
        return "no clip could be written"
    return None


def report(run_dir: str) -> int:
    """Print the summary of a finished run; return the exit status."""
    mining = Run.open(run_dir, verify="nothing").mining
    show(summary(run_dir, mining))
    problem = failure(mining)
    if problem:
        command = _COMMANDS[mining.source]
        print(f"{command}: {problem}: see rejected/ in the output", file=sys.stderr)
    return 1 if problem else 0
