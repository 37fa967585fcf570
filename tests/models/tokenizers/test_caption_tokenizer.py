import pytest

from clipseed.errors import InputError
from models.tokenizers.byte_pairs import clip_bpe
from models.tokenizers.caption_tokenizer import CaptionTokenizer


def test_no_captions_are_no_rows() -> None:
    tokens = clip_bpe([]).encode([], 8)
    assert tokens.ids.shape == tokens.mask.shape == (0, 8)


def test_a_row_holds_start_and_end_at_least() -> None:
    with pytest.raises(ValueError, match="a start and an end"):
        clip_bpe([]).encode(["dog"], 1)


@pytest.mark.parametrize(
    "text",
    [
        "[PAD]\n[UNK]\n",
        "[]",
        '{"format": "clipseed-tokenizer/9"}',
        '{"format": "clipseed-tokenizer/1", "unescape_html": true, "tokenizer": {}}',
    ],
)
def test_what_was_not_saved_here_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        CaptionTokenizer.from_json(text)
    assert caught.value.reason == "bad_tokenizer"
