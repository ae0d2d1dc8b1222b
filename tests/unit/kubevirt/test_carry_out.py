"""Steps that somebody else was quicker than, and steps that the API server does not take."""

from __future__ import annotations

from typing import Any

import pytest

from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request
from mdev_operator.kubevirt.carry_out import Matter, carry_out
from mdev_operator.kubevirt.decide import Decision, DeletePod, Explain, Start, Step, Ungate
from mdev_operator.reservations import Raced
from tests.unit.kubevirt.sights import UID, sight

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "default", "uid": "u", "resourceVersion": "7"},
    "spec": {"schedulingGates": [{"name": "mdev-operator.io/device"}]},
}
MIGRATION: dict[str, Any] = {"metadata": {"name": f"vmim-{UID}", "namespace": "default", "resourceVersion": "3"}}


class Server:
    """Answers each write with ``error`` if there is one, and shows the pod at ``version``."""

    def __init__(self, error: ApiError | None = None, *, version: str = "7") -> None:
        self.error = error
        self.version = version
        self.writes: list[Request] = []

    async def send(self, request: Request) -> dict[str, Any]:
        if request.method == "GET":
            return {**POD, "metadata": {**POD["metadata"], "resourceVersion": self.version}}
        self.writes.append(request)
        if self.error is not None:
            raise self.error
        return {}


async def done(server: Server, *steps: Step) -> None:
    matter = Matter(namespace="default", name="move", uid=UID, migration=MIGRATION, pod=POD)
    await carry_out(server.send, matter, sight(), Decision(steps=steps))


INVALID = ApiError(422, "Invalid", "a test failed, or a field must not change")
CONFLICT = ApiError(409, "Conflict", "changed")
GONE = ApiError(404, "NotFound", "no such object")
FORBIDDEN = ApiError(403, "Forbidden", "no right to create events")
THERE = ApiError(409, "AlreadyExists", "there")


async def test_a_gate_of_a_pod_that_changed_meanwhile_is_decided_on_again() -> None:
    with pytest.raises(Raced):
        await done(Server(INVALID, version="8"), Ungate(node="node-b"))
    with pytest.raises(Raced):
        await done(Server(GONE), Ungate(node="node-b"))


async def test_a_change_that_the_api_server_does_not_take_is_no_race() -> None:
    with pytest.raises(ApiError):
        await done(Server(INVALID, version="7"), Ungate(node="node-b"))


@pytest.mark.parametrize("step", [Start(), DeletePod()], ids=["start", "delete"])
async def test_nothing_follows_a_step_that_somebody_was_quicker_than(step: Step) -> None:
    server = Server(CONFLICT)
    with pytest.raises(Raced):
        await done(server, step, Ungate(node="node-b"))
    assert len(server.writes) == 1


async def test_a_pod_that_is_gone_already_is_as_good_as_deleted() -> None:
    await done(Server(GONE), DeletePod())


@pytest.mark.parametrize("error", [THERE, FORBIDDEN], ids=["told before", "no right"])
async def test_a_pod_is_not_kept_because_an_event_was_not_written(error: ApiError) -> None:
    server = Server(error)
    await done(server, Explain(notes=("one", "two")))
    assert len(server.writes) == 4


async def test_an_event_that_could_not_be_written_now_is_written_before_the_pod_goes() -> None:
    server = Server(ApiError(500, "InternalError", "try again"))
    with pytest.raises(ApiError):
        await done(server, Explain(notes=("one",)), DeletePod())
    assert len(server.writes) == 1
