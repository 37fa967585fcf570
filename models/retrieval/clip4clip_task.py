"""CLIP4Clip as a task of the training loop: CLIP, fine-tuned on captioned clips."""

import dataclasses
from collections.abc import Iterable

from flax import nnx

from clipseed.errors import InputError
from models.backbones.clip.model import Clip, ClipConfig
from models.backbones.clip.weights import clip_config, load_clip
from models.data.segments import SegmentConfig
from models.nn.attention import Compute
from models.pretrained.adopt import adopt
from models.pretrained.checkpoint import read_config, say_dropout
from models.pretrained.preprocessing import CLIP_SCALE, read_preprocessing
from models.pretrained.source import open_checkpoint
from models.retrieval.clip4clip import Clip4Clip, Clip4ClipConfig
from models.retrieval.task import RetrievalTask
from models.retrieval.text_encoders import check_tokenizer
from models.tokenizers.byte_pairs import clip_bpe, read_merges
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.published import read_tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip4ClipTask(RetrievalTask):
    """CLIP4Clip; the defaults are the published sizes.

    `vocabulary` is a list of CLIP's merges; "": the tokenizer of the checkpoint, or no
    merges, which makes each byte a token.

    Attributes:
        model: its sizes.
        clip: checkpoint of a CLIP, `hf:ID[@REVISION]` or a directory.
    """

    model: Clip4ClipConfig = dataclasses.field(default_factory=Clip4ClipConfig)
    clip: str = ""

    @property
    def max_tokens(self) -> int:
        """See `RetrievalTask`."""
        return self.model.clip.text.max_tokens

    @property
    def segment(self) -> SegmentConfig:
        """See `ClipTask`; CLIP takes no sound."""
        return self._segment(self.model.frames, self.model.frame_px, 0)

    def adopted(self) -> "Clip4ClipTask":
        """See `Task`; the size of pictures may differ, by interpolated positions."""
        if not self.clip:
            return self
        checkpoint = open_checkpoint(self.clip)
        published = clip_config(read_config(checkpoint.directory, ["clip"]))
        clip = adopt(
            "task.model.clip", self.model.clip, published, ClipConfig(), ["input_size"]
        )
        say_dropout("task.clip", checkpoint.directory)
        model = dataclasses.replace(self.model, clip=clip)
        return dataclasses.replace(self, model=model, clip=checkpoint.name)

    def make_tokenizer(self, captions: Iterable[str]) -> CaptionTokenizer:
        """See `Task`.

        Raises:
            InputError: `bad_vocabulary` if the text tower is made for another.
        """
        uri = self.vocabulary or self.clip
        if self.clip and not self.vocabulary:
            tokenizer = read_tokenizer(open_checkpoint(self.clip).directory)
        else:
            tokenizer = clip_bpe(read_merges(uri) if uri else [])
        check_tokenizer(
            tokenizer,
            self.model.clip.text,
            uri or "the vocabulary of bytes",
            "task.model.clip.text",
        )
        return tokenizer

    def init(self, seed: int, compute: Compute) -> Clip4Clip:
        """See `Task`.

        Raises:
            InputError: the checkpoint does not fit, see
                `models.pretrained.load_weights.fill`, or `bad_checkpoint` if it was
                trained on other pixels.
        """
        if not self.clip:
            return Clip4Clip(Clip(self.model.clip, nnx.Rngs(seed), compute))
        task = self.adopted()
        directory = open_checkpoint(self.clip).directory
        pixels = read_preprocessing(directory, "clip", task.model.frame_px)
        if pixels.scale != CLIP_SCALE:
            raise InputError(
                "bad_checkpoint",
                f"{self.clip} was trained on pixels of another scale than CLIP's; use "
                "another checkpoint",
            )
        return Clip4Clip(load_clip(directory, task.model.clip, compute, self.allow))

    def without_checkpoints(self) -> "Clip4ClipTask":
        """See `Task`."""
        return dataclasses.replace(self, clip="")

    def pretrained(self, model: Clip4Clip, resumed: bool) -> list[nnx.Module]:
        """See `Task`; all of it comes from CLIP."""
        return [model.clip] if self.clip or resumed else []
