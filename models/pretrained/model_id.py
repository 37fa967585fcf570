"""Names of models that change whenever what they compute would."""

import hashlib
import json
from typing import Any

import numpy as np
from flax import nnx

from models.pretrained.load_weights import parameters
from models.pretrained.source import Checkpoint


def fingerprint(method: bytes, settings: Any, model: nnx.Module) -> str:
    """Return a hash of what a model's outputs depend on, wherever its files are.

    Args:
        method: names the code; another one where the same files come to be used
            otherwise.
        settings: all that steers the model beside its parameters, as JSON can hold it.
        model: whose parameters count.
    """
    digest = hashlib.sha256(method)
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for path, parameter in sorted(parameters(model).items()):
        array = np.asarray(parameter[...])
        digest.update(f"{path} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def model_id(checkpoint: Checkpoint, family: str, digest: str) -> str:
    """Return `TYPE@HASH`, or `hf:ID@COMMIT+HASH` of a model of the hub."""
    if checkpoint.revision:
        return f"{checkpoint.name}+{digest}"
    return f"{family}@{digest}"
