"""Reads a published checkpoint: `config.json` and `model.safetensors`.

    config = read_config("gs://bucket/vit-base", ["vit"])
    tensors = read_tensors("gs://bucket/vit-base", prefixes=["vit."])

A checkpoint is a directory, local or `gs://`, as `transformers` saves it. What a
configuration or a file says is checked here, so that an error names the file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from clipseed.errors import InputError
from clipseed.io import storage

CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"
_MAX_CONFIG_BYTES = 1 << 20

# Fields of `BlockConfig` by the names that every published transformer has for them.
BLOCK_FIELDS = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp": "intermediate_size",
    "activation": "hidden_act",
    "norm_epsilon": "layer_norm_eps",
}

_Value = TypeVar("_Value")


def read_config(directory: str, model_types: Sequence[str]) -> dict[str, Any]:
    """Reads `config.json` of a checkpoint.

    Args:
        directory: local or `gs://`.
        model_types: the values of `model_type` that the caller can load.

    Raises:
        InputError: `not_found`, `unreadable`; `bad_checkpoint` if it is no JSON object
            or of another model type.
    """
    config = read_json(directory, CONFIG_FILE)
    found = config.get("model_type")
    if found not in model_types:
        raise InputError(
            "bad_checkpoint",
            f"{CONFIG_FILE} of {directory} has the model_type {found!r}: give a "
            f"checkpoint of type {' or '.join(model_types)}",
        )
    return config


def read_json(directory: str, name: str) -> dict[str, Any]:
    """Reads a JSON object that lies in a checkpoint.

    Raises:
        InputError: `not_found`, `unreadable`; `bad_checkpoint` if it is no JSON object.
    """
    uri = storage.join(directory, name)
    try:
        found = json.loads(storage.read_bytes(uri, _MAX_CONFIG_BYTES))
    except ValueError as error:
        raise InputError("bad_checkpoint", f"{uri} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError("bad_checkpoint", f"{uri} holds no JSON object: copy it anew")
    return found


def read_tensors(directory: str, prefixes: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Reads `model.safetensors` of a checkpoint.

    Args:
        directory: local or `gs://`.
        prefixes: taken off the names that have them; a model saved with a head on top
            names its tensors `vit.embeddings...` instead of `embeddings...`.

    Returns:
        float32 arrays by name; float16 and bfloat16 are widened.

    Raises:
        InputError: `not_found`, `unreadable`; `bad_checkpoint` if it is not
            safetensors, or holds NaN or infinity.
    """
    from safetensors import SafetensorError, safe_open

    uri = storage.join(directory, TENSORS_FILE)
    with storage.localize(uri) as path:
        try:
            with safe_open(path, "np") as file:
                tensors = {
                    _bare(name, prefixes): file.get_tensor(name).astype(np.float32)
                    for name in file.keys()  # noqa: SIM118 (not a dict)
                }
        except (SafetensorError, TypeError) as error:
            raise InputError(
                "bad_checkpoint", f"{uri} is no safetensors file: {error}; copy it anew"
            ) from error
    broken = [name for name, array in tensors.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(
            "bad_checkpoint",
            f"{uri} holds NaN or infinity in {', '.join(broken[:8])}: take an "
            "earlier one",
        )
    return tensors


def _bare(name: str, prefixes: Iterable[str]) -> str:
    for prefix in prefixes:
        name = name.removeprefix(prefix)
    return name


def published_fields(
    config: Mapping[str, Any], names: Mapping[str, str], defaults: Any
) -> dict[str, Any]:
    """The fields that a published configuration sets.

    Args:
        config: of `config.json`, or a part of it.
        names: our field to its published name.
        defaults: a configuration that holds each field at its published default.

    Returns:
        a value for each field of `names`.

    Raises:
        InputError: as `published_value`.
    """
    return {
        field: published_value(config, name, getattr(defaults, field))
        for field, name in names.items()
    }


def published_value(config: Mapping[str, Any], name: str, default: _Value) -> _Value:
    """One value of a published configuration, of the type of its default.

    Raises:
        InputError: `bad_checkpoint` if it has another type.
    """
    value = config.get(name, default)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise InputError(
            "bad_checkpoint",
            f"{CONFIG_FILE} has {name} = {value!r}, where a {type(default).__name__} "
            "belongs: correct it",
        )
    return value
