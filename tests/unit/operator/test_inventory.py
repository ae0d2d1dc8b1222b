from __future__ import annotations

from typing import Any, cast

from mdev_api.kube.client import Client
from mdev_api.kube.resources import NODE_DEVICES, Resource
from mdev_operator.inventory.inventory import Inventory


def stored(generation: int, *answers: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "a", "uid": "u", "generation": generation},
        "spec": {"fence": 1, "reservations": []},
        "status": {"reservations": [{"id": name, "state": "Undone"} for name in answers]},
    }


def inventory(told: list[tuple[Resource, str]]) -> Inventory:
    return Inventory(cast(Client, None), "agents", lambda resource, name: told.append((resource, name)), lambda _: None)


def test_a_slow_answer_to_our_own_write_does_not_undo_what_the_watch_brought_meanwhile() -> None:
    seen = inventory([])
    seen._node_reservations("a", stored(2, "one"), None)
    seen.wrote(stored(2), "a")
    known = seen.reservations("a")
    assert known is not None and known.answer("one") is not None


def test_our_own_write_counts_before_the_watch_brings_it() -> None:
    seen = inventory([])
    seen._node_reservations("a", stored(2), None)
    seen.wrote(stored(3), "a")
    seen._node_reservations("a", stored(2, "one"), None)
    known = seen.reservations("a")
    assert known is not None and known.metadata.generation == 3


def test_an_answer_that_an_agent_forgets_wakes_those_who_wait_for_that() -> None:
    told: list[tuple[Resource, str]] = []
    seen = inventory(told)
    seen._node_reservations("a", stored(2, "one"), None)
    told.clear()
    seen._node_reservations("a", stored(2), stored(2, "one"))
    assert (NODE_DEVICES, "a") in told
