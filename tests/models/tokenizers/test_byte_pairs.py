"""Byte-pair encodings: ids, merges, cropping, and files that are not vocabularies."""

import gzip
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from models.tokenizers.byte_pairs import (
    GPT2,
    OPT,
    byte_level_bpe,
    clip_bpe,
    read_ids,
    read_merges,
)
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from tests.support.paths import DATA

MERGES = DATA / "models/clip_bpe_simple_vocab_16e6.txt.gz"
# In the order of the vocabulary; "lo" may be merged before "w</w>".
SMALL = [("l", "o"), ("lo", "w</w>"), ("e", "r</w>"), ("lo", "w"), ("low", "er</w>")]
BYTES = 512  # ids of single bytes, inside and at the end of a word
needs_data = pytest.mark.skipif(
    not MERGES.is_file(), reason="needs the vocabularies of shared/data/models"
)


def symbols() -> list[str]:
    """Return the published symbols by byte: those that print, then U+0100 and on."""
    hidden = [b for b in range(256) if b <= 32 or 127 <= b <= 160 or b == 173]
    return [chr(256 + hidden.index(b) if b in hidden else b) for b in range(256)]


def content(tokenizer: CaptionTokenizer, text: str, length: int = 77) -> list[int]:
    """Return the ids between start and end."""
    ids, mask = tokenizer.encode([text], length)
    return np.asarray(ids)[0][np.asarray(mask)[0]].tolist()[1:-1]


# --- CLIP ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip() -> CaptionTokenizer:
    return clip_bpe(read_merges(str(MERGES)))


@needs_data
def test_gives_the_published_ids(clip: CaptionTokenizer) -> None:
    assert (clip.size, clip.end_id) == (49408, 49407)
    ids, mask = clip.encode(["a photo of a cat", "Hello  world!"], 8)
    assert ids.tolist() == [
        [49406, 320, 1125, 539, 320, 2368, 49407, 0],
        [49406, 3306, 1002, 256, 49407, 0, 0, 0],
    ]
    np.testing.assert_array_equal(mask.sum(axis=1), [7, 5])


@pytest.mark.parametrize("text", ["naïve café 24°", "日本の犬", "🙂🙂 ok", "собака"])
def test_without_merges_every_byte_is_read_back(text: str) -> None:
    found = content(clip_bpe([]), text)
    order = sorted(symbols())
    table = {symbol: byte for byte, symbol in enumerate(symbols())}
    data = bytes(table[order[i % 256]] for i in found)
    assert data.decode() == text.replace(" ", "")


def test_merges_in_the_order_of_the_list() -> None:
    small = clip_bpe(SMALL)
    names = sorted(symbols())
    names += [f"{name}</w>" for name in names] + ["".join(pair) for pair in SMALL]

    def pieces(text: str) -> list[str]:
        return [names[i] for i in content(small, text)]

    assert pieces("low") == ["low</w>"]
    assert pieces("lower") == ["lower</w>"]
    assert pieces("slower") == ["s", "lower</w>"]
    assert pieces("lolo") == ["lo", "l", "o</w>"]


def test_splits_as_the_published_pattern_does() -> None:
    regex = pytest.importorskip("regex")
    pattern = regex.compile(
        r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    )
    random = np.random.default_rng(0)
    alphabet = list("abcdé's'tvrelm 12²Ⅷ_-!?''  \t\n日本😀ा́")
    byte_ids = clip_bpe([])
    for _ in range(500):
        text = "".join(random.choice(alphabet, 30)).lower()
        text = unicodedata.normalize("NFC", text)
        # A word ends where an id of the second 256 is.
        ends = [i >= 256 for i in content(byte_ids, text, 200)]
        lengths = np.diff([-1, *np.flatnonzero(ends)]).tolist()
        assert lengths == [len(w.encode()) for w in pattern.findall(text)], repr(text)


def test_cleans_what_web_captions_are_full_of() -> None:
    byte_ids = clip_bpe([])
    for written, plain in (
        ("It’s Tom &amp;amp; Jerry", "it's tom & jerry"),  # noqa: RUF001
        ("cafe\u0301", "café"),
        ("“a\x1cb”", '"a b"'),
        ("ΟΔΟΣ", "οδος"),
    ):
        assert content(byte_ids, written) == content(byte_ids, plain)


def test_long_captions_are_cropped_and_keep_the_end() -> None:
    small = clip_bpe(SMALL)
    ids, mask = small.encode(["low " * 100, "low", "", "x" * 100_000, "\ud800"], 6)
    start, low, end = BYTES + len(SMALL), BYTES + 1, small.end_id
    assert ids[0].tolist() == [start, low, low, low, low, end]
    assert ids[1].tolist() == [start, low, end, 0, 0, 0]
    assert ids[2].tolist() == [start, end, 0, 0, 0, 0]
    assert ids[3, -1] == end
    assert mask.sum(axis=1).tolist() == [6, 3, 2, 6, 5]  # U+FFFD is three bytes.
    assert (ids.dtype, mask.dtype) == (np.int32, bool)


# --- GPT-2 and OPT -------------------------------------------------------------------


@needs_data
def test_the_published_vocabulary_of_opt() -> None:
    ids = read_ids(str(DATA / "models/gpt2-vocab.json"))
    opt = byte_level_bpe(OPT, ids, read_merges(str(DATA / "models/gpt2-merges.txt")))
    assert (opt.size, opt.end_id) == (len(ids), 2)
    row, mask = opt.encode(["a photo of the cat's nap"], 10)
    names = {index: token for token, index in ids.items()}
    assert [names[i] for i in np.asarray(row)[0].tolist()] == [
        *("</s>", "a", "Ġphoto", "Ġof", "Ġthe", "Ġcat", "'s", "Ġnap", "</s>", "<pad>"),
    ]
    assert mask.sum() == 9
    assert CaptionTokenizer.from_json(opt.to_json()).encode(["x"]).ids.tolist() == (
        opt.encode(["x"]).ids.tolist()
    )


def test_gpt2_frames_and_pads_by_one_token() -> None:
    ids = {symbol: i for i, symbol in enumerate(sorted(symbols()))}
    ids |= {"lo": 256, "<|endoftext|>": 257}
    gpt2 = byte_level_bpe(GPT2, ids, [("l", "o")])
    row, mask = gpt2.encode(["lo L"], 8)
    wanted = [257, 256, ids["Ġ"], ids["L"], 257, 257, 257, 257]
    assert row[0].tolist() == wanted and mask.sum() == 5
    with pytest.raises(InputError, match=r"no '</s>'; use vocab.json"):
        byte_level_bpe(OPT, ids, [])


# --- files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"l o\nlo w\n",
        b'"version"\nl o w\n',
        gzip.compress(b"x", mtime=0)[:-4],
        b"\xff\xfe",
    ],
)
def test_refuses_what_is_not_a_list_of_merges(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "merges").write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_merges(str(tmp_path / "merges"))
    assert caught.value.reason == "bad_vocabulary"


@pytest.mark.parametrize("data", ["[1]", "{", '{"a": "b"}'])
def test_refuses_what_is_not_a_table_of_ids(data: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(data)
    with pytest.raises(InputError) as caught:
        read_ids(str(tmp_path / "vocab.json"))
    assert caught.value.reason == "bad_vocabulary"


def test_reads_merges_that_are_not_gzipped(tmp_path: Path) -> None:
    (tmp_path / "merges").write_text("#version: 0.2\nl o\nlo w</w>\n")
    assert read_merges(str(tmp_path / "merges")) == SMALL[:2]
