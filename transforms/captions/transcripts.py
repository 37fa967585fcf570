"""The transcripts of a corpus: which one belongs to which video.

A folder or glob of files that are named as the videos are (`ID.vtt`, `ID.en.srt`,
`ID.json3`), or HowTo100M's one file for all videos (`raw_caption.json`). A video is
found by its id, or by the name of its file without the ending.
"""

import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import ijson

from clipseed.elements import Video
from clipseed.errors import DeadLetter, InputError
from clipseed.io import storage
from clipseed.io.listing import list_files
from transforms.captions.transcript_formats import (
    FORMATS,
    read_howto100m,
    read_transcript,
)
from transforms.captions.utterances import Utterance

STAGE = "list_transcripts"
_MAX_FILE_BYTES = 64 << 20
# Of one video in HowTo100M's file.
_MAX_ENTRY_CHARS = 16 << 20
_LANGUAGE = re.compile(r"\.([a-zA-Z]{2,3})(-[A-Za-z0-9-]+)?")


class Transcript(NamedTuple):
    """A transcript of one video, not parsed yet.

    Attributes:
        name: of the video: its id, or the stem of its file.
        uri: of the file.
        language: code in the file's name, such as `en`; "" for none.
        entry: JSON of one video in a file of many; "" if the file is read later.
    """

    name: str
    uri: str
    language: str = ""
    entry: str = ""


def utterances_of(transcript: Transcript) -> Iterator[Utterance | InputError]:
    """Yield the utterances of a transcript, and an error for each broken one.

    Raises:
        InputError: it cannot be read at all.
    """
    if transcript.entry:
        return read_howto100m(transcript.entry)
    data = storage.read_bytes(transcript.uri, _MAX_FILE_BYTES)
    return read_transcript(transcript.uri, data)


def list_transcripts(place: str) -> Iterator[Transcript | DeadLetter]:
    """Yield every transcript of a folder, glob or file.

    Raises:
        InputError: `not_found` or `no_transcripts`.
    """
    found = 0
    for uri in list_files(place):
        ending = posixpath.splitext(uri)[1].lower()
        if ending == ".json":
            found += 1
            yield from _howto100m(uri)
        elif ending in FORMATS:
            found += 1
            yield Transcript(*_name_and_language(uri))
    if not found:
        endings = ", ".join((*FORMATS, ".json"))
        raise InputError("no_transcripts", f"{place} holds no file named {endings}")


def _name_and_language(uri: str) -> tuple[str, str, str]:
    stem = stem_of(uri)
    root, suffix = posixpath.splitext(stem)
    match = _LANGUAGE.fullmatch(suffix)
    return (root, uri, match[1].lower()) if match and root else (stem, uri, "")


def stem_of(name: str) -> str:
    """Return the name of a file without folders and its ending."""
    return posixpath.splitext(posixpath.basename(name))[0]


def _howto100m(uri: str) -> Iterator[Transcript | DeadLetter]:
    last = "its start"
    try:
        with storage.open_binary(uri) as file:
            for name, entry in ijson.kvitems(file, "", use_float=True):
                last = name
                text = json.dumps(entry)
                if len(text) > _MAX_ENTRY_CHARS:
                    message = f"It has {len(text)} characters of {_MAX_ENTRY_CHARS}."
                    yield DeadLetter(STAGE, f"{uri}:{name}", "too_long", message)
                else:
                    yield Transcript(name, uri, "", text)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        message = f"It is not JSON after {last}; what comes before is used ({error})."
        yield DeadLetter(STAGE, uri, "bad_transcript", " ".join(message.split()))


# --- in a job ------------------------------------------------------------------------

# One of the two; Beam's CoGroupByKey would tag them, and pickle what it tagged.
_Side = tuple[Video | None, Transcript | None]
_Found = tuple[Video, Transcript | None]


class TranscribedVideos(NamedTuple):
    """What comes out of `FindTranscripts`.

    Attributes:
        found: `(Video, Transcript)`, or `(Video, None)` where there is none.
        rejected: `DeadLetter`s of files.
    """

    found: beam.PCollection
    rejected: beam.PCollection


@dataclass(eq=False)
class FindTranscripts(beam.PTransform):
    """`Video`s to `TranscribedVideos`.

    Attributes:
        place: folder, glob or file of the transcripts.
        language: preferred, where a video has several.
    """

    place: str
    language: str

    def expand(self, videos: beam.PCollection) -> Any:
        """Join by name, then keep one transcript per video."""
        named = videos | "Names" >> beam.FlatMap(_by_name).with_output_types(
            tuple[str, _Side]
        )
        # Names alone: a file of all of HowTo100M holds far more than a corpus needs.
        names = named | "NamesAlone" >> beam.Keys()
        listed = (
            videos.pipeline
            | "Transcripts" >> beam.Create([self.place])
            | "List"
            >> beam.FlatMap(_listed, beam.pvalue.AsIter(names)).with_outputs(
                "rejected", main="listed"
            )
        )
        transcripts = listed.listed | "ByName" >> beam.Map(
            lambda t: (t.name, (None, t))
        ).with_output_types(tuple[str, _Side])
        chosen = (
            (named, transcripts)
            | "Both" >> beam.Flatten()
            | "JoinNames" >> beam.GroupByKey()
            | "Pair" >> beam.FlatMapTuple(_paired).with_output_types(tuple[str, _Side])
            | "ByVideo" >> beam.GroupByKey()
            | "Choose" >> beam.Map(_chosen, self.language).with_output_types(_Found)
        )
        return TranscribedVideos(chosen, listed.rejected)


def _listed(place: str, names: Iterable[str]) -> Iterator[Any]:
    wanted = frozenset(names)
    for item in list_transcripts(place):
        if isinstance(item, DeadLetter):
            yield beam.pvalue.TaggedOutput("rejected", item)
        elif item.name in wanted:
            yield item


def _by_name(video: Video) -> Iterator[tuple[str, _Side]]:
    for name in {video.video_id, stem_of(video.reference)}:
        yield name, (video, None)


def _paired(_: str, sides: Iterable[_Side]) -> Iterator[tuple[str, _Side]]:
    found = list(sides)
    transcripts = {transcript for _, transcript in found if transcript is not None}
    for video in (video for video, _ in found if video is not None):
        yield video.video_id, (video, None)
        for transcript in transcripts:
            yield video.video_id, (video, transcript)


def _chosen(group: tuple[str, Iterable[_Side]], language: str) -> _Found:
    found = list(group[1])
    video = next(video for video, _ in found if video is not None)
    transcripts = {transcript for _, transcript in found if transcript is not None}

    def rank(transcript: Transcript) -> tuple[bool, int, str, str]:
        named = transcript.language
        fit = 0 if named == language else 1 if not named else 2
        return transcript.name != video.video_id, fit, transcript.uri, transcript.entry

    return video, min(transcripts, key=rank, default=None)
