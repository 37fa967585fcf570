"""Published tensors into the parameters of our modules.

    names = {"norm": "layernorm"} | layer_names(12, "encoder.layer", _LAYERS)
    fill(model, layer_sources(model, names), read_tensors(directory))

A layout (`vit_weights`, `bert`, `clip`) says which tensor each parameter comes from.
Nothing is left to chance: a parameter without a tensor, a tensor without a parameter
and a tensor of another shape are errors that name them, unless allowed by pattern.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from clipseed.errors import InputError

_MAX_NAMED = 8  # names in a message; the rest is counted


class Source(NamedTuple):
    """Where a parameter comes from.

    Attributes:
        names: the published tensors that it is made of.
        convert: makes the parameter's array of theirs.
    """

    names: tuple[str, ...]
    convert: Callable[..., np.ndarray] = np.asarray


def layer_sources(model: nnx.Module, names: Mapping[str, str]) -> dict[str, Source]:
    """Return sources for linear, convolution, embedding and norm layers.

    Published layers keep `weight` and `bias`; a linear weight is [out, in] and a
    convolution's [out, in, *kernel], ours are [in, out] and [*kernel, in, out].

    Args:
        model: whose layers they are.
        names: path of a layer in `model` to its published name.
    """
    found = {}
    for path, parameter in parameters(model).items():
        layer, _, leaf = path.rpartition(".")
        if layer not in names:
            continue
        if leaf == "kernel":
            convert = _linear if parameter.ndim == 2 else _convolution
            found[path] = Source((f"{names[layer]}.weight",), convert)
        else:
            published = "bias" if leaf == "bias" else "weight"
            found[path] = Source((f"{names[layer]}.{published}",))
    return found


def layer_names(layers: int, stack: str, parts: Mapping[str, str]) -> dict[str, str]:
    """Return the published name of each layer, by ours: `blocks.3.mlp.expand`."""
    return {
        f"blocks.{i}.{ours}": f"{stack}.{i}.{theirs}"
        for i in range(layers)
        for ours, theirs in parts.items()
    }


def joined_sources(
    layers: Sequence[str], weight: str, bias: str, inner: int = 1
) -> dict[str, Source]:
    """Return sources of linear layers that are published as one.

    Args:
        layers: their paths, in the order in which the outputs follow each other.
        weight: published name of the joined weight.
        bias: published name of the joined bias.
        inner: axis of the inputs: 1 of [out, in], 0 of [in, out].
    """

    def part(number: int, joined: np.ndarray) -> np.ndarray:
        axis = 1 - inner if joined.ndim == 2 else 0
        own = np.split(joined, len(layers), axis)[number]
        return own.T if joined.ndim == 2 and inner == 1 else own

    found = {}
    for number, layer in enumerate(layers):
        convert = functools.partial(part, number)
        found[f"{layer}.kernel"] = Source((weight,), convert)
        found[f"{layer}.bias"] = Source((bias,), convert)
    return found


def under(module: str, sources: Mapping[str, Source]) -> dict[str, Source]:
    """Return the sources of a model's part, by the paths of the model."""
    return {f"{module}.{path}": source for path, source in sources.items()}


def _linear(weight: np.ndarray) -> np.ndarray:
    return weight.T


def _convolution(weight: np.ndarray) -> np.ndarray:
    return np.moveaxis(weight, (0, 1), (-1, -2))


def parameters(model: nnx.Module) -> dict[str, Any]:
    """Return the parameters by dotted path, such as `blocks.0.mlp.expand.bias`."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): parameter for path, parameter in flat}


def fill(
    model: nnx.Module,
    sources: Mapping[str, Source],
    tensors: Mapping[str, np.ndarray],
    allow: Sequence[str] = (),
) -> None:
    """Set the parameters of a module, all that can be or none.

    Args:
        model: changed in place.
        sources: by dotted path of the parameter.
        tensors: float32, by published name.
        allow: patterns (`re.fullmatch`) of what may be left over: published names that
            go nowhere, and paths of parameters that keep their initial values.

    Raises:
        InputError: `checkpoint_mismatch`, naming what is missing, unused or of another
            shape.
    """
    new: dict[str, np.ndarray] = {}
    problems: dict[str, list[str]] = {"missing": [], "unused": [], "of wrong shape": []}
    for path, parameter in parameters(model).items():
        names = sources[path].names if path in sources else ()
        wanted = f"{path} (from {' + '.join(names)})" if names else path
        if names and all(name in tensors for name in names):
            new[path] = sources[path].convert(*(tensors[name] for name in names))
            if new[path].shape != parameter.shape:
                shapes = f"{new[path].shape} for {parameter.shape}"
                problems["of wrong shape"].append(f"{wanted}: {shapes}")
        elif not _allowed(path, allow):
            problems["missing"].append(wanted)
    used = {name for path in new for name in sources[path].names}
    unused = [name for name in tensors if name not in used]
    problems["unused"] = [name for name in unused if not _allowed(name, allow)]
    _refuse(problems)
    for path, parameter in parameters(model).items():
        if path in new:
            parameter.set_value(jnp.asarray(new[path]))


def _refuse(problems: Mapping[str, list[str]]) -> None:
    listed = [f"{what}: {_some(names)}" for what, names in problems.items() if names]
    if listed:
        raise InputError(
            "checkpoint_mismatch",
            f"the checkpoint does not fit the model; {'; '.join(listed)}. Give the "
            "configuration that it was made with, or allow names by pattern",
        )


def _allowed(name: str, patterns: Sequence[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _some(names: list[str]) -> str:
    rest = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
