"""Peace with virt-handler: which mdevs would it delete, and does it call the agents before a VM opens its device?

On every heartbeat virt-handler deletes each mdev of its node whose type it neither makes itself
(``mediatedDevicesConfiguration``, for all nodes or by node labels) nor was told to leave alone (an entry of
``permittedHostDevices.mediatedDevices`` with ``externalResourceProvider: true``), whoever made it and whether it was
just prepared for a VM. So nothing is created that it would sweep, and people are told the entry to add. The rules are
those of KubeVirt 1.9: a type goes by the text of its ``name`` file, blanks as ``_``, or by its id; entries with
``externalResourceProvider`` are normalised in the same way, types to be made are compared as they are written.
Later versions delete less; for them a refusal here is too strict, and the same entry settles it.

The other half is binding Late: the device that the kubelet picked is verified and written by the agent, which
virt-handler calls as a ``Plugin`` node hook ``PreMigrationTarget``. Where it is not called, devices must be right
already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mdev_api.kube.resources import Resource

Object = Mapping[str, Any]

PLUGINS = Resource(group="plugin.kubevirt.io", version="v1alpha1", plural="plugins", kind="Plugin", namespaced=False)

HOOK_PLUGIN = "mdev-operator"
"""Name of the Plugin object that has virt-handler call the node agents."""

HOOK = "PreMigrationTarget"

VIRT_HANDLER_LABEL = "kubevirt.io/schedulable"
"""virt-handler writes this label (true or false) on each node that it runs on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """An entry of ``permittedHostDevices.mediatedDevices``. ``external``: virt-handler leaves its mdevs alone."""

    selector: str
    resource: str
    external: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeTypes:
    """Types that virt-handler makes on nodes with these labels, instead of those for all nodes."""

    labels: Mapping[str, str]
    types: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class KubeVirtConfig:
    """What matters of the KubeVirt CR and of Plugins.

    ``handles_mdevs``: virt-handler makes and deletes mdevs. ``types``: what it makes where ``node_types`` says nothing.
    ``no_hook``: why the agents are not called before a VM opens its device; None: they are.
    """

    name: str
    handles_mdevs: bool = True
    declared: tuple[Declared, ...] = ()
    types: tuple[str, ...] = ()
    node_types: tuple[NodeTypes, ...] = ()
    no_hook: str | None = None

    def shown(self) -> dict[str, Any]:
        """For the log: what virt-handler leaves alone and makes, and whether it calls the agents."""
        return {
            "kubevirt": self.name,
            "deletes_mdevs": self.handles_mdevs,
            "leaves_alone": sorted(d.selector for d in self.declared if d.external),
            "makes": sorted({*self.types, *(t for n in self.node_types for t in n.types)}),
            "agents_called": "yes" if self.no_hook is None else f"no: {self.no_hook}",
        }


def config_of(kubevirt: Object, plugins: Iterable[Object]) -> KubeVirtConfig:
    """Read the KubeVirt CR and the Plugins."""
    meta = kubevirt["metadata"]
    configuration = (kubevirt.get("spec") or {}).get("configuration") or {}
    mdevs = configuration.get("mediatedDevicesConfiguration") or {}
    permitted = (configuration.get("permittedHostDevices") or {}).get("mediatedDevices") or []
    gates = _gates(configuration)
    return KubeVirtConfig(
        name=f"{meta['namespace']}/{meta['name']}",
        handles_mdevs=mdevs.get("enabled", True) is not False and "DisableMDEVConfiguration" not in gates,
        declared=tuple(
            Declared(
                selector=d.get("mdevNameSelector") or "",
                resource=d.get("resourceName") or "",
                external=d.get("externalResourceProvider") is True,
            )
            for d in permitted
        ),
        types=_types(mdevs),
        node_types=tuple(
            NodeTypes(labels=n.get("nodeSelector") or {}, types=_types(n))
            for n in mdevs.get("nodeMediatedDeviceTypes") or []
        ),
        no_hook=_no_hook(gates, plugins),
    )


def swept(
    type_id: str,
    type_name: str | None,
    config: KubeVirtConfig,
    node_labels: Mapping[str, str],
    resource: str | None = None,
) -> str | None:
    """Why virt-handler would delete an mdev of this type on a node with these labels, and the line to add, or None.

    ``resource``: the extended resource that the entry to add should name, if one is known.
    """
    if not config.handles_mdevs or VIRT_HANDLER_LABEL not in node_labels:
        return None
    names = {_normal(type_id), *([_normal(type_name)] if type_name else [])}
    kept = {_normal(d.selector) for d in config.declared if d.external} | set(_made_on(config, node_labels))
    if names & kept:
        return None
    shown = type_name or type_id
    there = next((d for d in config.declared if _normal(d.selector) in names), None)
    line = _line(there.selector if there else shown, resource or (there.resource if there else _resource_for(shown)))
    what = "replace the entry of that selector by" if there else "add"
    return (
        f"virt-handler would delete an mdev of type {shown} within a minute; {what} this line in "
        f"KubeVirt {config.name}, spec.configuration.permittedHostDevices.mediatedDevices: {line}"
    )


def _made_on(config: KubeVirtConfig, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The types that virt-handler makes on such a node: those of all entries that select it, else the general ones."""
    chosen = [t for n in config.node_types if n.labels.items() <= labels.items() for t in n.types]
    return tuple(chosen) or config.types


def _line(selector: str, resource: str) -> str:
    quoted = f"mdevNameSelector: {json.dumps(selector)}, resourceName: {json.dumps(resource)}"
    return f"- {{{quoted}, externalResourceProvider: true}}"


def _resource_for(type_name: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", _normal(type_name)).strip("_.-") or "mdev"
    return f"mdev-operator.io/{name[:63]}"


def _normal(name: str) -> str:
    return name.replace(" ", "_").strip()


def _types(configured: Object) -> tuple[str, ...]:
    """The list, or if it is empty that of the deprecated spelling."""
    return tuple(configured.get("mediatedDeviceTypes") or configured.get("mediatedDevicesTypes") or ())


def _gates(configuration: Object) -> frozenset[str]:
    developer = configuration.get("developerConfiguration") or {}
    return frozenset(developer.get("featureGates") or ()) - frozenset(developer.get("disabledFeatureGates") or ())


def _no_hook(gates: frozenset[str], plugins: Iterable[Object]) -> str | None:
    if "Plugins" not in gates:
        return "KubeVirt's feature gate Plugins is off"
    plugin = next((p for p in plugins if p["metadata"]["name"] == HOOK_PLUGIN), None)
    if plugin is None:
        return f"there is no KubeVirt Plugin {HOOK_PLUGIN}"
    hooks = [h for h in (plugin.get("spec") or {}).get("nodeHooks") or [] if HOOK in (h.get("permittedHooks") or [])]
    if not hooks:
        return f"KubeVirt Plugin {HOOK_PLUGIN} has no node hook {HOOK}"
    if all(h.get("failureStrategy", "Fail") != "Fail" for h in hooks):
        return f"node hook {HOOK} of KubeVirt Plugin {HOOK_PLUGIN} does not stop a VM (failureStrategy is not Fail)"
    return None
