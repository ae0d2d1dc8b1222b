"""What the host must have, and getting it where that is possible: Debian's packages, for root, where there is apt."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.kernel.guest.progress import step

TO_BOOT = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "setpriv": "util-linux"}
TO_BUILD = {
    "dpkg": "dpkg",
    "xz": "xz-utils",
    "cpio": "cpio",
    "make": "make",
    "bc": "bc",
    "gcc": "gcc",
}
LIBRARIES_TO_BUILD = {"libelf.so.1": "libelf1", "libc.a": "libc6-dev"}
LIBRARY_DIRECTORIES = [Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib")]


class HostLacksError(RuntimeError):
    """Something that guests need is not on this machine and could not be installed; the message says what."""


def command(arguments: Sequence[str | Path], *, cwd: Path | None = None, stdin: str | None = None) -> str:
    """Run a host program and return its output. Raises RuntimeError with the command and the end of what it said."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        input=stdin,
        text=True,
        capture_output=True,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-3000:]
        line = " ".join(str(argument) for argument in arguments)
        raise RuntimeError(f"`{line}` failed with exit status {done.returncode}: {said}")
    return done.stdout


def busybox() -> Path:
    """The host's busybox; ``need(TO_BOOT)`` has made sure that it is a static one."""
    found = shutil.which("busybox")
    if found is None:
        raise HostLacksError("busybox is not in PATH: install the package busybox-static")
    return Path(found)


def _is_static(program: Path) -> bool:
    """A dynamic program names its loader just after its ELF headers."""
    with program.open("rb") as file:
        return b"/ld-linux" not in file.read(4096)


def missing(programs: dict[str, str], libraries: dict[str, str] | None = None) -> list[str]:
    """The packages whose program or library is not there. A busybox that is not static counts as missing."""
    packages = [package for program, package in programs.items() if shutil.which(program) is None]
    if "busybox" in programs and shutil.which("busybox") and not _is_static(busybox()):
        packages.append("busybox-static")
    for library, package in (libraries or {}).items():
        if not any((directory / library).exists() for directory in LIBRARY_DIRECTORIES):
            packages.append(package)
    return packages


def need(programs: dict[str, str], libraries: dict[str, str] | None = None) -> None:
    """Make sure that all are there, installing what is missing. Raises HostLacksError naming the packages otherwise."""
    packages = missing(programs, libraries)
    if not packages:
        return
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise HostLacksError(
            f"guests need the Debian packages {names} (or what has the same programs) and there is no apt-get here; "
            "everything that runs without guests still works"
        )
    if os.geteuid() != 0:
        raise HostLacksError(
            f"guests need the Debian packages {names}: run `sudo apt-get install --no-install-recommends {names}`; "
            "everything that runs without guests still works"
        )
    with step(f"installing {names}", usually="15 s"):
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        try:
            command(install)
        except RuntimeError:
            command(["apt-get", "update", "-q"])
            command(install)
    still = missing(programs, libraries)
    if still:
        raise HostLacksError(f"apt-get installed {' '.join(still)} but what guests need from them is still not in PATH")
