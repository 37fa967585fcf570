import gzip
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from models.tokenizers.clip_bpe import ClipBpe, read_merges, words
from tests.support.paths import DATA

MERGES = DATA / "models/clip_bpe_simple_vocab_16e6.txt.gz"
# In the order of the vocabulary; "lo" may be merged before "w</w>".
SMALL = [("l", "o"), ("lo", "w</w>"), ("e", "r</w>"), ("lo", "w"), ("low", "er</w>")]
needs_merges = pytest.mark.skipif(
    not MERGES.is_file(), reason="needs CLIP's vocabulary of shared/data/models"
)


@pytest.fixture(scope="module")
def clip() -> ClipBpe:
    return ClipBpe(read_merges(str(MERGES)))


@needs_merges
def test_gives_the_published_ids(clip: ClipBpe) -> None:
    assert (clip.size, clip.end_id) == (49408, 49407)
    ids, mask = clip.encode(["a photo of a cat", "Hello  world!"], 8)
    assert ids.tolist() == [
        [49406, 320, 1125, 539, 320, 2368, 49407, 0],
        [49406, 3306, 1002, 256, 49407, 0, 0, 0],
    ]
    np.testing.assert_array_equal(mask.sum(axis=1), [7, 5])


@needs_merges
@pytest.mark.parametrize("text", ["naïve café 24°", "日本の犬", "🙂🙂 ok", "собака"])
def test_every_text_can_be_read_back(clip: ClipBpe, text: str) -> None:
    ids, mask = clip.encode([text], 77)
    pieces = {index: piece for piece, index in clip._ids.items()}
    read = "".join(pieces[i] for i in ids[0][mask[0]][1:-1]).replace("</w>", "ġ")
    symbols = {s: bytes([b]) for b, s in enumerate(_symbols())} | {"ġ": b""}
    assert b"".join(symbols[s] for s in read).decode() == text.replace(" ", "")


def _symbols() -> list[str]:
    """The published table, written down another way: bytes that print, then U+0100.."""
    hidden = [b for b in range(256) if b <= 32 or 127 <= b <= 160 or b == 173]
    return [chr(256 + hidden.index(b) if b in hidden else b) for b in range(256)]


def test_merges_in_the_order_of_the_list() -> None:
    small = ClipBpe(SMALL)

    def pieces(text: str) -> list[str]:
        names = {index: piece for piece, index in small._ids.items()}
        return [names[i] for i in small.encode([text], 12).ids[0] if i in names and i]

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
    for _ in range(500):
        text = "".join(random.choice(alphabet, 30)).lower()
        text = unicodedata.normalize("NFC", text)
        assert list(words(text)) == pattern.findall(text), repr(text)


def test_cleans_what_web_captions_are_full_of() -> None:
    assert list(words("It’s Tom &amp;amp; Jerry")) == [  # noqa: RUF001
        "it",
        "'s",
        "tom",
        "&",
        "jerry",
    ]
    assert list(words("cafe\u0301")) == ["café"]


def test_long_captions_are_cropped_and_keep_the_end() -> None:
    small = ClipBpe(SMALL)
    ids, mask = small.encode(["low " * 100, "low", "", "x" * 100_000, "\ud800"], 6)
    low = small._ids["low</w>"]
    assert ids[0].tolist() == [small.end_id - 1, low, low, low, low, small.end_id]
    assert ids[1].tolist() == [small.end_id - 1, low, small.end_id, 0, 0, 0]
    assert ids[2].tolist() == [small.end_id - 1, small.end_id, 0, 0, 0, 0]
    assert ids[3, -1] == small.end_id
    assert mask.sum(axis=1).tolist() == [6, 3, 2, 6, 3]
    assert (ids.dtype, mask.dtype) == (np.int32, bool)


@pytest.mark.parametrize(
    "data",
    [
        b"l o\nlo w\n",
        b'"version"\nl o w\n',
        gzip.compress(b"x", mtime=0)[:-4],
        b"\xff\xfe",
    ],
)
def test_refuses_what_is_no_list_of_merges(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "merges").write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_merges(str(tmp_path / "merges"))
    assert caught.value.reason == "bad_vocabulary"


def test_reads_merges_that_are_not_gzipped(tmp_path: Path) -> None:
    (tmp_path / "merges").write_text("#version: 0.2\nl o\nlo w</w>\n")
    assert read_merges(str(tmp_path / "merges")) == SMALL[:2]
