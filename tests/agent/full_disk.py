"""A disk without room for one directory: whatever is written to a file in it gets ENOSPC, all other files are as ever.

A layer below the code under test and above the kernel: a real small file system would need root. Only what grows a file
is refused, as on a full disk: opening, truncating, renaming and syncing go through.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest


class FullDisk:
    """Full within the block. ``room``: bytes that still go in, so the write that meets the end is taken in part.

    ``files``: how the names of the files begin for which there is no room.
    """

    def __init__(self, directory: Path, *, room: int = 0, files: str = "") -> None:
        self._directory = directory.resolve()
        self._files = files
        self._room = room
        self._patch = pytest.MonkeyPatch()
        self._write = os.write

    def __enter__(self) -> Self:
        self._patch.setattr(os, "write", self._limited)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.undo()

    def _limited(self, fd: int, data: bytes) -> int:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.parent != self._directory or not path.name.startswith(self._files):
            return self._write(fd, data)
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._write(fd, data[: self._room])
        self._room -= taken
        return taken
