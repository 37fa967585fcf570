"""Embedders by the names that `--embedder` takes.

    embedder = load_embedder("hf:openai/clip-vit-base-patch32")

To add a kind: write a file with a class or function that takes what follows the prefix
and returns an `Embedder`, and give it a line in `_KINDS`.
"""

import functools
import importlib
import os
from dataclasses import dataclass

from models.embedders.base import Embedder
from models.pretrained.source import HUB_PREFIX, pin


@dataclass(frozen=True)
class _Kind:
    """A kind of embedder.

    Attributes:
        prefix: of its names, before the colon.
        takes: what follows the colon; "" where the prefix is the whole name.
        module: that is imported when one is loaded, and not before.
        load: a callable of the module; its argument is what follows the colon.
    """

    prefix: str
    takes: str
    module: str
    load: str

    @property
    def usage(self) -> str:
        return f"{self.prefix}:{self.takes}" if self.takes else self.prefix


_KINDS = (
    _Kind("descriptor", "", "models.embedders.descriptor", "DescriptorEmbedder"),
    _Kind("hub", "HANDLE_OR_DIRECTORY", "models.embedders.tf_hub", "HubEmbedder"),
    _Kind("onnx", "FILE", "models.embedders.onnx", "OnnxEmbedder"),
)
# A checkpoint of a known family, by the one way of naming models: no prefix of ours.
_CHECKPOINT = _Kind("hf", "ID[@REVISION]", "models.embedders.vision", "VisionEmbedder")


@functools.lru_cache(maxsize=2)
def load_embedder(name: str) -> Embedder:
    """Load the embedder that `--embedder` names, once per process.

    Args:
        name: as `usage` lists them.

    Raises:
        ValueError: an unknown kind, or a model that cannot be loaded or does not map
            images to vectors; the message says what to do.
    """
    prefix, _, rest = name.partition(":")
    for kind in _KINDS:
        if prefix != kind.prefix:
            continue
        load = functools.partial(_load, kind)
        if kind.takes and rest:
            return load(rest)
        if name == kind.usage:
            return load()
    if _names_checkpoint(name):
        return _load(_CHECKPOINT, name)
    raise ValueError(f"unknown embedder {name!r}: use {usage()}")


def _load(kind: _Kind, *handle: str) -> Embedder:
    return getattr(importlib.import_module(kind.module), kind.load)(*handle)


def pin_embedder(name: str) -> str:
    """Return the name with the revision that it has now, so that all workers agree.

    Raises:
        InputError: as `models.pretrained.source.pin`.
    """
    return pin(name) if name.startswith(HUB_PREFIX) else name


def usage() -> str:
    """Return the names that `load_embedder` takes, in words."""
    known = [repr(kind.usage) for kind in (*_KINDS, _CHECKPOINT)]
    return f"{', '.join(known)} or the directory of a checkpoint"


def _names_checkpoint(name: str) -> bool:
    """Tell whether a name without a known prefix can be a checkpoint's."""
    if name.startswith(HUB_PREFIX):
        return len(name) > len(HUB_PREFIX)
    return name.startswith("gs://") or "/" in name or os.path.isdir(name)
