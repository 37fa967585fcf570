"""Which transcript belongs to which video."""

import json
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401
from clipseed.elements import Video
from clipseed.errors import DeadLetter, InputError
from transforms.captions.transcripts import (
    FindTranscripts,
    Transcript,
    list_transcripts,
)

FILMS = [
    Video("id1", "films/one.mp4", ""),
    Video("id2", "two.with.dots.mkv", ""),
    Video("id3", "three.mp4", ""),
]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("")


def test_names_may_have_dots_and_languages(tmp_path: Path) -> None:
    names = ["a.b.vtt", "c.en.srt", "d.pt-BR.json3", "e.mp4", "f.notalanguage.vtt"]
    touch(tmp_path, *names)
    found = {(t.name, t.language) for t in list_transcripts(str(tmp_path))}
    assert found == {("a.b", ""), ("c", "en"), ("d", "pt"), ("f.notalanguage", "")}


def test_a_folder_without_transcripts_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    with pytest.raises(InputError) as caught:
        list(list_transcripts(str(tmp_path)))
    assert caught.value.reason == "no_transcripts"


def test_what_comes_before_damage_in_howto100ms_file_is_used(tmp_path: Path) -> None:
    file = tmp_path / "raw_caption.json"
    entry = {"text": ["a"], "start": [0.5], "end": [2]}
    whole = json.dumps({"one": entry, "two": entry})
    file.write_text(whole)
    assert [t.name for t in list_transcripts(str(file))] == ["one", "two"]
    file.write_text(whole[:-12])
    first, rejected = list_transcripts(str(file))
    assert isinstance(first, Transcript) and json.loads(first.entry) == entry
    assert isinstance(rejected, DeadLetter) and rejected.reason == "bad_transcript"


def test_a_video_is_found_by_its_id_or_the_name_of_its_file(tmp_path: Path) -> None:
    touch(tmp_path, "one.vtt", "id1.de.vtt", "id1.en.vtt", "two.with.dots.srt")
    with TestPipeline(runner="FnApiRunner") as pipeline:
        joined = pipeline | beam.Create(FILMS) | FindTranscripts(str(tmp_path), "en")
        named = joined.found | beam.MapTuple(lambda v, t: (v.video_id, t and t.uri))
        wanted = [
            ("id1", str(tmp_path / "id1.en.vtt")),
            ("id2", str(tmp_path / "two.with.dots.srt")),
            ("id3", None),
        ]
        assert_that(named, equal_to(wanted), "found")
        assert_that(joined.rejected, equal_to([]), "rejected")
