"""A third task, unlike the first two, goes through the loop as it is.

It stands in for captioning: images and videos of different length in one batch, a loss
that is a mean over examples, a part of the model that is frozen.
"""

import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.data.loader import Source
from models.nn.attention import Compute
from models.tokenizers.base import Tokens
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.wordpiece import learn_vocabulary, word_piece
from models.training import tasks
from models.training.config import TrainConfig
from models.training.gradients import Loss
from models.training.load import Trained, load_trained
from models.training.loop import train
from models.training.optimizers import OptimizerConfig
from models.training.task import EvaluationOptions, Report, Task

COLORS = ("black", "gray", "white")


class Frozen(nnx.Variable):
    """A variable that is not trained."""


class Shown(NamedTuple):
    """Frames of images and videos, padded, and the word that names them."""

    frames: Any
    has_frame: Any
    texts: Tokens


class TinyCaptioner(nnx.Module):
    def __init__(self, words: int, rngs: nnx.Rngs) -> None:
        self.table = Frozen(jax.random.normal(rngs.params(), (4, 8)))
        self.out = nnx.Linear(8, words, rngs=rngs)

    def __call__(self, shown: Shown) -> jax.Array:
        """Return logits of the second token: float32 [b, words]."""
        weights = shown.has_frame / shown.has_frame.sum(axis=1, keepdims=True)
        mean = (shown.frames * weights[..., None]).sum(axis=1)
        return self.out(jnp.tanh(mean @ self.table[...]))


class Examples(NamedTuple):
    ids: list[str]
    inputs: Shown


class Shelf:
    """Images (one frame) and videos (three), by turns."""

    runs: Sequence[Any] = ()

    def __init__(self, tokenizer: CaptionTokenizer) -> None:
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return 12

    def batches(
        self, batch: int, first_step: int, steps: int, host: int = 0, hosts: int = 1
    ) -> Iterator[Examples]:
        for step in range(first_step, steps):
            rng = np.random.default_rng(step)
            shades = rng.integers(0, len(COLORS), batch)
            frames = np.repeat(shades[:, None, None], 3, 1) - np.ones((1, 1, 4))
            has_frame = np.ones((batch, 3), np.float32)
            has_frame[::2, 1:] = 0
            texts = self._tokenizer.encode([COLORS[shade] for shade in shades], 3)
            ids = [f"{step}-{row}" for row in range(batch)]
            shown = Shown(frames.astype(np.float32), has_frame, texts)
            yield Examples(ids, shown)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyCaptionTask(Task):
    words: int = 40

    def make_tokenizer(self, captions: Iterable[str]) -> CaptionTokenizer:
        return word_piece(learn_vocabulary(COLORS, self.words))

    def training_data(
        self, sources: Sequence[Source], tokenizer: CaptionTokenizer, seed: int
    ) -> Shelf:
        return Shelf(tokenizer)

    def init(self, seed: int, compute: Compute) -> TinyCaptioner:
        return TinyCaptioner(self.words, nnx.Rngs(seed))

    def loss(self, model: TinyCaptioner, batch: Shown) -> Loss:
        scores = jax.nn.log_softmax(model(batch))
        word = jnp.asarray(batch.texts.ids)[:, 1:2]
        right = (scores.argmax(axis=1, keepdims=True) == word).mean(dtype=jnp.float32)
        loss = -jnp.take_along_axis(scores, word, axis=1).mean()
        return loss, {"words_right": right}

    def evaluate(
        self, trained: Trained, run_dir: str, options: EvaluationOptions
    ) -> Report:
        batch = next(Shelf(trained.tokenizer).batches(options.batch_size, 999, 1000))
        _, named = self.loss(trained.model, batch.inputs)
        return Report(f"| {float(named['words_right']):.2f} |", "{}")


def config(**changes: Any) -> TrainConfig:
    made = TrainConfig(
        task=TinyCaptionTask(),
        optimizer=OptimizerConfig(kind="adam", learning_rate=0.05, warmup=0.1),
        batch_size=6,
        epochs=60,
        checkpoint_every=50,
        data=(Source(""),),
    )
    return dataclasses.replace(made, **changes)


def leaves(model: nnx.Module) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model))]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, "TinyCaptionTask", __name__)


@pytest.mark.usefixtures("registered")
def test_it_is_trained_resumed_and_evaluated(tmp_path: Path) -> None:
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    metrics = train(config(), whole)
    assert metrics.named["words_right"] == 1 and float(metrics.loss) < 0.5
    header = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()[0]
    assert header == "step,loss,words_right,gradient_norm,clips_per_s"
    trained = load_trained(whole)
    options = EvaluationOptions(batch_size=9)
    assert trained.config.task.evaluate(trained, "", options).text == "| 1.00 |"

    # What is frozen is as it began, and is read back though nothing trained it.
    fresh = TinyCaptionTask().init(0, Compute())
    assert np.array_equal(trained.model.table[...], fresh.table[...])
    assert not np.array_equal(trained.model.out.kernel[...], fresh.out.kernel[...])

    # The last checkpoint is lost: the rest is trained again, to the same bits.
    shutil.rmtree(tmp_path / "whole" / "checkpoints" / "120")
    train(config(), whole)
    again = leaves(load_trained(whole).model)
    assert all(map(np.array_equal, again, leaves(trained.model)))

    # Micro-batches are averaged, and the same to rounding.
    train(config(micro_batch=2), parts)
    for one, other in zip(
        leaves(trained.model), leaves(load_trained(parts).model), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-3)
