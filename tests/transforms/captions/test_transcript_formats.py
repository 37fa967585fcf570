"""Transcripts as they are found: formats, encodings, and what is broken in them."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipseed.errors import InputError
from transforms.captions.transcript_formats import (
    decode_text,
    read_howto100m,
    read_transcript,
)
from transforms.captions.utterances import Utterance

S = 1_000_000

WEBVTT = """\ufeffWEBVTT - a talk
Kind: captions

STYLE
::cue { color: red }

NOTE 00:01 is when it starts

intro
00:01.000 --> 00:04.000 align:start position:0%
<v Roger Bingham>We are in <c.yellow>New</c> York&amp;co
<00:00:02.000><c> [Music]</c>

00:00:03.500 --> 00:00:05.000
overlapping

bad --> worse
lost

01:00:09.000 --> 01:00:05.000
backward
"""
SRT = """1
00:00:01,000 --> 00:00:02,000
<i>Hello</i>
00:00:03,5 --> 00:00:04,000
no empty line, no number

3
00:00:0a,000 --> 00:00:04,000
broken
4
00:00:07.500 --> 00:00:08.500 X1:0
dot
"""


def read(items: Iterator[Utterance | InputError]) -> list[Utterance | str]:
    return [item.reason if isinstance(item, InputError) else item for item in items]


def test_webvtt_is_read_cue_by_cue() -> None:
    said = ("We are in <c.yellow>New</c> York&amp;co", "<00:00:02.000><c> [Music]</c>")
    assert read(read_transcript("a.en.vtt", WEBVTT.encode())) == [
        Utterance(1 * S, 4 * S, said),
        Utterance(3 * S + S // 2, 5 * S, ("overlapping",)),
        "bad_times",
        Utterance(3609 * S, 3605 * S, ("backward",)),
    ]


def test_srt_is_read_cue_by_cue() -> None:
    assert read(read_transcript("a.SRT", SRT.encode())) == [
        Utterance(1 * S, 2 * S, ("<i>Hello</i>",)),
        Utterance(3 * S + S // 2, 4 * S, ("no empty line, no number",)),
        "bad_times",
        Utterance(7 * S + S // 2, 8 * S + S // 2, ("dot",)),
    ]


def test_json3_events_without_words_are_passed_over() -> None:
    events = [
        {"tStartMs": 0, "wpWinPosId": 1},
        {"tStartMs": 500, "dDurationMs": 1500, "segs": [{"utf8": "a"}, {"utf8": " b"}]},
        {"tStartMs": 700, "aAppend": 1, "segs": [{"utf8": "\n"}]},
        {"dDurationMs": 1, "segs": [{"utf8": "no start"}]},
        {"tStartMs": 1e300, "segs": [{"utf8": "no time"}]},
        {"tStartMs": "5", "segs": 7},
    ]  # fmt: skip
    data = json.dumps({"events": events}).encode()
    assert read(read_transcript("a.json3", data)) == [
        Utterance(S // 2, 2 * S, ("a b",)),
        *["bad_times"] * 3,
    ]


def test_howto100m_has_parallel_lists_in_seconds() -> None:
    entry = {"text": ["fold it", "x", 3], "start": [1.5, None, 1], "end": [4, 5, 2]}
    assert read(read_howto100m(json.dumps(entry))) == [
        Utterance(1_500_000, 4 * S, ("fold it",)),
        "bad_times",
        "bad_times",
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json3", b"[]"),
        ("a.json3", b'{"events": 3}'),
        ("a.json3", b"{"),
        ("a.json3", b"[" * 100_000),
    ],
)
def test_what_is_no_transcript_is_told(name: str, data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read(read_transcript(name, data))
    assert caught.value.reason == "bad_transcript"
    with pytest.raises(InputError) as caught:
        read(read_howto100m('{"text": ["a"], "start": [], "end": []}'))
    assert caught.value.reason == "bad_transcript"
    with pytest.raises(InputError) as caught:
        read_transcript("a.docx", data)
    assert caught.value.reason == "unknown_format"


FRENCH = "Là-bas, l'été déjà passé, où êtes-vous allés? Ça c'était très drôle. "
RUSSIAN = "Мы идём в город, чтобы купить хлеб и молоко. Как дела? "
TURKISH = "Bugün şehre gidip ekmek ve süt al. Değil mi? Çok güzel. "
JAPANESE = "今日は天気がいいから、散歩しましょう。"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", FRENCH),
        ("utf-8-sig", RUSSIAN),
        ("utf-16", JAPANESE),
        ("cp1252", FRENCH),
        ("cp1251", RUSSIAN),
        ("cp1254", TURKISH),
        ("cp932", JAPANESE),
    ],
)
def test_any_encoding_is_read(encoding: str, text: str) -> None:
    assert decode_text(text.encode(encoding)) == text


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=400), st.sampled_from(["a.vtt", "a.srt", "a.json3"]))
def test_any_bytes_give_utterances_or_errors(data: bytes, name: str) -> None:
    try:
        read(read_transcript(name, b"WEBVTT\n\n00:01.000 --> 00:02.000\n" + data))
    except InputError as error:
        assert error.reason == "bad_transcript"
