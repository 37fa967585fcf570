from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from models.tokenizers.wordpiece import (
    learn_vocabulary,
    read_vocabulary,
    word_piece,
    words,
)
from tests.support.paths import DATA

VOCABULARY = DATA / "models/bert_uncased_vocab.txt"
needs_vocabulary = pytest.mark.skipif(
    not VOCABULARY.is_file(), reason="needs BERT's vocabulary of shared/data/models"
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL = [*SPECIAL, "run", "##ning", "##n", "dog", "!"]


def pieces(vocabulary: list[str], caption: str, length: int = 16) -> list[str]:
    ids, mask = word_piece(vocabulary).encode([caption], length)
    return [vocabulary[i] for i in ids[0][mask[0]]]


@needs_vocabulary
def test_gives_the_published_ids() -> None:
    bert = word_piece(read_vocabulary(str(VOCABULARY)))
    assert bert.size == 30522
    ids, mask = bert.encode(["Hello world", "a photo of a cat"], 8)
    assert ids.tolist() == [
        [101, 7592, 2088, 102, 0, 0, 0, 0],
        [101, 1037, 6302, 1997, 1037, 4937, 102, 0],
    ]
    assert (ids.dtype, mask.dtype) == (np.int32, bool)
    assert mask.sum(axis=1).tolist() == [4, 7]


@needs_vocabulary
def test_splits_words_as_published() -> None:
    vocabulary = read_vocabulary(str(VOCABULARY))
    got = pieces(vocabulary, "unaffable embeddings")
    assert got[1:-1] == ["una", "##ffa", "##ble", "em", "##bed", "##ding", "##s"]
    assert pieces(vocabulary, "日本 🙂")[1:-1] == ["日", "本", "[UNK]"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A dog's RUN!", ["a", "dog", "'", "s", "run", "!"]),
        ("ÀÉÎ ñ Zoe\u0308", ["aei", "n", "zoe"]),
        ("a犬走b", ["a", "犬", "走", "b"]),
        ("x^2 $3 — “y”", ["x", "^", "2", "$", "3", "—", "“", "y", "”"]),
        ("a\u00a0b\u3000c\td\u200be\x00\x07\ufffd", ["a", "b", "c", "de"]),
        (" \n ", []),
        ("Ⴀ ΟΔΟΣ İ", ["ⴀ", "οδος", "i"]),
        ("a\u0898b\u061dc\U0002b820d", ["ab", "\u061d", "c", "\U0002b820", "d"]),
    ],
)
def test_words_follow_the_rules_of_uncased_bert(text: str, wanted: list[str]) -> None:
    assert words(text) == wanted


def test_takes_the_longest_piece_first() -> None:
    assert pieces(SMALL, "running") == ["[CLS]", "run", "##ning", "[SEP]"]
    assert pieces(SMALL, "runn dogs") == ["[CLS]", "run", "##n", "[UNK]", "[SEP]"]
    assert pieces(SMALL, "run" + "n" * 98) == ["[CLS]", "[UNK]", "[SEP]"]
    assert pieces(SMALL, "run" + "n" * 97, 200)[-2:] == ["##n", "[SEP]"]


def test_special_tokens_in_a_caption_are_text() -> None:
    assert pieces([*SMALL, "[", "]", "sep"], "[SEP]") == [
        "[CLS]",
        "[",
        "sep",
        "]",
        "[SEP]",
    ]


def test_long_captions_are_cropped_and_keep_the_end() -> None:
    ids, mask = word_piece(SMALL).encode(["dog " * 99, "dog", "", "\ud800"])
    assert ids.shape == (4, 32)
    assert ids[0].tolist() == [2, *[8] * 30, 3]
    assert ids[1].tolist() == [2, 8, 3, *[0] * 29]
    assert mask.sum(axis=1).tolist() == [32, 3, 2, 2]


def test_builds_a_vocabulary_of_characters_and_frequent_words() -> None:
    captions = ["a red dog", "a red cat", "A dog!"]
    built = learn_vocabulary(captions, 100)
    assert built[:5] == SPECIAL
    assert built[5:7] == ["a", "##d"]  # three times; twice, the first of such
    assert built[-3:] == ["dog", "red", "cat"]
    assert built == learn_vocabulary(captions[::-1], 100)
    assert pieces(built, "a red dog!")[1:-1] == ["a", "red", "dog", "!"]
    assert pieces(built, "cede")[1:-1] == ["c", "##e", "##d", "##e"]
    assert len(learn_vocabulary(captions, 10)) == 10


def test_a_vocabulary_is_read_line_by_line(tmp_path: Path) -> None:
    path = str(tmp_path / "vocab.txt")
    tokens = [*SMALL, "é", "\u2028"]
    Path(path).write_text("".join(f"{token}\n" for token in tokens), "utf-8")
    assert read_vocabulary(path) == tokens
    Path(path).write_bytes("\r\n".join(SMALL).encode())
    assert read_vocabulary(path) == SMALL


@pytest.mark.parametrize(
    ("vocabulary", "told"),
    [
        (["dog", "[PAD]", "[UNK]"], r"no \[CLS\] and no \[SEP\]"),
        ([*SMALL, "dog"], "'dog' twice"),
    ],
)
def test_refuses_a_bad_vocabulary(vocabulary: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        word_piece(vocabulary)


def test_refuses_a_vocabulary_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_vocabulary(str(tmp_path / "vocab.txt"))
