"""CLIP4Clip as a task of the training loop: CLIP, fine-tuned on captioned clips."""

import dataclasses
from collections.abc import Iterable

from flax import nnx

from clipseed.errors import InputError
from clipseed.io import storage
from models.backbones.clip.model import Clip
from models.backbones.clip.weights import load_clip
from models.data.segments import SegmentConfig
from models.nn.attention import Compute
from models.pretrained.preprocessing import CLIP_SCALE, read_preprocessing
from models.retrieval.clip4clip import Clip4Clip, Clip4ClipConfig
from models.retrieval.task import RetrievalTask
from models.tokenizers.byte_pairs import clip_bpe, read_merges
from models.tokenizers.caption_tokenizer import CaptionTokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip4ClipTask(RetrievalTask):
    """CLIP4Clip; the defaults are the published sizes.

    `vocabulary` is a list of CLIP's merges; "": the one beside the checkpoint, or none,
    which makes each byte a token.

    Attributes:
        model: its sizes.
        clip: checkpoint of a CLIP, a directory.
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

    def make_tokenizer(self, captions: Iterable[str]) -> CaptionTokenizer:
        """See `Task`.

        Raises:
            InputError: `bad_vocabulary` if the text tower is made for another.
        """
        uri = self.vocabulary
        if self.clip and not uri:
            uri = storage.join(self.clip, "merges.txt")
        tokenizer = clip_bpe(read_merges(uri) if uri else [])
        size, end_id = tokenizer.size, tokenizer.end_id
        text = self.model.clip.text
        if (end_id, size) != (text.end_id, text.vocabulary):
            raise InputError(
                "bad_vocabulary",
                f"{uri or 'the vocabulary of bytes'} has {size} tokens, the last of "
                "which ends a text; the text tower is made for another vocabulary: set "
                f"task.model.clip.text.vocabulary={size} "
                f"task.model.clip.text.end_id={end_id}, or name CLIP's merges by "
                "task.vocabulary=FILE",
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
        pixels = read_preprocessing(self.clip, "clip", self.model.frame_px)
        if pixels.scale != CLIP_SCALE:
            raise InputError(
                "bad_checkpoint",
                f"{self.clip} was trained on pixels of another scale than CLIP's; use "
                "another checkpoint",
            )
        return Clip4Clip(load_clip(self.clip, self.model.clip, compute, self.allow))

    def without_checkpoints(self) -> "Clip4ClipTask":
        """See `Task`."""
        return dataclasses.replace(self, clip="")

    def pretrained(self, model: Clip4Clip, resumed: bool) -> list[nnx.Module]:
        """See `Task`; all of it comes from CLIP."""
        return [model.clip] if self.clip or resumed else []
