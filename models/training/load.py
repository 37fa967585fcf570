"""A trained model, read back from its output directory."""

from typing import Any, NamedTuple

from models.retrieval.clip4clip import Clip4Clip
from models.retrieval.dual_encoder import DualEncoder
from models.retrieval.evaluate import Encoder
from models.training.config import TrainConfig
from models.training.factory import make_model
from models.training.loop import load_into, read_run
from models.training.overrides import from_json


class Trained(NamedTuple):
    """What `clipseed train` left behind.

    Attributes:
        config: it was trained with.
        model: with its last parameters.
        encoder: of clips and captions.
    """

    config: TrainConfig
    model: DualEncoder | Clip4Clip
    encoder: Encoder


def load_trained(output: str) -> Trained:
    """Reads a training run.

    Args:
        output: directory of `clipseed train`.

    Raises:
        InputError: `no_training_run`, `no_checkpoint`, `checkpoint_mismatch`.
    """
    settings, tokenizer = read_run(output)
    # The parameters come from the run: what it started from need not be there.
    started = dict.fromkeys(("vision", "text", "clip", "init"), "")
    config: Any = from_json(TrainConfig(), settings | started)
    model = make_model(config)
    load_into(model, output)
    return Trained(config, model, Encoder(model, tokenizer))
