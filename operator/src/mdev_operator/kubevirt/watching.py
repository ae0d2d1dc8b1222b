"""Follows KubeVirt's migrations, where there is a KubeVirt, and says which of them to look at.

Whether the cluster has KubeVirt is asked at the start and each minute; what is said of it is said once. What is kept
here only triggers: every decision reads the objects it is about live, and absence here is proof of nothing. That
matters for how much is triggered, too: a VM's pod carries the UID of the migration that brought it for as long as it
lives, so pods and migrations are passed on only if a gate of ours or a DeviceMigration of ours is involved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import structlog

from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.reflector import Reflector
from mdev_api.kube.requests import Request
from mdev_api.kube.resources import DEVICE_MIGRATIONS, PODS, split_key
from mdev_operator.kubevirt.lookup import VMIM_LABEL, VMIM_NAME_PREFIX
from mdev_operator.kubevirt.objects import (
    GROUP,
    LAUNCHERS_OF_MIGRATIONS,
    VERSION,
    VMIMS,
    WAITING_PHASES,
    Vmim,
    slim_pod,
    target_pod,
    vmim_of,
)

log = structlog.get_logger(__name__)

Object = dict[str, Any]

LOOK_INTERVAL = 60.0
"""Seconds between two looks whether the cluster has KubeVirt."""

VMIM_ANNOTATION = "mdev-operator.io/vmim"
"""On a DeviceMigration of the adapter: the whole name, which its label is cut from."""


def key_for(namespace: str, name: str) -> str:
    """Queue key of a VirtualMachineInstanceMigration."""
    return f"vmim/{namespace}/{name}"


class Watching:
    """``enqueue(key)`` is called for each migration that may need a step. ``interval``: see :data:`LOOK_INTERVAL`."""

    def __init__(self, client: Client, enqueue: Callable[[str], None], *, interval: float = LOOK_INTERVAL) -> None:
        self._client = client
        self._enqueue = enqueue
        self._interval = interval
        self._said: bool | None = None
        self._reflectors: tuple[Reflector, ...] = ()
        self._vmims: dict[str, Vmim] = {}
        self._migrations: dict[str, Object] = {}
        self._waiting: dict[str, str] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            if await self._is_served():
                self._reflectors = self._make_reflectors()
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(reflector.run()) for reflector in self._reflectors]
                    await self._until_removed()
                    for task in tasks:
                        task.cancel()
                self._forget_all()
            await asyncio.sleep(self._interval)

    def synced(self) -> bool:
        """Whether all that is followed was listed: before that, too little is known to decide on anything."""
        return bool(self._reflectors) and all(reflector.synced.is_set() for reflector in self._reflectors)

    def known_uids(self, namespace: str, name: str) -> set[str]:
        """UIDs of migrations of this name, also ones of before, that something of ours is for."""
        made = {self._uid_of(m) for m in self._migrations.values() if self._is_for(m, namespace, name)}
        waiting = {uid for uid, key in self._waiting.items() if key == key_for(namespace, name)}
        return made | waiting

    def newer(self, namespace: str, vmi: str, uid: str, since: datetime) -> str | None:
        """A migration of this VM that was made after ``since`` and that virt-controller has taken up, by name.

        While the one with this UID is there, only one that has not ended can have taken its place. For one that is
        gone, ``since`` is when our DeviceMigration was made, some time after it: a younger one may be of that second.
        """
        there = any(v.uid == uid for v in self._vmims.values())
        young = [
            v
            for v in self._vmims.values()
            if (v.namespace, v.vmi) == (namespace, vmi)
            and v.uid != uid
            and (v.created > since or (v.created == since and not there))
            and v.phase not in WAITING_PHASES
            and not (there and v.final)
        ]
        return max(young, key=lambda v: v.created).name if young else None

    async def _until_removed(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            if not await self._is_served():
                return

    async def _is_served(self) -> bool:
        """Ask the API server; while it cannot be asked, what was true stays true."""
        try:
            answer = await self._client.send(Request(method="GET", path=f"/apis/{GROUP}/{VERSION}"))
            served = any(r.get("name") == VMIMS.plural for r in answer.get("resources") or ())
        except ApiError as error:
            if not error.not_found:
                log.warning("cannot tell whether the cluster has KubeVirt", reason=str(error))
                return bool(self._said)
            served = False
        except Unreachable as error:
            log.warning("cannot tell whether the cluster has KubeVirt", reason=str(error))
            return bool(self._said)
        if served != self._said:
            state = "following its migrations" if served else "it is not installed, so nothing of it is followed"
            log.info(f"KubeVirt: {state}")
        self._said = served
        return served

    def _make_reflectors(self) -> tuple[Reflector, ...]:
        return (
            Reflector(
                self._client,
                DEVICE_MIGRATIONS,
                self._migration,
                transform=_slim_migration,
                label_selector=VMIM_LABEL,
            ),
            Reflector(self._client, VMIMS, self._vmim, transform=_slim_vmim),
            Reflector(self._client, PODS, self._pod, transform=slim_pod, label_selector=LAUNCHERS_OF_MIGRATIONS),
        )

    def _forget_all(self) -> None:
        self._reflectors = ()
        for known in (self._vmims, self._migrations, self._waiting):
            known.clear()

    def _migration(self, key: str, new: Object | None, old: Object | None) -> None:
        _put(self._migrations, key, new)
        seen = new or old
        name = (seen or {})["metadata"].get("annotations", {}).get(VMIM_ANNOTATION)
        namespace, _ = split_key(key)
        if name and namespace:
            self._enqueue(key_for(namespace, name))

    def _vmim(self, key: str, new: Object | None, old: Object | None) -> None:
        seen = vmim_of(new) if new is not None else self._vmims.get(key)
        _put(self._vmims, key, seen if new is not None else None)
        if seen is None:
            return
        for concerned in {*self._of_vm(seen), *self._of_uid(seen)}:
            self._enqueue(concerned)

    def _of_vm(self, vmim: Vmim) -> Iterator[str]:
        """Every migration of ours for this VM: a younger one may have superseded it."""
        for key, migration in self._migrations.items():
            namespace, _ = split_key(key)
            if (namespace, migration["spec"]["source"]["vm"]["name"]) == (vmim.namespace, vmim.vmi):
                yield key_for(vmim.namespace, migration["metadata"]["annotations"][VMIM_ANNOTATION])

    def _of_uid(self, vmim: Vmim) -> Iterator[str]:
        if vmim.uid in self._waiting:
            yield key_for(vmim.namespace, vmim.name)

    def _pod(self, key: str, new: Object | None, old: Object | None) -> None:
        seen = new or old
        assert seen is not None
        pod = target_pod(seen)
        if pod.vmim is None:
            log.warning("a target pod names no migration and is left alone", pod=key)
            return
        concerned = key_for(pod.namespace, pod.vmim)
        if new is not None and pod.gated:
            self._waiting[pod.vmim_uid] = concerned
        else:
            self._waiting.pop(pod.vmim_uid, None)
        if pod.gated or f"{pod.namespace}/{VMIM_NAME_PREFIX}{pod.vmim_uid}" in self._migrations:
            self._enqueue(concerned)

    def _is_for(self, migration: Object, namespace: str, name: str) -> bool:
        meta = migration["metadata"]
        return bool(meta["namespace"] == namespace and meta["annotations"].get(VMIM_ANNOTATION) == name)

    def _uid_of(self, migration: Object) -> str:
        return str(migration["metadata"]["name"]).removeprefix(VMIM_NAME_PREFIX)


def _put(table: dict[str, Any], key: str, value: Any | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _slim_migration(migration: Object) -> Object:
    """Only what says whose migration it is."""
    meta = migration["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion")
    vm = (migration["spec"]["source"].get("vm") or {}).get("name")
    return {
        "metadata": {**{key: meta[key] for key in kept}, "annotations": meta.get("annotations") or {}},
        "spec": {"source": {"vm": {"name": vm}}},
    }


def _slim_vmim(vmim: Object) -> Object:
    """Without conditions, the copied migration state and managedFields."""
    meta = vmim["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
    return {
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"vmiName": (vmim.get("spec") or {}).get("vmiName")},
        "status": {"phase": (vmim.get("status") or {}).get("phase")},
    }
