"""Tokens per second of captions, with and without the cache of keys and values.

    python -m benchmarks.captioning --batch 4
    python -m benchmarks.captioning --transformers /path/to/python  # that has it, torch

A GPT-2 of 12 layers writes about the tokens of random pictures, greedily and with three
beams; nothing ends a text before its 32nd token. Without the cache the same search runs
the decoder over the whole text for every token, in steps of 8 tokens, and must write
the same text.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from models.backbones.text_decoder.model import (
    Cache,
    Context,
    TextDecoder,
    TextDecoderConfig,
)
from models.captioning.generation.config import GenerationConfig
from models.captioning.generation.generate import generate
from models.nn.attention import KeyValues
from models.nn.decoder_block import LayerCache

TOKENS, BEAMS = 32, (1, 3)
_NEVER = -1  # no token ends a text
_PATCHES = 197
_STEP = 8  # lengths for which the decoder without a cache is compiled
_REPEATS = 3


class Forgetful:
    """A decoder that keeps the text alone, and reads all of it for every token.

    Args:
        decoder: that reads.
        context: [b, m, width] of the texts.
    """

    def __init__(self, decoder: TextDecoder, context: jax.Array) -> None:
        self._decoder = decoder
        self._context = context

    def start(self, rows: int, slots: int, _: Context) -> Cache:
        """Return an empty text, where a cache has its keys and values."""
        ids = jnp.zeros((rows, slots), jnp.int32)
        texts = LayerCache(KeyValues(ids, ids))
        return Cache((texts,), jnp.ones(ids.shape, bool), jnp.int32(0))

    def __call__(
        self, ids: jax.Array, cache: Cache, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Cache]:
        """Return the logits of the next token, [r, 1, vocabulary]."""
        (texts,) = cache.layers
        whole = jax.lax.dynamic_update_slice_in_dim(
            texts.text.key, ids, cache.length, axis=1
        )
        lengths = [*range(_STEP, whole.shape[1], _STEP), whole.shape[1]]
        place = jnp.searchsorted(jnp.array(lengths), cache.length, side="right")
        branches = [functools.partial(self._read, length) for length in lengths]
        logits = jax.lax.switch(place, branches, whole, cache.length)
        kept = cache._replace(
            layers=(LayerCache(KeyValues(whole, whole)),), length=cache.length + 1
        )
        return logits, kept

    def _read(self, length: int, whole: jax.Array, last: jax.Array) -> jax.Array:
        cache = self._decoder.start(len(whole), length, Context(self._context))
        logits, _ = self._decoder(whole[:, :length], cache)
        return jax.lax.dynamic_slice_in_dim(logits, last, 1, axis=1)


def measure(
    decoder: TextDecoder, context: jax.Array, beams: int, cached: bool
) -> tuple[float, np.ndarray]:
    """Return tokens per second, and the texts."""
    config = GenerationConfig(
        start_id=0, end_ids=(_NEVER,), pad_id=0, beams=beams, max_tokens=TOKENS
    )
    graph, state = nnx.split(decoder)

    @jax.jit
    def run(state: Any, context: jax.Array) -> jax.Array:
        writer = nnx.merge(graph, state)
        if not cached:
            writer = cast(TextDecoder, Forgetful(writer, context))
        prompt = jnp.zeros((len(context), 1), jnp.int32)
        return generate(writer, prompt, config, context=Context(context)).ids

    texts = np.asarray(run(state, context))
    seconds = _best(lambda: run(state, context).block_until_ready())
    return len(context) * TOKENS / seconds, texts


def _best(run: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        start_s = time.perf_counter()
        run()
        times.append(time.perf_counter() - start_s)
    return min(times)


# Run by another interpreter: the same model there, so that texts can be compared.
_TRANSFORMERS = """
import json, sys, time, numpy, torch
from transformers import GPT2Config, GPT2LMHeadModel
folder, batch, patches, tokens, repeats = sys.argv[1], *map(int, sys.argv[2:])
torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(add_cross_attention=True)).eval()
model.save_pretrained(folder)
context = numpy.random.default_rng(0).normal(size=(batch, patches, 768))
context = torch.tensor(context, dtype=torch.float32)
prompt = torch.zeros((batch, 1), dtype=torch.long)
found = {}
for beams in (1, 3):
    seen = context.repeat_interleave(beams, 0)
    settings = dict(num_beams=beams, do_sample=False, max_new_tokens=tokens,
                    eos_token_id=None, pad_token_id=0, encoder_hidden_states=seen)
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            ids = model.generate(prompt, **settings)
            times.append(time.perf_counter() - start)
    found[beams] = [batch * tokens / min(times[1:]), ids.tolist()]
print(json.dumps(found))
"""


def by_transformers(python: str, folder: str, batch: int) -> dict[int, Any]:
    """Save a model by `transformers`; return its tokens per second and texts."""
    sizes = [str(number) for number in (batch, _PATCHES, TOKENS, _REPEATS)]
    done = subprocess.run(
        [python, "-c", _TRANSFORMERS, folder, *sizes],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {int(beams): result for beams, result in found.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Print tokens per second; return 1 if two ways wrote different texts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--transformers", default="", metavar="PYTHON")
    flags = parser.parse_args(argv)
    random = np.random.default_rng(0).normal(size=(flags.batch, _PATCHES, 768))
    context = jnp.asarray(random, jnp.float32)
    theirs: dict[int, Any] = {}
    config = TextDecoderConfig(context="cross")
    decoder = TextDecoder(config, nnx.Rngs(0))
    if flags.transformers:
        from models.backbones.text_decoder.gpt2 import load_gpt2

        with tempfile.TemporaryDirectory() as folder:
            theirs = by_transformers(flags.transformers, folder, flags.batch)
            decoder = load_gpt2(str(Path(folder)))
    same = True
    for beams in BEAMS:
        fast, texts = measure(decoder, context, beams, cached=True)
        slow, wanted = measure(decoder, context, beams, cached=False)
        same = same and np.array_equal(texts, wanted)
        line = f"{beams} beams: {fast:.1f} tokens/s, {slow:.1f} without the cache "
        line += f"({fast / slow:.1f} times)"
        if beams in theirs:
            speed, ids = theirs[beams]
            line += f", transformers {speed:.1f} ({fast / speed:.2f} times)"
            same = same and np.array_equal(texts, ids)
        print(line)
    print("the texts are the same" if same else "the texts differ")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
