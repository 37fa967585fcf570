"""The audio-visual encoder: two Vision Transformers that talk through bottlenecks.

    encoder = AudioVisualEncoder(AudioVisualConfig(), nnx.Rngs(0))
    vectors = encoder(ClipInputs(video, audio))  # [b, 768]

Up to layer `fusion_layer` each modality goes its own way; from there on each attends to
its own tokens and to a few bottleneck tokens, whose updated copies are averaged after
every layer (Nagrani et al., "Attention Bottlenecks for Multimodal Fusion", section 3;
paper, section 4.1). A modality that a clip does not have is masked: its copy counts for
nothing in any average, so that no sound is not the same as silence.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from clipseed.errors import InputError
from models.backbones.vit.model import ViT, ViTConfig, spectrogram_input
from models.data.clip_inputs import ClipInputs, Modality
from models.nn.attention import Compute
from models.nn.transformer import Block, BlockConfig, layer_norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioVisualConfig(BlockConfig):
    """The encoder of clips; the defaults are the paper's (ViT-Base a modality).

    Attributes:
        modalities: what is looked at, and listened to.
        frames: of a clip's segment.
        frame_px: height and width of a frame.
        video_patch: frames, height and width of a tubelet.
        video_patch_bias: the patch embedding of frames has a bias (CLIP's has none).
        video_embedding_norm: a layer norm before the first block over frames (CLIP).
        spectrogram_frames: of a clip's segment.
        mel_bins: of the spectrogram.
        audio_patch: mel bins and frames of a patch.
        audio_stride: from one patch to the next; None: `audio_patch`. AST's overlap.
        audio_extra_tokens: 1 (CLS), or 2 with AST's distillation token.
        shared_norm: the streams share one last layer norm, as in the paper's model;
            False: each has its own, as checkpoints of two models need.
        bottlenecks: tokens that the modalities exchange.
        fusion_layer: the first layer that exchanges them, from 0.
    """

    modalities: tuple[Modality, ...] = ("video", "audio")
    frames: int = 32
    frame_px: int = 224
    video_patch: tuple[int, int, int] = (2, 16, 16)
    video_patch_bias: bool = True
    video_embedding_norm: bool = False
    spectrogram_frames: int = 800
    mel_bins: int = 128
    audio_patch: tuple[int, int] = (16, 16)
    audio_stride: tuple[int, int] | None = None
    audio_extra_tokens: int = 1
    shared_norm: bool = True
    bottlenecks: int = 4
    fusion_layer: int = 8

    def __post_init__(self) -> None:
        """Check the modalities.

        Raises:
            InputError: `bad_model_config`.
        """
        super().__post_init__()
        known = {"video", "audio"}
        if not self.modalities or not known.issuperset(self.modalities):
            raise InputError(
                "bad_model_config",
                f"modalities {self.modalities!r}: name 'video', 'audio' or both",
            )

    @property
    def video(self) -> ViTConfig:
        """The transformer over frames."""
        size = (self.frames, self.frame_px, self.frame_px)
        return self._stream(
            size,
            self.video_patch,
            channels=3,
            patch_bias=self.video_patch_bias,
            embedding_norm=self.video_embedding_norm,
        )

    @property
    def audio(self) -> ViTConfig:
        """The transformer over the spectrogram."""
        size = (self.mel_bins, self.spectrogram_frames)
        return self._stream(
            size,
            self.audio_patch,
            channels=1,
            stride=self.audio_stride,
            extra_tokens=self.audio_extra_tokens,
        )

    def _stream(
        self, size: tuple[int, ...], patch: tuple[int, ...], **others: Any
    ) -> ViTConfig:
        shared = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(BlockConfig)
        }
        return ViTConfig(input_size=size, patch=patch, **shared, **others)


class AudioVisualEncoder(nnx.Module):
    """Clips to vectors.

    Attributes:
        config: its sizes.
        streams: a Vision Transformer by modality.
        bottleneck: float32 [bottlenecks, hidden]; there with two modalities only.
    """

    def __init__(
        self,
        config: AudioVisualConfig,
        rngs: nnx.Rngs,
        compute: Compute | None = None,
    ) -> None:
        compute = compute or Compute()
        self.config = config
        self.dtype = compute.dtype
        sizes = {"video": config.video, "audio": config.audio}
        self.streams = nnx.Dict(
            {name: ViT(sizes[name], rngs, compute) for name in config.modalities}
        )
        if config.shared_norm:
            norm = layer_norm(config, compute, rngs)
            for stream in self.streams.values():
                stream.norm = norm
        if len(config.modalities) > 1:
            normal = nnx.initializers.normal(0.02)
            shape = (config.bottlenecks, config.hidden)
            self.bottleneck = nnx.Param(normal(rngs.params(), shape))

    def __call__(self, clips: ClipInputs) -> jax.Array:
        """Encode the segments of b clips.

        Args:
            clips: video in [-1, 1]; what the encoder does not take may be None.

        Returns:
            [b, hidden]: the normalized CLS tokens of the modalities that a clip has,
            averaged; zeros for a clip that has none.
        """
        tokens, weights = self._encode(clips)
        cls = [self.streams[name].norm(rows[:, 0]) for name, rows in tokens.items()]
        return _average(cls, weights)

    def tokens(self, clips: ClipInputs) -> tuple[jax.Array, jax.Array]:
        """Encode the segments of b clips, every token of them.

        Returns:
            [b, m, hidden], the normalized tokens of one modality after the other; bool
            [b, m], False where a clip does not have the modality.
        """
        tokens, weights = self._encode(clips)
        normed = [self.streams[name].norm(rows) for name, rows in tokens.items()]
        counts = jnp.array([rows.shape[1] for rows in normed])
        total = sum(rows.shape[1] for rows in normed)
        there = jnp.repeat(weights.T > 0, counts, axis=1, total_repeat_length=total)
        return jnp.concatenate(normed, axis=1), there

    def _encode(self, clips: ClipInputs) -> tuple[dict[str, jax.Array], jax.Array]:
        """Return each modality's tokens after the last layer, and its weights."""
        inputs = {"video": clips.video, "audio": clips.audio}
        present = {"video": clips.has_video, "audio": clips.has_audio}
        tokens = {}
        for name, stream in self.streams.items():
            given = inputs[name]
            assert given is not None, f"this encoder needs {name}"
            given = spectrogram_input(given) if name == "audio" else given
            tokens[name] = stream.embed(given.astype(self.dtype))
        weights = _weights([present[name] for name in tokens], _batch(tokens))
        return self._layers(tokens, weights.astype(self.dtype)), weights

    def _layers(
        self, tokens: dict[str, jax.Array], weights: jax.Array
    ) -> dict[str, jax.Array]:
        config = self.config
        fused = len(tokens) > 1
        bottleneck = None
        for layer in range(config.layers):
            blocks = {name: self.streams[name].blocks[layer] for name in tokens}
            if not fused or layer < config.fusion_layer:
                tokens = {name: blocks[name](rows) for name, rows in tokens.items()}
                continue
            if bottleneck is None:
                shape = (_batch(tokens), *self.bottleneck.shape)
                bottleneck = jnp.broadcast_to(self.bottleneck.astype(self.dtype), shape)
            tokens, bottleneck = fuse(blocks, tokens, bottleneck, weights)
        return tokens


def fuse(
    blocks: dict[str, Block],
    tokens: dict[str, jax.Array],
    bottleneck: jax.Array,
    weights: jax.Array,
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Apply one layer of bottleneck fusion.

    Args:
        blocks: each modality's block.
        tokens: each modality's tokens, [b, n, hidden].
        bottleneck: [b, bottlenecks, hidden].
        weights: [modalities, b], what each modality's copy counts in the average.

    Returns:
        The new tokens of each modality, and the averaged bottleneck.
    """
    size = bottleneck.shape[1]
    seen = {
        name: blocks[name](jnp.concatenate([rows, bottleneck], axis=1))
        for name, rows in tokens.items()
    }
    copies = [rows[:, -size:] for rows in seen.values()]
    kept = {name: rows[:, :-size] for name, rows in seen.items()}
    return kept, _average(copies, weights)


def _batch(tokens: dict[str, jax.Array]) -> int:
    return len(next(iter(tokens.values())))


def _weights(present: list[jax.Array | None], batch: int) -> jax.Array:
    """Return the weight of each modality: [modalities, b], columns sum to 1."""
    rows = [jnp.ones(batch, bool) if p is None else p for p in present]
    there = jnp.stack(rows).astype(jnp.float32)
    return there / jnp.maximum(there.sum(axis=0), 1)


def _average(parts: list[jax.Array], weights: jax.Array) -> jax.Array:
    """Sum [b, ...] parts by their weights [parts, b]."""
    extra = parts[0].ndim - 1
    shaped = weights.reshape(*weights.shape, *(1,) * extra)
    return sum(
        (part * weight for part, weight in zip(parts, shaped, strict=True)),
        start=jnp.zeros((), parts[0].dtype),
    )
