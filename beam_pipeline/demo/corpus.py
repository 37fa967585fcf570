"""The corpus of `clipseed demo`: made videos, and seeds to find in them.

    truth = render_corpus(Path("demo"))
    # demo/videos/*.mp4  videos.csv  seeds/*.jpg  seeds.csv  truth.json

Among the videos are one without a sound track, one that is silent, two that the
paper's filters drop, one that breaks in the middle and one that is no video at all, so
that a run shows what becomes of each.
"""

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

from beam_pipeline.demo.truth import Truth, write_truth
from beam_pipeline.demo.world import (
    COLOURS,
    MOTION_PHRASES,
    PERIOD_S,
    PLACE_PHRASES,
    SOUND_PHRASES,
    VERBS,
    Scene,
    caption,
    draw,
    sound,
)

AS_OF = date(2026, 1, 1)  # the day the manifest is to be judged by
FPS = 25
RATE = 32_000
HEIGHT, WIDTH = 240, 320


@dataclass(frozen=True)
class Film:
    """What a video of the corpus is made of.

    Attributes:
        name: of the file, without its suffix.
        scenes_s: whole seconds of each of its scenes.
        track: its sound: of the scenes, silence, or no track.
        seeds: how many of its scenes, from the first, are to be found.
        views: its view count in the manifest.
        age_days: how long before `AS_OF` it was uploaded.
        breaks_s: where the file is cut off; 0 for a whole one.
    """

    name: str
    scenes_s: tuple[int, ...]
    track: Literal["scenes", "silent", "none"] = "scenes"
    seeds: int = 3
    views: int = 20_000
    age_days: int = 400
    breaks_s: int = 0

    @property
    def path(self) -> str:
        """The video as the manifest names it."""
        return f"videos/{self.name}.mp4"


FILMS = (
    Film("alpha", (9, 10), views=51_200, age_days=1_200),
    Film("bravo", (8, 9, 10), views=8_400, age_days=330),
    Film("charlie", (10, 8), track="none", views=1_001, age_days=95),
    Film("delta", (9, 8, 8), views=730_000, age_days=2_900),
    Film("echo", (8, 10), track="silent", views=15_800, age_days=610),
    Film("foxtrot", (8, 8, 9), views=2_750, age_days=3_400),
    Film("golf_few_views", (8, 8), seeds=0, views=120),
    Film("hotel_too_recent", (9, 8), seeds=0, age_days=30),
    Film("india_cut_off", (9, 9), seeds=1, breaks_s=12),
)
NOT_A_VIDEO = "videos/juliett_not_a_video.mp4"


