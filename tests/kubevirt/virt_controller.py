"""A player of KubeVirt's programs on a real API server: what virt-controller 1.9 does with migrations, and of
virt-handler and the kubelet what it waits for.

Measured with the real one: the phase is Scheduling while the target pod is gated; nothing happens to a gated pod at the
unschedulable timeout, which counts from the pod's creation all the same; a pod that vanishes before the hand-off fails
its migration; scheduling fields of a pod are never rewritten; evacuations come back 50 ms after they failed and wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mdev_api.kube import times
from mdev_api.kube.client import ApiError, Client
from mdev_api.kube.requests import create, delete, get, list_page, merge_patch
from mdev_api.kube.resources import PODS, Resource
from tests.kubevirt.bodies import FINALIZER, launcher, target, vmi, vmim
from tests.waiting import eventually

Object = dict[str, Any]

VMIS = Resource(
    group="kubevirt.io",
    version="v1",
    plural="virtualmachineinstances",
    kind="VirtualMachineInstance",
    namespaced=True,
)
VMIMS = replace(VMIS, plural="virtualmachineinstancemigrations", kind="VirtualMachineInstanceMigration")
BEFORE_HAND_OFF = ("Scheduling", "Scheduled")
FINAL = ("Succeeded", "Failed")
EVACUATION = "kubevirt.io/evacuationMigration"


@dataclass(kw_only=True)
class VirtController:
    """Plays for one namespace while ``run`` runs.

    ``gated``: put the gate on target pods itself, where no admission policy does. Timeouts in seconds from a pod's
    creation. ``stays_in``: a phase that migrations do not leave. ``guest_fails``: migrations fail after the hand-off.
    ``per_node``: migrations that may leave one node at once. ``backoff``: what a failed evacuation waits first.
    ``kubelet_refuses`` and ``kubelet_holds``: nodes that refuse pods, and nodes that do nothing with them. ``admit``
    says whether a pod gets its devices, ``release`` takes them back. ``hook`` is called with the VM before its guest
    may move, as virt-handler does, on each round until it lets it in; what it said instead is in ``refusals``.
    """

    client: Client
    namespace: str
    gated: bool = True
    unschedulable_timeout: float = 300.0
    pending_timeout: float = 900.0
    per_node: int = 2
    stays_in: str | None = None
    guest_fails: bool = False
    backoff: float = 20.0
    interval: float = 0.05
    kubelet_refuses: set[str] = field(default_factory=set)
    kubelet_holds: set[str] = field(default_factory=set)
    admit: Callable[[Object], Awaitable[bool]] | None = None
    release: Callable[[Object], None] = lambda pod: None
    hook: Callable[[Object], Awaitable[str | None]] | None = None
    refusals: list[str] = field(default_factory=list)
    container: Object | None = None
    """What to run in pods, for nodes that have a kubelet: nothing of the kubelet is played then."""
    working: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held for each round: who takes it has virt-controller down."""
    _waits: dict[str, tuple[datetime, float]] = field(default_factory=dict)

    async def start_vm(self, name: str, node: str, resource: str, **spec: Any) -> Object:
        """A VM that runs on the node; the VMI as it is then."""
        async with self.working:
            return await self._start_vm(name, node, resource, spec)

    async def _start_vm(self, name: str, node: str, resource: str, spec: Object) -> Object:
        made = await self.client.send(create(VMIS, vmi(self.namespace, name, resource, spec=spec), self.namespace))
        pod = self._with_container(launcher(made))
        pod["spec"]["nodeName"] = node
        pod = await self.client.send(create(PODS, pod, self.namespace))
        if self.container is None:
            assert not await self._refuses(pod), f"{node} has no {resource}"
            await self._runs(pod)
        else:
            await self._until_running(pod["metadata"]["name"])
        status = {"phase": "Running", "nodeName": node, "activePods": {pod["metadata"]["uid"]: node}}
        labels = {"kubevirt.io/nodeName": node}
        return await self._patch(VMIS, name, {"metadata": {"labels": labels}, "status": status})

    async def submit(self, name: str, vm: str, **more: Any) -> Object:
        """Create a migration, as ``virtctl migrate`` does."""
        return await self.client.send(create(VMIMS, vmim(self.namespace, name, vm, **more), self.namespace))

    async def evacuate(self, vm: str, node: str, number: int = 0) -> Object:
        """Create a migration, as the evacuation controller does; it comes again when it failed."""
        name = f"kubevirt-evacuation-{vm}-{number}"
        return await self.submit(name, vm, priority="system-critical", annotations={EVACUATION: node})

    async def run(self) -> None:
        """Play until cancelled."""
        while True:
            async with self.working:
                await self._quietly(self._round)
            await asyncio.sleep(self.interval)

    async def _round(self) -> None:
        pods = await self._all(PODS)
        for pod in pods if self.container is None else ():
            await self._quietly(self._kubelet, pod)
        migrations = await self._all(VMIMS)
        for migration in migrations:
            own = [p for p in pods if _uid_label(p) == migration["metadata"]["uid"]]
            await self._quietly(self._one, migration, own[0] if own else None, migrations)

    async def _one(self, migration: Object, pod: Object | None, migrations: list[Object]) -> None:
        phase = _phase(migration)
        vm = await self._find(VMIS, migration["spec"]["vmiName"])
        if phase in FINAL or vm is None:
            await self._end(migration, phase)
        elif migration["metadata"].get("deletionTimestamp") and phase in ("", "Pending", *BEFORE_HAND_OFF):
            await self._remove(pod)
            await self._to(migration, "Failed")
        elif phase == "":
            await self._to(migration, "Pending")
        elif phase == "Pending":
            await self._pending(migration, vm, pod, migrations)
        elif pod is None or pod["metadata"].get("deletionTimestamp") or _pod_phase(pod) == "Failed":
            await self._pod_is_gone(migration, vm)
        elif phase in BEFORE_HAND_OFF:
            await self._before_hand_off(migration, vm, pod)
        elif phase != self.stays_in:
            await self._after_hand_off(migration, vm, pod)

    async def _pending(self, migration: Object, vm: Object, pod: Object | None, migrations: list[Object]) -> None:
        if pod is not None:
            await self._to(migration, "Scheduling")
            return
        running = [m for m in migrations if _phase(m) not in ("", "Pending", *FINAL)]
        same_vm = [m for m in running if m["spec"]["vmiName"] == migration["spec"]["vmiName"]]
        nodes = [((await self._find(VMIS, m["spec"]["vmiName"])) or {})["status"]["nodeName"] for m in running]
        since, seconds = self._waits.get(migration["spec"]["vmiName"], (datetime.now(UTC), 0.0))
        evacuates = EVACUATION in (migration["metadata"].get("annotations") or {})
        waits = evacuates and (datetime.now(UTC) - since).total_seconds() < seconds
        if same_vm or waits or nodes.count(vm["status"]["nodeName"]) >= self.per_node:
            return
        made = self._with_container(target(vm, migration, gated=self.gated))
        await self.client.send(create(PODS, made, self.namespace))

    async def _pod_is_gone(self, migration: Object, vm: Object) -> None:
        if _phase(migration) not in BEFORE_HAND_OFF:
            state = {"failed": True, "completed": True, "failureReason": "target pod is gone", "endTimestamp": _now()}
            await self._patch(VMIS, vm["metadata"]["name"], {"status": {"migrationState": state}})
        await self._to(migration, "Failed")

    async def _before_hand_off(self, migration: Object, vm: Object, pod: Object) -> None:
        age = (datetime.now(UTC) - times.parse(pod["metadata"]["creationTimestamp"])).total_seconds()
        annotations = migration["metadata"].get("annotations") or {}
        limits = {}
        for kind, ordinary in (("Unschedulable", self.unschedulable_timeout), ("Pending", self.pending_timeout)):
            limits[kind] = float(annotations.get(f"kubevirt.io/migration{kind}PodTimeoutSeconds", ordinary))
        unschedulable = any(
            c["type"] == "PodScheduled" and c["status"] == "False" and c.get("reason") == "Unschedulable"
            for c in pod["status"].get("conditions", ())
        )
        pending = _pod_phase(pod) == "Pending"
        if (unschedulable and age >= limits["Unschedulable"]) or (pending and age >= limits["Pending"]):
            await self._remove(pod)
        elif _phase(migration) == self.stays_in:
            return
        elif _phase(migration) == "Scheduling" and _pod_phase(pod) == "Running":
            await self._to(migration, "Scheduled")
        elif _phase(migration) == "Scheduled":
            state = {
                "migrationUid": migration["metadata"]["uid"],
                "sourceNode": vm["status"]["nodeName"],
                "targetNode": pod["spec"]["nodeName"],
                "targetPod": pod["metadata"]["name"],
            }
            body = {
                "metadata": {"labels": {"kubevirt.io/migrationTargetNodeName": pod["spec"]["nodeName"]}},
                "status": {"migrationState": state},
            }
            await self._patch(VMIS, vm["metadata"]["name"], {"status": {"migrationState": None}})
            await self._patch(VMIS, vm["metadata"]["name"], body)
            await self._to(migration, "PreparingTarget")

    async def _after_hand_off(self, migration: Object, vm: Object, pod: Object) -> None:
        name = vm["metadata"]["name"]
        match _phase(migration):
            case "PreparingTarget":
                refusal = await self.hook(vm) if self.hook is not None else None
                if refusal is None:
                    await self._to(migration, "TargetReady")
                else:
                    self.refusals.append(refusal)
            case "TargetReady":
                await self._patch(VMIS, name, {"status": {"migrationState": {"startTimestamp": _now()}}})
                await self._to(migration, "Running")
            case "Running" if self.guest_fails:
                state = {"failed": True, "completed": True, "endTimestamp": _now(), "failureReason": "the guest"}
                await self._patch(VMIS, name, {"status": {"migrationState": state}})
                await self._remove(pod)
                await self._to(migration, "Failed")
            case "Running":
                node = pod["spec"]["nodeName"]
                status = {
                    "nodeName": node,
                    "activePods": {**dict.fromkeys(vm["status"]["activePods"]), pod["metadata"]["uid"]: node},
                    "migrationState": {"completed": True, "endTimestamp": _now()},
                }
                labels = {"kubevirt.io/nodeName": node}
                await self._patch(VMIS, name, {"metadata": {"labels": labels}, "status": status})
                await self._completed(vm)
                await self._to(migration, "Succeeded")

    async def _completed(self, vm: Object) -> None:
        """The pod that the VM has left stays, completed, and counts for anti-affinity no more."""
        for pod in await self._all(PODS):
            labels = pod["metadata"]["labels"]
            left = pod["spec"].get("nodeName") == vm["status"]["nodeName"] and _pod_phase(pod) == "Running"
            if not left or labels.get("kubevirt.io/created-by") != vm["metadata"]["uid"]:
                continue
            if self.container is not None:
                await self._remove(pod)
            else:
                await self._patch(PODS, pod["metadata"]["name"], {"status": {"phase": "Succeeded"}}, "status")

    async def _end(self, migration: Object, phase: str) -> None:
        meta = migration["metadata"]
        if phase not in FINAL:
            await self._to(migration, "Failed")
        if FINALIZER not in meta.get("finalizers", ()):
            return
        annotations = meta.get("annotations") or {}
        if phase == "Failed" and EVACUATION in annotations:
            vm = migration["spec"]["vmiName"]
            _, before = self._waits.get(vm, (datetime.now(UTC), self.backoff / 2))
            self._waits[vm] = (datetime.now(UTC), before * 2)
            await asyncio.sleep(0.05)
            await self.evacuate(vm, annotations[EVACUATION], int(meta["name"].rpartition("-")[2]) + 1)
        await self._patch(VMIMS, meta["name"], {"metadata": {"finalizers": None}})

    async def _kubelet(self, pod: Object) -> None:
        """Run what is bound, take away what is deleted."""
        if not pod["spec"].get("nodeName"):
            return
        meta = pod["metadata"]
        if meta.get("deletionTimestamp"):
            request = delete(PODS, meta["name"], self.namespace)
            await self.client.send(replace(request, query=(("gracePeriodSeconds", "0"),)))
            self.release(pod)
        elif _pod_phase(pod) != "Pending" or pod["spec"]["nodeName"] in self.kubelet_holds:
            return
        elif await self._refuses(pod):
            status = {"phase": "Failed", "reason": "UnexpectedAdmissionError"}
            await self._patch(PODS, meta["name"], {"status": status}, "status")
        else:
            await self._runs(pod)

    async def _refuses(self, pod: Object) -> bool:
        if pod["spec"]["nodeName"] in self.kubelet_refuses:
            return True
        return self.admit is not None and not await self.admit(pod)

    def _with_container(self, pod: Object) -> Object:
        pod["spec"]["containers"][0].update(self.container or {})
        return pod

    async def _until_running(self, name: str) -> None:
        async def look() -> bool:
            pod = await self._find(PODS, name)
            assert pod is not None and _pod_phase(pod) in ("Pending", "Running"), pod
            return _pod_phase(pod) == "Running"

        await eventually(look, timeout=60, what=f"pod {name} to run")

    async def _runs(self, pod: Object) -> None:
        ready = {"name": "compute", "ready": True, "image": "", "imageID": "", "restartCount": 0}
        status = {"phase": "Running", "containerStatuses": [ready]}
        await self._patch(PODS, pod["metadata"]["name"], {"status": status}, "status")

    async def _to(self, migration: Object, phase: str) -> None:
        await self._patch(VMIMS, migration["metadata"]["name"], {"status": {"phase": phase}}, "status")

    async def _remove(self, pod: Object | None) -> None:
        if pod is not None and not pod["metadata"].get("deletionTimestamp"):
            await self.client.send(delete(PODS, pod["metadata"]["name"], self.namespace))

    async def _patch(self, resource: Resource, name: str, body: Object, subresource: str | None = None) -> Object:
        return await self.client.send(merge_patch(resource, name, body, self.namespace, subresource))

    async def _all(self, resource: Resource) -> list[Object]:
        items: list[Object] = (await self.client.send(list_page(resource, namespace=self.namespace)))["items"]
        return items

    async def _find(self, resource: Resource, name: str) -> Object | None:
        try:
            return await self.client.send(get(resource, name, self.namespace))
        except ApiError as error:
            if not error.not_found:
                raise
            return None

    async def _quietly(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Somebody else was first, or it is gone: the next round sees it as it is then."""
        try:
            await work(*args)
        except ApiError as error:
            if not (error.not_found or error.conflict or error.already_exists):
                raise


def _phase(migration: Object) -> str:
    return str((migration.get("status") or {}).get("phase") or "")


def _pod_phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def _uid_label(pod: Object) -> str | None:
    found: str | None = (pod["metadata"].get("labels") or {}).get("kubevirt.io/migrationJobUID")
    return found


def _now() -> str:
    return times.time(datetime.now(UTC))
