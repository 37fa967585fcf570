"""Retrieval as a task: clips and captions into one space, by a contrastive loss."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from clipseed.errors import InputError
from models.data.clip_inputs import CaptionedClips
from models.retrieval.encoder import Encoder
from models.retrieval.losses import nce_loss
from models.retrieval.model import RetrievalModel
from models.retrieval.report import report
from models.tokenizers.base import CAPTION_TOKENS
from models.training.clip_task import ClipTask
from models.training.gradients import Loss, cached
from models.training.task import EvaluationOptions, Report

if TYPE_CHECKING:
    from models.training.load import Trained


class Embedded(NamedTuple):
    """A batch in the common space: float32 [b, d] each, unit norm."""

    clips: jax.Array
    texts: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalTask(ClipTask):
    """A task whose model is a `RetrievalModel`.

    Attributes:
        vocabulary: file of the tokenizer's vocabulary; "": see the task.
        allow: patterns of tensors that a checkpoint may lack or have left over.
    """

    vocabulary: str = ""
    allow: tuple[str, ...] = ()

    @property
    @abc.abstractmethod
    def max_tokens(self) -> int:
        """The longest text that the model takes."""

    def check(self) -> None:
        """See `Task`."""
        if self.max_tokens < CAPTION_TOKENS:
            raise InputError(
                "bad_config",
                f"a text encoder for {self.max_tokens} tokens cannot take captions of "
                f"up to {CAPTION_TOKENS}; set its max_tokens to that or more",
            )

    def loss(self, model: RetrievalModel, batch: CaptionedClips) -> Loss:
        """See `Task`; every other clip and caption of the batch is a negative."""
        return contrastive_loss(embed(model, batch), model.scale())

    def micro_batched(
        self, graph: nnx.GraphDef, params: Any, rest: Any, batch: Any, count: int
    ) -> tuple[Loss, Any]:
        """See `Task`; the negatives are still those of the whole batch."""

        def encode(params: Any, part: CaptionedClips) -> Embedded:
            return embed(nnx.merge(graph, params, rest), part)

        def loss(params: Any, embedded: Embedded) -> Loss:
            scale = nnx.merge(graph, params, rest).scale()
            return contrastive_loss(embedded, scale)

        return cached(encode, loss, params, batch, count)

    def evaluate(
        self, trained: "Trained", run_dir: str, options: EvaluationOptions
    ) -> Report:
        """See `Task`; recall and ranks in both directions."""
        encoder = Encoder(trained.model, trained.tokenizer, self.segment)
        return report(encoder, trained.lineage, run_dir, options)


def retrieval_encoder(trained: "Trained") -> Encoder:
    """Return the encoder of a trained model.

    Raises:
        InputError: `not_retrieval` for a model of another task.
    """
    task = trained.config.task
    if not isinstance(task, RetrievalTask):
        raise InputError(
            "not_retrieval",
            f"a model trained by {type(task).__name__} does not embed clips and texts; "
            "name a retrieval model",
        )
    return Encoder(trained.model, trained.tokenizer, task.segment)


def embed(model: RetrievalModel, batch: CaptionedClips) -> Embedded:
    """Return clips and captions in the common space."""
    return Embedded(model.encode_clips(batch.clips), model.encode_texts(batch.texts))


def contrastive_loss(embedded: Embedded, scale: jax.Array) -> Loss:
    """Return the noise-contrastive loss, and the `accuracy`."""
    loss = nce_loss(embedded.texts, embedded.clips, scale)
    return loss, {"accuracy": accuracy(embedded)}


def accuracy(embedded: Embedded) -> jax.Array:
    """Return the share of captions that are nearer to their clip than to any other."""
    similarities = embedded.texts @ embedded.clips.T
    own = jnp.diagonal(similarities)
    others = jnp.where(jnp.eye(len(own), dtype=bool), -jnp.inf, similarities)
    return jnp.mean(own > others.max(axis=1), dtype=jnp.float32)
