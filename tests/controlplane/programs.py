"""Which programs a control plane consists of, and in which version they are fetched or built."""

from __future__ import annotations

KUBERNETES_VERSION = "1.36.3"
ETCD_VERSION = "3.6.8"
"""The version that the go.mod of this Kubernetes names."""

ETCD = "etcd"
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
PROGRAMS = (ETCD, *KUBERNETES)


class UnavailableError(RuntimeError):
    """A program could not be had in one way or in any; the message says what is missing and what to do."""
