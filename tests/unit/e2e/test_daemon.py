"""The machine's firewall is as it was when our own Docker daemon has ended."""

from __future__ import annotations

from tests.e2e.daemon import _as_before

MINE = "*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n"
DOCKERS = "*nat\n:DOCKER - [0:0]\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\nCOMMIT\n"


def test_rules_that_were_there_come_back_as_they_were() -> None:
    assert _as_before(MINE, DOCKERS).startswith(MINE)
    assert _as_before(MINE, DOCKERS).count("*filter") == 1


def test_a_table_that_the_daemon_has_brought_is_emptied() -> None:
    assert _as_before(MINE, DOCKERS).removeprefix(MINE) == (
        "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n"
    )
