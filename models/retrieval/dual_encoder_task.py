"""The audio-visual dual encoder as a task of the training loop (paper, 4.1 and 5.2)."""

import dataclasses
from collections.abc import Iterable

from flax import nnx

from clipseed.errors import InputError
from models.backbones.bert.model import fill_bert
from models.backbones.vit.weights import fill_vit
from models.data.segments import SegmentConfig
from models.nn.attention import Compute
from models.retrieval.dual_encoder import DualEncoder, DualEncoderConfig
from models.retrieval.task import RetrievalTask
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.wordpiece import learn_vocabulary, read_vocabulary, word_piece


@dataclasses.dataclass(frozen=True, kw_only=True)
class DualEncoderTask(RetrievalTask):
    """The dual encoder; the defaults are the paper's.

    `vocabulary` is BERT's vocab.txt; "": learned from the captions.

    Attributes:
        model: its sizes.
        vision: checkpoint of a ViT for both streams, a directory.
        text: checkpoint of a BERT, a directory.
    """

    model: DualEncoderConfig = dataclasses.field(default_factory=DualEncoderConfig)
    vision: str = ""
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

    def make_tokenizer(self, captions: Iterable[str]) -> CaptionTokenizer:
        """See `Task`.

        Raises:
            InputError: `bad_vocabulary` if the text encoder has no embedding for some
                ids.
        """
        most = self.model.text.vocabulary
        if not self.vocabulary:
            return word_piece(learn_vocabulary(captions, most))
        words = read_vocabulary(self.vocabulary)
        if len(words) > most:
            raise InputError(
                "bad_vocabulary",
                f"{self.vocabulary} has {len(words)} tokens, the text encoder {most}; "
                f"set task.model.text.vocabulary={len(words)}",
            )
        return word_piece(words)

    def init(self, seed: int, compute: Compute) -> DualEncoder:
        """See `Task`.

        Raises:
            InputError: a checkpoint does not fit, see
                `models.pretrained.load_weights.fill`.
        """
        model = DualEncoder(self.model, nnx.Rngs(seed), compute)
        if self.vision:
            for stream in model.clips.streams.values():
                fill_vit(stream, self.vision, self.allow)
        if self.text:
            fill_bert(model.text, self.text, self.allow)
        return model

    def without_checkpoints(self) -> "DualEncoderTask":
        """See `Task`."""
        return dataclasses.replace(self, vision="", text="")

    def pretrained(self, model: DualEncoder, resumed: bool) -> list[nnx.Module]:
        """See `Task`; bottlenecks and projections always learn at the full rate."""
        modules: list[nnx.Module] = []
        if self.vision or resumed:
            modules += model.clips.streams.values()
        if self.text or resumed:
            modules.append(model.text)
        return modules
