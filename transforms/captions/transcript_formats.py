"""Transcripts as they are published: WebVTT, SRT, YouTube's json3, HowTo100M's JSON.

    utterances, problems = read_transcript("talk.en.vtt", data)

pysubs2 and webvtt-py read these files as well, and hide what is broken in them: the
one takes a broken cue for text of the cue before it, the other leaves it out.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any

from charset_normalizer import from_bytes

from clipseed.errors import InputError
from transforms.captions.utterances import Utterance

_Item = Utterance | InputError
_STAMP = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s.*)?")
_ARROW = "-->"
_MAX_S = 1e8
_NUMBER = re.compile(r"\s*\d+\s*")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s[^<>]*>")


def read_transcript(name: str, data: bytes) -> Iterator[_Item]:
    """Yield the utterances of a transcript, and an error for each broken one.

    Args:
        name: its ending says the format.
        data: of the whole file.

    Raises:
        InputError: `bad_transcript`: it cannot be read at all; `unknown_format`.
    """
    ending = posixpath.splitext(name)[1].lower()
    if ending not in _FORMATS:
        known = ", ".join(FORMATS)
        raise InputError("unknown_format", f"{name}: its name ends in none of {known}.")
    return _FORMATS[ending](decode_text(data))


def decode_text(data: bytes) -> str:
    """Return the text of a file: UTF-8 or UTF-16, else the likeliest code page.

    Raises:
        InputError: `bad_transcript`: no encoding fits.
    """
    for encoding in ("utf-8-sig", "utf-16") if data[:2] in _MARKS else ("utf-8-sig",):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    likely = from_bytes(data, cp_isolation=_CODE_PAGES)
    if not likely:
        raise _bad("it is not text in any encoding")
    # Of two that fit as well, the more common one.
    best = min(
        likely, key=lambda m: (m.chaos, -m.coherence, _CODE_PAGES.index(m.encoding))
    )
    return str(best)


_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Of Windows, where subtitles without a mark were made; the most common first.
_CODE_PAGES = [
    *("cp1252", "cp1251", "cp1250", "cp1254", "cp1253", "cp1256", "cp1255"),
    *("cp932", "gb18030", "big5", "euc_kr"),
]


def _bad(problem: str) -> InputError:
    return InputError("bad_transcript", f"The transcript cannot be read: {problem}.")


# --- WebVTT and SRT ------------------------------------------------------------------


def _cues(text: str) -> Iterator[_Item]:
    """Yield the cues of WebVTT or SRT; notes and styles are passed over."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        place, at = at, at + 1
        if _ARROW not in lines[place]:
            continue
        end = at
        while end < len(lines) and lines[end].strip() and _ARROW not in lines[end]:
            end += 1
        said, at = lines[at:end], end
        if end < len(lines) and _ARROW in lines[end] and said:
            # The number of the next cue, where no empty line parts the two.
            said = said[:-1] if _NUMBER.fullmatch(said[-1]) else said
        yield _cue(place + 1, lines[place], said)


def _cue(number: int, times: str, lines: list[str]) -> _Item:
    match = _TIMES.fullmatch(times)
    if match is None:
        return InputError("bad_times", f"Line {number} does not have two times.")
    stamps = match.groups()
    voiceless = tuple(_VOICE.sub("", line) for line in lines)
    return Utterance(_stamp_us(*stamps[:4]), _stamp_us(*stamps[4:]), voiceless)


def _stamp_us(hours: str | None, minutes: str, seconds: str, part: str) -> int:
    whole_s = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return whole_s * 1_000_000 + int(part.ljust(3, "0")) * 1000


# --- JSON ----------------------------------------------------------------------------


def _json3(text: str) -> Iterator[_Item]:
    """Yield the events of YouTube's json3."""
    for number, event in enumerate(_entry(_parsed(text), "events")):
        if not isinstance(event, dict) or "segs" not in event or "aAppend" in event:
            continue  # A window's style, or the line break between two lines.
        try:
            said = "".join(str(part.get("utf8", "")) for part in event["segs"])
            start_ms, long_ms = event["tStartMs"], event.get("dDurationMs", 0)
            yield _timed(start_ms / 1e3, (start_ms + long_ms) / 1e3, said)
        except (AttributeError, KeyError, TypeError, ValueError):
            yield InputError("bad_times", f"Event {number} has no times, or no text.")


def read_howto100m(entry: str) -> Iterator[_Item]:
    """Yield the utterances of one video of HowTo100M's caption file.

    Args:
        entry: JSON of `{"text": [...], "start": [...], "end": [...]}`, in seconds.

    Raises:
        InputError: `bad_transcript`.
    """
    found = _parsed(entry)
    columns = [_entry(found, name) for name in ("start", "end", "text")]
    if len({len(column) for column in columns}) > 1:
        raise _bad("its texts and times differ in number")
    for number, (start_s, end_s, text) in enumerate(zip(*columns, strict=True)):
        try:
            yield _timed(start_s, end_s, text)
        except (AttributeError, TypeError, ValueError):
            yield InputError("bad_times", f"Caption {number} has no times, or no text.")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(f"it is not JSON ({type(error).__name__})") from error


def _entry(found: Any, name: str) -> list[Any]:
    entry = found.get(name) if isinstance(found, dict) else None
    if not isinstance(entry, list):
        raise _bad(f"it has no list {name!r}")
    return entry


def _timed(start_s: float, end_s: float, text: str) -> Utterance:
    if not (abs(start_s) < _MAX_S and abs(end_s) < _MAX_S):  # False for NaN, too.
        raise ValueError("these are outside a video")
    lines = tuple(text.splitlines())
    return Utterance(round(start_s * 1_000_000), round(end_s * 1_000_000), lines)


_FORMATS: dict[str, Callable[[str], Iterator[_Item]]] = {
    ".vtt": _cues,
    ".srt": _cues,
    ".json3": _json3,
}
FORMATS = tuple(_FORMATS)
