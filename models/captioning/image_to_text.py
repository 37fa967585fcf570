"""A model that writes about a picture: an image encoder and a decoder of text.

found = write_about(model, pixels, config)  # [b, 224, 224, 3] -> Generated
logits = model.logits(ids, model.context(pixels))
"""

import jax
import jax.numpy as jnp
from flax import nnx

from models.backbones.text_decoder.model import Context, TextDecoder
from models.backbones.vit.model import ViT
from models.captioning.generation.config import GenerationConfig
from models.captioning.generation.generate import generate
from models.captioning.generation.next_token import Generated
from models.nn.attention import Compute


class Bridge(nnx.Module):
    """A linear layer, and if wanted a layer norm, from an encoder to a decoder.

    Args:
        width: of the encoder's tokens.
        to: width of the decoder's context.
        norm_epsilon: of the layer norm; None: without one.
        rngs: of the initial parameters.
        compute: precision.
    """

    def __init__(
        self,
        width: int,
        to: int,
        norm_epsilon: float | None,
        rngs: nnx.Rngs,
        compute: Compute,
    ) -> None:
        self.linear = nnx.Linear(width, to, dtype=compute.dtype, rngs=rngs)
        self.normed = norm_epsilon is not None
        if norm_epsilon is not None:
            self.norm = nnx.LayerNorm(
                to,
                epsilon=norm_epsilon,
                dtype=compute.dtype,
                use_fast_variance=False,
                rngs=rngs,
            )

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map [b, m, width] to [b, m, to]."""
        tokens = self.linear(tokens)
        return self.norm(tokens) if self.normed else tokens


class ImageToText(nnx.Module):
    """An image encoder and a decoder of text.

    Attributes:
        encoder: of the picture; all its tokens are the decoder's context.
        bridge: between them, where their widths differ; None: nothing is.
        decoder: of the text.
    """

    def __init__(
        self, encoder: ViT, decoder: TextDecoder, bridge: Bridge | None = None
    ) -> None:
        self.encoder = encoder
        self.bridge = bridge
        self.decoder = decoder

    def context(self, pixels: jax.Array) -> jax.Array:
        """Map normalized [b, h, w, 3] to what the decoder writes about."""
        tokens = self.encoder(pixels)
        return tokens if self.bridge is None else self.bridge(tokens)

    def logits(self, ids: jax.Array, context: jax.Array) -> jax.Array:
        """Return float32 [b, n, vocabulary]: each token's successor in int ids [b, n].

        Tokens after the end of a text change nothing before it.
        """
        rows, slots = ids.shape
        cache = self.decoder.start(rows, slots, Context(context))
        return self.decoder(ids, cache)[0]


def write_about(
    model: ImageToText, pixels: jax.Array, config: GenerationConfig
) -> Generated:
    """Write a text about each of the normalized pictures [b, h, w, 3]."""
    prompt = jnp.full((len(pixels), 1), config.start_id, jnp.int32)
    context = Context(model.context(pixels))
    return generate(model.decoder, prompt, config, context=context)
