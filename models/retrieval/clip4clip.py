"""CLIP4Clip with mean pooling: CLIP's towers over the frames of a clip.

    model = Clip4Clip(load_clip("checkpoints/clip-vit-base-patch32"))
    clips = model.encode_clips(video)  # uint8 [b, 12, 224, 224, 3] -> [b, 512]

Luo et al., "CLIP4Clip", section 3.3; the paper fine-tunes it on mined pairs ("Results
using CLIP", table 3). It only looks: sound is passed over.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from clipseed.errors import InputError
from models.backbones.clip.model import Clip, ClipConfig, unit
from models.pretrained.preprocessing import CLIP_SCALE, PixelScale, normalize

# Radford et al.: the scale of the logits is kept from growing beyond this.
_MOST_SCALE = 100.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip4ClipConfig:
    """CLIP4Clip; the defaults are the published sizes.

    Attributes:
        clip: both towers.
        frames: of a clip's segment.
    """

    clip: ClipConfig = dataclasses.field(default_factory=ClipConfig)
    frames: int = 12

    @property
    def frame_px(self) -> int:
        """Height and width of a frame.

        Raises:
            InputError: `bad_model_config` where they differ.
        """
        height, width = self.clip.vision.input_size
        if height != width:
            raise InputError(
                "bad_model_config",
                f"frames are cut square; {height} x {width} cannot be looked at",
            )
        return height


class Clip4Clip(nnx.Module):
    """A `RetrievalModel` of CLIP's towers.

    Args:
        clip: both towers, pretrained.
        pixels: the scale of pixels that it was pretrained with.
    """

    def __init__(self, clip: Clip, pixels: PixelScale = CLIP_SCALE) -> None:
        self.clip = clip
        self.pixels = pixels

    def encode_clips(
        self,
        video: jax.Array | None = None,
        audio: jax.Array | None = None,
        has_video: jax.Array | None = None,
        has_audio: jax.Array | None = None,
    ) -> jax.Array:
        """See `RetrievalModel`: each frame's unit vector, their mean, of unit norm."""
        assert video is not None, "CLIP needs pictures"
        frames = normalize(video.reshape(-1, *video.shape[2:]), self.pixels)
        vectors = unit(self.clip.image(frames))
        return unit(vectors.reshape(*video.shape[:2], -1).mean(axis=1))

    def encode_texts(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """See `RetrievalModel`; what follows the end token is not seen anyway."""
        return unit(self.clip.text(ids))

    def scale(self) -> jax.Array:
        """See `RetrievalModel`; learned."""
        return jnp.minimum(jnp.exp(self.clip.logit_scale[...]), _MOST_SCALE)
