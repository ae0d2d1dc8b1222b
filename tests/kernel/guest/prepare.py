"""Everything that a guest boots from, built once and kept in the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.guest import cache
from tests.kernel.guest.debian import BASE_MODULES, SAMPLES, VFIO_PCI, build_module, kernel_compiler, kernel_directory
from tests.kernel.guest.host import LIBRARIES_TO_BUILD, TO_BOOT, TO_BUILD, busybox, command, need
from tests.kernel.guest.progress import step

INSIDE = Path(__file__).parent / "inside"
DRIVER = Path(__file__).parent.parent / "driver"
VGPU = Path(__file__).parent.parent / "vgpu_driver"
CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """What a guest boots from: host paths, which are the same in the guest."""

    kernel: Path
    initrd: Path
    inside: Path
    modules: Mapping[str, Path]
    """Loadable with ``Guest.modprobe``: mtty, mbochs, mdpy, vfio-pci-core, vfio-pci, gfx, and vgpu after the core."""


def driver_sources(directory: Path = DRIVER) -> list[Path]:
    """The files that a driver is made of; what a build in place leaves behind is not one of them."""
    wanted = [path for pattern in ("*.c", "*.h", "Kbuild") for path in directory.glob(pattern)]
    return [path for path in wanted if not path.name.endswith(".mod.c")]


def _driver(kernel: Path, name: str, directory: Path) -> Path:
    sources = driver_sources(directory)
    target = kernel / f"{name}-{cache.content_hash(sources)}"
    if not target.exists():
        need({**TO_BUILD, kernel_compiler(kernel): kernel_compiler(kernel)}, LIBRARIES_TO_BUILD)
        with step(f"building the sample driver {name}", usually="5 s"), cache.making(target) as scratch:
            build = scratch / "build"
            build.mkdir()
            for path in sources:
                shutil.copy(path, build)
            build_module(kernel, build)
            shutil.move(build / f"{name}.ko", scratch / f"{name}.ko")
            shutil.rmtree(build)
    return target / f"{name}.ko"


def _inside() -> Path:
    """The static program of ``inside/``, PID 1 of a guest."""
    sources = [*INSIDE.glob("*.c"), *INSIDE.glob("*.h")]
    target = cache.root() / f"inside-{cache.content_hash(sources)}"
    if not target.exists():
        need(TO_BUILD, LIBRARIES_TO_BUILD)
        with step("building the guests' own program", usually="2 s"), cache.making(target) as scratch:
            units = sorted(INSIDE.glob("*.c"))
            command(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-static", "-o", scratch / "inside", *units])
    return target / "inside"


def _initrd(kernel: Path) -> Path:
    """The initial memory file system: busybox, ``inside/boot.sh`` as /init, and the modules that all guests have."""
    script = INSIDE / "boot.sh"
    target = kernel / f"initrd-{cache.content_hash([script, busybox()], *BASE_MODULES)}"
    if not target.exists():
        need(TO_BUILD)
        with step("packing the guests' initial file system", usually="1 s"), cache.making(target) as scratch:
            tree = scratch / "tree"
            for name in ("bin", "proc", "sys", "dev", "lower", "upper", "node", "share", "modules"):
                (tree / name).mkdir(parents=True)
            shutil.copy(busybox(), tree / "bin/busybox")
            shutil.copy(script, tree / "init")
            (tree / "init").chmod(0o755)
            for name in BASE_MODULES:
                shutil.copy(kernel / "modules" / f"{name}.ko", tree / "modules")
            (tree / "modules/order").write_text("\n".join(BASE_MODULES))
            names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
            command(["cpio", "--quiet", "-o", "-H", "newc", "-F", scratch / "initrd"], cwd=tree, stdin=names)
            shutil.rmtree(tree)
    return target / "initrd"


def compile_python() -> None:
    """Byte code for everything that an agent imports: a guest that must compile needs minutes instead of seconds.

    Packages hold files that are not meant to compile (templates, other versions' syntax); those are passed over.
    """
    directories = [sysconfig.get_path("purelib"), *map(str, sorted(CHECKOUT.glob("*/src")))]
    with step("compiling Python for guests", usually="2 s, at first 40"):
        subprocess.run([sys.executable, "-m", "compileall", "-qq", "-j0", *directories], check=False)


def prepare() -> Images:
    """Make sure that everything is there and current; a second call takes under a second.

    Raises HostLacksError or RuntimeError saying what is missing or failed and what to do.
    """
    need(TO_BOOT)
    with cache.locked():
        kernel = kernel_directory()
        shipped = {name: kernel / "modules" / f"{name}.ko" for name in (*SAMPLES, *VFIO_PCI)}
        built = {name: _driver(kernel, name, directory) for name, directory in (("gfx", DRIVER), ("vgpu", VGPU))}
        return Images(
            kernel=kernel / "vmlinux",
            initrd=_initrd(kernel),
            inside=_inside(),
            modules={**shipped, **built},
        )
