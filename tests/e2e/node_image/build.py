"""A node image for kind, made of parts: for machines that reach no container registry.

Its root file system comes from Debian's packages, its programs from their Go modules, and the few files by which a
container becomes a node from the Go module of kind itself, copied at build time. The images of the control plane are
made of the same programs and put into the node's containerd. There is no CoreDNS in it and no kindnetd: who starts a
cluster leaves CoreDNS out and gives each node its part of the pod network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.programs import KUBERNETES_VERSION
from tests.e2e.command import StepError, run, step, succeeds
from tests.e2e.daemon import lacks_resource_capability
from tests.e2e.node_image import programs
from tests.e2e.places import cache

HERE = Path(__file__).parent
SUITE = "bookworm"
NODE_PACKAGES = (
    *("systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod"),
    *("libseccomp2", "runc", "socat", "jq", "procps", "ca-certificates", "bash"),
)
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd")
NAME = "mdev-operator-e2e/node"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Docker:
    environment: Mapping[str, str]

    def __call__(self, *arguments: str | Path) -> str:
        return run("docker", *arguments, environment=self.environment)

    def has(self, image: str) -> bool:
        return succeeds("docker", "image", "inspect", image, environment=self.environment)


def ensure(environment: Mapping[str, str]) -> str:
    """The name of the node image, which is built first if this Docker has none from the same recipe."""
    docker = _Docker(environment=environment)
    image = f"{NAME}:v{KUBERNETES_VERSION}-{_recipe()}"
    if docker.has(image):
        return image
    built = programs.ensure()
    base = debian(environment, "node", NODE_PACKAGES)
    with tempfile.TemporaryDirectory(dir=cache()) as name:
        work = Path(name)
        with step("building the images of the control plane", "20 s"):
            archive = _component_images(docker, work, built, base)
        with step("building the node image", "1 minute"):
            bare = _bare_node(docker, work, built, base)
            _preload(docker, bare, archive, image)
    return image


def debian(environment: Mapping[str, str], name: str, packages: tuple[str, ...]) -> str:
    """An image with Debian's essential packages and these, made on this machine; its name."""
    docker = _Docker(environment=environment)
    image = f"mdev-operator-e2e/{name}:{SUITE}-{_hash(*packages)}"
    if docker.has(image):
        return image
    if not shutil.which("mmdebstrap"):
        raise StepError("there is no mmdebstrap here to make a base image with (Debian: apt-get install mmdebstrap)")
    kept = cache() / f"{name}-{SUITE}-{_hash(*packages)}.tar"
    if not kept.exists():
        with step(f"installing Debian's packages for {name} images", "20 s"):
            part = kept.with_suffix(".part.tar")
            run(
                "mmdebstrap",
                "--variant=minbase",
                "--dpkgopt=force-unsafe-io",
                f"--include={','.join(packages)}",
                SUITE,
                part,
            )
            part.replace(kept)
    docker("import", kept, image)
    return image


def _component_images(docker: _Docker, work: Path, built: Mapping[str, Path], base: str) -> Path:
    listed = run(built["kubeadm"], "config", "images", "list", "--kubernetes-version", f"v{KUBERNETES_VERSION}")
    names = {image.rpartition("/")[2].partition(":")[0]: image for image in listed.split()}
    for component in COMPONENTS:
        context = work / component
        _link(context, {component: built[component]})
        of = base if component == "kube-proxy" else "scratch"
        arguments = (f"--build-arg=BASE={of}", f"--build-arg=PROGRAM={component}", f"--tag={names[component]}")
        docker("build", "-q", f"--file={HERE / 'Containerfile.component'}", *arguments, context)
    pause = work / "pause"
    pause.mkdir()
    programs.build_file(HERE / "pause.go", pause / "pause")
    docker("build", "-q", f"--file={HERE / 'Containerfile.pause'}", f"--tag={names['pause']}", pause)
    archive = work / "images.tar"
    docker("save", f"--output={archive}", *(names[name] for name in (*COMPONENTS, "pause")))
    return archive


def _bare_node(docker: _Docker, work: Path, built: Mapping[str, Path], base: str) -> str:
    context = work / "node"
    shutil.copytree(programs.kind_module() / "images" / "base" / "files", context / "files")
    run("chmod", "-R", "u+w", context / "files")
    at = context / "programs"
    _link(at / "bin", {name: built[name] for name in ("kubelet", "kubeadm", "kubectl", "crictl")})
    _link(at / "containerd", {name: built[name] for name in ("containerd", "containerd-shim-runc-v2", "ctr")})
    _link(at / "cni", {name: built[name] for name in programs.CNI_PLUGINS})
    shutil.copy(HERE / "prepare", context)
    image = f"{NAME}-bare:latest"
    restricted = str(lacks_resource_capability()).lower()
    arguments = (f"--build-arg=BASE={base}", f"--build-arg=RESTRICT_OOM_SCORE_ADJ={restricted}", f"--tag={image}")
    docker("build", "-q", f"--file={HERE / 'Containerfile.node'}", *arguments, context)
    return image


def _preload(docker: _Docker, bare: str, archive: Path, image: str) -> None:
    """Have the node's containerd take the images in; what it keeps becomes part of the image."""
    script = (
        "containerd >/dev/null 2>&1 & for i in $(seq 50); do ctr version >/dev/null 2>&1 && break; sleep 0.2; done; "
        "ctr -n k8s.io images import --all-platforms --no-unpack --digests /images.tar && rm -f /images.tar "
        "&& kill %1 && wait; exit 0"
    )
    container = docker("create", "--privileged", "--entrypoint=bash", bare, "-c", f"set -m; {script}").strip()
    try:
        docker("cp", archive, f"{container}:/images.tar")
        docker("start", "--attach", container)
        docker("commit", '--change=ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]', container, image)
    finally:
        docker("rm", "--force", "--volumes", container)


def _link(directory: Path, files: Mapping[str, Path]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        try:
            os.link(path.resolve(), directory / name)
        except OSError:
            shutil.copy2(path, directory / name)


def _recipe() -> str:
    """Changes with everything that a node image is made by."""
    texts = [path.read_text() for path in sorted(HERE.iterdir()) if path.is_file()]
    return _hash(*texts, *NODE_PACKAGES, str(lacks_resource_capability()))


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:10]
