"""What is to move? From a DeviceMigration's ``spec.source`` to the engine's source, or why there is none yet."""

from __future__ import annotations

from dataclasses import dataclass

from mdev_api.engine.metadata import Source
from mdev_api.hashing import reading_digest
from mdev_api.kinds.device_migration import Binding, DeviceMigration, NodeSource
from mdev_api.kinds.node_devices import NodeDevices, NodeInstance
from mdev_api.kinds.node_reservations import Intent, Role
from mdev_api.meaning import explicit_source, source_of
from mdev_operator.cluster import Cluster, instance_of


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceDevice:
    """A source that can be planned with. Node, instance and the rest are None for an explicit one.

    ``digest`` is of the reading that ``source`` was made from, as the source's own agent computes it.
    """

    name: str
    source: Source
    node: str | None = None
    instance: str | None = None
    profile: str | None = None
    type: str | None = None
    boot_id: str | None = None
    digest: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoSource:
    """Why there is no source now; looked at again when something changes. ``reason`` is the condition's."""

    reason: str
    message: str


def read_source(migration: DeviceMigration, cluster: Cluster) -> SourceDevice | NoSource:
    """The source as the cluster shows it now."""
    source = migration.spec.source
    if migration.spec.binding is Binding.LATE:
        message = "binding Late needs a device plugin that this release does not speak with; use binding Early"
        return NoSource(reason="NotSupported", message=message)
    if source.vm is not None:
        return NoSource(
            reason="SourceNotFound",
            message=f"source.vm {source.vm.name}: this release does not look up VirtualMachineInstances; "
            "name the node and its device in source.node",
        )
    if source.explicit is not None:
        if len(source.explicit) > 1:
            return _several(len(source.explicit))
        device = source.explicit[0]
        return _usable(SourceDevice(name=device.name, source=explicit_source(device)))
    assert source.node is not None
    if len(source.node.devices) > 1:
        return _several(len(source.node.devices))
    return _from_node(migration, source.node, cluster)


def _several(count: int) -> NoSource:
    message = f"{count} devices: this release moves one device for each DeviceMigration; make one for each device"
    return NoSource(reason="NotSupported", message=message)


def _from_node(migration: DeviceMigration, wanted: NodeSource, cluster: Cluster) -> SourceDevice | NoSource:
    devices = cluster.devices.get(wanted.name)
    if devices is None or devices.status is None or devices.status.boot_id is None:
        return NoSource(
            reason="SourceNotFound",
            message=f"source.node {wanted.name}: there is no NodeDevices of this name with a status; "
            "check the node's name, and that the node agent runs there",
        )
    silent = cluster.silent(wanted.name)
    if silent is not None:
        return NoSource(reason="SourceStale", message=silent)
    instance = cluster.instance(wanted.name, wanted.devices[0])
    if instance is None:
        return _unknown_device(wanted, devices)
    busy = _held_by_another(migration, wanted.name, instance.id, cluster)
    if busy is not None:
        return busy
    view = cluster.profiles.get(instance.profile)
    if view is None or view.metadata is None:
        message = f"device {instance.id} refers to DeviceProfile {instance.profile}, which is missing or not read yet"
        return NoSource(reason="Unreadable", message=message)
    return _usable(
        SourceDevice(
            name="device-0",
            source=source_of(instance, view.profile),
            node=wanted.name,
            instance=instance.id,
            profile=instance.profile,
            type=instance.type,
            boot_id=devices.status.boot_id,
            digest=digest_of(devices.status.boot_id, instance),
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


def _unknown_device(wanted: NodeSource, devices: NodeDevices) -> NoSource:
    there = [i.id for i in devices.status.instances] if devices.status else []
    shown = ", ".join(there[:5]) + (f" and {len(there) - 5} more" if len(there) > 5 else "")
    known = f"it has {shown}" if there else "it has none"
    message = f"node {wanted.name} has no device {wanted.devices[0]}; {known}"
    return NoSource(reason="DeviceNotFound", message=message)


def _held_by_another(migration: DeviceMigration, node: str, instance: str, cluster: Cluster) -> NoSource | None:
    for held in cluster.held_on(node):
        owner = held.entry.owner
        if owner.uid == migration.metadata.uid or held.entry.role is Role.POOL_MEMBER:
            continue
        if instance_of(held) == instance and held.entry.intent is Intent.HOLD:
            what = f"{owner.kind} {owner.namespace}/{owner.name}" if owner.namespace else f"{owner.kind} {owner.name}"
            message = f"device {instance} is held by {what} as {held.entry.role}"
            return NoSource(reason="SourceBusy", message=message)
    return None


def _usable(device: SourceDevice) -> SourceDevice | NoSource:
    source = device.source
    where = f"device {device.instance} of node {device.node}" if device.node else f"explicit device {device.name}"
    if source.fault is not None:
        return NoSource(reason="SchemaError", message=f"{where}: {source.fault}")
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
