"""Captioning as a task: a clip in, its caption token by token out."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx

from clipseed.errors import InputError
from models.captioning.generation.config import GenerationConfig
from models.captioning.losses import token_sums
from models.captioning.model import ClipCaptioner
from models.captioning.writer import CaptionWriter
from models.data.clip_inputs import CaptionedClips
from models.data.loader import Source, TrainingData
from models.tokenizers.base import CAPTION_TOKENS
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.training.clip_task import ClipTask
from models.training.gradients import Loss, accumulated
from models.training.task import EvaluationOptions, Report

if TYPE_CHECKING:
    from models.training.load import Trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptioningTask(ClipTask):
    """A task whose model is a `ClipCaptioner`.

    Attributes:
        vocabulary: directory with the files of a published tokenizer; "": see the task.
        allow: patterns of tensors that a checkpoint may lack or have left over.
    """

    vocabulary: str = ""
    allow: tuple[str, ...] = ()

    @property
    @abc.abstractmethod
    def max_tokens(self) -> int:
        """The longest caption that the model reads."""

    def check(self) -> None:
        """See `Task`."""
        if self.max_tokens < CAPTION_TOKENS:
            raise InputError(
                "bad_config",
                f"a decoder for {self.max_tokens} tokens cannot read captions of up to "
                f"{CAPTION_TOKENS}; set its max_tokens to that or more",
            )

    def training_data(
        self, sources: Sequence[Source], tokenizer: CaptionTokenizer, seed: int
    ) -> TrainingData:
        """See `Task`; no clip is another's negative, so that a batch may repeat one."""
        return TrainingData(
            sources, self.segment, self.augment, tokenizer, seed, distinct=False
        )

    def loss(self, model: ClipCaptioner, batch: CaptionedClips) -> Loss:
        """See `Task`; the mean over all tokens of the captions, in nats."""
        return _mean_loss(model, batch, jnp.asarray(batch.texts.mask)[:, 1:].sum())

    def micro_batched(
        self, graph: nnx.GraphDef, params: Any, rest: Any, batch: Any, count: int
    ) -> tuple[Loss, Any]:
        """See `Task`; every token of the batch counts alike, in whichever part."""
        tokens = jnp.asarray(batch.texts.mask)[:, 1:].sum()

        def loss(params: Any, part: CaptionedClips) -> Loss:
            return _mean_loss(nnx.merge(graph, params, rest), part, tokens / count)

        return accumulated(loss, params, batch, count)

    def evaluate(
        self, trained: "Trained", run_dir: str, options: EvaluationOptions
    ) -> Report:
        """See `Task`; the loss, and captions written and compared with the run's."""
        from models.captioning.evaluation.report import report

        writer = caption_writer(trained, options.beams, options.max_tokens)
        return report(writer, trained.lineage, run_dir, options)


def caption_writer(
    trained: "Trained", beams: int = 3, max_tokens: int = CAPTION_TOKENS
) -> CaptionWriter:
    """Return a trained model, ready to write.

    Args:
        trained: a model of a captioning task.
        beams: captions kept at each step; 1: greedy search.
        max_tokens: of a caption, the token that ends it included.

    Raises:
        InputError: `not_captioning` for a model of another task; as `GenerationConfig`.
    """
    task = trained.config.task
    if not isinstance(task, CaptioningTask):
        raise InputError(
            "not_captioning",
            f"a model trained by {type(task).__name__} does not write captions; name "
            "one that `clipseed train av_gpt2` made",
        )
    if max_tokens > task.max_tokens:
        raise InputError(
            "bad_generation_config",
            f"the decoder reads {task.max_tokens} tokens, not {max_tokens}: choose "
            "fewer",
        )
    special = trained.tokenizer.encode([""], 3).ids[0].tolist()
    config = GenerationConfig(
        start_id=special[0],
        end_ids=(special[1],),
        pad_id=special[2],
        beams=beams,
        max_tokens=max_tokens,
    )
    return CaptionWriter(trained.model, trained.tokenizer, task.segment, config)


def _mean_loss(model: ClipCaptioner, batch: CaptionedClips, tokens: jax.Array) -> Loss:
    """Return the loss per token, where the whole has so many."""
    ids = jnp.asarray(batch.texts.ids)
    sums = token_sums(model(batch.clips, ids[:, :-1]), batch.texts)
    tokens = jnp.maximum(tokens, 1).astype(jnp.float32)
    return sums.loss.sum() / tokens, {"accuracy": sums.right.sum() / tokens}
