"""AV-GPT2 as a task of the training loop (paper, 4.2)."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from flax import nnx

from clipseed.errors import InputError
from models.backbones.text_decoder.gpt2 import (
    BESIDE,
    PREFIX,
    gpt2_config,
    gpt2_sources,
)
from models.captioning.av_gpt2.model import AvGpt2, AvGpt2Config
from models.captioning.task import CaptioningTask
from models.data.segments import SegmentConfig
from models.nn.attention import Compute
from models.pretrained.adopt import adopt
from models.pretrained.checkpoint import read_config, read_tensors
from models.pretrained.load_weights import fill
from models.pretrained.source import open_checkpoint
from models.retrieval.dual_encoder_task import DualEncoderTask
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.published import read_tokenizer
from models.tokenizers.wordpiece import learn_vocabulary, word_piece
from models.training import load

# Of a task, that its encoder was trained with.
_INPUT = ("frame_stride", "spectrogram_stride", "mel_mean", "mel_deviation")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AvGpt2Task(CaptioningTask):
    """AV-GPT2; the defaults are the paper's.

    `vocabulary` is a directory with the files of a published tokenizer; "": that of the
    checkpoint `gpt2`, or whole words learned from the captions.

    Attributes:
        model: its sizes.
        encoder: training run of a dual encoder, whose audio-visual encoder is the first
            state of this model's; "": from a seed. Its settings come with it; it may
            have a modality that this model leaves out.
        gpt2: checkpoint of a GPT-2, `hf:ID[@REVISION]` or a directory; "": from a seed.
    """

    model: AvGpt2Config = dataclasses.field(default_factory=AvGpt2Config)
    encoder: str = ""
    gpt2: str = ""

    @property
    def max_tokens(self) -> int:
        """See `CaptioningTask`."""
        return self.model.decoder.max_tokens

    @property
    def segment(self) -> SegmentConfig:
        """See `ClipTask`."""
        clips = self.model.clips
        return self._segment(
            clips.frames if "video" in clips.modalities else 0,
            clips.frame_px,
            clips.spectrogram_frames if "audio" in clips.modalities else 0,
        )

    def adopted(self) -> "AvGpt2Task":
        """See `Task`."""
        task = self._with_encoder() if self.encoder else self
        if not self.gpt2:
            return task
        checkpoint = open_checkpoint(self.gpt2)
        published = gpt2_config(read_config(checkpoint.directory, ["gpt2"]))
        published = dataclasses.replace(
            published, context="prefix", context_width=published.hidden
        )
        usual = AvGpt2Config().decoder
        decoder = adopt("task.model.decoder", task.model.decoder, published, usual)
        model = dataclasses.replace(task.model, decoder=decoder)
        return dataclasses.replace(task, model=model, gpt2=checkpoint.name)

    def _with_encoder(self) -> "AvGpt2Task":
        """Return the task with the settings of the run `encoder`."""
        theirs = load.read_config(self.encoder).task
        if not isinstance(theirs, DualEncoderTask):
            raise InputError(
                "not_retrieval",
                f"{self.encoder} is a run of {type(theirs).__name__}; name one of a "
                "dual encoder, such as `clipseed train base` makes",
            )
        usual, changes = type(self)(), {}
        for name in _INPUT:
            changes[name] = getattr(theirs, name)
            if getattr(self, name) not in (changes[name], getattr(usual, name)):
                raise InputError(
                    "bad_config",
                    f"task.{name} is {getattr(self, name)}, but {self.encoder} was "
                    f"trained with {changes[name]}: leave it out",
                )
        published = dataclasses.replace(
            self.model,
            clips=theirs.model.clips,
            pixel_mean=theirs.model.pixel_mean,
            pixel_deviation=theirs.model.pixel_deviation,
        )
        model = adopt(
            "task.model", self.model, published, usual.model, free=["modalities"]
        )
        lacking = set(model.clips.modalities) - set(theirs.model.clips.modalities)
        if lacking:
            raise InputError(
                "bad_config",
                f"{self.encoder} has no {' and no '.join(sorted(lacking))}: leave it "
                "out of task.model.clips.modalities",
            )
        return dataclasses.replace(self, model=model, **changes)

    def make_tokenizer(self, captions: Iterable[str]) -> CaptionTokenizer:
        """See `Task`.

        Raises:
            InputError: `other_vocabulary` if it is not the decoder's.
        """
        most = self.model.decoder.vocabulary
        if not self.vocabulary and not self.gpt2:
            return word_piece(learn_vocabulary(captions, most))
        source = self.vocabulary or self.gpt2
        tokenizer = read_tokenizer(open_checkpoint(source).directory)
        if tokenizer.size > most:
            raise InputError(
                "other_vocabulary",
                f"{source} has {tokenizer.size} tokens, the decoder {most}: name the "
                "tokenizer of the decoder, or set task.model.decoder.vocabulary="
                f"{tokenizer.size}",
            )
        if not tokenizer.encode([""], 2).mask.all():
            raise InputError(
                "bad_vocabulary",
                f"{source} names no tokens that begin and end a caption; add bos_token "
                "and eos_token to its tokenizer_config.json",
            )
        return tokenizer

    def init(self, seed: int, compute: Compute) -> AvGpt2:
        """See `Task`.

        Raises:
            InputError: a checkpoint or a run does not fit.
        """
        task = self.adopted()
        model = AvGpt2(task.model, nnx.Rngs(seed), compute)
        if task.encoder:
            _copy_encoder(model, load.load_trained(task.encoder).model)
        if task.gpt2:
            tensors = read_tensors(open_checkpoint(task.gpt2).directory, [PREFIX])
            sources = gpt2_sources(model.decoder)
            fill(model.decoder, sources, tensors, (*BESIDE, *task.allow))
        return model

    def without_checkpoints(self) -> "AvGpt2Task":
        """See `Task`."""
        return dataclasses.replace(self, encoder="", gpt2="")

    def starts_from(self) -> tuple[str, ...]:
        """See `Task`."""
        return (self.encoder,) if self.encoder else ()

    def pretrained(self, model: AvGpt2, resumed: bool) -> list[nnx.Module]:
        """See `Task`; the bridge between the two always learns at the full rate."""
        parts = ((self.encoder, model.clips), (self.gpt2, model.decoder))
        return [module for source, module in parts if source or resumed]


def _copy_encoder(model: AvGpt2, trained: Any) -> None:
    """Set the parameters of the encoder to those of a dual encoder's."""
    for name, stream in model.clips.streams.items():
        nnx.update(stream, nnx.state(trained.clips.streams[name]))
    if len(model.clips.streams) > 1:
        model.clips.bottleneck.set_value(trained.clips.bottleneck[...])
