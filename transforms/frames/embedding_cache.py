"""The frame embedding cache: files, so that no frame of a video is decoded twice.

    kept = EmbeddingCache("run/work/frames", "descriptor-v1", sampling)
    cached = kept.read_part(part.keep_as)  # None: decode it

A part of a video is a file per chunk of frames, and one that says how many there are
and where the video is damaged. The first are written where frames are embedded, the
last where they are decoded: neither step knows of the other, and a part counts as
cached only when all its files are there and whole. What decides the embeddings decides
the name, so a file is never stale; it opens with its own checksum, so a damaged one is
not believed.
"""

import hashlib
import io
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from clipseed.elements import EmbeddedChunk, Video, VideoPart
from clipseed.errors import DeadLetter, InputError
from clipseed.io import storage
from clipseed.io.gcs import blob_of, input_errors, is_gs
from clipseed.io.http import is_web
from transforms.media.sample_frames import Break, SamplingConfig

FOLDER = "work/frames"
# Raised when the files change, or how a part's frames are put into chunks.
_FORMAT = 1
_DIGEST_BYTES = 32
_MOST_BYTES = 256 << 20
_PART = ".part"


class CachedPart(NamedTuple):
    """The result of decoding and embedding a part of a video.

    Attributes:
        chunks: times in µs, and embeddings float32 [n, d], of each chunk.
        breaks: where the video is damaged.
    """

    chunks: list[tuple[tuple[int, ...], np.ndarray]]
    breaks: list[Break]


@dataclass(frozen=True)
class EmbeddingCache:
    """Where frame embeddings are kept, and what they are made by.

    Attributes:
        folder: where they are written, and looked for first; "" for neither.
        embedder_id: of the embedder.
        sampling: how frames are taken.
        older: another run's folder, which is only looked into; "" for none.
    """

    folder: str
    embedder_id: str
    sampling: SamplingConfig
    older: str = ""

    def uri(self, name: str) -> str:
        """Return where a file of this name is written; "" for nowhere."""
        return storage.join(self.folder, name) if self.folder else ""

    def chunk_name(self, part: str, number: int) -> str:
        """Return the name of the file of one chunk of a part."""
        return f"{part}-{number:04d}.chunk"

    def parts(self, video: Video, version: str) -> list[VideoPart] | None:
        """Return the parts of a video as probed before; None if it was not."""
        payload = self._read(_probe_name(video, version, self.sampling))
        if payload is None:
            return None
        return self.name_parts(video, version, json.loads(payload))

    def keep_ends(
        self, video: Video, version: str, ends: Sequence[tuple[int, int]]
    ) -> None:
        """Store the `(start_us, end_us)` of a video's parts."""
        name = _probe_name(video, version, self.sampling)
        self._write(name, json.dumps(ends).encode())

    def name_parts(
        self, video: Video, version: str, ends: Sequence[tuple[int, int]]
    ) -> list[VideoPart]:
        """Return a video's parts, each with the name that it is kept under."""
        sampling = self.sampling
        how = (sampling.fps, sampling.mode, sampling.resizing, self.embedder_id)
        return [
            VideoPart(video, *part, _name(video.video_id, version, *how, *part))
            for part in ends
        ]

    def keep_part(
        self, part: str, lengths: Sequence[int], breaks: Sequence[Break]
    ) -> None:
        """Store what a part is made of: frames in each chunk, and damages."""
        payload = json.dumps({"lengths": lengths, "breaks": breaks}).encode()
        self._write(part + _PART, payload)

    def read_part(self, part: str) -> CachedPart | None:
        """Return a part that is there as a whole; else None."""
        payload = self._read(part + _PART)
        if payload is None:
            return None
        facts = json.loads(payload)
        chunks = []
        for number, length in enumerate(facts["lengths"]):
            chunk = self.read_chunk(self.chunk_name(part, number))
            if chunk is None or len(chunk[0]) != length:
                return None
            chunks.append(chunk)
        return CachedPart(chunks, [Break(*item) for item in facts["breaks"]])

    def read_chunk(self, name: str) -> tuple[tuple[int, ...], np.ndarray] | None:
        """Return the times and embeddings of a chunk; None where there is none."""
        payload = self._read(name)
        if payload is None:
            return None
        file = io.BytesIO(payload)
        times, embeddings = (np.load(file, allow_pickle=False) for _ in range(2))
        return tuple(times.tolist()), embeddings

    def _write(self, name: str, payload: bytes) -> None:
        if self.folder:
            write_sealed(self.uri(name), payload)

    def _read(self, name: str) -> bytes | None:
        for folder in filter(None, (self.folder, self.older)):
            payload = read_sealed(storage.join(folder, name))
            if payload is not None:
                return payload
        return None


