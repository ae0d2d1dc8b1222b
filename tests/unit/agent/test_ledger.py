"""The ledger lists what we made, on disk before it is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mdev_node_agent.memory.ledger import FILE, Ledger, Made

MADE = Made(instance="uuid-1", reservation="move-1", boot_id="boot-1", backend="mdev")


def test_what_is_listed_is_known_after_a_restart(tmp_path: Path) -> None:
    Ledger(tmp_path, "boot-1").add(MADE)
    assert Ledger(tmp_path, "boot-1").instances == {"uuid-1": MADE}


def test_what_was_struck_is_not(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "boot-1")
    ledger.add(MADE)
    ledger.strike("uuid-1")
    assert Ledger(tmp_path, "boot-1").instances == {}


def test_a_boot_ends_what_was_listed(tmp_path: Path) -> None:
    Ledger(tmp_path, "boot-1").add(MADE)
    assert Ledger(tmp_path, "boot-2").instances == {}


def test_a_crash_while_writing_keeps_the_old_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, "boot-1")
    ledger.add(MADE)

    def crash(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError):
        ledger.add(Made(instance="uuid-2", reservation="move-2", boot_id="boot-1", backend="mdev"))
    assert set(ledger.instances) == {"uuid-1"}
    assert Ledger(tmp_path, "boot-1").instances == {"uuid-1": MADE}


def test_a_damaged_file_lists_nothing_and_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"instances": [{"inst')
    ledger = Ledger(tmp_path, "boot-1")
    assert ledger.instances == {}
    assert ledger.damage is not None and "cannot be read" in ledger.damage
