"""A decoder of text, alone or about a context such as a picture.

    decoder = load_gpt2("checkpoints/gpt2")  # models.backbones.text_decoder.gpt2
    cache = decoder.start(rows=2, slots=32)
    logits, cache = decoder(ids, cache)  # int32 [2, n] -> float32 [2, n, vocabulary]
    logits, cache = decoder(next_ids, cache)  # [2, 1]: the work of one token

One class for the decoders of this field, which differ in where they normalize, how they
see their context and how they name the next token: GPT-2, OPT, and BERT turned decoder
as BLIP and GIT use it.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from models.backbones.bert.model import check_length
from models.nn.attention import Compute, KeyValues
from models.nn.decoder_block import DecoderBlock, LayerCache, Place, empty
from models.nn.transformer import ACTIVATIONS, BlockConfig, layer_norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextDecoderConfig(BlockConfig):
    """A decoder of text; the defaults are GPT-2's with 117 million parameters.

    Attributes:
        vocabulary: number of token ids.
        max_tokens: longest text.
        position_offset: rows of the table of positions before the first (OPT: 2).
        word_width: width of the words' embeddings, projected to `hidden` and back
            (OPT-350m); None: `hidden`.
        embedding_norm: a layer norm before the first block.
        post_norm: blocks normalize after their residual sums.
        final_norm: a layer norm after the last block.
        context: `cross`: blocks look at it by an attention of their own; `prefix`: its
            tokens precede the text; `none`: there is none.
        context_width: width of its tokens; of a prefix it is `hidden`.
        tied: the next token is named by the words' embeddings, not by a head.
        head_bias: every token has a bias.
        head_transform: a linear layer, activation and layer norm before the head.
    """

    activation: str = "gelu_new"
    norm_epsilon: float = 1e-5
    vocabulary: int = 50257
    max_tokens: int = 1024
    position_offset: int = 0
    word_width: int | None = None
    embedding_norm: bool = False
    post_norm: bool = False
    final_norm: bool = True
    context: Literal["none", "cross", "prefix"] = "none"
    context_width: int = 768
    tied: bool = True
    head_bias: bool = False
    head_transform: bool = False


class Context(NamedTuple):
    """What texts are about, such as a picture.

    Attributes:
        tokens: [b, m, context_width].
        mask: bool [b, m], which of them may be looked at; None: all.
    """

    tokens: jax.Array
    mask: jax.Array | None = None


class Cache(NamedTuple):
    """What a decoder has seen of some texts.

    Attributes:
        layers: what each block remembers.
        seen: bool [r, slots], True where a token is that may be looked at.
        length: int32 [], the number of slots that are filled.
        context_mask: bool [b, m], see `Context`.
    """

    layers: tuple[LayerCache, ...]
    seen: jax.Array
    length: jax.Array
    context_mask: jax.Array | None = None


class TextDecoder(nnx.Module):
    """A decoder of text.

    Attributes:
        config: its sizes.
        blocks: its layers.
    """

    def __init__(
        self, config: TextDecoderConfig, rngs: nnx.Rngs, compute: Compute | None = None
    ) -> None:
        compute = compute or Compute()
        self.config = config
        self.dtype = compute.dtype
        word_width = config.word_width or config.hidden

        def embed(rows: int, width: int) -> nnx.Embed:
            normal = nnx.initializers.normal(0.02)
            return nnx.Embed(
                rows, width, dtype=compute.dtype, embedding_init=normal, rngs=rngs
            )

        def project(width: int, to: int) -> nnx.Linear:
            return nnx.Linear(width, to, use_bias=False, dtype=compute.dtype, rngs=rngs)

        self.words = embed(config.vocabulary, word_width)
        rows = config.max_tokens + config.position_offset
        self.positions = embed(rows, config.hidden)
        if config.word_width:
            self.widen = project(word_width, config.hidden)
            self.narrow = project(config.hidden, word_width)
        if config.embedding_norm:
            self.embedding_norm = layer_norm(config, compute, rngs)
        cross = config.context_width if config.context == "cross" else None
        self.blocks = nnx.List(
            DecoderBlock(
                config,
                post_norm=config.post_norm,
                cross=cross,
                compute=compute,
                rngs=rngs,
            )
            for _ in range(config.layers)
        )
        if config.final_norm:
            self.norm = layer_norm(config, compute, rngs)
        self.head = Head(config, compute, rngs)

    def start(self, rows: int, slots: int, context: Context | None = None) -> Cache:
        """Return what is known before the first token.

        Args:
            rows: number of texts.
            slots: room for the tokens of each.
            context: of b rows, what the texts are about: the first `rows / b` texts
                are about the first; None: about nothing.

        Raises:
            InputError: `bad_model_config` if `slots` is more than `config.max_tokens`.
        """
        check_length(slots, self.config.max_tokens)
        contexts: list[KeyValues | None] = [None] * len(self.blocks)
        if context is not None:
            contexts = list(self.read_context(context)[0])
        text = empty(rows, slots, self.config, self.dtype)
        layers = tuple(LayerCache(text, each) for each in contexts)
        seen, mask = jnp.zeros((rows, slots), bool), context.mask if context else None
        return Cache(layers, seen, jnp.int32(0), mask)

    def read_context(self, context: Context) -> tuple[tuple[KeyValues, ...], jax.Array]:
        """Return a context as each block looks at it, and its tokens after the last.

        A prefix goes through all blocks, its tokens looking at each other; otherwise
        the tokens that are returned are those that came.
        """
        if self.config.context == "cross":
            keys = (block.cross.key_values(context.tokens) for block in self.blocks)
            return tuple(keys), context.tokens
        tokens = context.tokens
        b, m, _ = tokens.shape
        mask = jnp.ones((b, m), bool) if context.mask is None else context.mask
        place = Place(jnp.int32(0), jnp.broadcast_to(mask[:, None], (b, m, m)))
        room = LayerCache(empty(b, m, self.config, self.dtype))
        found = []
        for block in self.blocks:
            tokens, cache = block(tokens, room, place)
            found.append(cache.text)
        return tuple(found), tokens

    def __call__(
        self, ids: jax.Array, cache: Cache, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Cache]:
        """Read the next tokens of texts.

        Args:
            ids: int [r, n].
            cache: of the tokens before; there must be room for n more.
            mask: bool [r, n], False where a text has no token (shorter texts are
                filled up, at their beginning if they continue); None: all.

        Returns:
            float32 [r, n, vocabulary], the logits of each token's successor, and the
            cache with the tokens in it.
        """
        new = jnp.ones(ids.shape, bool) if mask is None else mask
        seen = jax.lax.dynamic_update_slice_in_dim(cache.seen, new, cache.length, 1)
        slots = jnp.arange(seen.shape[1])
        own = cache.length + jnp.arange(ids.shape[1])
        context = cache.context_mask
        if context is not None:
            context = jnp.repeat(context, len(ids) // len(context), axis=0)[:, None]
        place = Place(cache.length, seen[:, None] & (slots <= own[:, None]), context)
        tokens = self._embed(ids, jnp.where(new, jnp.cumsum(seen, 1)[:, own], 0))
        layers = []
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            tokens, layer = block(tokens, layer, place)
            layers.append(layer)
        filled = cache.length + ids.shape[1]
        read = cache._replace(layers=tuple(layers), seen=seen, length=filled)
        return self.logits(tokens), read

    def _embed(self, ids: jax.Array, counts: jax.Array) -> jax.Array:
        """Return [r, n, hidden] of tokens, each the `counts`th of its text from 1."""
        tokens = self.words(ids)
        if self.config.word_width:
            tokens = self.widen(tokens)
        rows = jnp.maximum(counts - 1 + self.config.position_offset, 0)
        tokens = tokens + self.positions(rows)
        return self.embedding_norm(tokens) if self.config.embedding_norm else tokens

    def logits(self, tokens: jax.Array) -> jax.Array:
        """Map [r, n, hidden] of the last block to float32 [r, n, vocabulary]."""
        if self.config.final_norm:
            tokens = self.norm(tokens)
        if self.config.word_width:
            tokens = self.narrow(tokens)
        return self.head(tokens, self.words).astype(jnp.float32)


class Head(nnx.Module):
    """Names the next token."""

    def __init__(
        self, config: TextDecoderConfig, compute: Compute, rngs: nnx.Rngs
    ) -> None:
        self.config = config
        if config.head_transform:
            self.transform = nnx.Linear(
                config.hidden, config.hidden, dtype=compute.dtype, rngs=rngs
            )
            self.norm = layer_norm(config, compute, rngs)
        if not config.tied:
            self.words = nnx.Linear(
                config.word_width or config.hidden,
                config.vocabulary,
                use_bias=config.head_bias,
                dtype=compute.dtype,
                rngs=rngs,
            )
        elif config.head_bias:
            self.bias = nnx.Param(jnp.zeros(config.vocabulary, jnp.float32))

    def __call__(self, tokens: jax.Array, words: nnx.Embed) -> jax.Array:
        """Map [r, n, hidden] to [r, n, vocabulary]."""
        if self.config.head_transform:
            activation = ACTIVATIONS[self.config.activation]
            tokens = self.norm(activation(self.transform(tokens)))
        if not self.config.tied:
            return self.words(tokens)
        logits = words.attend(tokens)
        return logits + self.bias[...] if self.config.head_bias else logits
