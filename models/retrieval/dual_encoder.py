"""The audio-visual dual encoder: clips and captions into one space (paper, 4.1).

model = DualEncoder(DualEncoderConfig(), nnx.Rngs(0))
clips = model.encode_clips(ClipInputs(video, audio))    # [b, 256]
captions = model.encode_texts(tokenizer.encode(texts))  # [c, 256]
similarities = captions @ clips.T
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from models.backbones.bert.model import BertConfig
from models.backbones.clip.model import unit
from models.data.clip_inputs import ClipInputs
from models.nn.attention import Compute
from models.pretrained.preprocessing import SYMMETRIC_SCALE, PixelScale, normalize
from models.retrieval.mbt import AudioVisualConfig, AudioVisualEncoder
from models.retrieval.text_encoders import TextConfig, text_encoder
from models.tokenizers.base import Tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class DualEncoderConfig:
    """The model of the paper; the defaults are its sizes.

    Attributes:
        clips: the audio-visual encoder.
        text: the text encoder, a BERT or a CLIP's text tower.
        embedding: dimension of the common space.
        temperature: sigma of the loss.
        pixel_mean: of each channel of frames in [0, 1]; subtracted.
        pixel_deviation: of each channel; divided by then.
    """

    clips: AudioVisualConfig = dataclasses.field(default_factory=AudioVisualConfig)
    text: TextConfig = dataclasses.field(default_factory=BertConfig)
    embedding: int = 256
    temperature: float = 0.05
    pixel_mean: tuple[float, ...] = SYMMETRIC_SCALE.mean
    pixel_deviation: tuple[float, ...] = SYMMETRIC_SCALE.deviation


class DualEncoder(nnx.Module):
    """The audio-visual dual encoder; a `RetrievalModel`.

    Attributes:
        config: its sizes.
        clips: the audio-visual encoder.
        text: the text encoder; BERT's CLS token, or CLIP's end token, represents
            a caption.
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
        self.text = text_encoder(config.text, rngs, compute)

        def project(hidden: int) -> nnx.Linear:
            return nnx.Linear(
                hidden, config.embedding, use_bias=False, dtype=compute.dtype, rngs=rngs
            )

        self.clip_projection = project(config.clips.hidden)
        self.text_projection = project(config.text.hidden)

    def encode_clips(self, clips: ClipInputs) -> jax.Array:
        """See `RetrievalModel`."""
        if clips.video is not None:
            scale = PixelScale(self.config.pixel_mean, self.config.pixel_deviation)
            clips = clips._replace(video=normalize(clips.video, scale))
        return unit(self.clip_projection(self.clips(clips)))

    def encode_texts(self, texts: Tokens) -> jax.Array:
        """See `RetrievalModel`."""
        ids, mask = map(jnp.asarray, texts)
        return unit(self.text_projection(self.text.represent(ids, mask)))

    def scale(self) -> jax.Array:
        """See `RetrievalModel`; the paper's 1 / sigma."""
        return jnp.float32(1 / self.config.temperature)
