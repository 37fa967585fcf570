"""Tasks that learn from captioned clips: how segments are cut out of them."""

import abc
import dataclasses
from collections.abc import Sequence

from models.data.augment import AugmentConfig
from models.data.loader import Source, TrainingData
from models.data.segments import SegmentConfig
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.training.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipTask(Task):
    """A task whose batches are `CaptionedClips`.

    Attributes:
        frame_stride: stored frames between those of a segment.
        spectrogram_stride: frames of 10 ms between those of a segment.
        mel_mean: of the log-mel of such data.
        mel_deviation: standard deviation of the same.
        augment: how segments are changed for training.
    """

    frame_stride: int = 14
    spectrogram_stride: int = 3
    mel_mean: float = -1.6
    mel_deviation: float = 1.7
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)

    @property
    @abc.abstractmethod
    def segment(self) -> SegmentConfig:
        """What is cut out of a clip for the model."""

    def _segment(
        self, frames: int, frame_px: int, spectrogram_frames: int
    ) -> SegmentConfig:
        return SegmentConfig(
            frames=frames,
            frame_stride=self.frame_stride,
            frame_px=frame_px,
            spectrogram_frames=spectrogram_frames,
            spectrogram_stride=self.spectrogram_stride,
            mel_mean=self.mel_mean,
            mel_deviation=self.mel_deviation,
        )

    def training_data(
        self, sources: Sequence[Source], tokenizer: CaptionTokenizer, seed: int
    ) -> TrainingData:
        """See `Task`."""
        return TrainingData(sources, self.segment, self.augment, tokenizer, seed)
