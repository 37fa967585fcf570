"""The corpus that mining is measured on: films of 640x360 H.264 with AAC sound.

Pieces of real videos (of `shared/data`, or of the demo where that is absent) are put
one after the other into films of different lengths; stills of them, cropped, are the
seeds, so that there are matches to find and clips to cut.
"""

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np

from transforms.media.images import encode_jpeg

FPS = 25
WIDTH_PX, HEIGHT_PX = 640, 360
_RATE_HZ = 44_100
_SAMPLES_A_FRAME = _RATE_HZ // FPS
_PIECE_S = 12
_LENGTHS_S = (20, 47, 33, 60, 26, 54, 40)  # repeated; 40 s on average
_CROP = 0.05
_DONE = "corpus.json"


class Piece(NamedTuple):
    """A few seconds of a source.

    Attributes:
        images: one a frame at `FPS`: uint8 [540, 640], planar YUV 4:2:0.
        samples: int16 [1, 2 * n], 44.1 kHz, interleaved stereo, as long as the images.
    """

    images: list[np.ndarray]
    samples: np.ndarray


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk.

    Attributes:
        videos: the folder of its films.
        seeds: the CSV of its seeds.
        seconds: of video, in all.
        films: how many.
    """

    videos: Path
    seeds: Path
    seconds: float
    films: int

    def files(self) -> list[Path]:
        """Return the films, in order."""
        return sorted(self.videos.iterdir())


def film_lengths(total_s: int) -> list[int]:
    """Return lengths of films, 20 to 60 s each, that sum to the total or a bit more.

    Example:
        >>> film_lengths(60)
        [20, 47]
    """
    lengths: list[int] = []
    for length_s in itertools.cycle(_LENGTHS_S):
        if sum(lengths) >= total_s:
            return lengths
        lengths.append(length_s)
    raise AssertionError("cycle ended")


def find_sources(data: Path, work: Path) -> list[Path]:
    """Return videos to take pieces from: the test data's, or those of a demo."""
    if (data / "videos").is_dir():
        return sorted((data / "videos").iterdir())
    from beam_pipeline.demo.corpus import render_corpus

    render_corpus(work / "demo")
    return sorted((work / "demo" / "videos").iterdir())


