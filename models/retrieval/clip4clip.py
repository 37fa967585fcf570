"""CLIP4Clip with mean pooling: CLIP's towers over the frames of a clip.

    model = Clip4Clip(load_clip("checkpoints/clip-vit-base-patch32"))
    # uint8 [b, 12, 224, 224, 3] -> [b, 512]
    clips = model.encode_clips(ClipInputs(video))

Luo et al., "CLIP4Clip", section 3.3; the paper fine-tunes it on mined pairs ("Results
using CLIP", table 3). It takes no sound.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from clipseed.errors import InputError
from models.backbones.clip.model import Clip, ClipConfig, unit
from models.data.clip_inputs import ClipInputs
from models.pretrained.preprocessing import CLIP_SCALE, PixelScale, normalize
from models.tokenizers.base import Tokens

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
                f"frames are square, but the image tower takes {height} x {width}",
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

    def encode_clips(self, clips: ClipInputs) -> jax.Array:
        """See `RetrievalModel`: the mean of the frames' unit vectors, of unit norm."""
        video = clips.video
        assert video is not None, "CLIP needs frames"
        frames = normalize(video.reshape(-1, *video.shape[2:]), self.pixels)
        vectors = unit(self.clip.image(frames))
        return unit(vectors.reshape(*video.shape[:2], -1).mean(axis=1))

    def encode_texts(self, texts: Tokens) -> jax.Array:
        """See `RetrievalModel`; the tower ignores what follows the end token."""
        return unit(self.clip.text(jnp.asarray(texts.ids)))

    def scale(self) -> jax.Array:
        """See `RetrievalModel`; learned."""
        return jnp.minimum(jnp.exp(self.clip.logit_scale[...]), _MOST_SCALE)
