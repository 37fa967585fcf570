"""Models by name, from a hub on this machine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.pretrained.source import Checkpoint, open_checkpoint
from tests.support.models.made_checkpoint import write_vit
from tests.support.servers.fake_hub import COMMIT, FakeHub, fake_hub

MODEL = "me/tiny-vit"
_READ = ["config.json", "model.safetensors", "preprocessor_config.json"]
_OPEN = """
import json, sys
from clipseed.errors import InputError
from models.pretrained.source import open_checkpoint
try:
    print(json.dumps(open_checkpoint(sys.argv[1])))
except InputError as error:
    print(json.dumps({"reason": error.reason, "message": error.message}))
"""
_EMBED = """
import json, sys
from models.embedders.registry import load_embedder, pin_embedder
from models.retrieval.dual_encoder_task import DualEncoderTask
from models.training.overrides import as_json
task = as_json(DualEncoderTask(vision=sys.argv[1]).adopted())
embedder_id = load_embedder(sys.argv[1]).embedder_id
print(json.dumps([pin_embedder(sys.argv[1]), embedder_id, task["vision"]]))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    """Serve a small ViT, beside what is not read of a model."""
    directory = Path(write_vit(tmp_path / "vit"))
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    files["preprocessor_config.json"] = b'{"size": 8}'
    files |= {"pytorch_model.bin": b"x" * 99, "README.md": b"# A model"}
    with fake_hub({MODEL: files}) as running:
        yield running


def in_process(hub: FakeHub, cache: Path, code: str, name: str, **more: str) -> Any:
    """Run code in a process of its own: the library reads its settings at import."""
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        env=hub.environment(cache, **more),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_downloads_once_then_needs_no_hub(hub: FakeHub, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    name, directory, revision = in_process(hub, cache, _OPEN, f"hf:{MODEL}")
    assert (name, revision) == (f"hf:{MODEL}@{COMMIT}", COMMIT)
    assert sorted(hub.downloads) == _READ
    held = Path(directory, "model.safetensors").read_bytes()
    assert held == hub.models[MODEL]["model.safetensors"]
    again = in_process(hub, cache, _OPEN, f"hf:{MODEL}@main")
    assert again == [name, directory, revision] and len(hub.downloads) == 3
    hub.server.shutdown()
    offline = in_process(hub, cache, _OPEN, name, HF_HUB_OFFLINE="1")
    assert offline == [name, directory, revision]


def test_offline_only_the_cache_counts(hub: FakeHub, tmp_path: Path) -> None:
    found = in_process(hub, tmp_path, _OPEN, f"hf:{MODEL}", HF_HUB_OFFLINE="1")
    assert found["reason"] == "no_model" and MODEL in found["message"]
    assert hub.downloads == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hf:me/other", "no_model"),
        (f"hf:{MODEL}@v9", "no_model"),
        ("hf:not//an id", "bad_model_name"),
    ],
)
def test_what_is_not_there_is_named(
    name: str, reason: str, hub: FakeHub, tmp_path: Path
) -> None:
    assert in_process(hub, tmp_path, _OPEN, name)["reason"] == reason


def test_a_file_that_is_not_the_commits_is_refused(
    hub: FakeHub, tmp_path: Path
) -> None:
    """Once as it is sent, once as it was changed in the cache."""
    config = hub.models[MODEL]["config.json"]
    hub.served["config.json"] = config.replace(b"gelu", b"relu").replace(b" 8", b" 4")
    assert len(hub.served["config.json"]) == len(config)
    found = in_process(hub, tmp_path / "sent", _OPEN, f"hf:{MODEL}")
    assert found["reason"] == "changed_file" and "config.json" in found["message"]
    hub.served.clear()
    cache = tmp_path / "cached"
    _, directory, _ = in_process(hub, cache, _OPEN, f"hf:{MODEL}")
    blob = Path(directory, "model.safetensors").resolve()
    held = bytearray(blob.read_bytes())
    held[-1] ^= 1
    blob.write_bytes(held)
    found = in_process(hub, cache, _OPEN, f"hf:{MODEL}", HF_HUB_OFFLINE="1")
    assert found["reason"] == "changed_file" and "model.safetensors" in found["message"]


def test_a_job_records_the_revision(hub: FakeHub, tmp_path: Path) -> None:
    """`run.json` the embedder's id, as the index does; `config.json` the task."""
    pinned, embedder_id, vision = in_process(hub, tmp_path, _EMBED, f"hf:{MODEL}")
    assert pinned == vision == f"hf:{MODEL}@{COMMIT}"
    assert embedder_id.startswith(f"{pinned}+") and len(embedder_id) == len(pinned) + 13


def test_a_directory_is_its_own_name() -> None:
    for name in ("gs://bucket/vit", "models/vit"):
        assert open_checkpoint(name) == Checkpoint(name, name, "")
