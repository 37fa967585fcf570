"""The tokenizer of a checkpoint, from whichever files it has."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from clipseed.errors import InputError
from models.retrieval.dual_encoder_task import DualEncoderTask
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.published import read_tokenizer
from tests.support.models.made_captions import captions

PUBLISHED = Path(__file__).with_name("published")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "##s", "a", "run"]


def save_whole(directory: Path) -> tokenizers.Tokenizer:
    """Write a `tokenizer.json` as `transformers` does: it does not say how to pad."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    library = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    library.add_special_tokens(WORDS[:5])
    library.save(str(directory / "tokenizer.json"))
    return library


def test_the_whole_tokenizer_is_taken_as_it_is(tmp_path: Path) -> None:
    library = save_whole(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "[MASK]"}')
    found = read_tokenizer(str(tmp_path)).encode(["A dog runs", ""], 6)
    assert found.ids.tolist() == [[2, 7, 5, 8, 6, 3], [2, 3, 4, 4, 4, 4]]
    assert found.mask.tolist() == [[True] * 6, [True] * 2 + [False] * 4]
    assert library.encode("a dog runs").ids == [2, 7, 5, 8, 6, 3]
    (tmp_path / "tokenizer_config.json").unlink()
    assert read_tokenizer(str(tmp_path)).encode([""], 3).ids.tolist() == [[2, 3, 0]]


def test_words_alone_are_berts(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    found = read_tokenizer(str(tmp_path))
    assert found.encode(["A dog runs"], 6).ids.tolist() == [[2, 7, 5, 8, 6, 3]]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    cased = read_tokenizer(str(tmp_path)).encode(["A dog runs"], 6)
    assert cased.ids.tolist() == [[2, 1, 5, 8, 6, 3]]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": "no"}')
    with pytest.raises(InputError) as caught:
        read_tokenizer(str(tmp_path))
    assert caught.value.reason == "bad_vocabulary"


def test_merges_alone_are_clips(tmp_path: Path) -> None:
    (tmp_path / "merges.txt").write_text("#version: 0.2\nd o\n")
    tokenizer = read_tokenizer(str(tmp_path))
    assert tokenizer.size == 515 and tokenizer.end_id == 514


def test_ids_are_the_checkpoints_own(tmp_path: Path) -> None:
    """And not those of OpenAI's order, where `vocab.json` says them."""
    shutil.copytree(PUBLISHED / "clip", tmp_path / "clip")
    (tmp_path / "clip" / "merges.txt").write_text("#version: 0.2\nq q\n")
    with pytest.raises(InputError, match="of one CLIP") as caught:
        read_tokenizer(str(tmp_path / "clip"))
    assert caught.value.reason == "bad_vocabulary"


@pytest.mark.parametrize(
    "name", ["bert_uncased", "bert_cased", "bert_cased_whole", "clip", "clip_whole"]
)
def test_ids_of_a_thousand_captions_are_those_of_transformers(name: str) -> None:
    """In many scripts, and the same after a training run has saved the tokenizer.

    `published/` was made with transformers 5.23 and tokenizers 0.23, and no download.
    Vocabularies were trained by `tokenizers` on every second of `captions()`:
    `WordPieceTrainer(vocab_size=600, min_frequency=2)` after `BertNormalizer`, and
    `BpeTrainer(vocab_size=900, end_of_word_suffix="</w>")` after the normalizer and
    splitter of `CLIPTokenizer()`, its tokens ordered as CLIP's. `bert_uncased` is
    `vocab.txt` alone, `bert_cased` has `do_lower_case` false beside it, `clip` is
    `vocab.json` and `merges.txt`; the others are what `save_pretrained` made of what
    `from_pretrained` had read. `ids.npz` holds `input_ids` of `BertTokenizer` and
    `CLIPTokenizer` for all captions, filled up with -1.
    """
    tokenizer = read_tokenizer(str(PUBLISHED / name))
    wanted = np.load(PUBLISHED / "ids.npz")[name.removesuffix("_whole")]
    assert len(wanted) == 1000
    saved = CaptionTokenizer.from_json(tokenizer.to_json())
    for each in (tokenizer, saved):
        ids, mask = map(np.asarray, each.encode(captions(), wanted.shape[1]))
        np.testing.assert_array_equal(np.where(mask, ids, -1), wanted)


@pytest.mark.parametrize("name", ["bert_uncased", "bert_cased_whole", "clip_whole"])
def test_special_tokens_in_a_caption_are_text(name: str) -> None:
    """Else a caption could end a text in its middle."""
    tokenizer = read_tokenizer(str(PUBLISHED / name))
    end = "<|endoftext|>" if name.startswith("clip") else "[SEP]"
    ids = np.asarray(tokenizer.encode([f"a {end} dog"], 30).ids[0])
    assert (ids == tokenizer.end_id).argmax() > 4


def test_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_tokenizer(str(tmp_path))
    assert caught.value.reason == "no_tokenizer"
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        read_tokenizer(str(tmp_path))
    assert caught.value.reason == "bad_vocabulary"


def test_a_text_checkpoint_brings_its_vocabulary(tmp_path: Path) -> None:
    """And not ids of words made from the captions."""
    save_whole(tmp_path)
    task = DualEncoderTask(text=str(tmp_path))
    ids = task.make_tokenizer(["zebra zebra"]).encode(["a dog runs zebra"], 7).ids
    np.testing.assert_array_equal(ids, [[2, 7, 5, 8, 6, 1, 3]])
    learned = DualEncoderTask().make_tokenizer(["zebra zebra"])
    assert learned.encode(["zebra"], 3).ids[0, 1] not in ids


def test_ids_beside_merges_tell_whose_they_are(tmp_path: Path) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    symbols = {symbol: n for n, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    (tmp_path / "merges.txt").write_text("#version: 0.2\nd o\n")
    gpt2 = symbols | {"do": 256, "<|endoftext|>": 257}
    for ids, end in ((gpt2, 257), (gpt2 | {"</s>": 258, "<pad>": 259}, 258)):
        (tmp_path / "vocab.json").write_text(json.dumps(ids))
        tokenizer = read_tokenizer(str(tmp_path))
        assert tokenizer.end_id == end and tokenizer.ends(end)
        row = tokenizer.encode(["do dot"], 9).ids[0].tolist()
        assert tokenizer.decode(row[1 : row.index(end, 1)]) == "do dot"


def test_a_tokenizer_without_a_frame_gets_one(tmp_path: Path) -> None:
    """As those that are published with GPT-2."""
    end = "<|endoftext|>"
    library = tokenizers.Tokenizer(tokenizers.models.BPE({end: 0, "a": 1, "b": 2}, []))
    library.add_special_tokens([end])
    library.save(str(tmp_path / "tokenizer.json"))
    row, mask = read_tokenizer(str(tmp_path)).encode(["ab"], 6)
    assert row.tolist() == [[0, 1, 2, 0, 0, 0]]
    assert mask.tolist() == [[True] * 4 + [False] * 2]


def test_a_text_comes_back_without_special_tokens(tmp_path: Path) -> None:
    save_whole(tmp_path)
    tokenizer = read_tokenizer(str(tmp_path))
    assert tokenizer.decode([2, 7, 5, 3, 99]) == "a dog"
    assert tokenizer.ends(3) and not tokenizer.ends(7) and not tokenizer.ends(99)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    assert read_tokenizer(str(tmp_path)).decode([7, 5, 6, 8]) == "a dogs run"
