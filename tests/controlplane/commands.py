"""The command line of each part of the control plane: pure functions of programs, files and ports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The loopback ports of one control plane."""

    etcd_client: int
    etcd_peer: int
    apiserver: int
    controllers: int
    scheduler: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where one control plane keeps what its parts read and write."""

    directory: Path

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.directory / "pki"

    @property
    def etcd_data(self) -> Path:
        """The objects."""
        return self.directory / "etcd"

    @property
    def kubeconfigs(self) -> Path:
        """One file for each user that was asked for."""
        return self.directory / "kubeconfigs"

    @property
    def scheduler_config(self) -> Path:
        """The KubeSchedulerConfiguration."""
        return self.directory / "scheduler.yaml"


def etcd(programs: Mapping[str, Path], files: Files, ports: Ports) -> list[str]:
    """One member, no fsync: nothing here outlives a power cut anyway."""
    client, peer = f"http://127.0.0.1:{ports.etcd_client}", f"http://127.0.0.1:{ports.etcd_peer}"
    return [
        str(programs["etcd"]),
        f"--data-dir={files.etcd_data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver(programs: Mapping[str, Path], files: Files, ports: Ports, *, controllers: bool) -> list[str]:
    """Admission gives no new Node the taint ``not-ready``: the controller that would take it away is off.

    Without a controller manager nobody makes service accounts, so pods are admitted without one. No endpoint
    reconciler: the Service ``kubernetes`` has no endpoint, as no pod runs here.
    """
    unwanted = ["TaintNodesByCondition"] if controllers else ["TaintNodesByCondition", "ServiceAccount"]
    return [
        str(programs["kube-apiserver"]),
        f"--etcd-servers=http://127.0.0.1:{ports.etcd_client}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={ports.apiserver}",
        "--endpoint-reconciler-type=none",
        *_serving(files),
        f"--client-ca-file={files.pki / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        f"--disable-admission-plugins={','.join(unwanted)}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={files.pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={files.pki / 'service-accounts.key'}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true",
        "--profiling=false",
    ]


def controller_manager(programs: Mapping[str, Path], files: Files, ports: Ports, kubeconfig: Path) -> list[str]:
    """Without ``nodelifecycle``: test nodes have no kubelet that renews a Lease, and must not become NotReady.

    With its default of 20 requests per second it would take five seconds to start all controllers.
    """
    return [
        str(programs["kube-controller-manager"]),
        f"--kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.controllers}",
        *_serving(files),
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={files.pki / 'service-accounts.key'}",
        f"--root-ca-file={files.pki / 'ca.crt'}",
        "--controllers=*,-nodelifecycle",
    ]


def scheduler(programs: Mapping[str, Path], files: Files, ports: Ports) -> list[str]:
    """The stock scheduler; its limits come from ``scheduler_configuration``."""
    return [
        str(programs["kube-scheduler"]),
        f"--config={files.scheduler_config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.scheduler}",
        *_serving(files),
    ]


def scheduler_configuration(kubeconfig: Path) -> str:
    """Return the configuration (JSON, which is YAML) with a rate limit that no test runs into."""
    return json.dumps(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False},
            "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 500, "burst": 1000},
        }
    )


def _serving(files: Files) -> list[str]:
    return [
        f"--tls-cert-file={files.pki / 'server.crt'}",
        f"--tls-private-key-file={files.pki / 'server.key'}",
    ]
