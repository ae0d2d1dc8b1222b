"""What is to move? From a DeviceMigration's ``spec.source`` to the engine's source, or why there is none yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mdev_api.engine.metadata import Source
from mdev_api.hashing import reading_digest
from mdev_api.kinds.device_migration import Binding, DeviceMigration, ExplicitDevice
from mdev_api.kinds.node_devices import NodeDevicesStatus, NodeInstance
from mdev_api.kinds.node_reservations import Intent, Role
from mdev_api.meaning import source_of
from mdev_operator.inventory.cluster import Cluster, VmView, instance_of
from mdev_operator.migration.versions import source_of_version


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceDevice:
    """A source that can be planned with. Node, instance and the rest are None for an explicit one.

    ``digest`` is of the reading that ``source`` was made from, as the source's own agent computes it. ``resource``: the
    extended resource that whoever takes the device at the destination will ask for; None: nobody asks by a resource.
    """

    name: str
    source: Source
    node: str | None = None
    instance: str | None = None
    profile: str | None = None
    type: str | None = None
    boot_id: str | None = None
    digest: str | None = None
    resource: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoSource:
    """Why there is no source now; looked at again when something changes. ``reason`` is the condition's."""

    reason: str
    message: str


def read_sources(
    migration: DeviceMigration, cluster: Cluster, vm: VmView | NoSource | None = None
) -> tuple[SourceDevice, ...] | NoSource:
    """The devices as the cluster shows them now, in the order of the spec; all of them are on one node, or on none.

    ``vm``: what ``source.vm`` names, looked up before; else None.
    """
    source = migration.spec.source
    if source.vm is not None:
        if isinstance(vm, NoSource):
            return vm
        if vm is None:
            message = f"source.vm {source.vm.name}: the VirtualMachineInstance was not looked up"
            return NoSource(reason="SourceNotFound", message=message)
        return _all((_from_vm(migration, vm, cluster),))
    if source.explicit is not None:
        return _from_explicit(migration, source.explicit, cluster)
    assert source.node is not None
    late = _several_late(migration, len(source.node.devices))
    if late is not None:
        return late
    node, names = source.node.name, enumerate(source.node.devices)
    return _all(tuple(_from_node(migration, node, name, cluster, index) for index, name in names))


def _all(found: tuple[SourceDevice | NoSource, ...]) -> tuple[SourceDevice, ...] | NoSource:
    """All of them, or why the first that is none is none."""
    missing = next((one for one in found if isinstance(one, NoSource)), None)
    return missing if missing is not None else tuple(one for one in found if isinstance(one, SourceDevice))


def _several_late(migration: DeviceMigration, count: int) -> NoSource | None:
    if migration.spec.binding is not Binding.LATE or count == 1:
        return None
    message = (
        f"{count} devices with binding Late: there the kubelet picks the device of a VM that KubeVirt moves, and "
        "KubeVirt moves none with more than one; use binding Early"
    )
    return NoSource(reason="NotSupported", message=message)


def _from_explicit(
    migration: DeviceMigration, devices: tuple[ExplicitDevice, ...], cluster: Cluster
) -> tuple[SourceDevice, ...] | NoSource:
    if migration.spec.binding is Binding.LATE:
        message = (
            "binding Late holds a device of an extended resource, and an explicit source has none; "
            "use binding Early, or name a VM or a device that a device plugin serves"
        )
        return NoSource(reason="NotSupported", message=message)
    models = cluster.models.values()
    return _all(tuple(_usable(SourceDevice(name=d.name, source=source_of_version(d, models))) for d in devices))


def _from_vm(migration: DeviceMigration, vm: VmView, cluster: Cluster) -> SourceDevice | NoSource:
    """The instance that the kubelet of the VM's node gave to the VM's pod."""
    fault = _node_fault(f"VM {vm.name} runs on", vm.node, cluster)
    if fault is not None:
        return fault
    status = cluster.devices[vm.node].status
    assert status is not None
    pod = (vm.pod_namespace, vm.pod_name)
    served = [s for s in status.serving if (s.pod_namespace, s.pod_name) == pod and s.resource == vm.resource]
    if not served:
        return _nothing_served(vm, status)
    if len(served) > 1:
        what = ", ".join(s.instance for s in served)
        message = f"VM {vm.name} has {len(served)} devices of {vm.resource} ({what}), and one can be moved"
        return NoSource(reason="NotSupported", message=message)
    found = _from_node(migration, vm.node, served[0].instance, cluster)
    return found if isinstance(found, NoSource) else replace(found, resource=vm.resource)


