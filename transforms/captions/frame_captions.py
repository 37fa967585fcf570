"""The captioning step: chunks of frames to captions of frames, by a captioner."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference

from clipseed.elements import ImageChunk, Video
from clipseed.errors import DeadLetter
from models.captioning.base import Captioner, CaptioningError, Search, WrittenCaption
from models.captioning.registry import load_captioner

STAGE = "caption_frames"
_MESSAGES = {
    "endless_caption": "It had not ended after --max_tokens tokens: {text}",
    "empty_caption": "The captioner ended it before the first word.",
    "bad_logits": "The captioner computed NaN or infinity.",
}


class FrameCaption(NamedTuple):
    """A caption of one frame.

    Attributes:
        video: that the frame is of.
        time_us: of the frame.
        text: the caption.
        score: likelihood of the caption per token, in (0, 1].
    """

    video: Video
    time_us: int
    text: str
    score: float


_Captioned = tuple[list[FrameCaption], list[DeadLetter]]


class CaptionerHandler(ModelHandler[ImageChunk, _Captioned, Captioner]):
    """Runs a captioner on chunks of frames.

    A chunk is a batch already, so Beam need not batch: what a captioner sees together
    depends on the video alone, and it writes the same in every run.
    """

    def __init__(self, captioner: str, search: Search) -> None:
        super().__init__()
        self._captioner = captioner
        self._search = search

    def load_model(self) -> Captioner:
        """Load the captioner, once per process."""
        return load_captioner(self._captioner)

    def run_inference(
        self,
        batch: Sequence[ImageChunk],
        model: Captioner,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[_Captioned]:
        """Caption each chunk by itself."""
        return [caption_chunk(chunk, model, self._search) for chunk in batch]

    def get_num_bytes(self, batch: Sequence[ImageChunk]) -> int:
        """Return the arrays' size; Beam would pickle them to find out."""
        return sum(chunk.images.nbytes for chunk in batch)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of the metrics that RunInference emits."""
        return "clipseed_caption"

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Return the size of batches: a chunk is one already."""
        return {"min_batch_size": 1, "max_batch_size": 1}


def caption_chunk(
    chunk: ImageChunk, captioner: Captioner, search: Search
) -> _Captioned:
    """Caption a chunk of a video's frames.

    Returns:
        the captions, and a dead letter for each frame without one.
    """
    captions, rejected = [], []
    for time_us, written in zip(
        chunk.keys, _caption_rows(chunk.images, captioner, search), strict=True
    ):
        key = f"{chunk.source.reference}@{time_us}"
        if isinstance(written, CaptioningError):
            reason, message = "captioning_failed", str(written)
        elif written.problem:
            reason = written.problem
            message = _MESSAGES[reason].format(text=written.text)
        else:
            text = " ".join(written.text.split())
            score = math.exp(written.score)
            captions.append(FrameCaption(chunk.source, time_us, text, score))
            continue
        rejected.append(DeadLetter(STAGE, key, reason, message))
    return captions, rejected


def _caption_rows(
    images: np.ndarray, captioner: Captioner, search: Search
) -> Iterator[WrittenCaption | CaptioningError]:
    """Yield a caption per image; halve a failing batch until the culprits are alone."""
    try:
        yield from captioner.caption(images, search)
    except CaptioningError as error:
        if len(images) == 1:
            yield error
            return
        middle = len(images) // 2
        yield from _caption_rows(images[:middle], captioner, search)
        yield from _caption_rows(images[middle:], captioner, search)


@dataclass(eq=False)
class CaptionFrames(beam.PTransform):
    """`ImageChunk` to `FrameCaption`, with dead letters under the tag `rejected`.

    Attributes:
        captioner: as `--captioner` names it.
        search: how hard it searches for a caption.
        accelerator: a Beam resource hint such as `type:nvidia-l4;count:1`, or empty.
    """

    captioner: str
    search: Search
    accelerator: str = ""

    def expand(self, chunks: beam.PCollection) -> Any:
        """Run the captioner on every chunk."""
        handler = CaptionerHandler(self.captioner, self.search)
        inference: beam.PTransform = RunInference(handler)
        if self.accelerator:
            inference = inference.with_resource_hints(accelerator=self.accelerator)
        return (
            chunks
            | "RunCaptioner" >> inference
            | "Separate"
            >> beam.FlatMap(_separate)
            .with_output_types(FrameCaption)
            .with_outputs("rejected", main="ok")
        )


def _separate(result: _Captioned) -> Iterator[Any]:
    captions, rejected = result
    yield from captions
    for dead_letter in rejected:
        yield beam.pvalue.TaggedOutput("rejected", dead_letter)
