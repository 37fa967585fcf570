"""All that decides a training run, in one frozen tree.

    config = load_config("tiny", ["batch_size=16", "model.clips.layers=2"])

A configuration is a Python file with a `config`; the published ones are in
`models/configs`. Pretraining and fine-tuning are the same command with another one.
"""

import dataclasses
import importlib
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from clipseed.errors import InputError
from models.data.augment import AugmentConfig
from models.data.loader import Source
from models.data.segments import SegmentConfig
from models.retrieval.clip4clip import Clip4ClipConfig
from models.retrieval.dual_encoder import DualEncoderConfig
from models.tokenizers.base import CAPTION_TOKENS
from models.training.optimizers import OptimizerConfig
from models.training.overrides import override


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run; the defaults are the paper's.

    Attributes:
        data: the runs to train on, with their weights.
        model: what is trained.
        frame_stride: stored frames between those of a segment.
        spectrogram_stride: frames of 10 ms between those of a segment.
        mel_mean: of the log-mel of such data.
        mel_deviation: of it.
        augment: what is changed about segments.
        optimizer: how parameters are updated.
        batch_size: clips of a step, over all devices.
        micro_batch: clips that are encoded at once; 0: all.
        epochs: how often each clip is seen; 0: never, the model is kept as it starts.
        seed: of parameters, order and changes.
        vocabulary: of BERT's WordPiece or of CLIP's merges, a file; "": made from the
            captions; for CLIP the one in its checkpoint, or else bytes.
        vision: checkpoint of a ViT for both streams, a directory.
        text: checkpoint of a BERT, a directory.
        clip: checkpoint of a CLIP for CLIP4Clip, a directory.
        init: a finished training run to start from.
        allow: patterns of tensors that a checkpoint may lack or have left over.
        dtype: of the computation; parameters are float32.
        remat: recompute blocks in the backward pass: less memory, more time.
        shard_from: parameters of at least so many numbers are cut over the devices.
        checkpoint_every: steps.
        keep: checkpoints.
        log_every: steps.
    """

    data: tuple[Source, ...] = ()
    model: DualEncoderConfig | Clip4ClipConfig = dataclasses.field(
        default_factory=DualEncoderConfig
    )
    frame_stride: int = 14
    spectrogram_stride: int = 3
    mel_mean: float = -1.6
    mel_deviation: float = 1.7
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    batch_size: int = 256
    micro_batch: int = 0
    epochs: float = 4.0
    seed: int = 0
    vocabulary: str = ""
    vision: str = ""
    text: str = ""
    clip: str = ""
    init: str = ""
    allow: tuple[str, ...] = ()
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    shard_from: int = 0
    checkpoint_every: int = 500
    keep: int = 2
    log_every: int = 10

    def __post_init__(self) -> None:
        """Checks what would otherwise fail in the middle of a run.

        Raises:
            InputError: `bad_config`.
        """
        if min(self.checkpoint_every, self.keep, self.log_every) < 1:
            raise InputError(
                "bad_config", "checkpoint_every, keep and log_every must be 1 or more"
            )
        if self.epochs < 0 or self.micro_batch < 0:
            raise InputError("bad_config", "epochs and micro_batch must be 0 or more")
        if isinstance(self.model, Clip4ClipConfig):
            most = self.model.clip.text.max_tokens
        else:
            most = self.model.text.max_tokens
        if most < CAPTION_TOKENS:
            raise InputError(
                "bad_config",
                f"a text encoder for {most} tokens does not take captions of up to "
                f"{CAPTION_TOKENS}: set its max_tokens to that or more",
            )

    @property
    def segment(self) -> SegmentConfig:
        """What is cut out of a clip for the model."""
        if isinstance(self.model, Clip4ClipConfig):
            frames, frame_px = self.model.frames, self.model.frame_px
            spectrogram_frames = 0
        else:
            clips = self.model.clips
            frames = clips.frames if "video" in clips.modalities else 0
            frame_px = clips.frame_px
            heard = "audio" in clips.modalities
            spectrogram_frames = clips.spectrogram_frames if heard else 0
        return SegmentConfig(
            frames=frames,
            frame_stride=self.frame_stride,
            frame_px=frame_px,
            spectrogram_frames=spectrogram_frames,
            spectrogram_stride=self.spectrogram_stride,
            mel_mean=self.mel_mean,
            mel_deviation=self.mel_deviation,
        )

    def steps(self, clips: int) -> int:
        """Steps of the run over so many clips."""
        least = 1 if self.epochs else 0
        return max(least, round(self.epochs * clips / self.batch_size))


def load_config(name: str, settings: Sequence[str] = ()) -> TrainConfig:
    """Reads a configuration and overrides fields of it.

    Args:
        name: of one in `models/configs`, or a Python file.
        settings: `path.of.field=value`.

    Raises:
        InputError: `no_config`, or as `override`.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise InputError("no_config", f"{name} does not exist; check the name")
        config = runpy.run_path(name).get("config")
    else:
        known = sorted(
            path.stem for path in Path(__file__).parents[1].glob("configs/*.py")
        )
        known.remove("__init__")
        if name not in known:
            raise InputError(
                "no_config",
                f"there is no configuration {name!r}: name one of {', '.join(known)}, "
                "or a file that ends in .py",
            )
        config = importlib.import_module(f"models.configs.{name}").config
    if not isinstance(config, TrainConfig):
        raise InputError("no_config", f"{name} has no `config` that is a TrainConfig")
    return override(config, settings)