def keep_chunk(
    result: tuple[EmbeddedChunk, list[DeadLetter]],
) -> tuple[EmbeddedChunk, list[DeadLetter]]:
    """Write a chunk that is to be kept, and pass it on.

    One of which an image failed is not kept: the part is tried again by the next run.
    """
    chunk, rejected = result
    if chunk.keep_as and not rejected:
        write_chunk(chunk.keep_as, chunk.keys, chunk.embeddings)
    return result


def write_chunk(uri: str, times_us: Sequence[int], embeddings: np.ndarray) -> None:
    """Write times and embeddings float32 [n, d] as one file."""
    file = io.BytesIO()
    np.save(file, np.array(times_us, np.int64))
    np.save(file, embeddings)
    write_sealed(uri, file.getvalue())


def video_version(uri: str) -> str:
    """Return what distinguishes a video from others of its name, without reading it.

    Size and time of change of a file, size and checksum of an object; a video on the
    web is known by its address alone. "" where the system does not know: such a
    video is not cached, and reading it shows the reason.
    """
    if is_web(uri):
        return uri
    try:
        with input_errors(uri):
            if not is_gs(uri):
                status = os.stat(uri)
                return f"{status.st_size} {status.st_mtime_ns}"
            blob = blob_of(uri)
            blob.reload()
            return f"{blob.size} {blob.crc32c or blob.etag}"
    except InputError:
        return ""


def kept_in(folder: str) -> str:
    """Return what a folder holds, in words; "" for nothing.

    In a bucket it is not counted.
    """
    if storage.is_remote(folder):
        return f"embeddings in {folder}" if storage.exists(folder) else ""
    places = (names for _, _, names in os.walk(folder))
    parts = sum(name.endswith(_PART) for names in places for name in names)
    return f"{parts} parts of videos" if parts else ""


def tidy(folder: str) -> None:
    """Remove what a killed job was writing: local files under hidden names."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                os.unlink(os.path.join(place, name))


def write_sealed(uri: str, payload: bytes) -> None:
    """Write a payload behind its SHA-256, at once or not at all."""
    storage.write_bytes(uri, hashlib.sha256(payload).digest() + payload)


def read_sealed(uri: str) -> bytes | None:
    """Return the payload of a sealed file; None if it is not there or not whole."""
    try:
        data = storage.read_bytes(uri, _MOST_BYTES)
    except InputError as error:
        if error.reason != "not_found":
            logging.warning("not used, but made again: %s", error.message)
        return None
    payload = data[_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != data[:_DIGEST_BYTES]:
        logging.warning("damaged, and made again: %s", uri)
        return None
    return payload


def _probe_name(video: Video, version: str, sampling: SamplingConfig) -> str:
    facts = (video.video_id, version, sampling.part_s, sampling.max_duration_s)
    return _name(*facts) + ".probe"


def _name(*facts: Any) -> str:
    """Return a name of facts, in one of 256 folders, so that none grows too big."""
    text = json.dumps([_FORMAT, *facts])
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{digest[:2]}/{digest}"
