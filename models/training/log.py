"""The metrics of a training run: a CSV, TensorBoard, and a line on the terminal."""

import csv
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from models.training.step import Metrics

EVENTS = "tensorboard"


class TrainLog:
    """Writes `metrics.csv` and TensorBoard events to an output directory.

    A run that resumes continues the file; rows after the step that it resumes from are
    removed.

    Args:
        directory: local.
        first_step: steps done before.
        steps: of the whole run.
        every: steps between rows.
    """

    def __init__(self, directory: Path, first_step: int, steps: int, every: int):
        self._path = directory / "metrics.csv"
        self._events = directory / EVENTS
        self._first_step, self._steps, self._every = first_step, steps, every

    def __enter__(self) -> "TrainLog":
        import tensorflow as tf

        header, rows = _rows_up_to(self._path, self._first_step)
        self._file: TextIO = self._path.open("w", newline="")
        self._csv = csv.writer(self._file)
        self._has_header = bool(header)
        if header:
            self._csv.writerows([header, *rows])
        self._writer: Any = tf.summary.create_file_writer(str(self._events))
        self._mark_s, self._clips = time.perf_counter(), 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._writer.close()
        if sys.stderr.isatty():
            print(file=sys.stderr)

    def add(self, step: int, clips: int, metrics: Metrics) -> None:
        """Record a step, counted from 1."""
        self._clips += clips
        if step % self._every and step != self._steps:
            return
        now_s = time.perf_counter()
        rate = self._clips / (now_s - self._mark_s)
        self._mark_s, self._clips = now_s, 0
        numbers = {"loss": float(metrics.loss)}
        numbers |= {name: float(value) for name, value in metrics.named.items()}
        numbers |= {"gradient_norm": float(metrics.gradient_norm), "clips_per_s": rate}
        if not self._has_header:
            self._csv.writerow(["step", *numbers])
            self._has_header = True
        self._csv.writerow([step, *(f"{number:.6g}" for number in numbers.values())])
        self._file.flush()
        self._summarize(step, numbers)
        self._show(step, numbers)

    def _summarize(self, step: int, numbers: dict[str, float]) -> None:
        import tensorflow as tf

        with self._writer.as_default():
            for name, number in numbers.items():
                tf.summary.scalar(name, number, step)

    def _show(self, step: int, numbers: dict[str, float]) -> None:
        done = round(30 * step / self._steps)
        shown = {n: f"{v:.4f}" for n, v in numbers.items() if n != "gradient_norm"}
        rate = f"{numbers['clips_per_s']:.1f} clips/s"
        shown.pop("clips_per_s")
        told = "  ".join(f"{name} {value}" for name, value in shown.items())
        line = f"{'=' * done:<30} {step}/{self._steps}  {told}  {rate}"
        end = "" if sys.stderr.isatty() else "\n"
        print(f"\r{line}" if not end else line, end=end, file=sys.stderr, flush=True)


def _rows_up_to(path: Path, step: int) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows up to a step, as far as they are there."""
    if not path.exists():
        return [], []
    with path.open(newline="") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    # A killed run may have left half of its last row.
    whole = [row for row in rows if len(row) == len(header)]
    return header, [row for row in whole if row[0].isdigit() and int(row[0]) <= step]
