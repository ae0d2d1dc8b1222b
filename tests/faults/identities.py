"""The identities of ``deploy/`` at a proxy: a kubeconfig whose token stands in a file, as in a pod."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.certificates import write_private
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.kubeconfig import kubeconfig_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One program's: ``kubeconfig`` names ``token_file``, which may be replaced while the program runs."""

    kubeconfig: Path
    token_file: Path

    @property
    def token(self) -> str:
        """The token as it stands there now."""
        return self.token_file.read_text(encoding="ascii")

    def give(self, token: str) -> None:
        """Replace the token, as the kubelet does: by a new file in its place."""
        new = write_private(self.token_file.with_suffix(".new"), token.encode())
        new.replace(self.token_file)


def operator_token(plane: ControlPlane) -> str:
    """A new token of the operator."""
    return plane.kubectl("create", "token", "mdev-operator", "--namespace=mdev-operator").stdout.strip()


def agent_token(plane: ControlPlane, node: str) -> str:
    """A new token of a node's agent, bound to its Node, which must be there."""
    bound = ("--bound-object-kind=Node", f"--bound-object-name={node}")
    return plane.kubectl("create", "token", "mdev-node-agent", "--namespace=mdev-node-agent", *bound).stdout.strip()


def identity(plane: ControlPlane, directory: Path, name: str, *, server: str, token: str) -> Identity:
    """Write kubeconfig and token of ``name`` into ``directory``. ``server``: the URL of the proxy."""
    text = kubeconfig_text(server=server, authority=plane.ca_file.read_bytes(), user=name, credentials=token)
    config = json.loads(text)
    file = write_private(directory / f"{name}.token", token.encode())
    config["users"][0]["user"] = {"tokenFile": str(file)}
    kubeconfig = write_private(directory / f"{name}.kubeconfig", json.dumps(config).encode())
    return Identity(kubeconfig=kubeconfig, token_file=file)
