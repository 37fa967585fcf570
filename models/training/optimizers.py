"""How parameters are updated: SGD with momentum or Adam, cosine schedule, warm-up.

The paper trains by synchronous SGD with momentum 0.9 and a cosine schedule with a
warm-up of 1.5 epochs (section 5.2); CLIP4Clip by Adam with two learning rates.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import optax
from flax import nnx
from jax.typing import ArrayLike

from clipseed.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """An optimizer; the defaults are the paper's (its base rate is not published).

    Attributes:
        kind: `sgd` or `adam` (AdamW where there is weight decay).
        learning_rate: at the end of the warm-up.
        momentum: of SGD; the first beta of Adam.
        second_moment: the second beta of Adam.
        weight_decay: decoupled; applies to matrices and tables, not to vectors
            (biases, norms, scales).
        warmup: share of all steps in which the rate rises from 0 (1.5 of 4 epochs).
        clip_norm: gradients of a larger norm are scaled down to it; 0: never.
        pretrained_rate: factor of the learning rate of pretrained parameters, see
            `Task.pretrained`.
    """

    kind: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    second_moment: float = 0.999
    weight_decay: float = 0.0
    warmup: float = 1.5 / 4
    clip_norm: float = 1.0
    pretrained_rate: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: `bad_optimizer`.
        """
        good = self.learning_rate > 0 and 0 <= self.warmup < 1
        if not good or self.kind not in ("sgd", "adam"):
            raise InputError(
                "bad_optimizer",
                "kind must be 'sgd' or 'adam', learning_rate above 0, warmup from 0 "
                f"to below 1; this is {self}",
            )


def schedule(config: OptimizerConfig, steps: int) -> Callable[[ArrayLike], jax.Array]:
    """Return the learning rate by step: a linear rise, then half a cosine to 0."""
    warmup = round(config.warmup * steps)

    def rate(step: ArrayLike) -> jax.Array:
        step = jax.numpy.asarray(step)
        up = (step + 1) / max(1, warmup)
        done = (step - warmup) / max(1, steps - warmup)
        down = 0.5 * (1 + jax.numpy.cos(math.pi * jax.numpy.clip(done, 0, 1)))
        return config.learning_rate * jax.numpy.where(step < warmup, up, down)

    return rate


def make_optimizer(
    config: OptimizerConfig, steps: int, pretrained: Any = None
) -> optax.GradientTransformation:
    """Return the optimizer of a run.

    Args:
        config: see `OptimizerConfig`.
        steps: of the whole run.
        pretrained: tree of bools like the parameters; None: none is pretrained.
    """
    parts = []
    if config.clip_norm:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    if config.kind == "sgd":
        parts.append(optax.trace(decay=config.momentum))
    else:
        parts.append(optax.scale_by_adam(config.momentum, config.second_moment))
    if config.weight_decay:
        decay = optax.add_decayed_weights(config.weight_decay, mask=_is_matrix)
        parts.append(decay)
    if pretrained is not None and config.pretrained_rate != 1:
        slower = optax.scale(config.pretrained_rate)
        parts.append(optax.masked(slower, pretrained))
    rate = schedule(config, steps)
    parts.append(optax.scale_by_schedule(lambda step: -rate(step)))
    return optax.chain(*parts)


def mask_of(params: Any, model: nnx.Module, modules: Sequence[nnx.Module]) -> Any:
    """Return a tree of bools like the parameters', True for those of some modules.

    Args:
        params: parameters of the model.
        model: the whole model.
        modules: parts of it. A parameter that a part shares with others is its own too.
    """
    owned = {id(leaf) for part in modules for _, leaf in _variables(part)}
    inside = {path for path, leaf in _variables(model) if id(leaf) in owned}

    def is_inside(path: tuple[Any, ...], _: Any) -> bool:
        return tuple(step.key for step in path if hasattr(step, "key")) in inside

    return jax.tree_util.tree_map_with_path(is_inside, params)


def _variables(module: nnx.Module) -> Iterator[tuple[tuple[Any, ...], nnx.Variable]]:
    """Yield the variables of a module by path, a shared one once."""
    for path, node in nnx.iter_graph(module):
        if isinstance(node, nnx.Variable):
            yield tuple(path), node


def _is_matrix(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
