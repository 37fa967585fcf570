"""How parameters are updated: SGD with momentum or Adam, cosine schedule, warm-up.

The paper trains by synchronous SGD with momentum 0.9 and a cosine schedule with a
warm-up of 1.5 epochs (section 5.2); CLIP4Clip by Adam with two learning rates.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import optax

from clipseed.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """An optimizer; the defaults are the paper's (its base rate is not published).

    Attributes:
        kind: `sgd` or `adam` (AdamW where there is weight decay).
        learning_rate: at the end of the warm-up.
        momentum: of SGD; Adam's first beta.
        second_moment: Adam's second beta.
        weight_decay: decoupled; biases, norms and scales are left out.
        warmup: part of all steps in which the rate rises from 0 (1.5 of 4 epochs).
        clip_norm: gradients of a larger norm are scaled down to it; 0: none are.
        pretrained_rate: what the rate of pretrained parameters is multiplied by.
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
        """Checks the numbers.

        Raises:
            InputError: `bad_optimizer`.
        """
        good = self.learning_rate > 0 and 0 <= self.warmup < 1
        if not good or self.kind not in ("sgd", "adam"):
            raise InputError(
                "bad_optimizer",
                "an optimizer is 'sgd' or 'adam', its learning_rate above 0, its "
                f"warmup a part of the steps below 1; this is {self}",
            )


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The learning rate by step: up in a line, down along half a cosine to 0."""
    warmup = round(config.warmup * steps)

    def rate(step: Any) -> Any:
        up = (step + 1) / max(1, warmup)
        done = (step - warmup) / max(1, steps - warmup)
        down = 0.5 * (1 + jax.numpy.cos(math.pi * jax.numpy.clip(done, 0, 1)))
        return config.learning_rate * jax.numpy.where(step < warmup, up, down)

    return rate


def make_optimizer(
    config: OptimizerConfig, steps: int, pretrained: Any = None
) -> optax.GradientTransformation:
    """The optimizer of a run.

    Args:
        config: see `OptimizerConfig`.
        steps: of the whole run.
        pretrained: a tree like the parameters', of bools; None: none is pretrained.
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


def _is_matrix(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