def build_corpus(
    directory: Path, sources: Sequence[Path], lengths_s: Sequence[int], seeds: int
) -> Corpus:
    """Write films and seeds, unless a corpus of the same plan is finished.

    Args:
        directory: made if necessary.
        sources: videos; those that cannot be decoded are skipped.
        lengths_s: whole seconds of each film.
        seeds: how many stills to take, evenly over the corpus.
    """
    plan = {"sources": [s.name for s in sources], "lengths_s": list(lengths_s)}
    plan["seeds"] = [str(seeds)]
    corpus = Corpus(
        directory / "videos", directory / "seeds.csv", sum(lengths_s), len(lengths_s)
    )
    done = directory / _DONE
    if done.exists() and json.loads(done.read_text()) == plan:
        return corpus
    for folder in (corpus.videos, directory / "seeds"):
        folder.mkdir(parents=True, exist_ok=True)
    pieces = _pieces(sources)
    every = sum(lengths_s) * FPS // seeds
    frames = itertools.count(every // 2)
    rows: list[tuple[str, str]] = []
    for number, length_s in enumerate(lengths_s):
        film = corpus.videos / f"film_{number:03d}.mp4"
        for image in _write_film(film, pieces, length_s):
            if next(frames) % every == 0 and len(rows) < seeds:
                rows.append(_write_seed(directory, len(rows), film, image))
    with open(corpus.seeds, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    done.write_text(json.dumps(plan))
    return corpus


def _pieces(sources: Sequence[Path]) -> Iterator[Piece]:
    """Yield pieces of all sources in turn, each round further into the long ones."""
    for round_ in itertools.count():
        found = 0
        for source in sources:
            try:
                piece = read_piece(source, round_ * _PIECE_S)
                if not piece.images and round_:  # A short one starts again.
                    piece = read_piece(source, 0)
            except (av.error.FFmpegError, UnicodeDecodeError, IndexError):
                continue
            if len(piece.images) >= FPS:
                found += 1
                yield piece
        if not found:
            raise SystemExit("no source video can be decoded: see --data")


def read_piece(source: Path, start_s: float) -> Piece:
    """Decode the next seconds from a start; return no images past the video's end."""
    images: list[np.ndarray] = []
    with av.open(str(source), metadata_errors="ignore") as container:
        first: float | None = None
        for frame in container.decode(video=0):
            if frame.time is None:
                continue
            first = frame.time if first is None else first
            due = int((frame.time - first - start_s) * FPS) + 1
            if due > len(images):
                image = frame.reformat(WIDTH_PX, HEIGHT_PX, "yuv420p").to_ndarray()
                images += [image] * (min(due, _PIECE_S * FPS) - len(images))
            if len(images) >= _PIECE_S * FPS:
                break
    samples = np.zeros((1, 2 * _SAMPLES_A_FRAME * len(images)), np.int16)
    sound = _read_sound(source, start_s, samples.shape[1])
    samples[:, : sound.shape[1]] = sound
    return Piece(images, samples)


def _read_sound(source: Path, start_s: float, wanted: int) -> np.ndarray:
    """Interleaved stereo from a start: int16 [1, at most wanted]."""
    resampler = av.AudioResampler("s16", "stereo", _RATE_HZ)
    skip = 2 * round(start_s * _RATE_HZ)
    parts: list[np.ndarray] = [np.zeros((1, 0), np.int16)]
    with av.open(str(source), metadata_errors="ignore") as container:
        frames = container.decode(audio=0) if container.streams.audio else iter(())
        for frame in frames:
            parts += [part.to_ndarray() for part in resampler.resample(frame)]
            if sum(part.shape[1] for part in parts) >= skip + wanted:
                break
    return np.concatenate(parts, axis=1)[:, skip : skip + wanted]


def _write_film(
    path: Path, pieces: Iterator[Piece], length_s: int
) -> Iterator[np.ndarray]:
    """Encode pieces up to a length; yield the images that went in."""
    count = length_s * FPS
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=FPS, options={"preset": "fast", "threads": "1"}
        )
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        audio = container.add_stream("aac", rate=_RATE_HZ, layout="stereo")
        done = 0
        while done < count:
            piece = next(pieces)
            images = piece.images[: count - done]
            samples = piece.samples[:, : 2 * _SAMPLES_A_FRAME * len(images)]
            for i, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, "yuv420p")
                frame.pts, frame.time_base = done + i, Fraction(1, FPS)
                container.mux(video.encode(frame))
            sound = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
            sound.rate, sound.time_base = _RATE_HZ, Fraction(1, _RATE_HZ)
            sound.pts = done * _SAMPLES_A_FRAME
            container.mux(audio.encode(sound))
            done += len(images)
            yield from images
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _write_seed(
    directory: Path, number: int, film: Path, image: np.ndarray
) -> tuple[str, str]:
    """Write a still, cropped, as a JPEG; return its row of the seed table."""
    frame = av.VideoFrame.from_ndarray(image, "yuv420p")
    rgb = frame.to_ndarray(format="rgb24")
    top, left = round(HEIGHT_PX * _CROP), round(WIDTH_PX * _CROP)
    name = f"seeds/still_{number:03d}.jpg"
    jpeg = encode_jpeg(np.ascontiguousarray(rgb[top:-top, left:-left]), 90)
    (directory / name).write_bytes(jpeg)
    return name, f"still {number} from {film.stem}"


def link_copies(corpus: Corpus, directory: Path, copies: int) -> Corpus:
    """Repeat the films under several names each, without using disk space."""
    videos = directory / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    for number in range(copies):
        for film in corpus.files():
            name = videos / f"copy_{number:03d}_{film.name}"
            if not name.exists():
                name.hardlink_to(film)
    films = corpus.films * copies
    return Corpus(videos, corpus.seeds, corpus.seconds * copies, films)
