"""Chunks of images to chunks of embeddings; what has none is told one by one."""

import hashlib

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.elements import EmbeddedChunk, ImageChunk, Video
from clipseed.errors import DeadLetter
from models.embedders.base import EmbeddingError, unit_rows
from models.embedders.descriptor import IMAGE_SIZE_PX, describe
from models.pretrained.resizing import squeeze
from tests.support.made_media import still
from transforms.frames.embed import Embed, EmbedderHandler, _separate, embed_chunk

FILM = Video("id", "film.mp4", "/film.mp4")
POISON, BLANK = 13, 0


class Fake:
    """Embeds an image of one gray as (gray, 1); fails on poison, has no blank ones."""

    embedder_id = "fake"
    dimension = 2
    resizing = squeeze(4)
    default_threshold = 0.5

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def embed(self, images: np.ndarray) -> np.ndarray:
        grays = images[:, 0, 0, 0]
        self.calls.append(grays.tolist())
        if POISON in grays:
            raise EmbeddingError("poison")
        raw = np.stack([grays, np.ones(len(grays))], axis=1).astype(np.float32)
        raw[grays == BLANK] = 0
        return raw


def chunk(*grays: int) -> ImageChunk:
    images = np.broadcast_to(
        np.array(grays, np.uint8)[:, None, None, None], (len(grays), 4, 4, 3)
    )
    return ImageChunk(FILM, tuple(range(100, 100 + len(grays))), images)


def test_embeddings_have_unit_norm_and_their_keys() -> None:
    embedded, rejected = embed_chunk(chunk(3, 4), Fake())
    assert rejected == []
    assert (embedded.source, embedded.keys) == (FILM, (100, 101))
    wanted = np.array([[3 / 10**0.5, 1 / 10**0.5], [4 / 17**0.5, 1 / 17**0.5]])
    assert embedded.embeddings.dtype == np.float32
    np.testing.assert_allclose(embedded.embeddings, wanted, rtol=1e-6)


def test_a_failing_batch_is_halved_to_the_culprits() -> None:
    fake = Fake()
    embedded, rejected = embed_chunk(chunk(1, 2, 3, POISON, 5, 6, 7, 8), fake, "stage")
    assert embedded.keys == (100, 101, 102, 104, 105, 106, 107)
    assert embedded.embeddings.shape == (7, 2)
    assert rejected == [
        DeadLetter("stage", "film.mp4@103", "embedding_failed", "poison")
    ]
    assert fake.calls == [
        [1, 2, 3, 13, 5, 6, 7, 8], [1, 2, 3, 13], [1, 2], [3, 13], [3], [13],
        [5, 6, 7, 8],
    ]  # fmt: skip


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_vectors_without_a_direction_are_rejected(value: float) -> None:
    class Odd(Fake):
        def embed(self, images: np.ndarray) -> np.ndarray:
            return np.array([[1, 0], [value, value]], np.float32)

    embedded, rejected = embed_chunk(chunk(1, 2), Odd())
    np.testing.assert_array_equal(embedded.embeddings, [[1, 0]])
    message = "The embedder gave a vector of zeros, NaN or infinity."
    assert rejected == [DeadLetter("embed", "film.mp4@101", "no_embedding", message)]


def test_other_errors_are_bugs_and_stop_the_job() -> None:
    class Broken(Fake):
        def embed(self, images: np.ndarray) -> np.ndarray:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        embed_chunk(chunk(1), Broken())


def test_images_in_are_embeddings_out_and_rejected() -> None:
    grays = np.random.default_rng(0).choice([BLANK, 1, 2, POISON], 200).tolist()
    embedded, rejected = embed_chunk(chunk(*grays), Fake())
    reasons = [dead_letter.reason for dead_letter in rejected]
    assert reasons.count("no_embedding") == grays.count(BLANK)
    assert reasons.count("embedding_failed") == grays.count(POISON)
    assert len(embedded.keys) == len(embedded.embeddings) == 200 - len(rejected)


def test_the_handler_takes_one_chunk_at_a_time_and_sizes_it_by_pixels() -> None:
    handler = EmbedderHandler("descriptor", "embed_frames")
    bounds = {"min_batch_size": 1, "max_batch_size": 1}
    assert handler.batch_elements_kwargs() == bounds
    assert handler.get_num_bytes([chunk(1, 2), chunk(3)]) == 3 * 4 * 4 * 3
    results = list(handler.run_inference([chunk(1), chunk(POISON)], Fake()))
    assert [len(embedded.keys) for embedded, _ in results] == [1, 0]
    assert results[1][1][0].stage == "embed_frames"


def pictures(*scenes: int) -> np.ndarray:
    side = IMAGE_SIZE_PX
    return np.stack([still(scene, side, side) for scene in scenes])


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def test_in_a_pipeline_each_chunk_keeps_its_source() -> None:
    sent = [ImageChunk("a", (1, 2), pictures(1, 2)), ImageChunk("b", (3,), pictures(3))]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        made = pipeline | beam.Create(sent) | Embed("descriptor", "embed_seeds")
        found = made.ok | beam.Map(lambda c: (c.source, c.keys, digest(c.embeddings)))
        wanted = [
            (c.source, c.keys, digest(unit_rows(describe(c.images))[0])) for c in sent
        ]
        assert_that(found, equal_to(wanted))
        assert_that(made.rejected, equal_to([]), label="rejected")


def test_a_chunk_without_one_embedding_sends_letters_alone() -> None:
    dead_letter = DeadLetter("embed", "k", "no_embedding", "m")
    empty = EmbeddedChunk(FILM, (), np.zeros((0, 2), np.float32))
    (sent,) = _separate((empty, [dead_letter]))
    assert (sent.tag, sent.value) == ("rejected", dead_letter)


def test_the_accelerator_is_a_hint_on_the_embedding_step_alone() -> None:
    pipeline = beam.Pipeline()
    hint = "type:nvidia-l4;count:1"
    _ = pipeline | beam.Create([None]) | Embed("descriptor", "embed_frames", hint)
    components = pipeline.to_runner_api().components
    hinted = {
        transform.unique_name
        for transform in components.transforms.values()
        if hint.encode()
        in components.environments[transform.environment_id].resource_hints.values()
    }
    assert hinted and all("RunEmbedder" in name for name in hinted)