def _nothing_served(vm: VmView, status: NodeDevicesStatus) -> NoSource:
    message = f"node {vm.node} publishes no device of {vm.resource} that pod {vm.pod_namespace}/{vm.pod_name} has"
    if not status.serving and not status.slots:
        message += "; it publishes none for any pod: its agent must ask the kubelet (--kubelet-dir)"
    return NoSource(reason="DeviceNotFound", message=message)


def _node_fault(what: str, node: str, cluster: Cluster) -> NoSource | None:
    devices = cluster.devices.get(node)
    if devices is None or devices.status is None or devices.status.boot_id is None:
        return NoSource(
            reason="SourceNotFound",
            message=f"{what} {node}: there is no NodeDevices of this name with a status; "
            "check the node's name, and that the node agent runs there",
        )
    silent = cluster.silent(node)
    return NoSource(reason="SourceStale", message=silent) if silent is not None else None


def _from_node(
    migration: DeviceMigration, node: str, device: str, cluster: Cluster, index: int = 0
) -> SourceDevice | NoSource:
    fault = _node_fault("source.node", node, cluster)
    if fault is not None:
        return fault
    status = cluster.devices[node].status
    assert status is not None and status.boot_id is not None
    instance = cluster.instance(node, device)
    if instance is None:
        return _unknown_device(node, device, status)
    busy = _held_by_another(migration, node, instance.id, cluster)
    if busy is not None:
        return busy
    view = cluster.profiles.get(instance.profile)
    if view is None or view.metadata is None:
        message = f"device {instance.id} refers to DeviceProfile {instance.profile}, which is missing or not read yet"
        return NoSource(reason="Unreadable", message=message)
    resource = next((s.resource for s in status.serving if s.instance == instance.id), None)
    if migration.spec.binding is Binding.LATE and resource is None:
        message = (
            f"binding Late holds a device of the resource that the source is of, and node {node} publishes no resource "
            f"for {device}: no pod has it; use binding Early"
        )
        return NoSource(reason="NotSupported", message=message)
    return _usable(
        SourceDevice(
            name=f"device-{index}",
            source=source_of(instance, view.profile),
            node=node,
            instance=instance.id,
            profile=instance.profile,
            type=instance.type,
            boot_id=status.boot_id,
            digest=digest_of(status.boot_id, instance),
            resource=resource if migration.spec.binding is Binding.LATE else None,
        )
    )


def digest_of(boot_id: str, instance: NodeInstance) -> str:
    """The digest of what NodeDevices shows of an instance; its agent computes the same of what it reads afresh."""
    return reading_digest(
        boot_id=boot_id,
        instance=instance.id,
        profile=instance.profile,
        values=instance.values,
        attributes=instance.attributes,
        unreadable=[u.name for u in instance.unreadable],
    )


def _unknown_device(node: str, device: str, status: NodeDevicesStatus) -> NoSource:
    there = [i.id for i in status.instances]
    shown = ", ".join(there[:5]) + (f" and {len(there) - 5} more" if len(there) > 5 else "")
    known = f"it has {shown}" if there else "it has none"
    return NoSource(reason="DeviceNotFound", message=f"node {node} has no device {device}; {known}")


def _held_by_another(migration: DeviceMigration, node: str, instance: str, cluster: Cluster) -> NoSource | None:
    for held in cluster.held_on(node):
        owner = held.entry.owner
        if owner.uid == migration.metadata.uid or held.entry.role is Role.POOL_MEMBER:
            continue
        if instance_of(held) == instance:
            what = f"{owner.kind} {owner.namespace}/{owner.name}" if owner.namespace else f"{owner.kind} {owner.name}"
            message = f"device {instance} is held by {what} as {held.entry.role}"
            if held.entry.intent is not Intent.HOLD:
                # The API server lets nobody else have it before that entry is gone.
                message += f"; that was told {held.entry.intent}, and the agent of node {node} has not ended it yet"
            return NoSource(reason="SourceBusy", message=message)
    return None


def _usable(device: SourceDevice) -> SourceDevice | NoSource:
    source = device.source
    where = f"device {device.instance} of node {device.node}" if device.node else f"explicit device {device.name}"
    if source.fault is not None:
        return NoSource(reason="SchemaError", message=f"{where}: {source.fault}")
    if source.unknown_version is not None:
        return NoSource(reason="UnknownVersion", message=f"{where}: {source.unknown_version}")
    if source.model is None:
        return NoSource(
            reason="NoModel",
            message=f"{where}: neither its driver nor a DeviceModel names a device model; "
            f"a DeviceModel that matches profile {device.profile} would",
        )
    for parameter in source.parameters:
        if parameter.fault is not None:
            return NoSource(reason="SchemaError", message=f"{where}: {parameter.name}: {parameter.fault}")
        if parameter.value is None:
            why = parameter.unreadable or "no value"
            return NoSource(reason="Unreadable", message=f"{where}: {parameter.name} cannot be read: {why}")
    return device
