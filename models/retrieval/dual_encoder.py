"""The two streams of retrieval: clips and captions into one space (paper, section 4.1).

    model = DualEncoder(DualEncoderConfig(), nnx.Rngs(0))
    clips = model.encode_clips(video, audio, has_video, has_audio)  # [b, 256]
    captions = model.encode_texts(ids, mask)                        # [c, 256]
    similarities = captions @ clips.T

`Clip4Clip` has the same two methods and stands in its place.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from models.backbones.bert.model import Bert, BertConfig
from models.backbones.clip.model import unit
from models.nn.attention import Compute
from models.retrieval.mbt import AudioVisualConfig, AudioVisualEncoder


class RetrievalModel(Protocol):
    """What training, evaluation and search need of a model."""

    def encode_clips(
        self,
        video: jax.Array | None,
        audio: jax.Array | None,
        has_video: jax.Array | None,
        has_audio: jax.Array | None,
    ) -> jax.Array:
        """Segments of b clips to float32 [b, d], unit norm.

        Args:
            video: uint8 or float [b, frames, px, px, 3] in [0, 255]; None where the
                model does not look.
            audio: float32 [b, spectrogram frames, mel bins], normalized log-mel; None
                where the model does not listen.
            has_video: bool [b], the clips with pictures; None: all.
            has_audio: bool [b], the clips with sound; None: all.
        """
        ...

    def encode_texts(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Token ids int32 [c, n] with their mask bool [c, n] to float32 [c, d]."""
        ...

    def scale(self) -> jax.Array:
        """What similarities are multiplied by before the softmax: float32 []."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class DualEncoderConfig:
    """The model of the paper; the defaults are its sizes.

    Attributes:
        clips: the audio-visual encoder.
        text: the text encoder.
        embedding: dimension of the common space.
        temperature: sigma of the loss.
    """

    clips: AudioVisualConfig = dataclasses.field(default_factory=AudioVisualConfig)
    text: BertConfig = dataclasses.field(default_factory=BertConfig)
    embedding: int = 256
    temperature: float = 0.05


class DualEncoder(nnx.Module):
    """The audio-visual dual encoder; a `RetrievalModel`.

    Attributes:
        config: its sizes.
        clips: the audio-visual encoder.
        text: the text encoder; its CLS token of the last layer stands for a caption.
    """

    def __init__(
        self,
        config: DualEncoderConfig,
        rngs: nnx.Rngs,
        compute: Compute | None = None,
    ) -> None:
        compute = compute or Compute()
        self.config = config
        self.clips = AudioVisualEncoder(config.clips, rngs, compute)
        self.text = Bert(config.text, rngs, compute)

        def project(hidden: int) -> nnx.Linear:
            return nnx.Linear(
                hidden, config.embedding, use_bias=False, dtype=compute.dtype, rngs=rngs
            )

        self.clip_projection = project(config.clips.hidden)
        self.text_projection = project(config.text.hidden)

    def encode_clips(
        self,
        video: jax.Array | None = None,
        audio: jax.Array | None = None,
        has_video: jax.Array | None = None,
        has_audio: jax.Array | None = None,
    ) -> jax.Array:
        """See `RetrievalModel`."""
        if video is not None:
            video = video.astype(jnp.float32) / 127.5 - 1
        encoded = self.clips(video, audio, has_video, has_audio)
        return unit(self.clip_projection(encoded))

    def encode_texts(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """See `RetrievalModel`."""
        return unit(self.text_projection(self.text(ids, mask)[:, 0]))

    def scale(self) -> jax.Array:
        """See `RetrievalModel`; the paper's 1 / sigma."""
        return jnp.float32(1 / self.config.temperature)
