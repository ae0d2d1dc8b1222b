"""The main job, step by step, on whatever nodes it is given.

Every wait is for something that the cluster or a kernel shows; the last step believes neither the agents nor the
operator, only the kernels' own trees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from demo.check import Device, devices, differences
from demo.nodes import CARDS, Node
from demo.objects import PATIENCE, Cluster, DemoFailed, explicit, from_node, holds, migration
from demo.progress import Progress
from tests.waiting import wait_until

GPU = "com.gfx/GPU"
MODELS = Path(__file__).resolve().parents[1] / "deploy" / "models"
SERIAL_CARD = MODELS / "mtty.yaml"


def main_job(cluster: Cluster, nodes: Mapping[str, Node], progress: Progress) -> None:
    """Everything that the demo shows; raises DemoFailed where it does not hold."""
    serial = yaml.safe_load(SERIAL_CARD.read_text(encoding="utf-8"))["spec"]["model"]
    with progress.step("Agents publish what their nodes offer, the operator reads it"):
        for name in CARDS:
            cluster.until("nodedevices", name, "published", lambda o: _offers(o))
        cluster.until("deviceprofiles", "", "read", _all_read)
        for name in CARDS:
            offered = sorted(_offers(cluster.get("nodedevices", name)))
            progress.say(f"{name} offers {', '.join(offered)}")
    with progress.step("A new gfx-8GB for memory=8192 is made on node-a and handed over"):
        gpu = _place(cluster, progress, "place-gpu", explicit(GPU, "memory", 8192), "node-a")
    gpu_b, close = _move_gpu(cluster, nodes, progress, gpu)
    with progress.step("The program on node-a ends: now its device is removed"):
        close()
        wait_until(
            lambda: gpu not in devices(nodes["node-a"].dump_tree()),
            timeout=PATIENCE,
            what=f"{gpu} to vanish from node-a's sysfs",
            interval=0.3,
        )
        progress.say(f"{gpu} is gone from node-a's sysfs")
    with progress.step("A serial card, whose driver publishes nothing, moves by the shipped DeviceModel"):
        port = _place(cluster, progress, "place-serial", explicit(serial, "ports", 2), "node-a")
        moved = _move(cluster, progress, "move-serial", "node-a", port, "type mtty-2, never mtty-1")
        _demand(_types(moved) == {"mtty-2"}, f"candidates of an mtty-2 device must be mtty-2 only: {_types(moved)}")
    with progress.step("node-c is rejected above, but takes a memory=4096 device"):
        small = _place(cluster, progress, "place-small", explicit(GPU, "memory", 4096), "node-b")
        smaller = _move(cluster, progress, "move-small", "node-b", small, "on node-c")
        _demand(smaller["status"]["node"] == "node-c", f"node-c should have been chosen: {smaller['status']}")
    with progress.step("The kernels' own trees show exactly what should be there"):
        expected = {name: list[Device]() for name in CARDS}
        expected["node-a"].append(Device(uuid=port, type="mtty-2"))
        expected["node-b"].append(Device(uuid=gpu_b, type="gfx-8GB", values={"memory": "8192"}))
        expected["node-b"].append(Device(uuid=small, type="gfx-4GB", values={"memory": "4096"}))
        expected[moved["status"]["node"]].append(Device(uuid=_instance(moved), type="mtty-2"))
        expected["node-c"].append(Device(uuid=_instance(smaller), type="gfx-4GB", values={"memory": "4096"}))
        _compare(nodes, expected)
        for name, wanted in expected.items():
            progress.say(f"{name}: {', '.join(f'{d.type} {d.uuid}' for d in wanted)}, and nothing else")


def _move_gpu(
    cluster: Cluster, nodes: Mapping[str, Node], progress: Progress, gpu: str
) -> tuple[str, Callable[[], None]]:
    """The first migration: the instance on node-b, and what closes the device on node-a."""
    with progress.step("A program on node-a opens it as a virtual machine would: in use is Yes"):
        close = nodes["node-a"].hold(gpu)
        cluster.until("nodedevices", "node-a", f"saying that {gpu} is in use", lambda o: _in_use(o, gpu) == "Yes")
    with progress.step("Where can it go? node-b, with nothing to write; node-c is told why not"):
        request = migration("move-gpu", from_node("node-a", gpu), sourcePolicy="Remove")
        cluster.apply(request)
        ready = cluster.condition("move-gpu", "Ready")
        status = ready["status"]
        device = status["devices"][0]
        _demand(status["node"] == "node-b", f"node-b should have been chosen: {status}")
        _demand(device["type"] == "gfx-8GB" and device.get("writes", 0) == 0, f"gfx-8GB without writes: {device}")
        progress.say(
            f"Ready: {device['type']} {device['instance']} on {status['node']}, {device.get('writes', 0)} writes"
        )
        for candidate in status["candidates"]:
            progress.say(f"  candidate {candidate['type']} on {candidate['node']}: {candidate['why']}")
        for reason in status["rejected"]:
            example = reason["examples"][0]
            progress.say(f"  rejected, {reason['code']} on {reason['nodes']}: {example['node']}: {example['message']}")
        _demand(_rejected(status, "ValueNotAllowed", "node-c", "memory"), f"node-c: ValueNotAllowed memory: {status}")
    with progress.step("node-b's sysfs has the device with the right value"):
        instance: str = device["instance"]
        there = devices(nodes["node-b"].dump_tree()).get(instance)
        wanted = Device(uuid=instance, type="gfx-8GB", values={"memory": "8192"})
        _demand(there == wanted, f"node-b's sysfs shows {there}; it should show {wanted}")
    with progress.step("The VM has moved; node-a's device is to go, but is still open"):
        cluster.tell("move-gpu", started=True)
        cluster.tell("move-gpu", outcome="Succeeded")
        cluster.condition("move-gpu", "Finished")
        waiting = cluster.until("nodereservations", "node-a", "waiting for the device to be closed", _waiting)
        progress.say(f"node-a waits: {waiting}")
        _demand(gpu in devices(nodes["node-a"].dump_tree()), f"{gpu} was removed from node-a while it was open")
    return instance, close


def _place(cluster: Cluster, progress: Progress, name: str, source: dict[str, Any], node: str) -> str:
    """Have a device made on a node and hand it over; the instance."""
    cluster.apply(migration(name, source, nodeName=node))
    ready = cluster.condition(name, "Ready")
    cluster.tell(name, started=True)
    cluster.tell(name, outcome="Succeeded")
    cluster.condition(name, "Finished")
    device = ready["status"]["devices"][0]
    progress.say(f"{name}: {device['type']} {device['instance']} on {ready['status']['node']}")
    return _instance(ready)


def _move(cluster: Cluster, progress: Progress, name: str, node: str, device: str, where: str) -> dict[str, Any]:
    """Migrate a device and hand it over; the migration when it was Ready."""
    cluster.apply(migration(name, from_node(node, device)))
    ready = cluster.condition(name, "Ready")
    status = ready["status"]
    progress.say(f"{name}: Ready, {status['devices'][0]['type']} on {status['node']} ({where})")
    cluster.tell(name, started=True)
    cluster.tell(name, outcome="Succeeded")
    cluster.condition(name, "Finished")
    return ready


def _compare(nodes: Mapping[str, Node], expected: Mapping[str, list[Device]]) -> None:
    """Handing over is answered a moment after Finished; what is wrong then stays wrong."""

    def wrong() -> list[str]:
        return [w for name, wanted in expected.items() for w in differences(name, nodes[name].dump_tree(), wanted)]

    try:
        wait_until(lambda: not wrong(), timeout=10, what="the trees to be right", interval=0.5)
    except TimeoutError:
        raise DemoFailed("sysfs is not as it should be:\n" + "\n".join(wrong())) from None


def _demand(holds_: bool, otherwise: str) -> None:
    if not holds_:
        raise DemoFailed(otherwise)


def _offers(node_devices: dict[str, Any]) -> set[str]:
    parents = node_devices.get("status", {}).get("parents", [])
    found = {offer["type"] for parent in parents for offer in parent.get("offers", [])}
    drivers = {parent["driver"] for parent in parents}
    wanted = {card.driver for card in CARDS[node_devices["metadata"]["name"]]}
    return found if wanted <= drivers else set()


def _all_read(profiles: dict[str, Any]) -> bool:
    return bool(profiles["items"]) and all(holds(profile, "Resolved") for profile in profiles["items"])


def _in_use(node_devices: dict[str, Any], instance: str) -> str | None:
    instances = node_devices.get("status", {}).get("instances", [])
    return next((i.get("inUse") for i in instances if i["id"] == instance), None)


def _waiting(reservations: dict[str, Any]) -> str | None:
    answers = reservations.get("status", {}).get("reservations", [])
    return next((a["waiting"] for a in answers if "waiting" in a), None)


def _rejected(status: dict[str, Any], code: str, node: str, parameter: str) -> bool:
    return any(
        reason["code"] == code and example["node"] == node and example.get("parameter") == parameter
        for reason in status.get("rejected", [])
        for example in reason["examples"]
    )


def _instance(ready: dict[str, Any]) -> str:
    instance: str = ready["status"]["devices"][0]["instance"]
    return instance


def _types(ready: dict[str, Any]) -> set[str]:
    return {candidate["type"] for candidate in ready["status"]["candidates"]}
