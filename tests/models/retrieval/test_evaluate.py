"""From embeddings to figures: what a clip of several captions is ranked against."""

import numpy as np
import pytest

from models.retrieval.evaluate import EmbeddedRun, VideoToText, evaluate

CLIPS, CAPTIONS = 5, 3


def embedded(relevant: np.ndarray) -> EmbeddedRun:
    rng = np.random.default_rng(3)
    texts, clips = (rng.standard_normal((n, 4)) for n in relevant.shape)
    names = [
        [f"{kind}{i}" for i in range(n)]
        for kind, n in zip("tc", relevant.shape, strict=True)
    ]
    return EmbeddedRun(names[1], clips, names[0], texts, relevant, {})


def ranks_by_hand(run: EmbeddedRun, v2t: VideoToText) -> list[int]:
    found = []
    for number, clip in enumerate(run.clips):
        scores = run.texts @ clip
        own = max(scores[run.relevant[:, number]])
        if v2t == "clip4clip":
            scores = np.array([max(scores[mine]) for mine in run.relevant.T])
        found.append(1 + int((scores > own).sum()))
    return found


@pytest.mark.parametrize("v2t", ["frozen", "clip4clip"])
def test_several_captions_are_ranked_by_the_convention(v2t: VideoToText) -> None:
    run = embedded(np.repeat(np.eye(CLIPS, dtype=bool), CAPTIONS, axis=0))
    found = evaluate(run, v2t=v2t)["clip_to_text"]
    ranks = ranks_by_hand(run, v2t)
    assert found.mean_rank == np.mean(ranks)
    assert found.recall[0] == 100 * np.mean(np.array(ranks) == 1)
    many = CLIPS * CAPTIONS
    assert found.candidates == (many if v2t == "frozen" else CLIPS)
    assert found.queries == CLIPS
    assert evaluate(run, v2t=v2t)["text_to_clip"].queries == many


def test_clips_of_one_caption_are_one_answer() -> None:
    """As where one seed's caption was transferred to the clips 0 and 1."""
    relevant = np.array([[1, 1, 0], [0, 0, 1]], bool)
    clips = np.array([[0, 1], [2, 1], [1, 0]], float)
    run = EmbeddedRun(list("abc"), clips, list("xy"), np.eye(2), relevant, {})
    # Clip 0 is nearer to the other caption, clip 1 to its own, clip 2 to the other.
    for v2t, wanted in (("frozen", (2, 1, 2)), ("clip4clip", (2, 1, 3))):
        found = evaluate(run, v2t=v2t)["clip_to_text"]  # type: ignore[arg-type]
        assert found.mean_rank == np.mean(wanted)
        assert found.queries == 3


def test_one_caption_a_clip_is_one_convention() -> None:
    run = embedded(np.eye(4, dtype=bool))
    both = [evaluate(run, v2t=v2t)["clip_to_text"] for v2t in ("frozen", "clip4clip")]
    assert both[0] == both[1]
