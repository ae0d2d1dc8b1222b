"""What the API server is told of each kind beside its schema: names, scope, and the columns that kubectl prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mdev_api.kinds.common import GROUP, VERSION, ApiObject
from mdev_api.kinds.compatibility_class import CompatibilityClass
from mdev_api.kinds.device_migration import DeviceMigration
from mdev_api.kinds.device_model import DeviceModel
from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kinds.node_reservations import NodeReservations
from mdev_api.manifests.structural import ManifestError, structural_schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of ``kubectl get``. ``wide``: only with ``-o wide``."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """One kind: its model, its names and its columns."""

    model: type[ApiObject]
    plural: str
    short: str
    namespaced: bool = False
    columns: tuple[Column, ...]


def _condition(name: str, description: str, *, reason: bool = False, wide: bool = False) -> Column:
    member, suffix = ("reason", " reason") if reason else ("status", "")
    path = f'.status.conditions[?(@.type=="{name}")].{member}'
    return Column(name=f"{name}{suffix}".title(), path=path, description=description, wide=wide)


_AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date", description="Time since creation.")

DEFINITIONS = (
    Definition(
        model=DeviceModel,
        plural="devicemodels",
        short="dmodel",
        columns=(
            Column(name="Model", path=".spec.model", description="The device model."),
            _condition("Valid", "Whether the operator can use it."),
            Column(
                name="Profiles",
                path=".status.matchedProfiles",
                type="integer",
                description="Device profiles that are of this model by this object.",
            ),
            _AGE,
        ),
    ),
    Definition(
        model=DeviceProfile,
        plural="deviceprofiles",
        short="dprofile",
        columns=(
            Column(name="Driver", path=".spec.driver.name", description="The kernel driver."),
            Column(name="Type", path=".spec.type.id", description="The type of device."),
            Column(name="Model", path=".status.model", description="The device model, as the operator reads it."),
            _condition("Resolved", "Whether model and parameters are known."),
            Column(name="From", path=".status.from", wide=True, description="Who says which model it is."),
            _condition("Suspect", "Whether a device refused an allowed value lately.", wide=True),
            _AGE,
        ),
    ),
    Definition(
        model=NodeDevices,
        plural="nodedevices",
        short="ndevices",
        columns=(
            Column(name="Parents", path=".status.parents[*].name", description="Devices that offer types."),
            _condition("Healthy", "Whether the agent could see everything."),
            Column(name="Boot", path=".status.bootID", wide=True, description="The boot that this was seen in."),
            _AGE,
        ),
    ),
    Definition(
        model=NodeReservations,
        plural="nodereservations",
        short="nreservations",
        columns=(
            Column(name="Roles", path=".spec.reservations[*].role", description="What devices are held for."),
            Column(name="Intents", path=".spec.reservations[*].intent", description="What the agent is to do."),
            Column(name="States", path=".status.reservations[*].state", description="The agent's answers."),
            Column(
                name="Tainted",
                path='.status.reservations[?(@.state=="Tainted")].id',
                description="A reservation whose undo failed: its device is kept until an undo succeeds.",
            ),
            Column(
                name="Waiting",
                path=".status.reservations[*].waiting",
                wide=True,
                description="Why an undo or a removal does not go on.",
            ),
            Column(
                name="Fence", path=".spec.fence", type="integer", wide=True, description="The fence of the last writer."
            ),
            _AGE,
        ),
    ),
    Definition(
        model=DeviceMigration,
        plural="devicemigrations",
        short="dmigration",
        namespaced=True,
        columns=(
            Column(name="Mode", path=".spec.mode", description="Plan or Prepare."),
            _condition("Planned", "Whether a destination is known."),
            _condition("Ready", "Whether the destination is prepared."),
            Column(name="Node", path=".status.node", description="The destination."),
            _condition("Overdue", "Whether something is held that ought not to be."),
            _condition("Finished", "How it ended.", reason=True),
            _condition("Overdue", "Why it is held.", reason=True, wide=True),
            _condition("Ready", "Why it is ready, or not.", reason=True, wide=True),
            _AGE,
        ),
    ),
    Definition(
        model=CompatibilityClass,
        plural="compatibilityclasses",
        short="cclass",
        columns=(
            Column(name="Model", path=".status.model", description="The device model."),
            Column(
                name="In use",
                path='.status.conditions[?(@.type=="InUse")].status',
                description="Whether a device or an unfinished migration is of this class.",
            ),
            Column(name="Nodes", path=".status.nodes", type="integer", description="Nodes that accept the class."),
            Column(
                name="Available",
                path=".status.available",
                type="integer",
                description="Devices of the class that could be had now.",
            ),
            Column(name="Label", path=".status.label", wide=True, description="The node label of the class."),
            _AGE,
        ),
    ),
)


def manifest(definition: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    kind = definition.model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if definition.namespaced else "Cluster",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": definition.plural,
                "singular": kind.lower(),
                "shortNames": [definition.short],
                "categories": ["mdev"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in definition.columns],
                    "schema": {"openAPIV3Schema": _root(definition.model)},
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    content = {"name": column.name, "type": column.type, "jsonPath": column.path, "description": column.description}
    return content | ({"priority": 1} if column.wide else {})


def _root(model: type[ApiObject]) -> dict[str, Any]:
    """The schema of the whole object: type and metadata are the API server's, spec and status ours."""
    whole = structural_schema(model)
    halves = [name for name in ("spec", "status") if name in model.model_fields]
    properties = {name: whole["properties"][name] for name in halves}
    described = {"description": properties["status"]["description"]}
    properties["status"] = structural_schema(_half(model, "status"), defaults=False) | described
    return {
        "description": whole["description"],
        "type": "object",
        "required": [name for name in halves if name == "spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **properties,
        },
        **{key: value for key, value in whole.items() if key.startswith("x-kubernetes-")},
    }


def _half(model: type[ApiObject], name: str) -> type[BaseModel]:
    annotation = model.model_fields[name].annotation
    choices = [annotation, *getattr(annotation, "__args__", ())]
    found = [choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel)]
    if len(found) != 1:
        raise ManifestError(f"{model.__name__}.{name}: one model is expected, not {annotation}")
    return found[0]
