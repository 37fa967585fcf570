"""Read a published checkpoint: `config.json` and safetensors.

    config = read_config("gs://bucket/vit-base", ["vit"])
    tensors = read_tensors("gs://bucket/vit-base", prefixes=["vit."])

A checkpoint is a directory, local or `gs://`, as `transformers` saves it: the weights
in `model.safetensors`, or in several files that `model.safetensors.index.json` lists.
What a configuration or a file says is checked here, so that an error names the file.
"""

import functools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from clipseed.errors import InputError
from clipseed.io import storage

CONFIG_FILE = "config.json"
TENSORS_FILE, SHARDS_FILE = "model.safetensors", "model.safetensors.index.json"
_MAX_CONFIG_BYTES = 1 << 24  # tokenizers and lists of tensors are large, too
_PICKLED = "pytorch_model.bin"

# Fields of `BlockConfig` by the names that every published transformer has for them.
BLOCK_FIELDS = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp": "intermediate_size",
    "activation": "hidden_act",
    "norm_epsilon": "layer_norm_eps",
}

# What makes of a known model_type another model.
_FOREIGN = {
    "auto_map": "its model is code of its own, which is not run",
    "quantization_config": "its weights are quantized",
}
_DROPOUT = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "attention_dropout",
    "drop_path_rate",
)

_Value = TypeVar("_Value")


def read_config(directory: str, model_types: Sequence[str]) -> dict[str, Any]:
    """Read `config.json` of a checkpoint.

    Args:
        directory: local or `gs://`.
        model_types: the values of `model_type` that the caller can load.

    Raises:
        InputError: `not_found`, `unreadable`; `bad_checkpoint` if it is not a JSON
            object or of another model type.
    """
    config = read_json(directory, CONFIG_FILE)
    found = config.get("model_type")
    if found not in model_types:
        raise InputError(
            "bad_checkpoint",
            f"{CONFIG_FILE} of {directory} has the model_type {found!r}: give a "
            f"checkpoint of type {' or '.join(model_types)}",
        )
    for field, what in _FOREIGN.items():
        if config.get(field):
            raise InputError(
                "bad_checkpoint",
                f"{CONFIG_FILE} of {directory} has {field}: {what}; use a checkpoint "
                "of the plain model",
            )
    return config


@functools.cache  # Once per process is enough.
def say_dropout(name: str, directory: str) -> None:
    """Log which dropout a checkpoint was trained with, as training here has none.

    Args:
        name: of the setting that names the checkpoint.
        directory: of the checkpoint.
    """
    config = read_json(directory, CONFIG_FILE)
    parts = (config, config.get("vision_config"), config.get("text_config"))
    for part in filter(None, parts):
        for field in _DROPOUT:
            if part.get(field):
                logging.info(
                    "%s: the checkpoint was trained with %s = %s; no dropout is "
                    "applied here",
                    name,
                    field,
                    part[field],
                )


def read_json(directory: str, name: str) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        InputError: `not_found`, `unreadable`; `bad_checkpoint` if it is not a JSON
            object.
    """
    uri = storage.join(directory, name)
    try:
        found = json.loads(storage.read_bytes(uri, _MAX_CONFIG_BYTES))
    except ValueError as error:
        raise InputError("bad_checkpoint", f"{uri} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(
            "bad_checkpoint", f"{uri} does not hold a JSON object: copy it again"
        )
    return found


def read_tensors(directory: str, prefixes: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Read the weights of a checkpoint.

    Args:
        directory: local or `gs://`.
        prefixes: taken off the names that have them; a model saved with a head on top
            names its tensors `vit.embeddings...` instead of `embeddings...`.

    Returns:
        float32 arrays by name; float16 and bfloat16 are widened.

    Raises:
        InputError: `not_found`, `unreadable`; `pickled_checkpoint` if there is only
            `pytorch_model.bin`; `bad_checkpoint` if a file is not safetensors, lacks a
            listed tensor, or holds NaN or infinity.
    """
    tensors: dict[str, np.ndarray] = {}
    for file, names in _tensor_files(directory).items():
        found = _read_file(storage.join(directory, file))
        missing = sorted(names - set(found))
        if missing:
            raise InputError(
                "bad_checkpoint",
                f"{file} of {directory} lacks {', '.join(missing[:8])}, which "
                f"{SHARDS_FILE} lists: copy the checkpoint again",
            )
        tensors |= {_bare(name, prefixes): array for name, array in found.items()}
    return tensors


def _tensor_files(directory: str) -> dict[str, set[str]]:
    """Return the files of weights, each with the tensors that it must hold."""
    if storage.exists(storage.join(directory, TENSORS_FILE)):
        return {TENSORS_FILE: set()}
    if not storage.exists(storage.join(directory, SHARDS_FILE)):
        if storage.exists(storage.join(directory, _PICKLED)):
            raise InputError(
                "pickled_checkpoint",
                f"{directory} has only {_PICKLED}, which is not read because it may "
                'hold code. Convert it with: python -c "from transformers import '
                f"AutoModel as M; M.from_pretrained('{directory}').save_pretrained("
                "'converted')\"",
            )
        raise InputError(
            "not_found",
            f"{directory} has no {TENSORS_FILE} (a {_PICKLED} is not read: convert it "
            "with transformers' save_pretrained)",
        )
    listed = read_json(directory, SHARDS_FILE).get("weight_map")
    files: dict[str, set[str]] = {}
    for name, file in listed.items() if isinstance(listed, dict) else ():
        if (
            not isinstance(file, str)
            or "/" in file
            or not file.endswith(".safetensors")
        ):
            raise InputError(
                "bad_checkpoint", f"{SHARDS_FILE} of {directory} names a file {file!r}"
            )
        files.setdefault(file, set()).add(name)
    if not files:
        raise InputError(
            "bad_checkpoint",
            f"{SHARDS_FILE} of {directory} has no weight_map: copy it again",
        )
    return files


def _read_file(uri: str) -> dict[str, np.ndarray]:
    """Return all tensors of a safetensors file, as float32."""
    from safetensors import SafetensorError, safe_open

    with storage.localize(uri) as path:
        try:
            with safe_open(path, "np") as file:
                tensors = {
                    name: file.get_tensor(name).astype(np.float32)
                    for name in file.keys()  # noqa: SIM118 (not a dict)
                }
        except (SafetensorError, TypeError) as error:
            raise InputError(
                "bad_checkpoint",
                f"{uri} is not a safetensors file: {error}; copy it again",
            ) from error
    broken = [name for name, array in tensors.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(
            "bad_checkpoint",
            f"{uri} holds NaN or infinity in {', '.join(broken[:8])}: use an earlier "
            "checkpoint",
        )
    return tensors


def _bare(name: str, prefixes: Iterable[str]) -> str:
    for prefix in prefixes:
        name = name.removeprefix(prefix)
    return name


def published_fields(
    config: Mapping[str, Any], names: Mapping[str, str], defaults: Any
) -> dict[str, Any]:
    """Return the fields that a published configuration sets.

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
    """Return one value of a published configuration, of the type of its default.

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
