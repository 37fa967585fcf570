"""Beam search as the library `transformers` defines it.

Each text of a batch keeps some running beams (unfinished texts) and as many finished
ones. At every step the best continuations of all running beams are taken, twice as many
as beams at least, so that enough are left when some end; those that end among the best
compete with the finished ones by their length-penalized score. Nothing of one text
depends on another: where a text cannot improve any more it keeps what it has while the
others continue.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from models.backbones.text_decoder.model import Cache, Context, TextDecoder
from models.captioning.generation.config import GenerationConfig
from models.captioning.generation.next_token import (
    Generated,
    ends,
    finite,
    next_scores,
)

# Added to the score of what must not be chosen; finite, so that sums stay comparable.
_NEVER = jnp.float32(-1e9)


class _Running(NamedTuple):
    """Beams that continue, best first."""

    ids: jax.Array  # int32 [b, k, slots]
    scores: jax.Array  # float32 [b, k], sums of log-likelihoods


class _Finished(NamedTuple):
    """Texts that ended or are as long as can be, best first."""

    ids: jax.Array  # int32 [b, k, slots]
    scores: jax.Array  # float32 [b, k], length-penalized
    sums: jax.Array  # float32 [b, k], not penalized
    tokens: jax.Array  # int32 [b, k], how many were written
    there: jax.Array  # bool [b, k]


class _Candidates(NamedTuple):
    """Continuations of running beams, best first."""

    beam: jax.Array  # int32 [b, c], which beam is continued
    ids: jax.Array  # int32 [b, c, slots]
    scores: jax.Array  # float32 [b, c]
    stop: jax.Array  # bool [b, c], ended or as long as can be


class _State(NamedTuple):
    step: jax.Array
    running: _Running
    finished: _Finished
    improvable: jax.Array  # bool [b], a running beam may still beat a finished one
    stuck: jax.Array  # bool [], all candidates of the last step stopped
    finite: jax.Array  # bool [b]
    cache: Cache


def beam_search(
    decoder: TextDecoder,
    prompt: jax.Array,
    mask: jax.Array,
    context: Context | None,
    config: GenerationConfig,
) -> Generated:
    """Write texts; the arguments are those of `generate`."""
    b, length = prompt.shape
    slots = length + config.max_tokens
    cache = decoder.start(b, slots - 1, context)  # The last token is never read.
    logits, cache = decoder(prompt, cache, mask)
    logits = jnp.repeat(logits[:, None, -1], config.beams, axis=1)

    def advance(state: _State) -> _State:
        last = state.running.ids[:, :, length + state.step - 1]
        logits, cache = decoder(last.reshape(-1, 1), state.cache)
        logits = logits.reshape(b, config.beams, -1)
        return _step(logits, state._replace(cache=cache), length, config)

    def goes_on(state: _State) -> jax.Array:
        full = state.finished.there.all() & (config.early_stopping is True)
        return state.improvable.any() & ~full & ~state.stuck

    start = _start(prompt, _per_beam(cache, config.beams), slots, config)
    first = _step(logits, start, length, config)
    last = jax.lax.while_loop(goes_on, advance, first)
    best = jax.tree.map(lambda each: each[:, 0], last.finished)
    at_end = jnp.take_along_axis(best.ids, length + best.tokens[:, None] - 1, axis=1)
    ended = ends(at_end[:, 0], config)
    return Generated(best.ids, best.tokens, best.sums, ended, last.finite)


def _start(
    prompt: jax.Array, cache: Cache, slots: int, config: GenerationConfig
) -> _State:
    b, length = prompt.shape
    shape = (b, config.beams)
    ids = jnp.full((*shape, slots), config.pad_id, jnp.int32)
    ids = ids.at[:, :, :length].set(prompt[:, None])
    # All beams are the same prompt: only the first may be continued.
    scores = jnp.full(shape, _NEVER).at[:, 0].set(0.0)
    nothing = _Finished(
        ids,
        jnp.full(shape, _NEVER),
        jnp.zeros(shape),
        jnp.zeros(shape, jnp.int32),
        jnp.zeros(shape, bool),
    )
    every = jnp.ones(b, bool)
    return _State(
        jnp.int32(0),
        _Running(ids, scores),
        nothing,
        every,
        jnp.zeros((), bool),
        every,
        cache,
    )


def _step(
    logits: jax.Array, state: _State, length: int, config: GenerationConfig
) -> _State:
    """Write one token, from the logits [b, k, vocabulary] of the running beams."""
    found = _candidates(logits, state, length, config)
    barred = found.scores + jnp.where(found.stop, _NEVER, 0.0)
    scores, chosen = jax.lax.top_k(barred, config.beams)
    running = _Running(_take(found.ids, chosen), scores)
    finished = _finish(found, state, config)
    step = state.step + 1
    # Beams that were never alive say nothing about the model.
    alive = state.running.scores > _NEVER / 2
    sound = (finite(logits) | ~alive).all(axis=1) | ~state.improvable
    return _State(
        step,
        running,
        finished,
        state.improvable & _may_improve(running, finished, step, config),
        found.stop.all(),
        state.finite & sound,
        _reorder(state.cache, _take(found.beam, chosen)),
    )


def _candidates(
    logits: jax.Array, state: _State, length: int, config: GenerationConfig
) -> _Candidates:
    vocabulary = logits.shape[-1]
    scores = next_scores(logits, state.step, length, config)
    scores = scores + state.running.scores[:, :, None]
    kept = max(2, 1 + len(config.end_ids)) * config.beams
    best, places = jax.lax.top_k(scores.reshape(len(scores), -1), kept)
    beam, token = places // vocabulary, (places % vocabulary).astype(jnp.int32)
    ids = _take(state.running.ids, beam)
    at = (jnp.int32(0), jnp.int32(0), length + state.step)
    ids = jax.lax.dynamic_update_slice(ids, token[:, :, None], at)
    stop = ends(token, config) | (state.step + 1 == config.max_tokens)
    return _Candidates(beam, ids, best, stop)


def _finish(found: _Candidates, state: _State, config: GenerationConfig) -> _Finished:
    """Let the candidates that stop compete with the texts that stopped before."""
    old = state.finished
    just = found.stop & (jnp.arange(found.stop.shape[1]) < config.beams)
    tokens = state.step + 1
    scores = found.scores / tokens.astype(jnp.float32) ** config.length_penalty
    full = old.there.all(axis=1, keepdims=True) & (config.early_stopping is True)
    for barred in (full, ~state.improvable[:, None], ~just):
        scores = scores + jnp.where(barred, _NEVER, 0.0)
    written = jnp.broadcast_to(tokens, scores.shape)
    new = _Finished(found.ids, scores, found.scores, written, just)
    both = _Finished(
        *(jnp.concatenate(pair, axis=1) for pair in zip(old, new, strict=True))
    )
    _, chosen = jax.lax.top_k(both.scores, config.beams)
    return jax.tree.map(lambda each: _take(each, chosen), both)


def _may_improve(
    running: _Running, finished: _Finished, step: jax.Array, config: GenerationConfig
) -> jax.Array:
    """Tell for each text, bool [b], whether a running beam may beat a finished one."""
    tokens = step
    if config.early_stopping == "never" and config.length_penalty > 0:
        tokens = jnp.int32(config.max_tokens)
    best = running.scores[:, :1] / tokens.astype(jnp.float32) ** config.length_penalty
    worst = finished.scores.min(axis=1, keepdims=True)
    return (best > jnp.where(finished.there, worst, _NEVER)).any(axis=1)


def _take(rows: jax.Array, chosen: jax.Array) -> jax.Array:
    """Take rows [b, k, ...] by number [b, n], for each text its own."""
    return jax.vmap(lambda row, numbers: row[numbers])(rows, chosen)


def _per_beam(cache: Cache, beams: int) -> Cache:
    """Return a cache with a row for each beam; contexts are shared."""
    return _with_rows(cache, lambda rows: jnp.repeat(rows, beams, axis=0))


def _reorder(cache: Cache, beam: jax.Array) -> Cache:
    """Return a cache whose rows continue other beams of the same text, int [b, k]."""
    b, beams = beam.shape
    rows = (beam + beams * jnp.arange(b)[:, None]).reshape(-1)
    return _with_rows(cache, lambda old: old[rows])


def _with_rows(cache: Cache, change: Callable[[jax.Array], jax.Array]) -> Cache:
    layers = tuple(
        layer._replace(text=jax.tree.map(change, layer.text)) for layer in cache.layers
    )
    return cache._replace(layers=layers, seen=change(cache.seen))
