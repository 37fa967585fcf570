"""AV-GPT2: a GPT-2 that reads a clip's tokens before the caption (paper, 4.2).

    model = AvGpt2(AvGpt2Config(), nnx.Rngs(0))
    logits = model(ClipInputs(video, audio), tokens)  # [b, n, vocabulary]

Context and caption go through one transformer: the context's tokens look at each other
in both directions, a token of the caption at the whole context and at the caption so
far. What the paper leaves open and is ours: the context is every token of both streams
after their last norm, mapped by a linear layer, without positions of the decoder's
(those of the encoder are in them), and never looks at the caption.
"""

import dataclasses

import jax
from flax import nnx

from clipseed.errors import InputError
from models.backbones.text_decoder.model import (
    Context,
    TextDecoder,
    TextDecoderConfig,
)
from models.data.clip_inputs import ClipInputs
from models.nn.attention import Compute
from models.pretrained.preprocessing import SYMMETRIC_SCALE, PixelScale, normalize
from models.retrieval.mbt import AudioVisualConfig, AudioVisualEncoder


def _gpt2() -> TextDecoderConfig:
    return TextDecoderConfig(context="prefix")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AvGpt2Config:
    """The model of the paper; the defaults are its sizes.

    Attributes:
        clips: the audio-visual encoder; its `modalities` make it V, A or A+V.
        decoder: of the caption.
        pixel_mean: of each channel of frames in [0, 1]; subtracted.
        pixel_deviation: of each channel; divided by then.
    """

    clips: AudioVisualConfig = dataclasses.field(default_factory=AudioVisualConfig)
    decoder: TextDecoderConfig = dataclasses.field(default_factory=_gpt2)
    pixel_mean: tuple[float, ...] = SYMMETRIC_SCALE.mean
    pixel_deviation: tuple[float, ...] = SYMMETRIC_SCALE.deviation

    def __post_init__(self) -> None:
        """Check the decoder.

        Raises:
            InputError: `bad_model_config`.
        """
        if self.decoder.context != "prefix":
            raise InputError(
                "bad_model_config",
                "the decoder of AV-GPT2 reads a clip before the caption; set "
                "task.model.decoder.context=prefix",
            )


class AvGpt2(nnx.Module):
    """The captioner; a `ClipCaptioner`.

    Attributes:
        config: its sizes.
        clips: the audio-visual encoder.
        bridge: from its tokens to those of the decoder.
        decoder: of the caption.
    """

    def __init__(
        self, config: AvGpt2Config, rngs: nnx.Rngs, compute: Compute | None = None
    ) -> None:
        compute = compute or Compute()
        self.config = config
        self.clips = AudioVisualEncoder(config.clips, rngs, compute)
        self.bridge = nnx.Linear(
            config.clips.hidden, config.decoder.hidden, dtype=compute.dtype, rngs=rngs
        )
        self.decoder = TextDecoder(config.decoder, rngs, compute)

    def context(self, clips: ClipInputs) -> Context:
        """See `ClipCaptioner`; a modality that a clip lacks is masked."""
        if clips.video is not None:
            scale = PixelScale(self.config.pixel_mean, self.config.pixel_deviation)
            clips = clips._replace(video=normalize(clips.video, scale))
        tokens, there = self.clips.tokens(clips)
        return Context(self.bridge(tokens), there)

    def __call__(self, clips: ClipInputs, ids: jax.Array) -> jax.Array:
        """See `ClipCaptioner`."""
        rows, slots = ids.shape
        cache = self.decoder.start(rows, slots, self.context(clips))
        return self.decoder(ids, cache)[0]
