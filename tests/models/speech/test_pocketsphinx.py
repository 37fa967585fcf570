"""PocketSphinx hears two sentences that espeak-ng spoke.

`tests/support/speech.opus` is `espeak-ng -v en-us -s 120` saying "one two three four
five" from 2.0 to 4.6 s and "we are going to the city" from 7.6 to 9.7 s.
"""

import numpy as np
import pytest

from models.speech.base import SAMPLE_RATE_HZ
from models.speech.pocketsphinx import PocketSphinx
from models.speech.registry import load_recognizer
from tests.support.paths import SPEECH
from transforms.media.audio import read_sound


def test_words_are_found_where_they_are_spoken() -> None:
    samples = read_sound(str(SPEECH), 0, 11_700_000, SAMPLE_RATE_HZ).samples
    recognizer = PocketSphinx()
    numbers, going = recognizer.recognize(np.array_split(samples, 5))
    assert "two three four five" in numbers.text and "we are going" in going.text
    assert 1.8e6 < numbers.start_us < 2.2e6 and 4e6 < numbers.end_us < 5e6
    assert 7.3e6 < going.start_us < 7.8e6 and 9e6 < going.end_us < 10e6
    assert 0 < numbers.score < 1 and 0 < going.score < 1
    # The first sound leaves nothing behind.
    assert list(recognizer.recognize([samples])) == [numbers, going]


@pytest.mark.parametrize("level", [0, 3])
def test_sound_without_speech_says_nothing(level: int) -> None:
    hiss = np.random.default_rng(0).normal(0, level, 32_000).astype(np.int16)
    assert list(PocketSphinx().recognize([hiss])) == []
    assert list(PocketSphinx().recognize([])) == []


def test_recognizers_have_names() -> None:
    assert load_recognizer("pocketsphinx").recognizer_id.startswith("pocketsphinx-")
    for name in ("sphinx", "pocketsphinx:model", "faster-whisper"):
        with pytest.raises(ValueError, match="unknown recognizer"):
            load_recognizer(name)


def test_what_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faster_whisper", None)
    monkeypatch.delitem(
        __import__("sys").modules, "models.speech.faster_whisper", raising=False
    )
    with pytest.raises(ValueError, match=r"pip install faster-whisper"):
        load_recognizer("faster-whisper:weights")
