"""A trained captioner, ready to write about clips on the host.

writer = caption_writer(load_trained("model"))  # models.captioning.task
for text in writer.write(clips): ...
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from models.captioning.generation.config import GenerationConfig
from models.captioning.generation.generate import generate
from models.captioning.generation.next_token import Generated
from models.captioning.losses import TokenSums, token_sums
from models.captioning.model import ClipCaptioner
from models.data.clip_inputs import ClipInputs
from models.data.segments import SegmentConfig
from models.tokenizers.base import Tokens
from models.tokenizers.caption_tokenizer import CaptionTokenizer


class Written(NamedTuple):
    """What a captioner wrote about a clip.

    Attributes:
        text: without special tokens.
        score: natural logarithm of its likelihood, per token; at most 0.
        ended: False if it was as long as can be and had not ended.
    """

    text: str
    score: float
    ended: bool


class CaptionWriter:
    """A captioner with its tokenizer, compiled for batches.

    Args:
        model: a trained model.
        tokenizer: the one that it was trained with.
        segment: of a clip, that it takes.
        config: how captions are searched.

    Attributes:
        segment: as given.
        config: as given.
    """

    def __init__(
        self,
        model: ClipCaptioner,
        tokenizer: CaptionTokenizer,
        segment: SegmentConfig,
        config: GenerationConfig,
    ) -> None:
        self.segment, self.config = segment, config
        self._tokenizer = tokenizer
        graph, self._state = nnx.split(model)

        def write(state: nnx.State, clips: ClipInputs) -> Generated:
            found: ClipCaptioner = nnx.merge(graph, state)
            context = found.context(clips)
            prompt = jnp.full((len(context.tokens), 1), config.start_id, jnp.int32)
            return generate(found.decoder, prompt, config, context=context)

        def judge(state: nnx.State, clips: ClipInputs, texts: Tokens) -> TokenSums:
            ids = jnp.asarray(texts.ids)
            return token_sums(nnx.merge(graph, state)(clips, ids[:, :-1]), texts)

        self._write, self._judge = jax.jit(write), jax.jit(judge)

    def write(self, clips: ClipInputs) -> list[Written]:
        """Write a caption about each of b clips.

        The text of a clip for which the model computed NaN or infinity is empty, and
        its score NaN.
        """
        found = jax.device_get(self._write(self._state, clips))
        return [self._written(found, row) for row in range(len(found.tokens))]

    def judge(self, clips: ClipInputs, captions: Sequence[str]) -> TokenSums:
        """Return the loss of r captions of b clips, on the host.

        The first `r / b` captions are the first clip's.
        """
        texts = self._tokenizer.encode(captions)
        found: TokenSums = jax.device_get(self._judge(self._state, clips, texts))
        return found

    def _written(self, found: Generated, row: int) -> Written:
        if not found.finite[row]:
            return Written("", float("nan"), False)
        count, ended = int(found.tokens[row]), bool(found.ended[row])
        ids = found.ids[row, 1 : 1 + count - ended]
        score = float(found.log_likelihood[row]) / count
        return Written(self._tokenizer.decode(ids.tolist()), score, ended)
