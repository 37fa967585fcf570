"""The one way of naming a published model: `hf:ID[@REVISION]`, or a directory.

    checkpoint = open_checkpoint("hf:openai/clip-vit-base-patch32")
    read_config(checkpoint.directory, ["clip"])
    checkpoint.name  # hf:openai/clip-vit-base-patch32@3d74acf9a28c...

A directory is local or `gs://`. A model of the hub is downloaded by `huggingface_hub`
into its cache, by the settings that its users know (HF_HOME, HF_TOKEN, HF_ENDPOINT,
HF_HUB_OFFLINE). A branch such as `main` moves: whoever starts workers or records what
was used takes the name that is returned, which ends in the commit's hash.
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import NamedTuple

from clipseed.errors import InputError

HUB_PREFIX = "hf:"
# What a model is made of, here; weights for other libraries stay where they are.
_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOCK_BYTES = 1 << 20


class Checkpoint(NamedTuple):
    """A published model, where its files can be read.

    Attributes:
        name: that names the same files at any time: `hf:ID@COMMIT`, or the directory.
        directory: local or `gs://`.
        revision: the commit's hash of a model of the hub; "" of a directory.
    """

    name: str
    directory: str
    revision: str = ""


def open_checkpoint(name: str) -> Checkpoint:
    """Find a model, and download it if it is the hub's and not in the cache.

    Args:
        name: `hf:ID`, `hf:ID@REVISION` or a directory; nothing is read of the latter.

    Raises:
        InputError: `bad_model_name`; `no_model` if the hub or (offline) the cache does
            not have it; `changed_file` if a file's bytes are not those of the commit.
    """
    if not name.startswith(HUB_PREFIX):
        return Checkpoint(name, name)
    model_id, _, revision = name.removeprefix(HUB_PREFIX).partition("@")
    folder = _download(model_id, revision)
    commit = folder.name
    if not _COMMIT.fullmatch(commit):
        raise InputError("no_model", f"{name}: the hub named no commit; try again")
    for path in sorted(folder.iterdir()):
        _check_unchanged(path, name)
    return Checkpoint(f"{HUB_PREFIX}{model_id}@{commit}", str(folder), commit)


def pin(name: str) -> str:
    """Return the name of a model that does not move, as `open_checkpoint` does.

    Raises:
        InputError: as `open_checkpoint`.
    """
    return open_checkpoint(name).name


def _download(model_id: str, revision: str) -> Path:
    """Return the cache's folder of a revision, which is named by its commit."""
    try:
        from httpx2 import HTTPError
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import disable_progress_bars
    except ModuleNotFoundError as error:
        raise InputError(
            "no_model",
            f"hf:{model_id} needs the package huggingface_hub: pip install "
            "huggingface_hub, or name a directory",
        ) from error
    disable_progress_bars()
    logging.info("looking up %s at %s", model_id, revision or "main")
    try:
        folder = snapshot_download(
            model_id, revision=revision or None, allow_patterns=list(_FILES)
        )
    except HFValidationError as error:
        raise InputError(
            "bad_model_name",
            f"{model_id!r} is not the id of a model: write hf:OWNER/NAME, "
            "hf:OWNER/NAME@REVISION or a directory",
        ) from error
    except (OSError, HTTPError) as error:
        raise InputError(
            "no_model",
            f"cannot get {model_id} at {revision or 'main'}: {_first_line(error)}. "
            "Check the id, the revision, HF_TOKEN for a model that asks for one, and "
            "HF_HUB_OFFLINE",
        ) from error
    return Path(folder)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), repr(error)).rstrip(".")


def _check_unchanged(path: Path, name: str) -> None:
    """Hold a file of the cache against its name there, which is the hub's hash of it.

    Raises:
        InputError: `changed_file`.
    """
    blob = path.resolve()
    if not blob.is_file() or blob == path.absolute():
        return  # Copied, where the file system has no links: its hash is not known.
    digest = _hash_like(blob)
    if digest and digest != blob.name:
        raise InputError(
            "changed_file",
            f"{path.name} of {name} is not the file that the hub's commit names "
            f"(hash {digest[:12]}, not {blob.name[:12]}): delete {blob} and its links, "
            "and download it again",
        )


def _hash_like(blob: Path) -> str:
    """Return the hash of a file by the kind that its name is: SHA-256, or Git's."""
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        digest = hashlib.sha256()
    elif _COMMIT.fullmatch(blob.name):
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    else:
        return ""
    with blob.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
