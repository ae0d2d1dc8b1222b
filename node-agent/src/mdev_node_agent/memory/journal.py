"""What was begun, on disk before it is begun.

Append-only lines of JSON, each with the boot id and the reservation's id, synced before the first write to sysfs that
they announce. After a crash :attr:`Journal.records` says for each reservation what may have been done. The last line of
a crash may be torn: it announced something that had not begun yet, so it is dropped, and that is told. When the journal
is opened, lines of other boots and of reservations that have ended are left behind (mdevs do not survive a boot).

If the disk refuses, :class:`JournalError` is raised and whatever was to be done must not be done.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mdev_node_agent.memory.durable import write_whole
from mdev_node_agent.memory.record import Record, fold, lines_of

FILE = "journal.jsonl"


class JournalError(Exception):
    """The journal cannot be written; the message names file and errno and says what to do."""


class NotNotedError(JournalError):
    """The same, after the driver had done what the journal was to note."""


class Journal:
    """The journal of one boot. Its methods may be called from any thread."""

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        self._path = state_dir / FILE
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._records: dict[str, Record] = {}
        self._loaded = False
        self.told: list[str] = []
        """Sentences about lines that could not be understood when the file was read."""

    @property
    def records(self) -> Mapping[str, Record]:
        """What was begun and has not ended, by the reservation's id."""
        return MappingProxyType(self._records)

    def open(self) -> None:
        """Read and compact the file, and be ready to append. JournalError if it cannot be read or written."""
        with self._lock:
            self._open()

    def append(self, reservation: str, line: Mapping[str, Any], *, sync: bool = True) -> None:
        """Write one line and, unless ``sync`` is False, wait until the disk has it. JournalError if it has not."""
        with self._lock:
            if self._fd is None:
                self._open()
            record = fold(self._records.get(reservation), line)
            self._write(reservation, line, sync=sync)
            self._keep(reservation, record)

    def close(self) -> None:
        """Give the file back; closing twice is harmless."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _open(self) -> None:
        try:
            if not self._loaded:
                self._read()
                self._loaded = True
            lines = [self._line(key, line) for key, record in self._records.items() for line in lines_of(record)]
            write_whole(self._path, b"".join(lines))
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise self._error(error) from error

    def _read(self) -> None:
        self.told.clear()
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        *whole, torn = content.split(b"\n")
        if torn:
            self.told.append(f"journal {self._path}: the last line is torn and was dropped: nothing of it had begun")
        for number, text in enumerate(whole, start=1):
            try:
                line = json.loads(text)
                if line.pop("boot") == self._boot_id:
                    reservation = line.pop("reservation")
                    self._keep(reservation, fold(self._records.get(reservation), line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self.told.append(f"journal {self._path}: line {number} cannot be understood and was dropped: {error}")

    def _write(self, reservation: str, line: Mapping[str, Any], *, sync: bool) -> None:
        assert self._fd is not None
        data = self._line(reservation, line)
        try:
            taken = os.write(self._fd, data)
            if taken != len(data):
                raise OSError(errno.ENOSPC, f"the disk took only {taken} of {len(data)} bytes")
            if sync:
                os.fsync(self._fd)
        except OSError as error:
            # What is on disk is unknown now: the next append first writes the whole file anew, from memory.
            os.close(self._fd)
            self._fd = None
            raise self._error(error) from error

    def _line(self, reservation: str, line: Mapping[str, Any]) -> bytes:
        whole = {"boot": self._boot_id, "reservation": reservation, **line}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def _keep(self, reservation: str, record: Record | None) -> None:
        if record is None:
            self._records.pop(reservation, None)
        else:
            self._records[reservation] = record

    def _error(self, error: OSError) -> JournalError:
        return JournalError(f"journal {self._path} cannot be written ({error}): free the disk or correct --state-dir")