def render_corpus(
    directory: Path,
    seed: int = 0,
    films: tuple[Film, ...] = FILMS,
    absent_seeds: int = 4,
) -> list[Truth]:
    """Writes videos, seeds, their two tables and `truth.json` below a directory.

    Args:
        directory: made if need be; files of the same names are replaced.
        seed: another seed, other scenes. The same seed writes the same bytes.
        films: what the videos are made of.
        absent_seeds: seeds to add whose scene no video shows.

    Returns:
        One `Truth` a seed that has a scene, in the order of `seeds.csv`.
    """
    for folder in ("videos", "seeds"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    scenes = _cast(sum(len(film.scenes_s) for film in films), absent_seeds, rng)
    truth: list[Truth] = []
    wanted: list[Scene] = []
    for film in films:
        cast = list(zip(scenes, film.scenes_s, strict=False))
        scenes = scenes[len(cast) :]
        _write_film(directory / film.path, film, cast, seed)
        truth += _truth(film, cast)
        wanted += [scene for scene, _ in cast[: film.seeds]]
    wanted += scenes  # what is left over stands in no video
    for scene in wanted:
        _write_seed(directory / _seed_path(scene), scene, seed, rng)
    (directory / NOT_A_VIDEO).write_text("This is text, not a video.\n" * 40)
    rows = [(_seed_path(scene), caption(scene)) for scene in wanted]
    _write_table(directory / "seeds.csv", ("image", "caption"), rows)
    _write_table(directory / "videos.csv", *_manifest(films))
    write_truth(directory, truth)
    return truth


def _cast(count: int, absent: int, rng: np.random.Generator) -> list[Scene]:
    """Draws scenes that differ in place, or else in both object and colour.

    The last `absent` have places of their own as far as there are enough: that no video
    shows them is then plain to see, whatever the embedder makes of small objects.
    """
    places = rng.permutation(list(PLACE_PHRASES)).tolist()
    shown = places[min(absent, len(places) // 2) :]
    others = [list(words) for words in (VERBS, COLOURS, MOTION_PHRASES, SOUND_PHRASES)]
    scenes: list[Scene] = []
    taken: set[tuple[str, str]] = set()
    while len(scenes) < count + absent:
        k = len(scenes)  # taking turns, so that no video visits a place twice
        place = (
            shown[k % len(shown)] if k < count else places[(k - count) % len(places)]
        )
        scene = Scene(place, *(str(rng.choice(words)) for words in others))
        looks = {(place, scene.object), (place, scene.colour)}
        if not looks & taken:
            taken |= looks
            scenes.append(scene)
    return scenes


def _truth(film: Film, cast: list[tuple[Scene, int]]) -> list[Truth]:
    truth, start_us = [], 0
    for scene, seconds in cast[: film.seeds]:
        end_us = start_us + seconds * 1_000_000
        image = _seed_path(scene)
        truth.append(Truth(image, caption(scene), film.path, start_us, end_us))
        start_us = end_us
    return truth


def _seed_path(scene: Scene) -> str:
    return f"seeds/{scene.place}-{scene.colour}-{scene.object}.jpg"


# --- files --------------------------------------------------------------------------


def _write_film(
    path: Path, film: Film, cast: list[tuple[Scene, int]], seed: int
) -> None:
    """Encodes scenes one after another as H.264 and AAC, the header in front."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        options = {"preset": "veryfast", "crf": "26", "g": str(2 * FPS), "bf": "0"}
        video = container.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.thread_count = 1  # the bytes depend on the number of threads
        audio = None
        if film.track != "none":
            audio = container.add_stream("aac", rate=RATE, layout="mono")
            audio.bit_rate = 48_000
        for scene, seconds in cast:
            wave = sound(scene, seconds * RATE, RATE, seed) * (film.track == "scenes")
            for second in range(seconds):  # so that pictures and sound interleave
                for k in range(FPS):
                    image = draw(scene, second + k / FPS, HEIGHT, WIDTH, seed)
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                    container.mux(video.encode(frame))
                if audio:
                    heard = wave[None, second * RATE : (second + 1) * RATE]
                    container.mux(audio.encode(_audio_frame(heard)))
        container.mux(video.encode(None))
        if audio:
            container.mux(audio.encode(None))
    if film.breaks_s:
        _cut_off(path, film.breaks_s)


def _audio_frame(wave: np.ndarray) -> av.AudioFrame:
    """Wraps float32 [1, n] for the encoder."""
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate = RATE
    return frame


def _cut_off(path: Path, breaks_s: int) -> None:
    """Ends a file within the picture at `breaks_s`, its header still promising all."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        ends = [each.pos + each.size // 2 for each in packets if each.pos is not None]
    path.write_bytes(path.read_bytes()[: ends[breaks_s * FPS]])


def _write_seed(path: Path, scene: Scene, seed: int, rng: np.random.Generator) -> None:
    """Writes a still of a scene as another hand would have: reframed and recoloured."""
    still = draw(scene, PERIOD_S / 2 + rng.uniform(-0.8, 0.8), HEIGHT, WIDTH, seed)
    height, width = (int(rng.uniform(0.86, 0.95) * side) for side in (HEIGHT, WIDTH))
    top, left = rng.integers(HEIGHT - height + 1), rng.integers(WIDTH - width + 1)
    still = still[top : top + height, left : left + width]
    if rng.random() < 0.5:
        still = still[:, ::-1]
    still = np.clip(still * rng.uniform(0.88, 1.1, 3), 0, 255).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(still), format="rgb24")
    frame = frame.reformat(WIDTH, HEIGHT, "yuvj420p", interpolation="BICUBIC")
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
    codec.time_base = Fraction(1, FPS)
    codec.options = {"qmin": "4", "qmax": "4"}
    path.write_bytes(b"".join(map(bytes, codec.encode(frame) + codec.encode(None))))


def _manifest(films: tuple[Film, ...]) -> tuple[tuple[str, ...], list[tuple]]:
    """The header and rows of `videos.csv`: every file, the broken ones too."""
    header = ("video", "view_count", "duration", "upload_date", "safe")
    rows: list[tuple] = [
        (
            film.path,
            film.views,
            sum(film.scenes_s),
            AS_OF - timedelta(days=film.age_days),
            "true",
        )
        for film in films
    ]
    rows.append((NOT_A_VIDEO, 4_000, 60, AS_OF - timedelta(days=500), "true"))
    return header, rows


def _write_table(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
