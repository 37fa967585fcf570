"""What a run tells the terminal: progress while it goes, a summary at its end."""

import json
import sys
import threading
import time
from types import TracebackType
from typing import Any

from clipseed.io import storage
from transforms import progress

_MAX_MANIFEST_BYTES = 64 << 20


class Progress:
    """Shows on a terminal what this process has done so far; silent elsewhere."""

    def __init__(self, every_s: float = 0.5) -> None:
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> "Progress":
        progress.reset()
        if sys.stderr.isatty():
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
            sys.stderr.write("\r\033[K")

    def _show(self) -> None:
        start_s = time.monotonic()
        while not self._done.wait(self._every_s):
            sys.stderr.write(f"\r\033[K{line(time.monotonic() - start_s)}")
            sys.stderr.flush()


def line(elapsed_s: float) -> str:
    """One line on the work done so far in this process."""
    done = progress.snapshot()
    rate = done["frames"] / elapsed_s if elapsed_s else 0
    return (
        f"{elapsed_s:4.0f} s  videos (parts) {done['parts']}  frames {done['frames']} "
        f"({rate:.0f}/s)  clips {done['clips']}"
    )


def read_run(run_dir: str) -> dict[str, Any]:
    """Reads `run.json`.

    Raises:
        InputError: `not_found` when the directory holds no finished run.
    """
    uri = storage.join(run_dir, "run.json")
    return json.loads(storage.read_bytes(uri, _MAX_MANIFEST_BYTES))


def summary(run_dir: str, run: dict[str, Any]) -> str:
    """The figures of a run, a line each."""
    count = {name: run["counts"].get(name, 0) for name in _SHOWN}
    rejected = _by_stage(run)
    index, audit = run["index"], run["index"].get("audit_on_frames", {})
    recall = "none" if index["recall"] is None else f"{index['recall']:.4f}"
    if audit.get("recall") is not None:
        recall += f"; on frames {audit['recall']:.4f} of {audit['pairs']} pairs"
    sound = ", ".join(
        f"{n} {name.split('/')[1]}"
        for name, n in sorted(run["counts"].items())
        if name.startswith("sound/")
    )
    listed = next(s for s in run["accounting"] if s["stage"] == "list_videos")
    lines = [
        ("seeds", f"{count['seeds']} of {count['seed_rows']} rows"),
        ("videos", f"{listed['in']} in, {rejected.get('filter_videos', 0)} filtered, "
         f"{count['videos_failed'] + rejected.get('list_videos', 0)} failed, "
         f"{count['videos_mined']} mined ({count['videos_broken']} broken off)"),
        ("frames", f"{count['frames']}" + _kept(run["counts"])),
        ("index", f"{index['kind']}, {index['seeds']} seeds, recall {recall}"),
        ("matches", f"{count['matches']} above {run['min_similarity']:g}"),
        ("matched", f"{count['seeds_matched']} seeds above {run['threshold']:g}"
         + _uncaptioned(count["seeds_without_caption"])),
        ("pairs", f"{count['pairs']}"),
        ("clips", f"{count['clips']}, {count['clips_us'] / 3.6e9:.3f} hours"),
        ("sound", sound or "none"),
        ("seconds", f"{run['seconds']:.1f}"),
        ("output", run_dir),
    ]  # fmt: skip
    return "\n".join(f"{name:>8}  {text}" for name, text in lines)


def _kept(counts: dict[str, int]) -> str:
    kept = counts.get("parts_kept", 0)
    return f", those of {kept} of {counts['parts']} parts from before" if kept else ""


def _uncaptioned(seeds: int) -> str:
    return f", {seeds} of them in the index without a caption" if seeds else ""


_SHOWN = (
    "seeds",
    "seed_rows",
    "videos_failed",
    "videos_mined",
    "videos_broken",
    "frames",
    "matches",
    "seeds_matched",
    "seeds_without_caption",
    "pairs",
    "clips",
    "clips_us",
)


def _by_stage(run: dict[str, Any]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, count in run["counts"].items():
        if name.startswith("rejected/"):
            stage = name.split("/")[1]
            sums[stage] = sums.get(stage, 0) + count
    return sums


def failure(run: dict[str, Any]) -> str | None:
    """Why a run that ended has still failed: everything of a kind was rejected."""
    counts, rejected = run["counts"], _by_stage(run)
    if not run["index"]["seeds"]:
        return "not one seed could be used"
    if not counts.get("videos_mined") and (
        counts.get("videos_failed") or rejected.get("list_videos")
    ):
        return "not one video could be decoded"
    if not counts.get("videos_mined") and not rejected.get("filter_videos"):
        return "there was no video"
    if counts.get("selected") and not counts.get("clips"):
        return "not one clip could be written"
    return None


def report(run_dir: str) -> int:
    """Prints the summary of a finished run; gives the exit status."""
    run = read_run(run_dir)
    print(summary(run_dir, run))
    problem = failure(run)
    if problem:
        print(f"clipseed mine: {problem}: see rejected/ in the output", file=sys.stderr)
    return 1 if problem else 0
