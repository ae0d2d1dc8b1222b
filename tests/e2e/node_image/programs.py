"""The programs of a node, built from their Go modules: for machines that reach a module proxy and no release site.

Those of the control plane are the ones that the other tests use (:mod:`tests.controlplane.binaries`). All are static.
Each is moved into the cache when it is whole, so what an interrupted run has built is not built again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane import binaries, go_modules
from tests.controlplane.programs import ETCD, KUBERNETES_VERSION
from tests.e2e.command import StepError, run, step
from tests.e2e.places import cache

CONTAINERD = "github.com/containerd/containerd/v2"
CONTAINERD_VERSION = "v2.1.4"
CNI = "github.com/containernetworking/plugins"
CNI_PLUGINS = {"ptp": "main", "loopback": "main", "host-local": "ipam", "portmap": "meta"}
CRICTL = "sigs.k8s.io/cri-tools"
CRICTL_VERSION = "v1.36.0"
KIND = "sigs.k8s.io/kind"
KIND_VERSION = "v0.33.0"
KUBERNETES = "k8s.io/kubernetes"
ON_NODES = ("kubelet", "kubeadm", "kube-proxy")
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", ETCD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """A module with main packages: ``packages`` by the program's name, relative to the module."""

    path: str
    version: str
    packages: Mapping[str, str]
    usually: str
    tags: str = ""
    variables: str = ""


MODULES = (
    Module(path=KIND, version=KIND_VERSION, packages={"kind": ""}, usually="10 s"),
    Module(
        path=CNI,
        version="v1.9.1",
        packages={name: f"/plugins/{kind}/{name}" for name, kind in CNI_PLUGINS.items()},
        usually="10 s",
    ),
    Module(
        path=CRICTL,
        version=CRICTL_VERSION,
        packages={"crictl": "/cmd/crictl"},
        usually="30 s",
        variables=f"-X {CRICTL}/pkg/version.Version={CRICTL_VERSION}",
    ),
    Module(
        path=CONTAINERD,
        version=CONTAINERD_VERSION,
        packages={name: f"/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
        usually="1 minute",
        tags="no_btrfs,no_devmapper,no_zfs",
        variables=f"-X {CONTAINERD}/version.Version={CONTAINERD_VERSION}",
    ),
)


def kind() -> Path:
    """The program kind: the one on PATH, else the one in the cache, built first if it is not there."""
    if found := shutil.which("kind"):
        return Path(found)
    return _ensure_module(next(module for module in MODULES if module.path == KIND))["kind"]


def ensure() -> dict[str, Path]:
    """Every program that goes into a node image, by name; StepError says what cannot be built and why."""
    found = dict(binaries.ensure(CONTROL_PLANE))
    found |= _ensure_kubernetes()
    for module in MODULES:
        if module.path != KIND:
            found |= _ensure_module(module)
    return found


def build_file(source: Path, target: Path) -> None:
    """Build one Go file that needs nothing but the standard library."""
    _go(source.parent, "build", "-trimpath", "-ldflags=-s -w", f"-o={target}", str(source))


def kind_module() -> Path:
    """The source of kind as the module cache has it."""
    answer = _go(Path.cwd(), "mod", "download", "-json", f"{KIND}@{KIND_VERSION}")
    return Path(json.loads(answer)["Dir"])


def _directory(version: str) -> Path:
    directory = cache() / "programs" / version
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _ensure_module(module: Module) -> dict[str, Path]:
    kept = _directory(f"{module.path.replace('/', '_')}@{module.version}")
    programs = {name: kept / name for name in module.packages}
    if all(path.exists() for path in programs.values()):
        return programs
    names = ", ".join(programs)
    with step(f"building {names}", module.usually), tempfile.TemporaryDirectory(dir=kept) as name:
        work = Path(name)
        (work / "go.mod").write_text(f"module built.test\n\ngo {go_modules.GO_SERIES}.0\n")
        packages = {name: module.path + package for name, package in module.packages.items()}
        _go(work, "get", *(f"{package}@{module.version}" for package in packages.values()))
        for program, package in packages.items():
            _build(work, package, programs[program], module.variables, module.tags)
    return programs


def _ensure_kubernetes() -> dict[str, Path]:
    kept = _directory(f"kubernetes@v{KUBERNETES_VERSION}")
    programs = {name: kept / name for name in ON_NODES}
    missing = [name for name, path in programs.items() if not path.exists()]
    if not missing:
        return programs
    usually = "1 minute, 5 without the API server's packages"
    with step(f"building {', '.join(missing)}", usually), tempfile.TemporaryDirectory(dir=kept) as name:
        work = Path(name)
        upstream = json.loads(_go(work, "mod", "download", "-json", f"{KUBERNETES}@v{KUBERNETES_VERSION}"))
        (work / "go.mod").write_text(go_modules.go_mod(Path(upstream["GoMod"]).read_text()))
        (work / "tools.go").write_text(go_modules.tools_go([*ON_NODES, ETCD]))
        _go(work, "mod", "tidy")
        for program in missing:
            _build(work, f"{KUBERNETES}/cmd/{program}", programs[program], _kubernetes_version())
    return programs


def _kubernetes_version() -> str:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    values = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


def _build(work: Path, package: str, target: Path, variables: str, tags: str = "") -> None:
    made = work / target.name
    _go(work, "build", "-trimpath", f"-tags={tags}", f"-ldflags=-s -w {variables}", f"-o={made}", package)
    made.replace(target)


def _go(work: Path, *arguments: str) -> str:
    go = shutil.which("go")
    if go is None:
        raise StepError(
            "there is no Go here to build the programs of a node with. Install Go "
            f"{go_modules.GO_SERIES}, or name a node image that can be pulled: MDEV_E2E_NODE_IMAGE=kindest/node:..."
        )
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off"}
    version = run(go, "env", "GOVERSION", cwd=work, environment={**environment, "GOTOOLCHAIN": "local"}).strip()
    suits = _is_of(version, go_modules.GO_SERIES)
    environment["GOTOOLCHAIN"] = "local" if suits else go_modules.GO_TOOLCHAIN
    return run(go, *_given(arguments), cwd=work, environment=environment, timeout=3600)


def _is_of(version: str, series: str) -> bool:
    return version == f"go{series}" or version.startswith(f"go{series}.")


def _given(arguments: Sequence[str]) -> Sequence[str]:
    """As they are, but with the flags that are empty left out."""
    return [argument for argument in arguments if argument != "-tags="]
