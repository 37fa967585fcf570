"""How texts are written, as a checkpoint and a user want it.

Which tokens begin and end a text comes with the checkpoint (`generation_config.json`,
or fields of `config.json` in older ones); how many are tried and written is the user's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from clipseed.errors import InputError
from models.pretrained.checkpoint import published_value, read_json

GENERATION_FILE = "generation_config.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """What the search for a text obeys.

    Attributes:
        start_id: the token that a text starts with.
        end_ids: tokens that end it.
        pad_id: fills a row after its end.
        beams: texts kept at each step; 1: greedy search.
        max_tokens: written at most, the token that ends the text included.
        length_penalty: a text's log-likelihood is divided by the number of its tokens
            raised to this.
        early_stopping: `True`: stop when as many texts as beams have ended; `False`:
            when none that continues would beat them at its present length; `never`: at
            its best possible length.
        forced_start_id: the first token written after `start_id`; None: any.
        forced_end_id: the last token of a text as long as can be; None: any.
    """

    start_id: int
    end_ids: tuple[int, ...]
    pad_id: int
    beams: int = 1
    max_tokens: int = 32
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    forced_start_id: int | None = None
    forced_end_id: int | None = None

    def __post_init__(self) -> None:
        """Check the user's part.

        Raises:
            InputError: `bad_generation_config`.
        """
        if self.beams < 1 or self.max_tokens < 1:
            raise InputError(
                "bad_generation_config",
                f"{self.beams} beams of {self.max_tokens} tokens write nothing: give "
                "at least 1 of each",
            )


# Settings that would change a text and are not supported, with what leaves it alone.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "do_sample": (False,),
    "num_beam_groups": (1,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "repetition_penalty": (1, 1.0),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": (),
    "suppress_tokens": (),
    "begin_suppress_tokens": (),
    "sequence_bias": (),
    "penalty_alpha": (0, 0.0),
}


def read_generation(directory: str) -> dict[str, Any]:
    """Return the generation settings of a checkpoint; {} where it has no such file.

    Raises:
        InputError: `unreadable`; `bad_checkpoint` if a setting that changes texts is
            not supported.
    """
    try:
        found = read_json(directory, GENERATION_FILE)
    except InputError as error:
        if error.reason == "not_found":
            return {}
        raise
    for name, neutral in _NEUTRAL.items():
        value = found.get(name)
        if value not in (None, [], {}, *neutral):
            raise InputError(
                "bad_checkpoint",
                f"{GENERATION_FILE} of {directory} sets {name} to {value!r}, which is "
                "not supported: remove it to generate without",
            )
    return found


def generation_config(
    settings: Mapping[str, Any], start: str = "bos_token_id"
) -> GenerationConfig:
    """Return the checkpoint's part of a configuration.

    Args:
        settings: as published, by name; those of a whole checkpoint, joined.
        start: name of the field that holds the token a text starts with.

    Raises:
        InputError: `bad_checkpoint` if a token is missing or a value of another type.
    """
    ends = settings.get("eos_token_id")
    end_ids = tuple(ends) if isinstance(ends, list) else (ends,)
    start_id = settings.get(start)
    if not all(type(token) is int for token in (start_id, *end_ids)):
        raise InputError(
            "bad_checkpoint",
            f"the checkpoint names no {start} or no eos_token_id: add them to "
            f"{GENERATION_FILE}",
        )
    pad_id = settings.get("pad_token_id")
    early = settings.get("early_stopping")
    return GenerationConfig(
        start_id=start_id,  # type: ignore[arg-type]  # checked above
        end_ids=end_ids,
        pad_id=end_ids[0] if pad_id is None else pad_id,
        length_penalty=published_value(settings, "length_penalty", 1.0),
        early_stopping=early if early in (True, "never") else False,
        forced_start_id=settings.get("forced_bos_token_id"),
        forced_end_id=settings.get("forced_eos_token_id"),
    )
