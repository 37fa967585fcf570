"""Checkpoints of the reference implementation, and how the tests run them."""

from collections.abc import Callable
from typing import Any

import jax
import pytest
from flax import nnx

from tests.support.paths import DATA

# Backbones with inputs and outputs; whole models from JPEG to tokens.
PARITY, PARITY_MODELS = DATA / "parity", DATA / "parity_models"
needs_references = pytest.mark.skipif(
    not PARITY.is_dir(), reason="needs the reference checkpoints of shared/data/parity"
)
# XLA takes longest to make code fast that runs once.
_IN_HASTE = {"xla_backend_optimization_level": 0}


def jitted(model: nnx.Module, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function(model, ...)` compiled in as little time as possible."""
    graph, state = nnx.split(model)

    def run(state: Any, *arguments: Any) -> Any:
        return function(nnx.merge(graph, state), *arguments)

    compiled = jax.jit(run, compiler_options=_IN_HASTE)
    return lambda *arguments: compiled(state, *arguments)
