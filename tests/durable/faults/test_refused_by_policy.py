"""An admission policy that refuses the programs' writes for a time: the reason is told, and then all is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from structlog.testing import capture_logs

from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import Request, apply_status, create
from mdev_api.kube.resources import NODE_RESERVATIONS
from tests.controlplane.control_plane import ControlPlane
from tests.durable.faults.troubled import PATIENCE, Troubled
from tests.faults.identities import Identity
from tests.faults.request import Match
from tests.waiting import eventually

WHY = "nobody reserves anything during the maintenance"


def policy(resource: str) -> list[dict[str, Any]]:
    """Refuses whatever the two programs write there."""
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "maintenance"}}
    rule = {
        "apiGroups": ["mdev-operator.io"],
        "apiVersions": ["*"],
        "resources": [resource],
        "operations": ["CREATE", "UPDATE"],
    }
    ours = "request.userInfo.username.startsWith('system:serviceaccount:mdev-')"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "ours", "expression": ours}],
        "validations": [{"expression": "false", "message": WHY, "reason": "Forbidden"}],
    }
    binding = {"policyName": "maintenance", "validationActions": ["Deny"]}
    return [
        {**kind, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**kind, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]


@asynccontextmanager
async def in_force(plane: ControlPlane, resource: str, of: Identity, attempt: Request) -> AsyncIterator[None]:
    """The policy for the block, which begins when it refuses that attempt (that is never carried out)."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": policy(resource)})
    await asyncio.to_thread(plane.kubectl, "apply", "--filename=-", input=text)
    try:
        kubeconfig = plane.kubeconfig_for("attempting", token=of.token)
        async with Client(load(kubeconfig)) as client:

            async def refused() -> bool:
                try:
                    await client.send(replace(attempt, query=(*attempt.query, ("dryRun", "All"))))
                except ApiError as error:
                    return WHY in error.message
                return False

            await eventually(refused, timeout=PATIENCE, what="the policy to be in force", interval=0.1)
        yield
    finally:
        await asyncio.to_thread(plane.kubectl, "delete", "--filename=-", input=text)


async def test_an_agent_whose_answers_are_refused_says_why_and_gives_them_later(troubled: Troubled) -> None:
    await troubled.add_node()
    node = troubled.cluster.full("a")
    await troubled.ask("first")
    await troubled.is_ready("first")
    attempt = apply_status(NODE_RESERVATIONS, node, {"bootID": "x"}, "mdev-node-agent")
    identity = troubled.identities["a"]
    with capture_logs() as logs:
        async with in_force(troubled.plane, "nodereservations/status", identity, attempt):
            await troubled.cluster.forget("first")
            await troubled.ask()
            answers = Match(resource="nodereservations/status")
            await troubled.refused(troubled.to_agents, 2, answers)
    assert any("answers are not written" in entry["event"] and WHY in entry["reason"] for entry in logs)

    await troubled.is_ready()


async def test_an_operator_whose_reservations_are_refused_says_why_and_makes_them_later(troubled: Troubled) -> None:
    await troubled.add_node()
    attempt = create(NODE_RESERVATIONS, {"metadata": {"name": "attempt"}, "spec": {}})
    async with in_force(troubled.plane, "nodereservations", troubled.operator_identity, attempt):
        await troubled.ask()
        await troubled.refused(troubled.to_operator, 2, Match(resource="nodereservations"))
        await troubled.told("m", WHY)

    await troubled.is_ready()
