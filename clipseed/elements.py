"""What travels between the steps of a job.

Only ids, spans and scores cross machines (DESIGN.md, "What flows"); arrays live and
die inside one fused step. Times are integer microseconds from the first video frame.
"""

from typing import Any, NamedTuple

import numpy as np


class SeedRow(NamedTuple):
    """One row of a seeds source: an image by reference, and one caption.

    Attributes:
        reference: the image as the source names it (stable across machines).
        uri: what is opened: a path, `gs://`, `http(s)://`, or a tar shard.
        caption: UTF-8 text, byte for byte as in the source.
        offset_bytes: where the image starts in a tar shard; -1 when `uri` is the image.
        size_bytes: its length there; -1 when `uri` is the image.
        embedding: float32 bytes of a precomputed embedding, or empty.
    """

    reference: str
    uri: str
    caption: str
    offset_bytes: int = -1
    size_bytes: int = -1
    embedding: bytes = b""


class Seed(NamedTuple):
    """A seed image after loading: its id (content hash) and one caption of it."""

    seed_id: str
    reference: str
    caption: str


class Video(NamedTuple):
    """A video of the corpus.

    Attributes:
        video_id: the manifest's id, or a hash of `reference`.
        reference: the video as the corpus names it; the first column of `pairs.csv`.
        uri: what is opened.
    """

    video_id: str
    reference: str
    uri: str


class VideoPart(NamedTuple):
    """A part `[start_us, end_us)` of a video that one worker samples.

    Attributes:
        keep_as: the name that its frames' embeddings are kept under; "" for not at all.
    """

    video: Video
    start_us: int
    end_us: int
    keep_as: str = ""


class Match(NamedTuple):
    """A frame of a video that looks like a seed.

    Attributes:
        similarity: float32 dot product of the unit-norm embeddings, as a Python float.
        time_us: presentation time of the frame.
    """

    seed_id: str
    similarity: float
    video: Video
    time_us: int


class ImageChunk(NamedTuple):
    """Images to embed together; what is in a chunk depends on its source alone.

    Attributes:
        source: where they come from: a `Video`, or the name of a batch of seeds.
        keys: one key an image: a frame's time in µs, or a seed's id and reference.
        images: uint8 [n, h, w, 3], RGB.
        keep_as: the file to write their embeddings to; "" for none.
    """

    source: Any
    keys: tuple
    images: np.ndarray
    keep_as: str = ""


class EmbeddedChunk(NamedTuple):
    """What an embedder made of an `ImageChunk`.

    Attributes:
        source: the chunk's.
        keys: the keys of the images that have an embedding, in order.
        embeddings: float32 [n, d], unit norm.
        keep_as: the chunk's.
    """

    source: Any
    keys: tuple
    embeddings: np.ndarray
    keep_as: str = ""
