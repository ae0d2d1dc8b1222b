"""The port's directories over the in-memory tree, with the answers of the real sysfs to root."""

from __future__ import annotations

import errno
from threading import Condition
from types import TracebackType
from typing import Self

from mdev_node_agent.sysfs.host import component
from mdev_node_agent.sysfs.port import Directory
from tests.memkernel.kstrto import fault
from tests.memkernel.tree import Dir, File, Link


class MemoryDirectory:
    """An opened directory: pinned to the object, so never a successor of the same name."""

    def __init__(self, lock: Condition, directory: Dir) -> None:
        self._lock = lock
        self._directory = directory
        self._closed = False

    @property
    def name(self) -> str:
        """Kernel name, symlinks resolved."""
        return self._directory.name

    def open(self, name: str) -> Directory:
        """Open a subdirectory or follow a symlink."""
        with self._lock:
            entry = self._entry(name)
            if isinstance(entry, Link):
                entry = entry.target
            if isinstance(entry, File):
                raise fault(errno.ENOTDIR)
            if entry.gone:
                raise fault(errno.ENOENT)
            return MemoryDirectory(self._lock, entry)

    def list(self) -> list[str]:
        """Names of all entries, sorted; none if the directory is gone (measured: sysfs lists it as empty)."""
        with self._lock:
            self._check_open()
            return sorted(self._directory.entries)

    def read(self, name: str) -> bytes:
        """What the driver shows."""
        with self._lock:
            file = self._file(name)
            if file.show is None:
                raise fault(errno.EACCES)
            return file.show()

    def write(self, name: str, data: bytes) -> None:
        """Hand ``data`` to the driver; a write of zero bytes never reaches it. May block without end."""
        with self._lock:
            file = self._file(name)
            if file.store is None:
                raise fault(errno.EACCES)
            if not data:
                return
            file.active += 1
            try:
                file.store(data)
            finally:
                file.active -= 1
                self._lock.notify_all()

    def link(self, name: str) -> str:
        """Name of what the symlink points to."""
        with self._lock:
            entry = self._entry(name)
            if not isinstance(entry, Link):
                raise fault(errno.EINVAL)
            return entry.target.name

    def close(self) -> None:
        """Give it back; twice is harmless."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise fault(errno.EBADF)

    def _alive(self) -> Dir:
        self._check_open()
        if self._directory.gone:
            raise fault(errno.ENOENT)
        return self._directory

    def _entry(self, name: str) -> Dir | Link | File:
        entry = self._alive().entries.get(component(name))
        if entry is None:
            raise fault(errno.ENOENT)
        return entry

    def _file(self, name: str) -> File:
        entry = self._entry(name)
        if isinstance(entry, Link):
            raise fault(errno.ELOOP)
        if isinstance(entry, Dir):
            raise fault(errno.EISDIR)
        return entry
