"""A small ViT of random parameters, in the layout that is published."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SIZES = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 8,
    "patch_size": 4,
}
LAYER = "encoder.layer.0"
SHAPES = {
    "embeddings.cls_token": (1, 1, 16),
    "embeddings.position_embeddings": (1, 5, 16),
    "embeddings.patch_embeddings.projection.weight": (16, 3, 4, 4),
    "embeddings.patch_embeddings.projection.bias": (16,),
    **{
        f"{LAYER}.attention.{part}.{leaf}": (16,) * n
        for part in ("attention.query", "attention.key", "attention.value")
        + ("output.dense",)
        for n, leaf in ((2, "weight"), (1, "bias"))
    },
    **{
        f"{norm}.{leaf}": (16,)
        for norm in (f"{LAYER}.layernorm_before", f"{LAYER}.layernorm_after")
        + ("layernorm",)
        for leaf in ("weight", "bias")
    },
    f"{LAYER}.intermediate.dense.weight": (24, 16),
    f"{LAYER}.intermediate.dense.bias": (24,),
    f"{LAYER}.output.dense.weight": (16, 24),
    f"{LAYER}.output.dense.bias": (16,),
}
Tensors = dict[str, np.ndarray]


def write_vit(
    directory: Path, change: Callable[[Tensors], Tensors | None] = lambda t: None
) -> str:
    """Write the checkpoint, its tensors changed by a function."""
    random = np.random.default_rng(0)
    tensors = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    directory.mkdir(exist_ok=True)
    save_file(change(tensors) or tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(SIZES))
    return str(directory)
