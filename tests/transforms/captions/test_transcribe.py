"""Videos to captions: by their transcripts, and by ear."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401
from clipseed.elements import ASR, ClipCaption, Video
from clipseed.io.http import FetchConfig
from tests.support.made_media import SOUND_HZ, film, tone, write_video
from tests.support.paths import SPEECH
from transforms.captions.transcribe import (
    Transcribe,
    TranscribeConfig,
    TranscriptReport,
    _RecognizeFn,
    _unbroken,
)
from transforms.captions.utterances import ClipRule
from transforms.media.audio import read_sound

S = 1_000_000


def config(transcripts: str = "", recognizer: str = "") -> TranscribeConfig:
    rule, fetch = ClipRule(4 * S, 60 * S), FetchConfig()
    return TranscribeConfig(
        transcripts, "en", recognizer, rule, fetch, False, 60.0, None
    )


def video(name: str, uri: str = "") -> Video:
    return Video(f"id-{name}", f"{name}.mp4", uri)


def test_every_video_has_captions_or_a_reason(tmp_path: Path) -> None:
    cues = "WEBVTT\n\n00:01.000 --> 00:06.000\n"
    files = {
        "said.vtt": f"{cues}hello &amp; goodbye\n\n00:09.000 --> 00:08.000\nno\n",
        "sung.vtt": f"{cues}[Music]\n",
        "late.srt": f"{cues}\n\n99:99 --> 0\nno times\n",
        "odd.json3": "{",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    videos = [video(name) for name in ("said", "sung", "late", "odd", "none")]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        done = pipeline | beam.Create(videos) | Transcribe(config(str(tmp_path)))
        caption = ClipCaption("", "", "hello & goodbye", 1, 1.0, S, videos[0], ASR)
        wanted = [caption._replace(start_us=S, end_us=6 * S)]
        assert_that(done.captions, equal_to(wanted), "captions")
        counts = {"said": (2, 1), "late": (1, 0)}
        reports = [
            TranscriptReport(
                v.video_id, v.reference, *counts.get(v.video_id[3:], (0, 0))
            )
            for v in videos
        ]
        assert_that(done.reports, equal_to(reports), "reports")
        rejected = done.rejected | beam.Map(lambda d: (d.stage, d.key, d.reason))
        wanted_rejected = [
            ("read_transcripts", "said.mp4@9.000s", "bad_times"),
            ("read_transcripts", "late.mp4#0", "bad_times"),
            ("transcribe", "sung.mp4", "no_speech"),
            ("transcribe", "late.mp4", "no_usable_speech"),
            ("transcribe", "odd.mp4", "bad_transcript"),
            ("transcribe", "none.mp4", "no_transcript"),
        ]
        assert_that(rejected, equal_to(wanted_rejected), "rejected")


def recognized(path: Path) -> list[Any]:
    step = _RecognizeFn(config(recognizer="pocketsphinx"))
    step.setup()
    try:
        return list(step.process(video(path.stem, str(path))))
    finally:
        step.teardown()


def test_speech_is_captioned_where_it_is_spoken(tmp_path: Path) -> None:
    spoken = read_sound(str(SPEECH), 0, 11_700_000, SOUND_HZ).samples[:, None]
    path = write_video(tmp_path / "talk.mp4", film(1, 12), sound=spoken)
    numbers, going, out = recognized(path)
    assert "two three four five" in numbers.caption and "we are" in going.caption
    for caption, start_s, end_s in ((numbers, 2.0, 4.6), (going, 7.6, 9.7)):
        middle_s = (start_s + end_s) / 2
        assert caption.end_us - caption.start_us == 4 * S  # widened
        assert abs((caption.start_us + caption.end_us) / 2e6 - middle_s) < 0.3
        assert caption.time_us / S == pytest.approx(start_s, abs=0.2)
    report = TranscriptReport("id-talk", "talk.mp4", 2, 2)
    assert (out.tag, out.value) == ("reports", report)


@pytest.mark.parametrize("sound", ["none", "tone"])
def test_sound_that_is_no_speech_has_a_reason(tmp_path: Path, sound: str) -> None:
    made = {"none": None, "tone": tone(2)}[sound]
    path = write_video(tmp_path / "film.mp4", film(1, 2), sound=made)
    rejected = [out.value for out in recognized(path) if out.tag == "rejected"]
    wanted = {"none": "no_sound", "tone": "no_speech"}[sound]
    assert wanted in [dead_letter.reason for dead_letter in rejected]
    assert rejected[-1].stage == "transcribe" and rejected[-1].key == "film.mp4"


def test_pieces_that_follow_each_other_are_heard_as_one() -> None:
    def piece(start_s: int, end_s: int) -> tuple[int, int, np.ndarray]:
        return start_s * S, end_s * S, np.full(1, start_s)

    pieces = [piece(0, 60), piece(60, 120), piece(300, 360), piece(360, 361)]
    runs = [(at // S, [int(x[0]) for x in run]) for at, run in _unbroken(pieces)]
    assert runs == [(0, [0, 60]), (300, [300, 360])]
