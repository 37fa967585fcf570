"""Mine a made world, train on what was mined, and measure against the truth.

    python -m benchmarks.made_world [--output DIR]

Films, seed images and test are rendered (`scenes`), an embedder is learned from other
stills, and `clipseed mine` transfers seeds' captions to films' clips. The same small
model is trained on the mined pairs with pictures and sound, pictures alone and sound
alone, and on the same clips with their true captions. It is tested on clips of other
visits, where habits do not count; and again with sounds swapped or frames shuffled.
Prints the table of the README and writes it to `made_world.json`.
"""

import argparse
import dataclasses
import json
import logging
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from beam_pipeline import mine
from beam_pipeline.demo.world import Scene, caption
from benchmarks.made_world import corpus, report, runs
from benchmarks.made_world.embedder import label_stills, train_embedder
from benchmarks.made_world.measures import (
    Change,
    Measures,
    measure,
    shuffle_frames,
    swap_sounds,
)
from benchmarks.made_world.scenes import draw_habits, draw_scenes, draw_test
from clipseed.run.reader import Run

FILMS, SEEDS, STILLS, TEST_LOOKS = 2000, 900, 3000, 48
THRESHOLD = 0.85  # of this embedder: above it are stills of one look


class World(NamedTuple):
    """What there is: scenes by what is made of them."""

    films: list[Scene]
    seeds: list[Scene]
    stills: list[Scene]
    test: list[Scene]


class Trial(NamedTuple):
    """A model to train, or one trained before that is given changed clips."""

    name: str
    run: str
    modalities: tuple[str, ...]
    change: Change | None = None


BOTH = ("video", "audio")
TRIALS = (
    Trial("A+V, mined", "mined", BOTH),
    Trial("V, mined", "mined", ("video",)),
    Trial("A, mined", "mined", ("audio",)),
    Trial("A+V, true captions", "true", BOTH),
    Trial("A+V, mined; sounds swapped", "mined", BOTH, swap_sounds),
    Trial("V, mined; frames shuffled", "mined", ("video",), shuffle_frames),
)


def draw_world() -> World:
    """Draw the scenes of each set separately, so that none is in two."""
    habits = draw_habits(np.random.default_rng(0))
    films, seeds, stills = (
        draw_scenes(count, habits, np.random.default_rng(stream))
        for stream, count in enumerate((FILMS, SEEDS, STILLS), start=1)
    )
    return World(films, seeds, stills, draw_test(TEST_LOOKS, np.random.default_rng(4)))


def prepare(output: Path, world: World) -> dict[str, float]:
    """Render, mine and write the runs; return how well mined pairs agree, by fact."""
    embedder = train_embedder(
        output / "embedder", label_stills(world.stills, 1_000_000), world.stills
    )
    _done("embedder learned")
    films = corpus.render_films(output / "videos", world.films, 0)
    seeds = corpus.render_stills(output / "seeds", world.seeds, 2_000_000)
    test = corpus.render_films(output / "test_videos", world.test, 3_000_000)
    corpus.write_seeds(output / "seeds.csv", seeds, world.seeds)
    _done("films, seeds and test rendered")
    status = mine.run(
        [
            f"--seeds={output / 'seeds.csv'}",
            f"--videos={output / 'videos'}",
            f"--output={output / 'mined'}",
            f"--embedder={embedder}",
            f"--threshold={THRESHOLD}",
            f"--clip_s={runs.CLIP_S}",
            f"--clip_fps={corpus.FPS}",
        ]
    )
    if status:
        raise SystemExit(status)
    _done("mined")
    names = (Path(film).name for film in films)
    truth = dict(zip(names, world.films, strict=True))
    runs.recaptioned(output / "mined", truth, output / "true")
    runs.filmed(test, world.test, output / "test")
    _done("true captions and test written")
    return _agreement(output / "mined", truth, world.seeds)


def _agreement(
    run: Path, truth: dict[str, Scene], seeds: list[Scene]
) -> dict[str, float]:
    """Return the share of mined pairs with a caption true of the clip, by fact."""
    said = {caption(scene): scene for scene in seeds}
    pairs = Run.open(run, verify="nothing").pairs_csv()
    rows = [(truth[pair.video], said[pair.caption]) for pair in pairs]
    return {
        fact: float(np.mean([getattr(a, fact) == getattr(b, fact) for a, b in rows]))
        for fact in Scene.__dataclass_fields__
    }


def attempt(output: Path, trial: Trial, test: list[Scene]) -> Measures:
    """Train what a trial needs, unless an earlier one did, and measure it."""
    from models.data.loader import Source
    from models.training.config import load_config
    from models.training.loop import train

    directory = output / f"train-{trial.run}-{'-'.join(trial.modalities)}"
    if not directory.exists():
        config = load_config(
            str(Path(__file__).with_name("config.py")),
            [f"task.model.clips.modalities={trial.modalities!r}"],
        )
        data = (Source(str(output / trial.run)),)
        train(dataclasses.replace(config, data=data), str(directory))
    return measure(directory, output / "test", test, trial.change)


_START_S = time.monotonic()


def _done(what: str) -> None:
    print(f"{time.monotonic() - _START_S:6.0f} s  {what}", flush=True)


def main() -> None:
    """Run all of it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="made_world_run", help="replaced")
    output = Path(parser.parse_args().output)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    logging.getLogger().setLevel(logging.ERROR)
    world = draw_world()
    agreement = prepare(output, world)
    measured = {}
    for trial in TRIALS:
        measured[trial.name] = attempt(output, trial, world.test)
        _done(f"{trial.name}: R@1 {measured[trial.name].recall:.1f}")
    print(report.as_markdown(measured, agreement))
    found = {name: result._asdict() for name, result in measured.items()}
    seconds = round(time.monotonic() - _START_S)
    facts = {"measured": found, "agreement": agreement, "seconds": seconds}
    (output / "made_world.json").write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
