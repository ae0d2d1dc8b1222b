"""Where built things live: ``$MDEV_CACHE``, one lock, and names made of content.

A directory below the cache either is complete or does not exist: it is built under a temporary name and renamed.
What is built from sources of this repository carries the hash of those sources in its name, so a change makes a new
one and never alters one in use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel.guest.progress import say


def root() -> Path:
    """``$MDEV_CACHE/kernel``, by default below the user's cache directory."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdev-operator"
    return Path(os.environ.get("MDEV_CACHE") or default).absolute() / "kernel"


@contextmanager
def locked() -> Iterator[None]:
    """Hold the cache alone, across processes; the kernel lets go of the lock when the process ends, however it ends."""
    root().mkdir(parents=True, exist_ok=True)
    with (root() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is preparing guests; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def making(target: Path) -> Iterator[Path]:
    """A scratch directory that becomes ``target`` if the block succeeds, else vanishes. Call with the lock held."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def content_hash(files: Iterable[Path], *more: str) -> str:
    """16 hex digits that change with any file's name or bytes, and with any of ``more``."""
    digest = hashlib.sha256()
    for file in sorted(files):
        data = file.read_bytes()
        digest.update(f"{file.name} {len(data)}\n".encode())
        digest.update(data)
    for text in more:
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()[:16]
