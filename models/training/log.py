"""What a training run tells: a CSV, TensorBoard, and a line on the terminal."""

import csv
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from models.training.step import Metrics

_COLUMNS = ("step", "loss", "accuracy", "gradient_norm", "clips_per_s")


class TrainLog:
    """Writes `metrics.csv` and TensorBoard events under an output directory.

    A run that is taken up again goes on in the same file; rows beyond the step that it
    goes on from are taken back.

    Args:
        directory: local.
        first_step: steps done before.
        steps: of the whole run.
        every: steps between two rows.
    """

    def __init__(self, directory: Path, first_step: int, steps: int, every: int):
        self._path = directory / "metrics.csv"
        self._events = directory / "tensorboard"
        self._first_step, self._steps, self._every = first_step, steps, every

    def __enter__(self) -> "TrainLog":
        import tensorflow as tf

        rows = _rows_up_to(self._path, self._first_step)
        self._file: TextIO = self._path.open("w", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerows([_COLUMNS, *rows])
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
        """Notes a step, counted from 1."""
        self._clips += clips
        if step % self._every and step != self._steps:
            return
        now_s = time.perf_counter()
        rate = self._clips / (now_s - self._mark_s)
        self._mark_s, self._clips = now_s, 0
        values = (metrics.loss, metrics.accuracy, metrics.gradient_norm, rate)
        numbers = [float(value) for value in values]
        self._csv.writerow([step, *(f"{number:.6g}" for number in numbers)])
        self._file.flush()
        self._summarize(step, numbers)
        self._show(step, numbers)

    def _summarize(self, step: int, numbers: list[float]) -> None:
        import tensorflow as tf

        with self._writer.as_default():
            for name, number in zip(_COLUMNS[1:], numbers, strict=True):
                tf.summary.scalar(name, number, step)

    def _show(self, step: int, numbers: list[float]) -> None:
        done = round(30 * step / self._steps)
        loss, right, _, rate = numbers
        line = (
            f"{'=' * done:<30} {step}/{self._steps}  loss {loss:.4f}  "
            f"right {right:.0%}  {rate:.1f} clips/s"
        )
        end = "" if sys.stderr.isatty() else "\n"
        print(f"\r{line}" if not end else line, end=end, file=sys.stderr, flush=True)


def _rows_up_to(path: Path, step: int) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [row for row in rows if row and int(row[0]) <= step]
