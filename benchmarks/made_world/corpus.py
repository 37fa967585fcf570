"""Films, seed images and their tables, rendered.

A film is one scene. Seed images are of scenes of their own: the same look may be in
both, but never the same visit to a place, the same layout or the same instant.
"""

import csv
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from beam_pipeline.demo.films import Camera, write_film
from beam_pipeline.demo.stills import reframe, write_still
from beam_pipeline.demo.world import PERIOD_S, Scene, caption

FILM_S, FPS = 6, 5
CAMERA = Camera(height=120, width=160, fps=FPS, rate=16_000, zoom=1.3)


def render_films(directory: Path, scenes: Sequence[Scene], first: int) -> list[str]:
    """Film each scene, and return the files, in order.

    Args:
        directory: made if necessary.
        scenes: one per film.
        first: number of the first visit; visits of equal numbers look alike.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = [str(directory / f"{n:05d}.mp4") for n in range(len(scenes))]
    visits = range(first, first + len(scenes))
    _each(_film, zip(files, scenes, visits, strict=True))
    return files


def render_stills(directory: Path, scenes: Sequence[Scene], first: int) -> list[str]:
    """Photograph each scene once; see `render_films`."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [str(directory / f"{n:05d}.jpg") for n in range(len(scenes))]
    visits = range(first, first + len(scenes))
    _each(_photograph, zip(files, scenes, visits, strict=True))
    return files


def still(scene: Scene, visit: int) -> np.ndarray:
    """Render a scene as another photographer would take it: uint8 [h, w, 3]."""
    rng = np.random.default_rng(visit)
    t_s = PERIOD_S / 2 + rng.uniform(-1.2, 1.2)
    return reframe(CAMERA.frame(scene, t_s, visit), rng)


def write_seeds(path: Path, files: Iterable[str], scenes: Iterable[Scene]) -> None:
    """Write the table of seeds: image, relative to the table, and caption."""
    images = (os.path.relpath(file, path.parent) for file in files)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption"))
        writer.writerows(zip(images, map(caption, scenes), strict=True))


def _film(task: tuple[str, Scene, int]) -> None:
    file, scene, visit = task
    write_film(Path(file), [(scene, FILM_S)], CAMERA, visit)


def _photograph(task: tuple[str, Scene, int]) -> None:
    file, scene, visit = task
    write_still(Path(file), still(scene, visit), CAMERA.height, CAMERA.width)


def _each(work: object, tasks: Iterable[tuple[str, Scene, int]]) -> None:
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(work, tasks, chunksize=16))  # type: ignore[arg-type]
