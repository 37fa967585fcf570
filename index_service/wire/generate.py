"""Generates the Python code of `search.proto` beside it.

    python -m index_service.wire.generate [DIRECTORY]

Needs grpcio-tools in the version of the lock file, which CI compares the code with.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PROTO = "index_service/wire/search.proto"


def generate(directory: Path) -> int:
    """Write `index_service/wire/search_pb2*` under a directory; gives the status."""
    from grpc_tools import protoc

    outputs = [f"--{kind}_out={directory}" for kind in ("python", "pyi", "grpc_python")]
    return protoc.main(["protoc", f"--proto_path={_ROOT}", *outputs, _PROTO])


if __name__ == "__main__":
    sys.exit(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else _ROOT))
