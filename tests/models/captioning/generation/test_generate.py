"""Tokens of the reference implementation, by every rule of its search.

`golden.json` was made by transformers 5.24 on the checkpoints of shared/data: settings,
prompts (the shorter ones filled up), and what `generate` returned for 12 tokens.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from clipseed.errors import InputError
from models.backbones.text_decoder.gpt2 import load_gpt2
from models.backbones.text_decoder.model import TextDecoder, TextDecoderConfig
from models.backbones.text_decoder.opt import load_opt
from models.captioning.generation.config import (
    GenerationConfig,
    generation_config,
    read_generation,
)
from models.captioning.generation.generate import generate
from models.captioning.generation.next_token import Generated
from tests.support.reference import PARITY_MODELS, jitted, needs_references

LOADERS = {"gpt2_text": load_gpt2, "opt_text": load_opt}
GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())


@functools.cache
def load(name: str) -> TextDecoder:
    return LOADERS[name](str(PARITY_MODELS / name))


def write(
    decoder: TextDecoder, prompt: Any, config: GenerationConfig, mask: Any = None
) -> Generated:
    def run(decoder: TextDecoder, prompt: Any, mask: Any) -> Generated:
        return generate(decoder, prompt, config, mask=mask)

    prompt = jnp.asarray(prompt, jnp.int32)
    mask = jnp.ones(prompt.shape, bool) if mask is None else jnp.asarray(mask)
    return jitted(decoder, run)(prompt, mask)


@needs_references
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", LOADERS)
def test_writes_the_published_tokens(name: str, beams: int) -> None:
    io = np.load(PARITY_MODELS / name / "io.npz")
    published = generation_config(read_generation(str(PARITY_MODELS / name)))
    config = dataclasses.replace(published, beams=beams, max_tokens=12)
    found = write(load(name), io["in.input_ids"], config)
    wanted = io["out.greedy" if beams == 1 else "out.beam3"]
    np.testing.assert_array_equal(found.ids, wanted)
    assert found.finite.all()


@needs_references
@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["settings"]))
def test_searches_as_the_reference_does(case: dict[str, Any]) -> None:
    settings = case["settings"]
    config = dataclasses.replace(
        generation_config({"bos_token_id": 1, "pad_token_id": 1, **settings}),
        beams=settings["num_beams"],
        max_tokens=12,
    )
    found = write(load(case["model"]), case["prompt"], config, case["mask"])
    wanted = np.array(case["ids"])
    ids = np.asarray(found.ids)
    np.testing.assert_array_equal(ids[:, : wanted.shape[1]], wanted)
    assert (ids[:, wanted.shape[1] :] == 1).all()
    if case["scores"] is not None:
        scores = found.log_likelihood / found.tokens**config.length_penalty
        np.testing.assert_allclose(scores, case["scores"], atol=1e-3, rtol=1e-5)
    last = ids[np.arange(len(ids)), len(case["prompt"][0]) + found.tokens - 1]
    np.testing.assert_array_equal(found.ended, np.isin(last, config.end_ids))


TINY = TextDecoderConfig(
    hidden=16, layers=1, heads=2, mlp=24, vocabulary=11, max_tokens=12
)
ENDING = GenerationConfig(start_id=1, end_ids=(2,), pad_id=0, max_tokens=6)


def tiny() -> TextDecoder:
    """Return a decoder that writes various texts, some of which end."""
    decoder = TextDecoder(TINY, nnx.Rngs(0))
    decoder.words.embedding.set_value(decoder.words.embedding[...] * 60)
    return decoder


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_is_the_same_alone_and_in_a_batch(beams: int) -> None:
    config = dataclasses.replace(ENDING, beams=beams)
    prompts = np.random.default_rng(0).integers(3, 11, (6, 3))
    together = write(tiny(), prompts, config)
    assert len({tuple(row) for row in np.asarray(together.ids)[:, 3:].tolist()}) > 1
    alone = write(tiny(), prompts[5:], config)
    np.testing.assert_array_equal(alone.ids[0], together.ids[5])
    np.testing.assert_allclose(
        alone.log_likelihood[0], together.log_likelihood[5], rtol=1e-4
    )


@pytest.mark.parametrize("beams", [1, 3])
def test_logits_that_are_not_numbers_are_reported(beams: int) -> None:
    decoder = tiny()
    words = decoder.words.embedding[...]
    decoder.words.embedding.set_value(words.at[5, 0].set(jnp.nan))
    config = dataclasses.replace(ENDING, beams=beams)
    assert not write(decoder, [[4, 5]], config).finite.any()


def test_the_cache_has_room_for_no_more_than_positions() -> None:
    with pytest.raises(InputError) as caught:
        write(tiny(), [[1]], dataclasses.replace(ENDING, max_tokens=20))
    assert caught.value.reason == "bad_model_config"


@pytest.mark.parametrize(
    "settings", [{}, {"bos_token_id": 1}, {"bos_token_id": 1, "eos_token_id": "end"}]
)
def test_a_text_needs_a_beginning_and_an_end(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        generation_config(settings)
    assert caught.value.reason == "bad_checkpoint"


def test_refuses_settings_that_would_change_the_text(tmp_path: Path) -> None:
    file = tmp_path / "generation_config.json"
    file.write_text('{"no_repeat_ngram_size": 3}')
    with pytest.raises(InputError, match="no_repeat_ngram_size") as caught:
        read_generation(str(tmp_path))
    assert caught.value.reason == "bad_checkpoint"
    file.write_text('{"no_repeat_ngram_size": 0, "do_sample": false}')
    assert read_generation(str(tmp_path))["do_sample"] is False
    file.unlink()
    assert read_generation(str(tmp_path)) == {}


def test_refuses_to_write_nothing() -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(ENDING, beams=0)
    assert caught.value.reason == "bad_generation_config"
