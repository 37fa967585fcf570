"""What a captioner is: uint8 images to captions."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from clipseed.errors import InputError
from models.pretrained.resizing import Resizing


class CaptioningError(Exception):
    """A captioner could not caption a batch; smaller batches may pass."""


@dataclasses.dataclass(frozen=True)
class Search:
    """How hard a captioner searches for a caption.

    Attributes:
        beams: captions kept at each step; 1: greedy search.
        max_tokens: of a caption, the token that ends it included.
    """

    beams: int = 3
    max_tokens: int = 32


class WrittenCaption(NamedTuple):
    """A caption of one image.

    Attributes:
        text: without special tokens.
        score: natural logarithm of its likelihood, per token; at most 0.
        problem: why it must not be used: `endless_caption` if it was as long as can be
            and had not ended, `empty_caption`, `bad_logits` if the model computed NaN
            or infinity; "" of a good one.
    """

    text: str
    score: float
    problem: str = ""


class Captioner(Protocol):
    """What writes captions.

    Attributes:
        captioner_id: changes whenever the captions would.
        resizing: how pictures become the squares that it takes; scaling their values is
            its own work.
        max_tokens: longest caption, the token that ends it included.
    """

    captioner_id: str
    resizing: Resizing
    max_tokens: int

    def caption(self, images: np.ndarray, search: Search) -> Sequence[WrittenCaption]:
        """Caption uint8 [n, s, s, 3], one caption per image.

        Raises:
            CaptioningError: the batch cannot be captioned.
            InputError: `bad_model_config` if it cannot write captions of so many
                tokens.
        """
        ...


def refuse_other_vocabulary(
    tokenizer_size: int, vocabulary: int, ends_known: bool
) -> None:
    """Check that a tokenizer belongs to a model.

    Args:
        tokenizer_size: number of ids of the tokenizer.
        vocabulary: number of ids of the model, which may be rounded up.
        ends_known: the tokenizer knows the token that ends a caption as such.

    Raises:
        InputError: `other_vocabulary`.
    """
    if ends_known and 0 <= vocabulary - tokenizer_size <= _MAX_UNUSED:
        return
    raise InputError(
        "other_vocabulary",
        f"the tokenizer ({tokenizer_size} tokens) is not of the model ({vocabulary}), "
        "or ends a caption by another token: copy the one published with the model",
    )


# Published models round the size of a vocabulary up, to a multiple of 128 at most.
_MAX_UNUSED = 127
