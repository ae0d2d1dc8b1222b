"""A node agent, and its node's device plugin and kubelet, played on a real API server: no kernel is behind it.

It publishes devices that a plugin of somebody else's serves, gives one to each pod of the resource that runs on its
node, and answers reservations as the API's table says. What a real agent does is tested in the agent's own tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mdev_api.hashing import profile_name, reading_digest
from mdev_api.kube import times
from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import apply, apply_status, create, get, list_page
from mdev_api.kube.resources import DEVICE_PROFILES, LEASES, NODE_DEVICES, NODE_RESERVATIONS, PODS

Object = dict[str, Any]

MANAGER = "mdev-node-agent"
MODEL = "com.example/gfx"
ENDED = {"HandOver": "HandedOver", "Undo": "Undone", "UndoIfUnused": "Undone", "RemoveIfUnused": "Removed"}


def gfx(memory: int, run: str) -> Object:
    """Spec of the profile of a GPU of one size; ``run`` makes it one that no other test has seen."""
    parameter = {"name": "memory", "type": "int", "initValue": str(memory), "allowedValues": [str(memory)]}
    return {
        "backend": "mdev",
        "driver": {"name": "gfx", "version": run},
        "type": {"id": f"gfx-{memory}", "name": f"GFX {memory}"},
        "published": {"model": MODEL, "parameters": [parameter]},
    }


@dataclass(kw_only=True)
class PlayedAgent:
    """``devices``: how many of the profile there are, made by somebody else, all at their init values. ``available``:
    how many more the kernel could make."""

    client: Client
    namespace: str
    node: str
    resource: str
    profile: Object
    devices: int = 2
    available: int = 0
    interval: float = 0.1
    given: dict[str, str] = field(default_factory=dict)
    """Device by name of the pod that has it."""
    _published: Object | None = None

    async def run(self) -> None:
        """Play until cancelled."""
        name = profile_name(self.profile)
        await self._once(create(DEVICE_PROFILES, {"metadata": {"name": name}, "spec": self.profile}))
        await self._once(create(NODE_DEVICES, {"metadata": {"name": self.node}}))
        lease = {"spec": {"holderIdentity": self.node, "renewTime": times.micro_time(datetime.now(UTC))}}
        await self.client.send(apply(LEASES, self.node, lease, MANAGER, self.namespace))
        while True:
            await self._give()
            status = self._status()
            if status != self._published:
                await self.client.send(apply_status(NODE_DEVICES, self.node, status, MANAGER))
                self._published = status
            await self._answer()
            await asyncio.sleep(self.interval)

    def ids(self) -> list[str]:
        """The devices of this node."""
        return [f"{self.node}-gfx-{number}" for number in range(self.devices)]

    def free(self) -> list[str]:
        """Those that no pod has."""
        return [i for i in self.ids() if i not in self.given.values()]

    async def _give(self) -> None:
        """What the kubelet does: any free device to a pod that begins, and none to one that has ended."""
        on_node = f"spec.nodeName={self.node}"
        pods = (await self.client.send(list_page(PODS, namespace=self.namespace, field_selector=on_node)))["items"]
        running = {p["metadata"]["name"] for p in pods if p["status"].get("phase") == "Running"}
        self.given = {pod: device for pod, device in self.given.items() if pod in running}
        for pod in sorted(running - self.given.keys()):
            self.given[pod] = self.free()[-1]

    def _status(self) -> Object:
        profile, kind = profile_name(self.profile), self.profile["type"]["id"]
        of_pods = {device: pod for pod, device in self.given.items()}
        instances = [
            {
                "id": device,
                "parent": "gfx0",
                "type": kind,
                "profile": profile,
                "inUse": "Yes" if device in of_pods else "No",
                "inUseSource": "PodResources",
            }
            for device in self.ids()
        ]
        serving = [
            {"instance": device, "resource": self.resource, "podNamespace": self.namespace, "podName": pod}
            for device, pod in sorted(of_pods.items())
        ]
        slot = {"resource": self.resource, "free": len(self.free()), "instances": self.free()}
        offer = {"type": kind, "profile": profile, "available": self.available}
        parents = [{"name": "gfx0", "driver": "gfx", "offers": [offer]}]
        return {
            "bootID": f"boot-{self.node}",
            "parents": parents,
            "instances": instances,
            **({"serving": serving} if serving else {}),
            "slots": [{k: v for k, v in slot.items() if v != []}],
        }

    async def _answer(self) -> None:
        try:
            reservations = await self.client.send(get(NODE_RESERVATIONS, self.node))
        except ApiError as error:
            if not error.not_found:
                raise
            return
        before = {a["id"]: a for a in (reservations.get("status") or {}).get("reservations", ())}
        answers = [self._answer_to(e, before.get(e["id"], {})) for e in reservations["spec"].get("reservations", ())]
        if answers != list(before.values()):
            status = {"bootID": f"boot-{self.node}", **({"reservations": answers} if answers else {})}
            await self.client.send(apply_status(NODE_RESERVATIONS, self.node, status, MANAGER))

    def _answer_to(self, entry: Mapping[str, Any], before: Mapping[str, Any]) -> Object:
        if entry["intent"] in ENDED:
            return {**before, "id": entry["id"], "state": ENDED[entry["intent"]]}
        if entry["role"] == "Source":
            device = entry["device"]["instance"]
            digest = reading_digest(
                boot_id=f"boot-{self.node}",
                instance=device,
                profile=profile_name(self.profile),
                values={},
                attributes={},
                unreadable=[],
            )
            return {"id": entry["id"], "state": "Prepared", "instance": device, "digest": digest}
        picked = next(iter(self.given.values()), None)
        instance = before.get("instance") or picked
        return {"id": entry["id"], "state": "Prepared", **({"instance": instance} if instance else {})}

    async def _once(self, request: Any) -> None:
        try:
            await self.client.send(request)
        except ApiError as error:
            if not error.already_exists:
                raise
