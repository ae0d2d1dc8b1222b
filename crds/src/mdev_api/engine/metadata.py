"""What the engine compares: device models, migration parameters, sources and offers, as plain values.

Every parameter value is *canonical text* beside its type (``on``/``off``; ``(0|[1-9][0-9]*)``; the string itself).
Canonical text is unique per typed value, so values are compared as text and ``True == 1`` cannot happen.
Whoever builds these objects has parsed and checked already (:mod:`mdev_api.values`); what did not pass carries a
``fault`` sentence and the engine answers SchemaError for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ValueType(StrEnum):
    """Type of a migration parameter (RFC v3, "Migration Parameters")."""

    BOOL = "bool"
    INT = "int"
    STR = "str"


class WriteStrategy(StrEnum):
    """``Direct``: each value at most once, equal ones not at all. ``OffFirst``: every off value, then the list."""

    DIRECT = "Direct"
    OFF_FIRST = "OffFirst"


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """The values that a parameter may take: single canonical texts, and for int inclusive ranges (min, max)."""

    texts: frozenset[str] = frozenset()
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter as an offer defines it. ``allowed`` None: any value of the type; ``off`` None: cannot be disabled.

    ``type`` and ``init`` are None only where ``fault`` says what is wrong (design: SchemaError of that parameter).
    ``has_file`` False: no file of the instance holds it, so nobody can write it, and init is all it may be.
    """

    name: str
    type: ValueType | None
    init: str | None
    off: str | None = None
    allowed: Allowed | None = None
    runtime_writable: bool | None = None
    has_file: bool = True
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """Model and parameters of one offer, in the order of definition. ``fault``: SchemaError of the whole.

    ``model`` None without a fault: nobody names one (NoModel); with a fault: it could not be understood (SchemaError).
    ``parameters_known`` False: the fault hides the definitions, so that one is absent here says nothing.
    ``write_strategy``: how values get to an instance (:func:`mdev_api.engine.writing.writes_to`).
    """

    model: str | None
    parameters: tuple[Parameter, ...] = ()
    fault: str | None = None
    parameters_known: bool = True
    write_strategy: WriteStrategy = WriteStrategy.DIRECT


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceParameter:
    """One parameter of the source device. ``value`` None: unreadable, and ``unreadable`` says why."""

    name: str
    type: ValueType | None
    value: str | None
    off: str | None = None
    unreadable: str | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The device that is to move: its model (None: nobody named one) and its own parameters.

    ``model`` None with a ``fault``: a model was named and could not be understood (SchemaError, not NoModel).
    ``unknown_version``: why the version that was named says nothing (UnknownVersion); ``parameters`` are then only
    those that were given beside it, and that one is absent here says nothing.
    """

    model: str | None
    parameters: tuple[SourceParameter, ...] = ()
    fault: str | None = None
    unknown_version: str | None = None


class Verdict(StrEnum):
    """Incompatible beats Unknown beats Compatible."""

    COMPATIBLE = "Compatible"
    INCOMPATIBLE = "Incompatible"
    UNKNOWN = "Unknown"


class Code(StrEnum):
    """Reason codes of a verdict (design section 4, point 2)."""

    MODEL_MISMATCH = "ModelMismatch"
    UNKNOWN_PARAMETER = "UnknownParameter"
    TYPE_MISMATCH = "TypeMismatch"
    VALUE_NOT_ALLOWED = "ValueNotAllowed"
    CANNOT_DISABLE = "CannotDisable"
    OFF_VALUE_NOT_ALLOWED = "OffValueNotAllowed"
    OFF_VALUE_MISMATCH = "OffValueMismatch"
    NO_MODEL = "NoModel"
    UNREADABLE = "Unreadable"
    STALE = "Stale"
    UNKNOWN_VERSION = "UnknownVersion"
    SCHEMA_ERROR = "SchemaError"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Reason:
    """One finding: at most one per (code, parameter); parameter None where none is meant."""

    code: Code
    parameter: str | None = None
    message: str = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """One value to be written to a device, canonical text."""

    parameter: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What :func:`mdev_api.engine.verdict.compare` says of one source and one offer.

    ``parameter_list`` always comes from the source alone; ``desired`` (every destination parameter) and ``writes``
    (what the destination's write strategy makes of it, in order) are empty unless Compatible.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    parameter_list: dict[str, str]
    desired: dict[str, str]
    writes: tuple[Write, ...]
