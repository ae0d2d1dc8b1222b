"""Which requests the reading of profiles leads to."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from mdev_api.hashing import profile_name
from mdev_api.kinds.device_model import DeviceModel
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request
from mdev_operator.context import Context
from mdev_operator.profiles.profiles import reconcile_model, reconcile_profile
from mdev_operator.profiles.suspects import Evidence

SPEC = {"backend": "mdev", "driver": {"name": "gfx"}, "type": {"id": "gfx-8GB"}}
NAME = profile_name(SPEC)


class World:
    """An inventory, and an API server that takes every write and shows it to the inventory."""

    def __init__(self) -> None:
        self.profiles: dict[str, Any] = {}
        self.models: dict[str, DeviceModel] = {}
        self.sent: list[Request] = []
        self.queued: list[str] = []
        self.stored: dict[str, Any] = {}
        self.refusal: ApiError | None = None
        self.later: dict[str, float] = {}
        self.evidence = Evidence()

    @property
    def ctx(self) -> Context:
        inventory = SimpleNamespace(profiles=self.profiles, models=self.models)
        queue = SimpleNamespace(add=self.queued.append, add_after=self.later.__setitem__)
        parts = SimpleNamespace(send=self.send, inventory=inventory, queue=queue, evidence=self.evidence)
        return cast(Context, parts)

    async def send(self, request: Request) -> dict[str, Any]:
        if request.method == "GET":
            return self.stored
        self.sent.append(request)
        if self.refusal is not None:
            raise self.refusal
        return {}

    def add_profile(self, name: str = NAME, **members: Any) -> None:
        metadata = {"name": name, "uid": str(uuid.uuid4()), "generation": 1}
        content = {"metadata": metadata, "spec": SPEC} | members
        self.stored = content
        self.profiles[name] = SimpleNamespace(profile=DeviceProfile.model_validate(content))

    def add_model(self, name: str = "gfx", expression: str = "true", **members: Any) -> None:
        spec = {"model": "com.gfx/GPU", "matches": [{"name": "all", "expression": expression}]}
        metadata = {"name": name, "uid": str(uuid.uuid4()), "generation": 1}
        self.models[name] = DeviceModel.model_validate({"metadata": metadata, "spec": spec} | members)

    def written(self) -> dict[str, Any]:
        [request] = self.sent
        assert request.body is not None
        status: dict[str, Any] = json.loads(request.body)["status"]
        return status


@pytest.fixture
def world() -> World:
    return World()


async def test_a_new_profile_gets_its_reading(world: World) -> None:
    world.add_profile()
    world.add_model()

    await reconcile_profile(world.ctx, NAME)

    status = world.written()
    assert world.sent[0].path.endswith(f"/deviceprofiles/{NAME}/status")
    assert (status["model"], status["from"]) == ("com.gfx/GPU", "DeviceModel/gfx")
    [condition] = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Resolved", "True", "Matched")
    assert condition["observedGeneration"] == 1


async def test_an_equal_reading_is_not_written_again(world: World) -> None:
    world.add_profile()
    world.add_model()
    await reconcile_profile(world.ctx, NAME)
    world.add_profile(status=world.written())

    await reconcile_profile(world.ctx, NAME)

    assert len(world.sent) == 1


async def test_another_reading_keeps_other_conditions_and_the_time_of_an_unchanged_status(world: World) -> None:
    since = "2020-01-01T00:00:00Z"
    kept = {"type": "Another", "status": "True", "reason": "Refused", "message": "m", "lastTransitionTime": since}
    resolved = {
        "type": "Resolved",
        "status": "True",
        "reason": "Published",
        "message": "m",
        "lastTransitionTime": since,
    }
    world.add_profile(status={"model": "old", "conditions": [kept, resolved]})
    world.add_model()

    await reconcile_profile(world.ctx, NAME)

    conditions = {c["type"]: c for c in world.written()["conditions"]}
    assert conditions["Another"] == kept
    assert (conditions["Resolved"]["reason"], conditions["Resolved"]["lastTransitionTime"]) == ("Matched", since)


async def test_a_changed_condition_gets_a_new_time(world: World) -> None:
    since = "2020-01-01T00:00:00Z"
    resolved = {"type": "Resolved", "status": "False", "reason": "NoModel", "message": "", "lastTransitionTime": since}
    world.add_profile(status={"conditions": [resolved]})
    world.add_model()

    await reconcile_profile(world.ctx, NAME)

    assert world.written()["conditions"][0]["lastTransitionTime"] > since


async def test_a_profile_follows_a_changed_model(world: World) -> None:
    world.add_profile()
    world.add_model(expression="false")
    await reconcile_profile(world.ctx, NAME)
    assert "model" not in world.written()

    world.sent.clear()
    world.add_model()
    await reconcile_profile(world.ctx, NAME)

    assert world.written()["model"] == "com.gfx/GPU"


async def test_a_profile_with_a_wrong_name_is_deleted_and_that_is_said(world: World) -> None:
    wrong = "p-" + "a" * 26
    world.add_profile(wrong)

    with capture_logs() as logs:
        await reconcile_profile(world.ctx, wrong)

    [request] = world.sent
    assert (request.method, request.path.rpartition("/")[2]) == ("DELETE", wrong)
    assert json.loads(request.body or b"")["preconditions"] == {"uid": world.stored["metadata"]["uid"]}
    assert [(entry["profile"], entry["hash"]) for entry in logs] == [(wrong, NAME)]


async def test_a_name_is_judged_by_what_is_stored_and_not_by_what_this_version_knows(world: World) -> None:
    newer = SPEC | {"newMember": "x"}
    world.add_profile(profile_name(newer), spec=newer)

    await reconcile_profile(world.ctx, profile_name(newer))

    assert [request.method for request in world.sent] == ["PATCH"]


async def test_a_profile_that_went_makes_every_model_count_again(world: World) -> None:
    world.add_model()

    await reconcile_profile(world.ctx, NAME)

    assert world.queued == ["model/gfx"]


@pytest.mark.parametrize("status", [404, 409])
async def test_a_profile_that_went_meanwhile_is_no_error(world: World, status: int) -> None:
    world.add_profile()
    world.refusal = ApiError(status, "", "")

    await reconcile_profile(world.ctx, NAME)


async def test_a_refused_status_is_an_error(world: World) -> None:
    world.add_profile()
    world.refusal = ApiError(422, "Invalid", "too long")

    with pytest.raises(ApiError):
        await reconcile_profile(world.ctx, NAME)


async def test_a_usable_model_is_valid_and_counts_its_profiles(world: World) -> None:
    world.add_profile()
    world.add_profile("p-" + "b" * 26, spec=SPEC | {"published": {"model": "com.gfx/GPU"}})
    world.add_model()

    await reconcile_model(world.ctx, "gfx")

    status = world.written()
    assert status["matchedProfiles"] == 1
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [("Valid", "True")]


async def test_a_model_that_cannot_be_used_says_why_on_the_object(world: World) -> None:
    world.add_model(expression="profile.typ.id == ''")

    await reconcile_model(world.ctx, "gfx")

    [condition] = world.written()["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "InvalidExpression")
    assert condition["message"].startswith("spec.matches[all].expression: 1:12: ")


async def test_an_equal_model_status_is_not_written_again(world: World) -> None:
    world.add_model()
    await reconcile_model(world.ctx, "gfx")
    world.add_model(status=world.written())

    await reconcile_model(world.ctx, "gfx")

    assert len(world.sent) == 1


async def test_a_model_that_went_is_no_error(world: World) -> None:
    await reconcile_model(world.ctx, "gone")

    assert world.sent == []


def suspected(minutes: float) -> dict[str, Any]:
    since = (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "Suspect", "status": "True", "reason": "WriteRefused", "message": "node a refused 2048"}
    return {"conditions": [{**condition, "lastTransitionTime": since}]}


async def test_a_suspicion_is_looked_at_again_when_its_hour_is_over(world: World) -> None:
    world.add_profile(status=suspected(minutes=40))
    await reconcile_profile(world.ctx, NAME)
    assert world.later[f"profile/{NAME}"] == pytest.approx(1200, abs=30)


async def test_a_suspicion_ends_after_an_hour(world: World) -> None:
    world.add_profile(status=suspected(minutes=61))
    await reconcile_profile(world.ctx, NAME)
    (suspect,) = [c for c in world.written()["conditions"] if c["type"] == "Suspect"]
    assert (suspect["status"], suspect["reason"]) == ("False", "HourOver")
