"""The report on a captioner, by one that writes what it is told."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipseed.errors import InputError
from clipseed.run.clip_record import encode
from clipseed.run.manifest import CutBenchmark, MissingClip, RunManifest
from clipseed.run.writer import RunWriter
from models.captioning.evaluation import report as module
from models.captioning.evaluation.report import report
from models.captioning.generation.config import GenerationConfig
from models.captioning.losses import TokenSums
from models.captioning.writer import Written
from models.data.clip_inputs import ClipInputs
from models.data.segments import SegmentConfig
from models.training.history import TrainedOn
from models.training.task import EvaluationOptions
from tests.support.tiny_run import clip_record, write_run

SHAPE = {"frames": 1, "frame_px": 4, "spectrogram_frames": 4}


class Parrot:
    """Writes the brightness of a clip; each character is a token of loss 2."""

    segment = SegmentConfig(**SHAPE)
    config = GenerationConfig(start_id=0, end_ids=(1,), pad_id=2)

    def write(self, clips: ClipInputs) -> list[Written]:
        shades = np.mean(clips.video, axis=(1, 2, 3, 4)).round().astype(int)
        return [Written(f"shade {shade}", -0.5, True) for shade in shades]

    def judge(self, clips: ClipInputs, captions: Sequence[str]) -> TokenSums:
        tokens: Any = np.array([len(text) for text in captions], np.float32)
        return TokenSums(2 * tokens, tokens, tokens)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the metrics; return what they are given."""
    seen: list[Any] = []

    def scores(references: Any, written: Any) -> dict[str, float]:
        seen.append((references, written))
        return {"BLEU-4": 1.0, "CIDEr": 2.0, "METEOR": 3.0, "ROUGE-L": 4.0}

    monkeypatch.setattr(module, "coco_scores", scores)
    return seen


def benchmark_run(directory: Path) -> str:
    """Write three clips, of 1, 7 and 2 captions; the last has no picture."""
    texts = (["one"], [f"two {i}" for i in range(7)], ["three", "drei"])
    records = [clip_record(2 * i, own, frames=2) for i, own in enumerate(texts)]
    records[2] = clip_record(4, texts[2], jpegs=(), sound=False)
    writer = RunWriter(str(directory))
    files = [writer.write_clips(0, 1, map(encode, records))]
    gone = (MissingClip("gone", "not_found", "no file", ("four",)),)
    cut = CutBenchmark("msr_vtt_captions/test", "0", gone)
    writer.finish(RunManifest(tuple(files), benchmark=cut))
    return str(directory)


def test_every_clip_is_written_about_once(tmp_path: Path, scored: list[Any]) -> None:
    run = benchmark_run(tmp_path / "run")
    lineage = [TrainedOn("x", "msr_vtt_captions/train", 5)]
    options = EvaluationOptions(batch_size=2)
    text, content = report(Parrot(), lineage, run, options)  # type: ignore[arg-type]
    found = json.loads(content)
    assert found["loss"] == pytest.approx(2)
    references, written = scored[0]
    assert [len(of) for of in references.values()] == [1, 7, 2, 1]
    shades = [each["written"] for each in found["captions"].values()]
    assert list(written.values()) == [*shades, "", ""]
    assert list(found["captions"]) == ["clip0", "clip2"]
    assert list(found["missing"]) == ["clip4", "gone"]
    assert (found["setting"], found["modality"]) == ("fine-tuned", "A+V")
    assert "| A+V, fine-tuned | 1.00 | 2.00 | 3.00 | 4.00 | 2.000 | 4 |" in text
    row = "VideoCC3M, V, zero-shot | 13.23 | 8.24 | 11.34 |  |  | 2990 |"
    assert row in text.replace("|  | |", "|  |  |")

    left_out = EvaluationOptions(batch_size=2, leave_out=True)
    report(Parrot(), [], run, left_out)  # type: ignore[arg-type]
    assert list(scored[1][1].values()) == shades


def test_a_mined_run_has_no_rows_of_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(write_run(tmp_path / "run", [clip_record(1, ["one"], frames=2)]))

    def fail(*_: Any) -> None:
        raise InputError("no_java", "there is no java")

    monkeypatch.setattr(module, "coco_scores", fail)
    text, content = report(Parrot(), [], run, EvaluationOptions(modality="V"))  # type: ignore[arg-type]
    assert "paper" not in text and "there is no java" in text
    found = json.loads(content)
    assert found["scores"] is None and found["modality"] == "V"


def test_a_captioner_takes_one_segment(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        report(Parrot(), [], str(tmp_path), EvaluationOptions(segments=4))  # type: ignore[arg-type]
    assert caught.value.reason == "bad_option"
