"""The corpus of `clipseed demo`: synthetic videos, and seeds to find in them.

    truth = render_corpus(Path("demo"))
    # demo/videos/*.mp4  videos.csv  seeds/*.jpg  seeds.csv  truth.json

Among the videos are one without a sound track, one that is silent, two that the
paper's filters drop, one that is cut off in the middle and one that is not a video at
all, so that a run shows how each is handled.
"""

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from beam_pipeline.demo.films import Camera, Track, cut_off, write_film
from beam_pipeline.demo.stills import reframe, write_still
from beam_pipeline.demo.truth import Truth, write_truth
from beam_pipeline.demo.world import (
    COLORS,
    MOTION_PHRASES,
    PERIOD_S,
    PLACE_PHRASES,
    SOUND_PHRASES,
    VERBS,
    Scene,
    caption,
)

AS_OF = date(2026, 1, 1)  # the day that ages in the manifest are relative to
CAMERA = Camera()


@dataclass(frozen=True)
class Film:
    """The script of a video of the corpus.

    Attributes:
        name: of the file, without its suffix.
        scenes_s: length of each of its scenes, in whole seconds.
        track: its sound: that of the scenes, silence, or no track.
        seeds: number of its scenes, from the first, that are seeds.
        views: its view count in the manifest.
        age_days: days from its upload to `AS_OF`.
        breaks_s: second at which the file is cut off; 0 for a whole one.
    """

    name: str
    scenes_s: tuple[int, ...]
    track: Track = "scenes"
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
    """Write videos, seeds, their two tables and `truth.json` below a directory.

    Args:
        directory: created if missing; files of the same names are replaced.
        seed: of the random scenes. The same seed yields the same bytes.
        films: the scripts of the videos.
        absent_seeds: number of further seeds whose scenes no video shows.

    Returns:
        One `Truth` per seed that has a scene, in the order of `seeds.csv`.
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
        write_film(directory / film.path, cast, CAMERA, seed, film.track)
        if film.breaks_s:
            cut_off(directory / film.path, film.breaks_s * CAMERA.fps)
        truth += _truth(film, cast)
        wanted += [scene for scene, _ in cast[: film.seeds]]
    wanted += scenes  # The rest is in no video.
    for scene in wanted:
        _write_seed(directory / _seed_path(scene), scene, seed, rng)
    (directory / NOT_A_VIDEO).write_text("This is text, not a video.\n" * 40)
    rows = [(_seed_path(scene), caption(scene)) for scene in wanted]
    _write_table(directory / "seeds.csv", ("image", "caption"), rows)
    _write_table(directory / "videos.csv", *_manifest(films))
    write_truth(directory, truth)
    return truth


def _cast(count: int, absent: int, rng: np.random.Generator) -> list[Scene]:
    """Draw scenes that differ in place, or else in both object and color.

    The last `absent` have places of their own as far as there are enough, so that it is
    obvious that no video shows them, even to an embedder that ignores small objects.
    """
    places = rng.permutation(list(PLACE_PHRASES)).tolist()
    shown = places[min(absent, len(places) // 2) :]
    others = [list(words) for words in (VERBS, COLORS, MOTION_PHRASES, SOUND_PHRASES)]
    scenes: list[Scene] = []
    taken: set[tuple[str, str]] = set()
    while len(scenes) < count + absent:
        k = len(scenes)  # Places take turns, so that no video has one twice.
        place = (
            shown[k % len(shown)] if k < count else places[(k - count) % len(places)]
        )
        scene = Scene(place, *(str(rng.choice(words)) for words in others))
        looks = {(place, scene.object), (place, scene.color)}
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
    return f"seeds/{scene.place}-{scene.color}-{scene.object}.jpg"


# --- files --------------------------------------------------------------------------


def _write_seed(path: Path, scene: Scene, seed: int, rng: np.random.Generator) -> None:
    """Write a still of a scene as another camera would see it: cropped, recolored."""
    still = CAMERA.frame(scene, PERIOD_S / 2 + rng.uniform(-0.8, 0.8), seed)
    write_still(path, reframe(still, rng), CAMERA.height, CAMERA.width)


def _manifest(films: tuple[Film, ...]) -> tuple[tuple[str, ...], list[tuple]]:
    """Return header and rows of `videos.csv`: every file, including broken ones."""
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
