"""The elements that travel between the steps of a job.

Only ids, time ranges and scores cross machines. Decoded images and embeddings are
created and consumed inside one fused step, because a shuffle of them would cost more
than decoding. Times are integer microseconds from the first video frame.
"""

from typing import Any, NamedTuple

import numpy as np

# Where a caption comes from: an image that looks like a frame of the clip, a captioner
# of images, or speech in the clip.
SOURCES = TRANSFERRED, PSEUDOLABEL, ASR = "transferred", "pseudolabel", "asr"


class SeedRow(NamedTuple):
    """One row of a seeds source: an image by reference, and one caption.

    Attributes:
        reference: the image as the source names it (stable across machines).
        uri: what is opened: a path, `gs://`, `http(s)://`, or a tar shard.
        caption: UTF-8 text, byte for byte as in the source.
        offset_bytes: start of the image in a tar shard; -1 when `uri` is the image.
        size_bytes: its length in the shard; -1 when `uri` is the image.
        embedding: float32 bytes of a precomputed embedding, or empty.
    """

    reference: str
    uri: str
    caption: str
    offset_bytes: int = -1
    size_bytes: int = -1
    embedding: bytes = b""


class Seed(NamedTuple):
    """A loaded seed image: its id (a content hash) and one of its captions."""

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
        keep_as: name of its file in the frame embedding cache; "" for no caching.
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


class RankedMatch(NamedTuple):
    """A row of `matches/`: a match with its full provenance.

    Attributes:
        video: as the corpus names it.
        time_us: of the matched frame.
        rank: 1 for the best match of its seed; None if it was not selected.
        embedder: that the similarity was computed with.
    """

    seed_id: str
    video: str
    video_id: str
    time_us: int
    similarity: float
    rank: int | None
    embedder: str


class ClipCaption(NamedTuple):
    """A caption of a clip that is to be cut: what every caption source yields.

    Attributes:
        seed_id: of the seed, for a transferred caption; else "".
        image: reference of the seed's image; else "" too.
        caption: UTF-8 text.
        rank: 1 for the seed's best match, or for the clip's best caption.
        similarity: of the matched frame; for other sources the caption's score.
        time_us: of the matched frame, or of what the caption was made from.
        video: that it is in.
        source: `TRANSFERRED`, `PSEUDOLABEL` or `ASR`.
        start_us: of the clip; -1 if it is cut around `time_us`.
        end_us: of the clip, exclusive; -1 where `start_us` is.
    """

    seed_id: str
    image: str
    caption: str
    rank: int
    similarity: float
    time_us: int
    video: Video
    source: str = TRANSFERRED
    start_us: int = -1
    end_us: int = -1


class Pair(NamedTuple):
    """A clip-caption pair; the first four fields are a row of `pairs.csv`.

    Attributes:
        video: as the corpus names it.
        start_us: of the clip.
        end_us: of the clip, exclusive.
        caption: byte for byte as in its source.
        clip_id: names the record of the clip in `clips/`.
        seed_id: of the seed, for a transferred caption; else "".
        image: reference of the seed's image; else "" too.
        rank: of the match among those of its seed, from 1.
        similarity: see `ClipCaption`.
        time_us: see `ClipCaption`.
        sound: the verdict on the sound of the clip.
        source: see `ClipCaption`.
    """

    video: str
    start_us: int
    end_us: int
    caption: str
    clip_id: str
    video_id: str
    seed_id: str
    image: str
    rank: int
    similarity: float
    time_us: int
    sound: str
    source: str = TRANSFERRED


class ImageChunk(NamedTuple):
    """Images to embed together.

    The content of a chunk depends on its source alone, so that a rerun on another
    runner embeds the same batches and yields the same bits.

    Attributes:
        source: the images' origin: a `Video`, or the name of a batch of seeds.
        keys: one key per image: a frame's time in µs, or a seed's id and reference.
        images: uint8 [n, h, w, 3], RGB.
        keep_as: name of the file to write their embeddings to; "" for none.
    """

    source: Any
    keys: tuple
    images: np.ndarray
    keep_as: str = ""


class EmbeddedChunk(NamedTuple):
    """The embeddings of an `ImageChunk`.

    Attributes:
        source: as in the chunk.
        keys: the keys of the images that could be embedded, in order.
        embeddings: float32 [n, d], unit norm.
        keep_as: as in the chunk.
    """

    source: Any
    keys: tuple
    embeddings: np.ndarray
    keep_as: str = ""
