"""What the training loop needs of a model: a task.

A task is a frozen dataclass of settings, part of the training configuration, with a
handful of methods. It knows its model, the batch that the model takes, the loss and how
a trained model is evaluated; the loop knows steps, devices, optimizer, checkpoints.
A new task is a file with a subclass, and an entry in `models.training.tasks`.
"""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from flax import nnx

from clipseed.run.clips import RunClips
from models.nn.attention import Compute
from models.tokenizers.base import CAPTION_TOKENS
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.training.gradients import Loss, accumulated

if TYPE_CHECKING:
    from models.training.load import Trained

Batch = Any  # The task's own pytree of arrays, [b, ...] each.


class TrainingBatch(Protocol):
    """A batch on the host."""

    @property
    def ids(self) -> list[str]:
        """The ids of its examples, for messages."""
        ...

    @property
    def inputs(self) -> Batch:
        """What the task's loss takes."""
        ...


class TrainingBatches(Protocol):
    """The data of a training run."""

    @property
    def runs(self) -> Sequence[RunClips]:
        """The run directories that are read."""
        ...

    def __len__(self) -> int:
        """Return the number of examples, which an epoch sees once each."""
        ...

    def batches(
        self, batch: int, first_step: int, steps: int, host: int = 0, hosts: int = 1
    ) -> Iterator[TrainingBatch]:
        """Yield this host's part of the batches of steps `first_step` to `steps`.

        What is in a batch must follow from its step alone: an interrupted run resumes
        with the batches that it would have seen.
        """
        ...


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """How a trained model is evaluated.

    Attributes:
        modality: `A+V`, `V` or `A`: what the model is given; None: all that it takes.
        segments: per clip, equally spaced; None: as the task does it, 4 for retrieval,
            1 for captioning.
        batch_size: segments that are encoded at once.
        leave_out: measure without missing clips, rather than count them as found last,
            or as empty captions.
        v2t: what a clip of several captions is ranked against, see
            `models.retrieval.evaluate.evaluate`.
        beams: captions that a captioner keeps at each step; 1: greedy search.
        max_tokens: of a caption, the token that ends it included.
    """

    modality: str | None = None
    segments: int | None = None
    batch_size: int = 16
    leave_out: bool = False
    v2t: Literal["frozen", "clip4clip"] = "frozen"
    beams: int = 3
    max_tokens: int = CAPTION_TOKENS


class Report(NamedTuple):
    """The result of an evaluation.

    Attributes:
        text: Markdown, for people.
        json: the same and more, for programs.
    """

    text: str
    json: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(abc.ABC):
    """What is trained, and how it is judged.

    Every field has a default, so that a task can be made and then read from the JSON
    of a training run.
    """

    def check(self) -> None:  # noqa: B027 (a task need not check anything)
        """Check what would otherwise fail in the middle of a run.

        Raises:
            InputError: `bad_config`.
        """

    @abc.abstractmethod
    def make_tokenizer(self, captions: Iterable[str]) -> CaptionTokenizer:
        """Return the tokenizer to train with; it is saved with the run.

        Args:
            captions: of all data sets, where a vocabulary is learned.
        """

    @abc.abstractmethod
    def training_data(
        self, sources: Sequence[Any], tokenizer: CaptionTokenizer, seed: int
    ) -> TrainingBatches:
        """Open the data sets (`models.data.loader.Source`)."""

    @abc.abstractmethod
    def init(self, seed: int, compute: Compute) -> nnx.Module:
        """Return the model, from the checkpoints that the task names or from a seed."""

    def adopted(self) -> "Task":
        """Return the task with the settings that its checkpoints bring.

        Their names then end in the revision, so that they mean the same later.

        Raises:
            InputError: `bad_config` if a setting contradicts a checkpoint; or as
                `models.pretrained.source.open_checkpoint`.
        """
        return self

    def without_checkpoints(self) -> "Task":
        """Return the same task for a model whose parameters will be read from a run."""
        return self

    def starts_from(self) -> tuple[str, ...]:
        """Return the training runs that its checkpoints are, whose data it has seen."""
        return ()

    def is_trained(self, path: tuple[Any, ...], variable: Any) -> bool:
        """Tell whether a variable of the model is trained; others stay as they are."""
        return isinstance(variable, nnx.Param)

    def pretrained(self, model: Any, resumed: bool) -> list[nnx.Module]:
        """Return the modules whose parameters learn at the rate of pretrained ones.

        Args:
            model: of this task.
            resumed: whether it starts from another training run.
        """
        return []

    @abc.abstractmethod
    def loss(self, model: Any, batch: Batch) -> Loss:
        """Return the loss of a whole batch, and what else is worth noting by name.

        Args:
            model: of this task.
            batch: `TrainingBatch.inputs` on the devices, of all hosts.

        Returns:
            float32 [], and float32 [] by name: they become columns of `metrics.csv`.
        """

    def micro_batched(
        self, graph: nnx.GraphDef, params: Any, rest: Any, batch: Batch, count: int
    ) -> tuple[Loss, Any]:
        """Return loss and gradients of a batch that is processed in `count` parts.

        By default the mean over the parts, which is right for a loss that is the mean
        over the examples; a loss over all examples at once needs its own.
        """

        def loss(params: Any, part: Batch) -> Loss:
            return self.loss(nnx.merge(graph, params, rest), part)

        return accumulated(loss, params, batch, count)

    @abc.abstractmethod
    def evaluate(
        self, trained: "Trained", run_dir: str, options: EvaluationOptions
    ) -> Report:
        """Judge a trained model by the clips and captions of a run.

        Raises:
            InputError: the run cannot be read, or the options do not fit the model.
        """
