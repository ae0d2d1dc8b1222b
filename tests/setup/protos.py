"""``python -m tests.setup.protos``: generate the agent's gRPC code from the ``.proto`` files beside it (make protos).

The generated code is checked in, so that neither an image nor a user needs the compiler; a test compares.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "node-agent" / "src"
PROTOS = Path("mdev_node_agent/kubelet/protos")


def generate(into: Path) -> None:
    """Write ``_pb2.py``, ``_pb2.pyi`` and ``_pb2_grpc.py`` of every ``.proto`` below ``into``/:data:`PROTOS`."""
    files = [str(path.relative_to(SOURCE)) for path in sorted((SOURCE / PROTOS).glob("*.proto"))]
    outputs = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *files], cwd=SOURCE, check=True)


if __name__ == "__main__":
    generate(SOURCE)
