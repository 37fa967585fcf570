"""The code of the wire format is what the proto says."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    # Apart: protoc's library does not bear TensorFlow's in one process.
    command = [sys.executable, "-m", "index_service.wire.generate", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    made = sorted((tmp_path / "index_service" / "wire").iterdir())
    assert [path.name for path in made] == [
        "search_pb2.py",
        "search_pb2.pyi",
        "search_pb2_grpc.py",
    ]
    for path in made:
        if path.read_bytes() != (ROOT / "index_service/wire" / path.name).read_bytes():
            pytest.fail(f"{path.name}: run python -m index_service.wire.generate")
