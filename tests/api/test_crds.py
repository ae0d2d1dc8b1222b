"""The checked-in CRDs on the real API server: they are accepted, and every rule of them does what it says."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import create, delete, get, json_patch, replace
from mdev_api.kube.resources import (
    COMPATIBILITY_CLASSES,
    DEVICE_MIGRATIONS,
    DEVICE_MODELS,
    DEVICE_PROFILES,
    NODE_DEVICES,
    NODE_RESERVATIONS,
    Resource,
)
from tests.api.crd_cases import CASES, Case, Object, Try, entry, migration, profile, random_profile_name, reservations
from tests.controlplane.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"
RESOURCES = {
    f"{resource.plural}.yaml": resource
    for resource in (
        COMPATIBILITY_CLASSES,
        DEVICE_MIGRATIONS,
        DEVICE_MODELS,
        DEVICE_PROFILES,
        NODE_DEVICES,
        NODE_RESERVATIONS,
    )
}
IDS = [f"{case.file.removesuffix('.yaml')}: {case.rule}" for case in CASES]

Rule = tuple[str, str, str]
Attempt = Callable[[Resource, Try], Awaitable[Object]]


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load(control_plane.kubeconfig)) as client:
        yield client


def rules_in(schema: dict[str, Any], file: str, path: str = "") -> Iterator[Rule]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield file, path, rule["message"]
    for name, member in schema.get("properties", {}).items():
        yield from rules_in(member, file, f"{path}.{name}")
    for keyword, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in schema:
            yield from rules_in(schema[keyword], file, f"{path}{suffix}")


def all_rules() -> list[Rule]:
    rules: list[Rule] = []
    for path in sorted(CRDS.glob("*.yaml")):
        [version] = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["versions"]
        rules += rules_in(version["schema"]["openAPIV3Schema"], path.name)
    return rules


@pytest.fixture
async def attempt(client: Client) -> AsyncIterator[Attempt]:
    """Carries a try out. What it made is gone after the test: other tests share this API server."""
    made: list[tuple[Resource, str, str | None]] = []

    async def write(resource: Resource, tried: Try) -> Object:
        namespace = "default" if resource.namespaced else None
        name = random_profile_name() if resource == DEVICE_PROFILES else f"case-{uuid.uuid4().hex}"
        first = {"metadata": {"name": name}} | (tried.after if tried.before is None else tried.before)
        stored = await client.send(create(resource, first, namespace))
        made.append((resource, stored["metadata"]["name"], namespace))
        if tried.before is None:
            return stored
        if "status" in tried.before:
            body = stored | {"status": tried.before["status"]}
            stored = await client.send(replace(resource, name, body, namespace, subresource="status"))
        subresource = "status" if tried.status else None
        return await client.send(replace(resource, name, stored | tried.after, namespace, subresource=subresource))

    yield write
    for resource, name, namespace in made:
        await client.send(delete(resource, name, namespace))


def test_every_rule_has_one_case() -> None:
    wanted, tried = Counter(all_rules()), Counter((case.file, case.path, case.rule) for case in CASES)

    assert wanted == tried
    assert max(wanted.values()) == 1, "two rules of one place share a message, so a refusal does not say which it was"


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_rule_lets_pass_what_it_should(attempt: Attempt, case: Case) -> None:
    await attempt(RESOURCES[case.file], case.accepted)


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_rule_alone_refuses_what_it_should_and_says_so(attempt: Attempt, case: Case) -> None:
    with pytest.raises(ApiError) as refusal:
        await attempt(RESOURCES[case.file], case.refused)

    assert refusal.value.status == 422
    fields = re.escape(case.path.removeprefix(".")).replace(r"\[\]", r"\[\d+\]") or "<nil>"
    expected = rf'[^"]+ "[^"]+" is invalid: {fields}: Invalid value: (?:"object": )?{re.escape(case.rule)}'
    assert re.fullmatch(expected, refusal.value.message)


@pytest.mark.parametrize("intent", ["HandOver", "Undo", "UndoIfUnused", "RemoveIfUnused"])
async def test_hold_may_become_any_other_intent(attempt: Attempt, intent: str) -> None:
    role = {"role": "Source", "device": {"instance": "i", "profile": "p-" + "a" * 26}}

    await attempt(
        NODE_RESERVATIONS,
        Try(before=reservations(entry(**role)), after=reservations(entry(intent=intent, **role))),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("UndoIfUnused", "Hold"),
        ("UndoIfUnused", "RemoveIfUnused"),
        ("Undo", "Hold"),
        ("Undo", "HandOver"),
        ("HandOver", "Hold"),
        ("HandOver", "UndoIfUnused"),
        ("RemoveIfUnused", "HandOver"),
    ],
)
async def test_a_final_intent_does_not_change(attempt: Attempt, before: str, after: str) -> None:
    role = {"role": "Source", "device": {"instance": "i", "profile": "p-" + "a" * 26}}
    tried = Try(before=reservations(entry(intent=before, **role)), after=reservations(entry(intent=after, **role)))

    with pytest.raises(ApiError, match="nothing else changes"):
        await attempt(NODE_RESERVATIONS, tried)


@pytest.mark.parametrize("state", ["HandedOver", "Undone", "Removed", "Lost"])
async def test_an_answered_reservation_may_go(attempt: Attempt, state: str) -> None:
    await attempt(NODE_RESERVATIONS, Try(before=reservations(entry(), state=state), after=reservations()))


@pytest.mark.parametrize("state", [None, "Pending", "Prepared", "Failed", "Tainted"])
async def test_a_reservation_that_is_not_over_stays(attempt: Attempt, state: str | None) -> None:
    before = reservations(entry(), state=state)

    with pytest.raises(ApiError, match="a reservation may go only when"):
        await attempt(NODE_RESERVATIONS, Try(before=before, after=reservations()))


async def test_a_reservation_that_is_not_over_stays_when_the_whole_list_is_left_out(attempt: Attempt) -> None:
    with pytest.raises(ApiError, match="a reservation may go only when"):
        await attempt(NODE_RESERVATIONS, Try(before=reservations(entry()), after={"spec": {"fence": 1}}))


async def test_an_entry_can_be_added_to_a_fresh_object_by_json_patch(client: Client, attempt: Attempt) -> None:
    fresh = await attempt(NODE_RESERVATIONS, Try(after={}))
    assert fresh["spec"] == {"fence": 0, "reservations": []}

    name, added = fresh["metadata"]["name"], [{"op": "add", "path": "/spec/reservations/-", "value": entry()}]

    assert len((await client.send(json_patch(NODE_RESERVATIONS, name, added)))["spec"]["reservations"]) == 1


async def test_the_largest_node_reservations_are_accepted(attempt: Attempt) -> None:
    """The rules fit the budget at run time too: 16 entries with 64 values each, changed in one write."""
    values = [{"name": f"p{i}", "type": "str", "value": "x" * 60, "attribute": f"migration/p{i}"} for i in range(64)]
    held = [entry(id=f"e-{i}", values=values) for i in range(16)]
    let_go = [item | {"intent": "HandOver"} for item in held]

    await attempt(NODE_RESERVATIONS, Try(before=reservations(*held), after=reservations(*let_go)))


async def test_a_migration_gets_the_documented_defaults(attempt: Attempt) -> None:
    stored = await attempt(DEVICE_MIGRATIONS, Try(after=migration()))

    defaults = {name: value for name, value in stored["spec"].items() if name not in ("source", "mode")}
    assert defaults == {
        "binding": "Early",
        "sourcePolicy": "Keep",
        "sourceAdjustment": "Never",
        "deadlineSeconds": 600,
        "preparedTTLSeconds": 600,
    }


async def test_a_profile_is_stored_as_it_was_sent(attempt: Attempt) -> None:
    """Its name is a hash of its content, so the API server must add nothing."""
    sent = profile(
        type={"id": "t"},
        attributes=[{"name": "a", "value": ""}],
        published={"model": "m", "parameters": [{"name": "p", "type": "int", "initValue": "1"}]},
    )

    stored = await attempt(DEVICE_PROFILES, Try(after=sent))

    assert stored["spec"] == sent["spec"]


async def test_a_status_change_leaves_the_spec_alone(client: Client, attempt: Attempt) -> None:
    stored = await attempt(NODE_RESERVATIONS, Try(after=reservations(entry())))
    name = stored["metadata"]["name"]

    changed = stored | {"status": {"bootID": "b"}, "spec": {"fence": 9, "reservations": []}}
    await client.send(replace(NODE_RESERVATIONS, name, changed, subresource="status"))

    after = await client.send(get(NODE_RESERVATIONS, name))
    assert (after["spec"], after["status"]) == (stored["spec"], {"bootID": "b"})


def test_plain_kubectl_apply_accepts_the_crds(control_plane: ControlPlane) -> None:
    done = control_plane.kubectl("apply", "-f", str(CRDS))

    assert len(done.stdout.splitlines()) == len(RESOURCES)


def test_plain_kubectl_apply_accepts_the_shipped_models(control_plane: ControlPlane) -> None:
    control_plane.kubectl("apply", "--dry-run=server", "-f", str(ROOT / "deploy" / "models"))


MALFORMED = {
    "spec.source: Required value": "{mode: Plan}",
    'spec.mode: Unsupported value: "prepare"': "{mode: prepare, source: {vm: {name: a}}}",
    "spec.deadlineSeconds: Invalid value: 0": "{mode: Plan, source: {vm: {name: a}}, deadlineSeconds: 0}",
    'spec.source.node.devices[1]: Duplicate value: "x"': "{mode: Plan, source: {node: {name: a, devices: [x, x]}}}",
    'unknown field "spec.nodename"': "{mode: Plan, source: {vm: {name: a}}, nodename: b}",
    "spec.source.explicit[0].name: Invalid value": "{mode: Plan, source: {explicit: [{name: GPU, model: m}]}}",
    "spec.source.explicit[0].values[0].type: Unsupported value": (
        "{mode: Plan, source: {explicit: [{name: g, model: m, values: [{name: p, type: float, value: '1'}]}]}}"
    ),
    "spec.nodeName: Too long": f"{{mode: Plan, source: {{vm: {{name: a}}}}, nodeName: {'n' * 254}}}",
}


@pytest.mark.parametrize(("said", "spec"), MALFORMED.items(), ids=MALFORMED)
def test_a_malformed_migration_is_refused_with_its_field(control_plane: ControlPlane, said: str, spec: str) -> None:
    # Block style: not every kubectl takes YAML that begins with a brace for YAML.
    text = f"apiVersion: mdev-operator.io/v1alpha1\nkind: DeviceMigration\nmetadata: {{name: bad}}\nspec: {spec}\n"

    done = control_plane.kubectl("apply", "-f", "-", input=text, check=False)

    assert done.returncode != 0
    assert said in done.stderr


def test_kubectl_explain_tells_what_a_field_is_for(control_plane: ControlPlane) -> None:
    said = control_plane.kubectl("explain", "devicemigrations.spec.sourcePolicy").stdout

    assert "Remove removes only" in " ".join(said.split())


def test_kubectl_get_mdev_lists_every_kind(control_plane: ControlPlane) -> None:
    names = control_plane.kubectl("api-resources", "--categories=mdev", "--output=name").stdout.split()

    assert sorted(names) == sorted(str(resource) for resource in RESOURCES.values())
