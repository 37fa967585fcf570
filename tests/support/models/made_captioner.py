"""A small captioner of random parameters, with a tokenizer, as published ones are."""

import json
import shutil
from pathlib import Path

from safetensors.numpy import load_file, save_file

from tests.support.reference import PARITY_MODELS

# What the model below writes after its third token, whatever the picture.
END_ID = 43
_SPECIAL = {0: "[PAD]", 1: "[UNK]", 2: "[CLS]", END_ID: "[SEP]", 3: "[MASK]"}


def write_captioner(directory: Path, end_id: int = END_ID) -> str:
    """Write a BLIP whose 128 tokens are words `w0`, `w1`, ...; return its directory.

    Args:
        directory: to write to.
        end_id: the token that ends a caption; one that is never written makes captions
            endless.
    """
    directory.mkdir(exist_ok=True)
    source = PARITY_MODELS / "blip"
    for name in ("model.safetensors", "preprocessor_config.json"):
        shutil.copyfile(source / name, directory / name)
    config = json.loads((source / "config.json").read_text())
    config["text_config"]["sep_token_id"] = end_id
    (directory / "config.json").write_text(json.dumps(config))
    words = [_SPECIAL.get(number, f"w{number}") for number in range(126)]
    if end_id != END_ID:
        words[END_ID], words[end_id] = f"w{END_ID}", "[SEP]"
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    return str(directory)


def spoil(directory: str) -> None:
    """Make the captioner compute infinite logits, from weights that are finite."""
    path = Path(directory) / "model.safetensors"
    tensors = load_file(path)
    for name in ("embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"):
        tensors[f"text_decoder.bert.{name}"] = (
            tensors[f"text_decoder.bert.{name}"] * 0 + 3e38
        )
    save_file(tensors, path)
