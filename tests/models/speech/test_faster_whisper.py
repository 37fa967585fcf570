"""What faster-whisper's segments become.

Weights cannot be had where the tests run: its model is a double with the interface of
faster-whisper 1.2 (`WhisperModel.transcribe` returns segments and information).
"""

import importlib
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.speech.base import Speech

PACKAGE = "faster_whisper"


class Model:
    """Hears one sentence, whatever the sound."""

    def __init__(self, directory: str, local_files_only: bool) -> None:
        assert local_files_only

    def transcribe(self, sound: np.ndarray, **options: Any) -> Any:
        assert sound.dtype == np.float32 and abs(sound).max() <= 1
        assert options["temperature"] == 0.0  # the same text in every run
        segment = types.SimpleNamespace(
            start=0.5, end=2.25, text=" hello", avg_logprob=math.log(0.5)
        )
        return iter([segment]), None


@pytest.fixture
def whisper(monkeypatch: pytest.MonkeyPatch) -> Any:
    package = types.ModuleType(PACKAGE)
    package.WhisperModel = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    name = "models.speech.faster_whisper"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    monkeypatch.setattr(module.metadata, "version", lambda _: "1.2.3")
    yield module
    del sys.modules[name]


def test_segments_become_speech(whisper: Any, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    recognizer = whisper.FasterWhisper(str(tmp_path))
    assert recognizer.recognizer_id.startswith("faster-whisper-1.2.3:")
    sound = [np.full(16_000, -32768, np.int16), np.zeros(16_000, np.int16)]
    assert list(recognizer.recognize(sound)) == [
        Speech(500_000, 2_250_000, " hello", 0.5)
    ]
    assert list(recognizer.recognize([])) == []


def test_a_directory_without_weights_is_refused(whisper: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no model\.bin"):
        whisper.FasterWhisper(str(tmp_path))
