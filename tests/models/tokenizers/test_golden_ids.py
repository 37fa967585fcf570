"""Ids of texts in many scripts, kept from before the library made them.

`golden_ids.json` was written by this project's first tokenizers, whose ids were those
of the published ones; the library's must be the same.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from models.tokenizers.byte_pairs import clip_bpe, read_merges
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.wordpiece import read_vocabulary, word_piece
from tests.support.paths import DATA

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="needs the vocabularies of shared/data/models"
)


def load(name: str) -> CaptionTokenizer:
    if name == "bert":
        vocabulary = read_vocabulary(str(DATA / "models/bert_uncased_vocab.txt"))
        return word_piece(vocabulary)
    return clip_bpe(read_merges(str(DATA / "models/clip_bpe_simple_vocab_16e6.txt.gz")))


@pytest.mark.parametrize("name", ["bert", "clip"])
def test_ids_are_those_of_before(name: str) -> None:
    golden = json.loads(Path(__file__).with_name("golden_ids.json").read_text())
    tokenizer = load(name)
    saved = CaptionTokenizer.from_json(tokenizer.to_json())
    assert (saved.size, saved.end_id) == (tokenizer.size, tokenizer.end_id)
    for case in golden:
        for each in (tokenizer, saved):
            ids, mask = map(np.asarray, each.encode([case["text"]], 64))
            assert ids[0][mask[0]].tolist() == case[name], case["text"]
