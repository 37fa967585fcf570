"""Configurations of training: the published ones, and what cannot be trained."""

import numpy as np
import pytest

from clipseed.errors import InputError
from models.training.config import TrainConfig, load_config
from models.training.overrides import as_json, from_json
from models.training.tasks import task_named


def test_published_configurations_are_the_papers() -> None:
    base = load_config("base")
    assert (base.batch_size, base.epochs, base.task.model.temperature) == (
        256,
        4.0,
        0.05,
    )
    assert (
        base.task.segment.frames == 32 and base.task.segment.spectrogram_frames == 800
    )
    assert load_config("tiny", ["batch_size=8"]).batch_size == 8
    clip = load_config("clip4clip")
    assert (clip.batch_size, clip.epochs, clip.task.segment.frames) == (128, 5.0, 12)
    rates = clip.optimizer.learning_rate, clip.optimizer.pretrained_rate
    assert np.prod(rates) == pytest.approx(1e-7)
    for name in ("base", "tiny", "clip4clip"):
        config = load_config(name)
        like = TrainConfig(task=task_named(type(config.task).__name__))
        assert from_json(like, as_json(config)) == config


@pytest.mark.parametrize("name", ["base", "tiny", "clip4clip"])
def test_a_part_of_an_epoch_is_enough(name: str) -> None:
    """Though a configuration spells its own as a whole number."""
    assert load_config(name, ["epochs=0.5"]).epochs == 0.5


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("tiny", "task.model.text.max_tokens=31", "for 31 tokens .* of up to 32"),
        ("clip4clip", "task.model.clip.text.max_tokens=8", "for 8 tokens"),
        ("tiny", "checkpoint_every=0", "must be 1 or more"),
        ("tiny", "keep=0", "must be 1 or more"),
        ("tiny", "log_every=-1", "must be 1 or more"),
        ("tiny", "epochs=-1", "must be 0 or more"),
        ("tiny", "micro_batch=-2", "must be 0 or more"),
    ],
)
def test_what_would_fail_in_the_middle_is_refused_before(
    name: str, setting: str, said: str
) -> None:
    with pytest.raises(InputError, match=f"bad_config.*{said}"):
        load_config(name, [setting])
