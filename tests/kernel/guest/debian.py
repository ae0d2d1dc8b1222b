"""Debian's kernel for guests: which one, and its parts unpacked from the packages without installing any.

The packages' versions are never pinned, since old ones leave the archive: the name comes from ``linux-image-amd64`` at
run time. If apt does not know it or cannot fetch it, the newest kernel that the cache has is used, so a warm cache
needs no network.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.guest import cache
from tests.kernel.guest.host import LIBRARIES_TO_BUILD, TO_BUILD, HostLacksError, command, need
from tests.kernel.guest.progress import say, step

# In the order of their dependencies; all are modules of Debian's 6.1.
BASE_MODULES = [
    *["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_console"],
    *["failover", "net_failover", "virtio_net", "netfs", "fscache", "9pnet", "9pnet_virtio", "9p", "overlay"],
    *["vfio", "vfio_iommu_type1", "irqbypass", "vfio_virqfd", "mdev"],
]
SAMPLES = ["mtty", "mbochs", "mdpy"]
VFIO_PCI = ["vfio-pci-core", "vfio-pci"]

APT_LISTS = Path("/var/lib/apt/lists")
"""A directory that changes with every ``apt-get update`` that brings something new."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """The packages of one kernel. ``key`` names it in the cache: release and package version."""

    release: str
    version: str
    headers: str
    headers_common: str
    kbuild: str
    source: str

    @property
    def key(self) -> str:
        return f"{self.release}_{self.version}"

    @property
    def names(self) -> list[str]:
        return [f"linux-image-{self.release}", self.headers, self.headers_common, self.kbuild, self.source]


def _depends(package: str, pattern: str) -> str:
    """The first dependency of ``package`` that matches ``pattern`` wholly."""
    for line in command(["apt-cache", "depends", package]).splitlines():
        name = line.strip().removeprefix("Depends: ")
        if re.fullmatch(pattern, name):
            return name
    raise RuntimeError(f"apt knows no dependency of {package} like {pattern}")


def _resolve() -> Packages:
    image = _depends("linux-image-amd64", r"linux-image-\d.*")
    release = image.removeprefix("linux-image-")
    shown = command(["apt-cache", "show", "--no-all-versions", image])
    version = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
    if version is None:
        raise RuntimeError(f"apt shows no version of {image}")
    headers = f"linux-headers-{release}"
    kbuild = _depends(headers, r"linux-kbuild-.*")
    return Packages(
        release=release,
        version=version[1].replace(":", "_"),
        headers=headers,
        headers_common=_depends(headers, r"linux-headers-.*-common"),
        kbuild=kbuild,
        source=kbuild.replace("kbuild", "source"),
    )


def resolve() -> Packages:
    """The current kernel of this Debian, after ``apt-get update`` if apt does not know one yet. Raises RuntimeError."""
    if shutil.which("apt-cache") is None:
        raise HostLacksError("there is no apt here to get Debian's kernel from")
    try:
        return _resolve()
    except RuntimeError:
        if os.geteuid() != 0:
            raise
        with step("apt-get update", usually="5 s"):
            command(["apt-get", "update", "-q"])
        return _resolve()


def _download(packages: Packages, into: Path) -> None:
    into.mkdir()
    fetch = [
        "apt-get",
        "download",
        "-q",
        *(["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []),
        *packages.names,
    ]
    with step(f"downloading the kernel {packages.key} and its sources, 224 MB", usually="5 to 60 s"):
        try:
            command(fetch, cwd=into)
        except RuntimeError:
            if os.geteuid() != 0:
                raise
            command(["apt-get", "update", "-q"])
            command(fetch, cwd=into)


def _decompressed(vmlinuz: bytes) -> bytes:
    """The ELF kernel inside a bzImage: qemu starts it directly (PVH), which halves the time of a boot."""
    start = vmlinuz.find(b"\xfd7zXZ\x00")
    if start < 0:
        raise RuntimeError("no xz data in vmlinuz: this kernel is compressed in another way")
    return lzma.LZMADecompressor().decompress(vmlinuz[start:])


def _keep_kernel(root: Path, packages: Packages, target: Path) -> None:
    (target / "vmlinux").write_bytes(_decompressed((root / f"boot/vmlinuz-{packages.release}").read_bytes()))
    available = {path.stem: path for path in (root / "lib/modules" / packages.release).rglob("*.ko")}
    (target / "modules").mkdir()
    for name in [*BASE_MODULES, *VFIO_PCI]:
        if name not in available:
            raise RuntimeError(f"the kernel {packages.key} has no module {name}: guests cannot be made from it")
        shutil.copy(available[name], target / "modules")


def _keep_headers(root: Path, packages: Packages, target: Path) -> None:
    """Headers and kbuild, where they are to each other. One Makefile names /usr/src; that is made relative."""
    (target / "usr/lib").mkdir(parents=True)
    shutil.move(root / "usr/src", target / "usr/src")
    shutil.move(root / "usr/lib" / packages.kbuild, target / "usr/lib" / packages.kbuild)
    makefile = target / "usr/src" / packages.headers / "Makefile"
    here = "$(dir $(realpath $(lastword $(MAKEFILE_LIST))))"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{here}../"))


def _keep_samples(debs: Path, packages: Packages, target: Path) -> None:
    archive = f"./usr/src/{packages.source}.tar.xz"
    script = 'dpkg --fsys-tarfile "$1" | tar xO "$2" | tar xJ -C "$3" --strip-components=1 "$4/samples/vfio-mdev"'
    deb = next(debs.glob(f"{packages.source}_*.deb"))
    command(["bash", "-o", "pipefail", "-c", script, "bash", deb, archive, target, packages.source])
    (target / "samples/vfio-mdev/Kbuild").write_text(f"obj-m := {' '.join(f'{name}.o' for name in SAMPLES)}\n")


def _make(packages: Packages, target: Path) -> None:
    need(TO_BUILD, LIBRARIES_TO_BUILD)
    with cache.making(target) as scratch:
        debs, root = scratch / "debs", scratch / "root"
        _download(packages, debs)
        with step(f"unpacking the kernel {packages.key}", usually="20 s"):
            for deb in debs.glob("linux-*.deb"):
                if not deb.name.startswith(f"{packages.source}_"):
                    command(["dpkg", "-x", deb, root])
            _keep_kernel(root, packages, scratch)
            _keep_headers(root, packages, scratch)
            _keep_samples(debs, packages, scratch)
        with step("building the kernel's sample drivers mtty, mbochs and mdpy", usually="5 s"):
            need({kernel_compiler(scratch): kernel_compiler(scratch)})
            samples = scratch / "samples/vfio-mdev"
            build_module(scratch, samples)
            for name in SAMPLES:
                shutil.copy(samples / f"{name}.ko", scratch / "modules")
        for leftover in (debs, root, scratch / "samples"):
            shutil.rmtree(leftover)


def kernel_compiler(kernel: Path) -> str:
    """The compiler that Debian built this kernel with, such as gcc-12; program and package have one name."""
    variables = next((kernel / "usr/src").glob("linux-headers-*/.kernelvariables")).read_text()
    found = re.search(r"\bgcc-\d+\b", variables)
    if found is None:
        raise RuntimeError("the kernel's headers do not say which compiler they want")
    return found[0]


def build_module(kernel: Path, sources: Path) -> None:
    """Build out-of-tree modules in ``sources``, which has a Kbuild. Raises RuntimeError with the compiler's words."""
    headers = next(path.parent for path in (kernel / "usr/src").glob("linux-headers-*/.kernelvariables"))
    command(["make", "-s", "-j2", "-C", headers, f"M={sources}", "modules"])


def _still_current() -> Path | None:
    """The kernel that apt named last time, if its lists have not changed since: asking apt takes a second or two."""
    name = cache.root() / "current"
    if not name.exists() or not APT_LISTS.exists() or name.stat().st_mtime <= APT_LISTS.stat().st_mtime:
        return None
    kernel = cache.root() / name.read_text()
    return kernel if (kernel / "vmlinux").exists() else None


def kernel_directory() -> Path:
    """The unpacked kernel in the cache, made now if it is not there. Call with the lock held.

    Raises RuntimeError when there is neither a cached kernel nor a way to get one.
    """
    current = _still_current()
    if current is not None:
        return current
    cached = sorted(path.parent for path in cache.root().glob("*_*/vmlinux"))
    try:
        packages = resolve()
        target = cache.root() / packages.key
        if target not in cached:
            _make(packages, target)
        (cache.root() / "current").write_text(packages.key)
    except RuntimeError as error:
        if not cached:
            raise
        newest = max(cached, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])
        say(f"using the cached kernel {newest.name}, since a current one cannot be had: {error}")
        return newest
    return target
