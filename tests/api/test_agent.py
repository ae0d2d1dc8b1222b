"""The whole agent on kernels in memory, against a real API server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mdev_api.hashing import instance_uuid, reading_digest
from mdev_api.kube.client import Client
from mdev_api.kube.credentials import load
from mdev_api.kube.requests import create, delete, get, json_patch, list_page
from mdev_api.kube.resources import DEVICE_PROFILES, LEASES, NODE_DEVICES, NODE_RESERVATIONS
from mdev_node_agent.backends.backend import Findings
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.publishing.inventory import take_stock
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.observation import Offer
from mdev_node_agent.seeing.sight import Sight
from mdev_node_agent.sysfs.port import Port
from tests.agent.node import Node, ensure_namespace
from tests.agent.reservations import entry, value
from tests.conftest import establish_crds
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.cuttable import Cuttable
from tests.memkernel.driver import Module
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty
from tests.waiting import eventually

MakeNode = Callable[..., Node]


@pytest_asyncio.fixture
async def make_node(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[MakeNode]:
    async with Client(load(control_plane.kubeconfig)) as client:
        await ensure_namespace(client)

        def make(*drivers: Module, kubeconfig: Path = control_plane.kubeconfig) -> Node:
            name = f"node-{uuid.uuid4().hex[:8]}"
            kernel = MemoryKernel(drivers=drivers or [Gfx()])
            return Node(name=name, kernel=kernel, client=client, kubeconfig=kubeconfig, state_dir=tmp_path / name)

        yield make


async def new_device(node: Node, entry_id: str, *, type_id: str = "gfx-varGB", memory: str = "4096") -> dict[str, Any]:
    """An entry that asks for a new GPU."""
    profile = await node.profile("gfx0", type_id)
    create = {"create": {"parent": "gfx0", "type": type_id, "profile": profile}}
    return entry(entry_id, boot_id=node.kernel.boot_id(), device=create, values=[value("memory", memory)])


def make_by_hand(node: Node, *, type_id: str = "gfx-4GB") -> str:
    """Create a device as an administrator does; returns its UUID."""
    device = str(uuid.uuid4())
    node.kernel.write(f"class/mdev_bus/gfx0/mdev_supported_types/{type_id}/create", device)
    return device


async def of_a_device(node: Node, device: str, entry_id: str, *, role: str, intent: str = "Hold") -> dict[str, Any]:
    """An entry about a device that exists, when NodeDevices shows it."""

    async def look() -> dict[str, Any] | None:
        return (await node.instances()).get(device)

    seen = await eventually(look, timeout=5, what=f"{device} on NodeDevices")
    named = {"instance": device, "profile": seen["profile"]}
    return entry(entry_id, boot_id=node.kernel.boot_id(), device=named, role=role, intent=intent)


async def test_what_a_node_offers_is_published_with_profiles(make_node: MakeNode) -> None:
    node = make_node(Gfx(), Mtty())
    async with node.agent():
        name = await node.profile("gfx0", "gfx-8GB")
        profile = await node.client.send(get(DEVICE_PROFILES, name))
        assert profile["spec"]["published"]["model"] == "com.gfx/GPU"
        status = await node.status()
        assert status["bootID"] == node.kernel.boot_id()
        assert {parent["name"] for parent in status["parents"]} == {"gfx0", "mtty"}
        assert {c["type"]: c["status"] for c in status["conditions"]} == {"Healthy": "True", "RemoveBlocked": "False"}


async def test_nodes_that_see_the_same_share_one_profile(make_node: MakeNode) -> None:
    one, two = make_node(), make_node()
    async with one.agent(), two.agent():
        assert await one.profile("gfx0", "gfx-4GB") == await two.profile("gfx0", "gfx-4GB")


async def test_the_lease_is_named_like_the_node(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():

        async def look() -> list[dict[str, Any]]:
            leases = (await node.client.send(list_page(LEASES, namespace="mdev-node-agent")))["items"]
            return [lease for lease in leases if lease["metadata"]["name"] == node.name]

        leases = await eventually(look, timeout=5, what="the Lease")
        assert leases[0]["spec"]["renewTime"]


async def test_a_device_made_by_hand_is_shown_without_a_rescan(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.profile("gfx0", "gfx-4GB")
        device = make_by_hand(node)

        async def look() -> dict[str, Any] | None:
            return (await node.instances()).get(device)

        seen = await eventually(look, timeout=2, what="the device on NodeDevices")
        assert seen["inUse"] == "No" and seen["managed"] is False


async def test_a_reservation_is_prepared_with_its_values(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.reserve(await new_device(node, "move-1"))
        answer = await node.answered("move-1", "Prepared", "Failed")
        device = instance_uuid("move-1")
        assert answer["state"] == "Prepared"
        assert answer["instance"] == device
        assert answer["values"] == [{"name": "memory", "type": "int", "value": "4096"}]
        assert answer["writes"] == [
            {"name": "memory", "type": "int", "attribute": "migration/memory", "from": "1024", "to": "4096"}
        ]
        assert node.kernel.read(f"bus/mdev/devices/{device}/migration/memory") == "4096"

        async def look() -> bool:
            return (await node.instances()).get(device, {}).get("managed", False)

        assert await eventually(look, timeout=5, what="the device as ours on NodeDevices")


async def test_values_that_are_right_already_are_not_written(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.reserve(await new_device(node, "move-1", type_id="gfx-8GB", memory="8192"))
        answer = await node.answered("move-1", "Prepared", "Failed")
        assert answer["state"] == "Prepared" and "writes" not in answer
        assert node.kernel.read("module/gfx/parameters/write_count") == "0"


async def test_what_was_prepared_is_undone_when_told(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.reserve(await new_device(node, "move-1"))
        await node.answered("move-1", "Prepared")
        await node.tell("Undo")
        await node.answered("move-1", "Undone")
        assert node.kernel.devices() == []


async def test_what_was_handed_over_stays(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.reserve(await new_device(node, "move-1"))
        await node.answered("move-1", "Prepared")
        await node.tell("HandOver")
        answer = await node.answered("move-1", "HandedOver")
        assert answer["instance"] == instance_uuid("move-1")
    async with node.agent(rescan_seconds=0.1):
        await node.profile("gfx0", "gfx-varGB")
        assert node.kernel.devices() == [instance_uuid("move-1")]


async def test_a_removed_entry_means_hold(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent(rescan_seconds=0.1):
        await node.reserve(await new_device(node, "move-1"))
        await node.answered("move-1", "Prepared")
        await node.client.send(delete(NODE_RESERVATIONS, node.name))
        second = make_by_hand(node)

        async def look() -> bool:
            return second in await node.instances()

        await eventually(look, timeout=5, what="a later device, so the agent has looked since")
        assert instance_uuid("move-1") in node.kernel.devices()


async def test_a_device_made_by_hand_is_never_removed(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.profile("gfx0", "gfx-4GB")
        device = make_by_hand(node)
        await node.reserve(await of_a_device(node, device, "move-source", role="Source"))
        await node.answered("move-source", "Prepared")
        await node.tell("RemoveIfUnused")
        answer = await node.answered("move-source", "Removed", "HandedOver")
        assert answer["state"] == "HandedOver"
        assert "not in this agent's ledger" in answer["failure"]["message"]
        assert node.kernel.devices() == [device]


async def test_a_source_that_we_made_is_removed_when_nobody_has_it_open(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.reserve(await new_device(node, "move-1"))
        await node.answered("move-1", "Prepared")
        await node.tell("HandOver")
        await node.answered("move-1", "HandedOver")
        device = instance_uuid("move-1")
        node.kernel.open_device(device)
        source = await of_a_device(node, device, "away-source", role="Source")
        await node.reserve(source)
        await node.answered("away-source", "Prepared")
        await node.tell("RemoveIfUnused", index=1)
        await node.answered("away-source", "InUse")
        assert node.kernel.devices() == [device]
        node.kernel.close_device(device)
        await node.answered("away-source", "Removed")
        assert node.kernel.devices() == []


async def test_the_digest_of_a_source_follows_the_device(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent(rescan_seconds=0.2):
        await node.profile("gfx0", "gfx-varGB")
        device = make_by_hand(node, type_id="gfx-varGB")
        source = await of_a_device(node, device, "move-source", role="Source")
        await node.reserve(source)
        first = await node.answered("move-source", "Prepared")
        node.kernel.write(f"bus/mdev/devices/{device}/migration/memory", "2048\n")

        async def look() -> str | None:
            digest = ((await node.answer("move-source")) or {})["digest"]
            return digest if digest != first["digest"] else None

        assert await eventually(look, timeout=5, what="another digest") == reading_digest(
            boot_id=node.kernel.boot_id(),
            instance=device,
            profile=source["device"]["profile"],
            values={"memory": "2048"},
            attributes={},
            unreadable=[],
        )


async def test_an_unreadable_attribute_is_told_on_the_object(make_node: MakeNode) -> None:
    node = make_node()
    node.kernel.write("module/gfx/parameters/fail_read", "memory\n")
    async with node.agent() as agent:
        await node.profile("gfx0", "gfx-4GB")
        device = make_by_hand(node)

        async def look() -> dict[str, Any] | None:
            return (await node.instances()).get(device)

        seen = await eventually(look, timeout=5, what="the device on NodeDevices")
        assert [(u["name"], u["errno"]) for u in seen["unreadable"]] == [("memory", "EIO")]
        assert not agent.done()


FAULTS: list[Sequence[Any]] = [
    ("fail_create", "28", "NoCapacity", "Create", "ENOSPC"),
    ("fail_create", "5", "Refused", "Create", "EIO"),
    ("fail_write", "memory", "Refused", "Write", "EIO"),
    ("clamp_write", "memory", "ReadbackMismatch", "ReadBack", None),
    ("hang_write", "memory", "Deadline", "Write", None),
]


@pytest.mark.parametrize(("fault", "setting", "reason", "step", "errno"), FAULTS)
async def test_a_fault_of_the_driver_is_the_answer_and_undo_leaves_nothing(
    make_node: MakeNode, fault: str, setting: str, reason: str, step: str, errno: str | None
) -> None:
    node = make_node()
    node.kernel.write(f"module/gfx/parameters/{fault}", f"{setting}\n")
    async with node.agent():
        await node.reserve(await new_device(node, "move-1"))
        answer = await node.answered("move-1", "Prepared", "Failed")
        failure = answer["failure"]
        assert (failure["reason"], failure["step"], failure.get("errno")) == (reason, step, errno)
        node.kernel.write(f"module/gfx/parameters/{fault}", "\n" if "write" in fault else "0\n")
        await node.tell("Undo")
        undone = await node.answered("move-1", "Undone")
        assert undone["failure"] == failure
        assert node.kernel.devices() == []


async def test_a_blocked_removal_holds_nothing_else_up_and_is_told(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.reserve(await new_device(node, "move-1"))
        await node.answered("move-1", "Prepared")
        device = instance_uuid("move-1")
        # In use is unknown to the agent, and Undo waits only for a Yes: so it removes, and the kernel blocks.
        real = node.kernel.look
        node.kernel.look = lambda instances: {}  # type: ignore[method-assign]
        node.kernel.open_device(device)
        await node.tell("Undo")
        await node.answered("move-1", "RemoveBlocked")

        async def look() -> bool:
            conditions = (await node.status())["conditions"]
            return any(c["type"] == "RemoveBlocked" and c["status"] == "True" for c in conditions)

        assert await eventually(look, timeout=5, what="the condition RemoveBlocked")
        await node.reserve(await new_device(node, "move-2", memory="2048"))
        await node.answered("move-2", "Prepared")
        node.kernel.look = real  # type: ignore[method-assign]
        node.kernel.close_device(device)
        await node.answered("move-1", "Undone")


async def test_a_reservation_of_another_boot_fails(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        content = await new_device(node, "move-1")
        await node.reserve({**content, "bootID": "another"})
        assert (await node.answered("move-1", "Failed"))["failure"]["reason"] == "NodeRebooted"
        assert node.kernel.devices() == []


async def test_names_that_the_node_does_not_show_are_refused(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        content = await new_device(node, "move-1")
        content["values"] = [value("memory", "4096", attribute="power/control")]
        await node.reserve(content)
        assert (await node.answered("move-1", "Failed"))["failure"]["reason"] == "Invalid"
        assert node.kernel.devices() == []


async def test_an_agent_stopped_before_the_answer_finishes_after_its_restart(make_node: MakeNode) -> None:
    node = make_node()
    node.kernel.write("module/gfx/parameters/hang_write", "memory\n")
    async with node.agent():
        await node.reserve(await new_device(node, "move-1"))

        async def hangs() -> bool:
            return node.kernel.read("module/gfx/parameters/write_count") == "1"

        await eventually(hangs, timeout=5, what="a write that hangs")
    node.kernel.write("module/gfx/parameters/hang_write", "\n")
    async with node.agent():
        await node.answered("move-1", "Prepared")
        assert node.kernel.devices() == [instance_uuid("move-1")]
        assert node.kernel.read("module/gfx/parameters/create_count") == "1"


async def test_an_agent_that_starts_without_the_api_server_publishes_when_it_comes(
    make_node: MakeNode, control_plane: ControlPlane
) -> None:
    with Cuttable(control_plane.port) as line:
        line.cut()
        node = make_node(kubeconfig=control_plane.kubeconfig_for("agent", ["system:masters"], server=line.server))
        async with node.agent() as agent:
            await asyncio.wait({agent}, timeout=0.5)
            line.mend()
            assert await node.profile("gfx0", "gfx-4GB")


async def test_an_agent_that_starts_before_the_crds_publishes_when_they_come(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path / "bare", controllers=False, scheduler=False) as plane:
        async with Client(load(plane.kubeconfig)) as client:
            kernel = MemoryKernel(drivers=[Gfx()])
            node = Node(name="early", kernel=kernel, client=client, kubeconfig=plane.kubeconfig, state_dir=tmp_path)
            async with node.agent() as agent:
                await asyncio.wait({agent}, timeout=0.5)
                await asyncio.to_thread(establish_crds, plane)
                assert await node.profile("gfx0", "gfx-4GB")


async def test_a_profile_of_the_same_name_and_other_content_is_refused_and_told(make_node: MakeNode) -> None:
    node = make_node(Gfx(types=["4GB"], nics=1, parents=3))
    # Attributes make this node's profile one that no other test has.
    stock = take_stock(Sight(observation=observe(node.kernel, [Renamed()])))
    name, spec = next(iter(stock.profiles.items()))
    await node.client.send(
        create(DEVICE_PROFILES, {"metadata": {"name": name}, "spec": {**spec, "driver": {"name": "forged"}}})
    )
    async with node.agent(backends=[Renamed()]):

        async def look() -> str | None:
            conditions = (await node.status()).get("conditions", ())
            return next((c["message"] for c in conditions if c["type"] == "Healthy" and c["status"] == "False"), None)

        assert "ProfileRefused" in await eventually(look, timeout=10, what="Healthy=False")
        assert all("offers" not in parent for parent in (await node.status())["parents"])
    await node.client.send(delete(DEVICE_PROFILES, name))


class Renamed(MdevBackend):
    """The back-end, except that its types have a name that no other test sees."""

    def discover(self, port: Port) -> Findings:
        """As its parent, with other profiles."""
        findings = super().discover(port)

        def renamed(offer: Offer) -> Offer:
            return replace(offer, profile={**offer.profile, "type": {"id": offer.type, "name": "forged"}})

        parents = [replace(p, offers=tuple(renamed(o) for o in p.offers)) for p in findings.parents]
        return replace(findings, parents=tuple(parents))


async def test_a_deleted_inventory_comes_back(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.profile("gfx0", "gfx-4GB")
        await node.client.send(delete(NODE_DEVICES, node.name))
        make_by_hand(node)
        assert await node.profile("gfx0", "gfx-4GB")


async def test_an_entry_that_was_taken_away_leaves_no_answer_behind(make_node: MakeNode) -> None:
    node = make_node()
    async with node.agent():
        await node.reserve(await new_device(node, "move-1"))
        await node.answered("move-1", "Prepared")
        await node.tell("HandOver")
        await node.answered("move-1", "HandedOver")
        await node.client.send(
            json_patch(NODE_RESERVATIONS, node.name, [{"op": "remove", "path": "/spec/reservations/0"}])
        )

        async def look() -> bool:
            return await node.answer("move-1") is None

        await eventually(look, timeout=5, what="the answer to go")
