"""Which younger migration of a VM has taken the place of another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from mdev_api.kube.client import Client
from mdev_operator.kubevirt.watching import Watching
from tests.unit.operator.world import NOW, stamp


def migration(name: str, phase: str, *, age: float, vmi: str = "vm", namespace: str = "n") -> dict[str, Any]:
    created = stamp(NOW - timedelta(seconds=age))
    meta = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "creationTimestamp": created}
    return {"metadata": meta, "spec": {"vmiName": vmi}, "status": {"phase": phase}}


def watching(*migrations: dict[str, Any]) -> Watching:
    made = Watching(cast(Client, None), lambda key: None)
    for obj in migrations:
        made._vmim(f"{obj['metadata']['namespace']}/{obj['metadata']['name']}", obj, None)
    return made


def newer(*others: dict[str, Any], there: bool) -> str | None:
    mine = [migration("mine", "Scheduling", age=60)] if there else []
    return watching(*mine, *others).newer("n", "vm", "uid-mine", NOW - timedelta(seconds=60))


@pytest.mark.parametrize("there", [True, False])
def test_a_younger_one_that_was_taken_up_has(there: bool) -> None:
    assert newer(migration("next", "Scheduling", age=30), there=there) == "next"
    both = migration("next", "Scheduling", age=30), migration("last", "Running", age=10)
    assert newer(*both, there=there) == "last"


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        migration("old", "Scheduling", age=90),
        migration("waits", "Pending", age=30),
        migration("new", "", age=30),
        migration("of another vm", "Scheduling", age=30, vmi="other"),
        migration("elsewhere", "Scheduling", age=30, namespace="other"),
    ],
    ids=lambda other: other["metadata"]["name"],
)
def test_others_have_not(other: dict[str, Any], there: bool) -> None:
    assert newer(other, there=there) is None


def test_one_of_the_same_second_is_younger_than_what_was_made_for_one_that_is_gone() -> None:
    same = migration("next", "Scheduling", age=60)
    assert newer(same, there=True) is None and newer(same, there=False) == "next"


def test_one_that_has_ended_takes_only_the_place_of_one_that_is_gone() -> None:
    ended = migration("next", "Failed", age=30)
    assert newer(ended, there=True) is None and newer(ended, there=False) == "next"
