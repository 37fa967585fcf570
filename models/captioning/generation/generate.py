"""Write texts with a decoder.

    found = generate(decoder, prompt, config, context=Context(tokens_of_pictures))
    found.ids  # int32 [b, prompt + max_tokens]

To be called under `jax.jit`, with the configuration static. The same text comes out
whatever else is in the batch, except that another size of batch may round otherwise.
"""

import jax
import jax.numpy as jnp

from models.backbones.text_decoder.model import Context, TextDecoder
from models.captioning.generation.beam_search import beam_search
from models.captioning.generation.config import GenerationConfig
from models.captioning.generation.greedy import greedy_search
from models.captioning.generation.next_token import Generated


def generate(
    decoder: TextDecoder,
    prompt: jax.Array,
    config: GenerationConfig,
    *,
    mask: jax.Array | None = None,
    context: Context | None = None,
) -> Generated:
    """Write texts, greedily or by beam search.

    Args:
        decoder: that writes.
        prompt: int32 [b, n], what the texts begin with.
        config: what is written and when it ends.
        mask: bool [b, n], False where a shorter prompt is filled up, at its beginning;
            None: all are of one length.
        context: what the texts are about; None: nothing.

    Raises:
        InputError: `bad_model_config` if prompt and text are longer than the decoder's
            positions.
    """
    if mask is None:
        mask = jnp.ones(prompt.shape, bool)
    search = greedy_search if config.beams == 1 else beam_search
    return search(decoder, prompt, mask, context, config)
