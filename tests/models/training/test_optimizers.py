"""Optimizer steps against NumPy written by hand."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from clipseed.errors import InputError
from models.training.optimizers import OptimizerConfig, make_optimizer, schedule

STEPS = 10
PARAMS = {"kernel": np.array([[1.0, -2.0], [0.5, 3.0]]), "bias": np.array([0.5, 1.0])}
GRADIENTS = [
    {"kernel": np.array([[0.3, 0.1], [-0.2, 0.4]]), "bias": np.array([0.1, -0.3])},
    {"kernel": np.array([[3.0, 1.0], [-2.0, 4.0]]), "bias": np.array([1.0, -3.0])},
    {"kernel": np.array([[0.0, 0.5], [0.1, 0.0]]), "bias": np.array([0.0, 0.2])},
]


def rate(config: OptimizerConfig, step: int) -> float:
    warmup = round(config.warmup * STEPS)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / (STEPS - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def by_hand(config: OptimizerConfig) -> dict[str, np.ndarray]:
    params = {name: value.copy() for name, value in PARAMS.items()}
    first = {name: np.zeros_like(value) for name, value in PARAMS.items()}
    second = {name: np.zeros_like(value) for name, value in PARAMS.items()}
    for step, gradients in enumerate(GRADIENTS):
        norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        shrink = min(1.0, config.clip_norm / norm) if config.clip_norm else 1.0
        for name, gradient in gradients.items():
            g = gradient * shrink
            if config.kind == "sgd":
                first[name] = config.momentum * first[name] + g
                change = first[name]
            else:
                b1, b2 = config.momentum, config.second_moment
                first[name] = b1 * first[name] + (1 - b1) * g
                second[name] = b2 * second[name] + (1 - b2) * g**2
                mean = first[name] / (1 - b1 ** (step + 1))
                power = second[name] / (1 - b2 ** (step + 1))
                change = mean / (np.sqrt(power) + 1e-8)
            if name == "kernel":
                change = change + config.weight_decay * params[name]
            params[name] = params[name] - rate(config, step) * change
    return params


@pytest.mark.parametrize(
    "config",
    [
        OptimizerConfig(warmup=0.2),
        OptimizerConfig(warmup=0.2, clip_norm=0.0, weight_decay=0.01),
        OptimizerConfig(kind="adam", learning_rate=0.01, weight_decay=0.2, warmup=0.1),
        OptimizerConfig(kind="adam", momentum=0.8, second_moment=0.98, warmup=0.0),
    ],
)
def test_steps_are_what_numpy_says(config: OptimizerConfig) -> None:
    optimizer = make_optimizer(config, STEPS)
    params = {name: jnp.asarray(value) for name, value in PARAMS.items()}
    state = optimizer.init(params)
    for gradients in GRADIENTS:
        given = {name: jnp.asarray(value) for name, value in gradients.items()}
        changes, state = optimizer.update(given, state, params)
        params = optax.apply_updates(params, changes)
    for name, wanted in by_hand(config).items():
        np.testing.assert_allclose(params[name], wanted, rtol=2e-5)


def test_pretrained_parameters_move_more_slowly() -> None:
    config = OptimizerConfig(pretrained_rate=0.1, clip_norm=0.0, warmup=0.0)
    optimizer = make_optimizer(config, STEPS, {"kernel": True, "bias": False})
    params = {name: jnp.asarray(value) for name, value in PARAMS.items()}
    given = {name: jnp.asarray(value) for name, value in GRADIENTS[0].items()}
    changes, _ = optimizer.update(given, optimizer.init(params), params)
    np.testing.assert_allclose(changes["kernel"], -0.01 * given["kernel"], rtol=1e-6)
    np.testing.assert_allclose(changes["bias"], -0.1 * given["bias"], rtol=1e-6)


def test_the_rate_rises_in_a_line_and_falls_to_nothing() -> None:
    config = OptimizerConfig(learning_rate=2.0, warmup=0.4)
    rates = [float(schedule(config, 10)(step)) for step in range(12)]
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates[4] == pytest.approx(2.0) and rates[7] == pytest.approx(1.0)
    assert rates[10:] == pytest.approx([0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"kind": "lion"}, {"learning_rate": 0.0}, {"warmup": 1.0}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="bad_optimizer"):
        OptimizerConfig(**wrong)  # type: ignore[arg-type]
