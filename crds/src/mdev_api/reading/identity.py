"""``byIdentity``: hardware that nobody has described moves only to what is equal in everything that is known of it.

Each thing that a profile says becomes a parameter of type str, without off value and with its own value as the only
allowed one, so a difference in any of them, or one that only one side has, is a reason against it. In this order, where
the profile has it:

* ``backend``, ``driver.name``, ``driver.version``
* ``type.id``, ``type.name``, ``type.deviceAPI``
* ``hardware.vendor``, ``hardware.device``, ``hardware.subsystemVendor``, ``hardware.subsystemDevice``
* ``attributes.<name>`` for every attribute, ``facts.<name>`` for every fact

Not among them is what an instance's own files hold (``NodeDevices`` shows it in ``attributes``): a profile does not
know of it. Nor is anything that neither sysfs nor a facts file tells.

A parameter's name may not hold what an attribute's may (``=``, ``/``, white space): such characters, and ``%``, are
written as ``%`` and two hexadecimal digits for each byte. A value may hold no newline and no NUL: those and the
backslash are written ``\\n``, ``\\0`` and ``\\\\``. A value that is longer than an allowed value may be is compared by
its digest, ``sha256:...``. Each of these is one to one, so unequal texts never become equal.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from mdev_api.engine.metadata import ValueType
from mdev_api.kinds.device_profile import DeviceProfileSpec
from mdev_api.kinds.values import ReadParameter
from mdev_api.names import parameter_name_fault

MAX_PARAMETERS = 64
MAX_VALUE = 256
"""Characters of an allowed value in the API."""

_DIGEST = "sha256:"
_ESCAPED = str.maketrans({"\\": "\\\\", "\n": "\\n", "\0": "\\0"})
_NOT_IN_NAMES = re.compile(r"[=/%\s\x00-\x1f\x7f-\x9f]")


class IdentityFault(Exception):  # noqa: N818 (it says why a profile has no identity: an answer, not an accident)
    """Something that is known of the profile cannot stand in a parameter; without it equality would prove nothing."""


def identity_of(spec: DeviceProfileSpec) -> tuple[ReadParameter, ...]:
    """Everything known of the profile, as parameters. Raises IdentityFault rather than leave anything out."""
    parameters = tuple(_parameter(name, text) for name, text in _known(spec))
    if len(parameters) > MAX_PARAMETERS:
        message = f"{len(parameters)} things are known of it, and at most {MAX_PARAMETERS} can be compared"
        raise IdentityFault(message)
    return parameters


def _known(spec: DeviceProfileSpec) -> Iterator[tuple[str, str]]:
    content: dict[str, Any] = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    yield "backend", spec.backend
    for group in ("driver", "type", "hardware"):
        for member, text in content.get(group, {}).items():
            yield f"{group}.{member}", text
    for group in ("attributes", "facts"):
        for entry in sorted(content[group], key=lambda entry: str(entry["name"])):
            yield f"{group}.{_NOT_IN_NAMES.sub(_percent, entry['name'])}", entry["value"]


def _parameter(name: str, text: str) -> ReadParameter:
    fault = parameter_name_fault(name)
    if fault is not None:
        raise IdentityFault(fault)
    value = _value(text)
    return ReadParameter(name=name, type=ValueType.STR, init_value=value, allowed_values=(value,))


def _value(text: str) -> str:
    shown = text.translate(_ESCAPED)
    if len(shown) <= MAX_VALUE and not shown.startswith(_DIGEST):
        return shown
    return _DIGEST + hashlib.sha256(text.encode()).hexdigest()


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode())
