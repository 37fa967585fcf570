"""The audio-visual dual encoder as a task of the training loop (paper, 4.1 and 5.2)."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from flax import nnx

from clipseed.errors import InputError
from models.backbones.clip.model import ClipTextConfig
from models.backbones.clip.weights import (
    VISION_TYPES,
    fill_clip_vision,
)
from models.backbones.vit.weights import MODEL_TYPES, fill_vit
from models.data.segments import SegmentConfig
from models.nn.attention import Compute
from models.pretrained.checkpoint import read_config, say_dropout
from models.pretrained.source import open_checkpoint
from models.retrieval.adopt_dual_encoder import adopt_dual_encoder, adopt_mel_deviation
from models.retrieval.dual_encoder import DualEncoder, DualEncoderConfig
from models.retrieval.task import RetrievalTask
from models.retrieval.text_encoders import check_tokenizer, text_family
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.published import read_tokenizer
from models.tokenizers.wordpiece import learn_vocabulary, word_piece


@dataclasses.dataclass(frozen=True, kw_only=True)
class DualEncoderTask(RetrievalTask):
    """The dual encoder; the defaults are the paper's.

    `vocabulary` is BERT's vocab.txt, or CLIP's merges; "": the tokenizer of the
    checkpoint `text`, or a vocabulary learned from the captions. Checkpoints are named
    by `hf:ID[@REVISION]` or a directory, and bring their settings with them.

    Attributes:
        model: its sizes.
        vision: checkpoint of a ViT or a CLIP, for the video stream.
        audio: checkpoint of an AST or a ViT, for the audio stream.
        text: checkpoint of a BERT, or of a CLIP for its text tower.
    """

    model: DualEncoderConfig = dataclasses.field(default_factory=DualEncoderConfig)
    vision: str = ""
    audio: str = ""
    text: str = ""

    @property
    def max_tokens(self) -> int:
        """See `RetrievalTask`."""
        return self.model.text.max_tokens

    @property
    def segment(self) -> SegmentConfig:
        """See `ClipTask`."""
        clips = self.model.clips
        return self._segment(
            clips.frames if "video" in clips.modalities else 0,
            clips.frame_px,
            clips.spectrogram_frames if "audio" in clips.modalities else 0,
        )

    def adopted(self) -> "DualEncoderTask":
        """See `Task`; frames and sizes of the input may differ, by interpolation."""
        checkpoints = {
            name: open_checkpoint(getattr(self, name))
            for name in ("vision", "audio", "text")
            if getattr(self, name)
        }
        places = {name: found.directory for name, found in checkpoints.items()}
        model = adopt_dual_encoder(self.model, places)
        for name, directory in places.items():
            say_dropout(f"task.{name}", directory)
        names: dict[str, Any] = {
            name: checkpoint.name for name, checkpoint in checkpoints.items()
        }
        if sound := places.get("audio"):
            names["mel_deviation"] = adopt_mel_deviation(
                self.mel_deviation, type(self).mel_deviation, sound
            )
        return dataclasses.replace(self, model=model, **names)

    def make_tokenizer(self, captions: Iterable[str]) -> CaptionTokenizer:
        """See `Task`.

        Raises:
            InputError: `bad_vocabulary` if the text encoder is made for another.
        """
        config = self.model.text
        if self.vocabulary:
            tokenizer = text_family(config).tokenizer(self.vocabulary)
        elif self.text:
            tokenizer = read_tokenizer(open_checkpoint(self.text).directory)
        elif isinstance(config, ClipTextConfig):
            raise InputError(
                "bad_config",
                "a CLIP's text tower needs its vocabulary: name its merges by "
                "task.vocabulary=FILE, or a checkpoint by task.text=NAME",
            )
        else:
            return word_piece(learn_vocabulary(captions, config.vocabulary))
        source = self.vocabulary or self.text
        check_tokenizer(tokenizer, config, source, "task.model.text")
        return tokenizer

    def init(self, seed: int, compute: Compute) -> DualEncoder:
        """See `Task`.

        Raises:
            InputError: a checkpoint does not fit, see
                `models.pretrained.load_weights.fill`.
        """
        task = self.adopted()
        model = DualEncoder(task.model, nnx.Rngs(seed), compute)
        for stream, name in (("video", task.vision), ("audio", task.audio)):
            if not name:
                continue
            if stream not in model.clips.streams:
                raise InputError(
                    "bad_config", f"the model has no {stream} stream to fill by {name}"
                )
            directory = open_checkpoint(name).directory
            kind = read_config(directory, (*MODEL_TYPES, *VISION_TYPES))["model_type"]
            fill_stream = fill_clip_vision if kind in VISION_TYPES else fill_vit
            fill_stream(model.clips.streams[stream], directory, self.allow)
        if task.text:
            directory = open_checkpoint(task.text).directory
            text_family(task.model.text).fill(model.text, directory, self.allow)
        return model

    def without_checkpoints(self) -> "DualEncoderTask":
        """See `Task`."""
        return dataclasses.replace(self, vision="", audio="", text="")

    def pretrained(self, model: DualEncoder, resumed: bool) -> list[nnx.Module]:
        """See `Task`; bottlenecks and projections always learn at the full rate."""
        modules: list[nnx.Module] = []
        for stream, checkpoint in (("video", self.vision), ("audio", self.audio)):
            if (checkpoint or resumed) and stream in model.clips.streams:
                modules.append(model.clips.streams[stream])
        if self.text or resumed:
            modules.append(model.text)
        return modules
