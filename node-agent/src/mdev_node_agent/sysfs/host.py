"""The real kernel behind the port: sysfs through directory descriptors.

A directory is held as a descriptor and everything below it is opened relative to that descriptor (openat), never by a
path that is put together anew. So once the device behind it is gone every operation fails with ENOENT or ENODEV, and a
successor of the same name is never reached. A name is one path component, checked before each use: no string that
comes from elsewhere can climb out of its directory. Attributes are opened with O_NOFOLLOW, because sysfs has symlinks
only where there are directories.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mdev_node_agent.sysfs import uevents
from mdev_node_agent.sysfs.port import LARGEST_ATTRIBUTE, Directory, EventsLost, Uevent

SYSFS = Path("/sys")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PAGE = 4096
_CHUNK = 65536


def component(name: str) -> str:
    """``name`` itself if it is one path component; ValueError for anything that could lead elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is not the name of an entry of a directory")
    return name


class HostDirectory:
    """A sysfs directory, pinned by its descriptor."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    @property
    def name(self) -> str:
        """Kernel name of the directory, symlinks resolved."""
        return self._name

    def _open_fd(self) -> int:
        """The descriptor. Closed it is EBADF here: some calls would take -1 for the current directory."""
        if self._fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._fd

    def open(self, name: str) -> Directory:
        """Open a subdirectory; a symlink is followed. ENOENT, ENOTDIR, EACCES as the kernel says."""
        try:
            fd = os.open(component(name), _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._open_fd())
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP) or not self._is_link(name):
                raise
            target = self._target(name)
            return HostDirectory(os.open(name, _DIRECTORY, dir_fd=self._open_fd()), target)
        return HostDirectory(fd, name)

    def _is_link(self, name: str) -> bool:
        return stat.S_ISLNK(os.stat(name, dir_fd=self._open_fd(), follow_symlinks=False).st_mode)

    def _target(self, name: str) -> str:
        """Last component of what the symlink ``name`` points to: sysfs links lead straight to the real directory."""
        return os.readlink(name, dir_fd=self._open_fd()).rstrip("/").rpartition("/")[2]

    def list(self) -> list[str]:
        """Names of all entries, sorted."""
        with os.scandir(self._open_fd()) as found:
            return sorted(entry.name for entry in found)

    def read(self, name: str) -> bytes:
        """The whole attribute; EFBIG beyond LARGEST_ATTRIBUTE. One that fits into a page is asked for once."""
        fd = os.open(component(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._open_fd())
        try:
            content = b""
            while len(content) <= LARGEST_ATTRIBUTE:
                chunk = os.pread(fd, _CHUNK, len(content))
                content += chunk
                if len(chunk) < _PAGE and len(content) <= LARGEST_ATTRIBUTE:
                    return content
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), name)
        finally:
            os.close(fd)

    def write(self, name: str, data: bytes) -> None:
        """One write call. EIO if the driver took only a part: a second call would be a second order to it."""
        fd = os.open(component(name), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._open_fd())
        try:
            taken = os.write(fd, data)
        finally:
            os.close(fd)
        if taken != len(data):
            raise OSError(errno.EIO, f"the driver took only {taken} of {len(data)} bytes", name)

    def link(self, name: str) -> str:
        """Last component of the symlink's target; ENOENT if absent, EINVAL if it is no symlink."""
        return self._target(component(name))

    def close(self) -> None:
        """Give the descriptor back; closing twice is harmless."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class HostPort:
    """The kernel this program runs on. ``root``: where its sysfs is mounted, e.g. ``/host/sys`` in a container."""

    root: Path = SYSFS
    proc: Path = Path("/proc")

    def open(self, path: str) -> Directory:
        """Open a directory below the root; an empty path is the root itself."""
        names = [component(name) for name in path.split("/")] if path else []
        directory: Directory = HostDirectory(os.open(self.root, _DIRECTORY), self.root.name)
        for name in names:
            with directory:
                directory = directory.open(name)
        return directory

    def boot_id(self) -> str:
        """Identity of this boot; OSError if /proc does not tell it."""
        return (self.proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def events(self) -> AsyncIterator[Uevent | EventsLost]:
        """Subscribe to kernel uevents now. OSError if the kernel refuses the socket."""
        return uevents.received(uevents.subscribe())
