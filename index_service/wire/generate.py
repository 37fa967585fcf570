"""Generate the Python code of `search.proto` in its folder.

    python -m index_service.wire.generate [DIRECTORY]

Requires grpcio-tools in the locked version: CI compares the code with its output.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PROTO = "index_service/wire/search.proto"


def generate(directory: Path) -> int:
    """Write `index_service/wire/search_pb2*` under a directory; return the status."""
    from grpc_tools import protoc

    outputs = [f"--{kind}_out={directory}" for kind in ("python", "pyi", "grpc_python")]
    return protoc.main(["protoc", f"--proto_path={_ROOT}", *outputs, _PROTO])


if __name__ == "__main__":
    sys.exit(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else _ROOT))
