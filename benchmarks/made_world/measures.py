"""What a trained model knows of the test: R@1, and fact by fact.

Facts are told by contrast: a clip's caption against those that differ from it in one
fact alone. Directions are asked between opposites (left or right, up or down, closer or
away), which no still can distinguish.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from beam_pipeline.demo.world import Scene, caption
from benchmarks.made_world.scenes import (
    MOTIONS,
    OBJECTS,
    OPPOSITES,
    PLACES,
    SEEN_COLORS,
    SOUNDS,
)
from models.data.clip_inputs import ClipInputs
from models.data.evaluation import EvaluationData
from models.retrieval.encoder import Encoder
from models.retrieval.metrics import ranks
from models.retrieval.task import retrieval_encoder
from models.training.load import load_trained

_WORDS = {
    "place": PLACES,
    "object": OBJECTS,
    "color": SEEN_COLORS,
    "motion": MOTIONS,
    "sound": SOUNDS,
}
FACTS = (*_WORDS, "direction")
CHANCE = {fact: 1 / len(words) for fact, words in _WORDS.items()} | {"direction": 0.5}
# Captions are searched for among so many clips: 16 of each of 16 looks.
GALLERY = 256
_BATCH = 32
Change = Callable[[ClipInputs], ClipInputs]


class Measures(NamedTuple):
    """What was measured.

    Attributes:
        recall: percent, text to video, R@1 in galleries of `GALLERY` clips.
        median_rank: of the same.
        facts: share of clips of which a fact is told right.
    """

    recall: float
    median_rank: float
    facts: dict[str, float]


def measure(
    training_run: Path, test: Path, scenes: Sequence[Scene], change: Change | None
) -> Measures:
    """Evaluate a trained model on the test.

    Args:
        training_run: directory of `clipseed train`.
        test: run directory of the test's clips, one per scene, in order.
        scenes: of the test.
        change: how each batch is changed before the model sees it.
    """
    encoder = retrieval_encoder(load_trained(str(training_run)))
    data = EvaluationData(str(test), encoder.segment, verify=False)
    clips = _embed(encoder, data, change)
    texts = encoder.texts([caption(scene) for scene in scenes])
    rank = _ranks(texts, clips)
    facts = {fact: told(encoder, clips, scenes, fact) for fact in FACTS}
    return Measures(float(100 * (rank <= 1).mean()), float(np.median(rank)), facts)


def _ranks(texts: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """Return the rank of each caption's clip in its gallery: float64 [n]."""
    return np.concatenate(
        [
            ranks(
                texts[start : start + GALLERY] @ clips[start : start + GALLERY].T,
                np.eye(len(clips[start : start + GALLERY]), dtype=bool),
            )
            for start in range(0, len(clips), GALLERY)
        ]
    )


class TextEncoder(Protocol):
    """Captions to vectors float32 [c, d]."""

    def texts(self, captions: list[str]) -> np.ndarray:
        """Encode captions."""
        ...


def told(
    encoder: TextEncoder, clips: np.ndarray, scenes: Sequence[Scene], fact: str
) -> float:
    """Return the share of clips for which a fact is recognized.

    Args:
        encoder: of captions.
        clips: float32 [n, d], of the scenes.
        scenes: what the clips show.
        fact: one of `FACTS`.
    """
    groups = OPPOSITES if fact == "direction" else [_WORDS[fact]]
    field = "motion" if fact == "direction" else fact
    right, asked = 0, 0
    for group in groups:
        chosen = [n for n, scene in enumerate(scenes) if getattr(scene, field) in group]
        variants = [_with(scenes[n], field, word) for n in chosen for word in group]
        texts = encoder.texts(variants).reshape(len(chosen), len(group), -1)
        best = np.einsum("nwd,nd->nw", texts, clips[chosen]).argmax(axis=1)
        truth = [group.index(getattr(scenes[n], field)) for n in chosen]
        right, asked = right + int((best == truth).sum()), asked + len(chosen)
    return right / asked


def swap_sounds(clips: ClipInputs) -> ClipInputs:
    """Give every clip of a batch the sound of another clip."""
    order = np.roll(np.arange(len(clips.audio)), len(clips.audio) // 2)
    return clips._replace(audio=clips.audio[order])


def shuffle_frames(clips: ClipInputs) -> ClipInputs:
    """Put the frames of every segment in an order of its own."""
    rng = np.random.default_rng(0)
    video = np.stack([rng.permutation(segment) for segment in clips.video])
    return clips._replace(video=video)


def _embed(encoder: Encoder, data: EvaluationData, change: Change | None) -> np.ndarray:
    parts = []
    for _, _, clips, segments in data.batches(_BATCH):
        vectors = encoder.clips(change(clips) if change else clips)
        parts.append(vectors[segments].mean(axis=1))
    return np.concatenate(parts)


def _with(scene: Scene, fact: str, word: str) -> str:
    changes: Any = {fact: word}
    return caption(dataclasses.replace(scene, **changes))
