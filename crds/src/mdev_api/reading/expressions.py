"""CEL over a profile: compiled in a typed environment, so a misspelt member is found when the DeviceModel is written.

Each member is a variable of its own (``profile.type.id``), which lets the compiler check names and types; members that
a profile does not have read as the empty string. ``profile.attributes`` and ``profile.facts`` are maps of raw text:
``'ecc' in profile.facts`` and ``has(profile.facts.ecc)`` ask whether one is there, and taking one that is not is an
evaluation error. There is no variable ``profile`` as such.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel

from mdev_api.kinds.device_profile import DeviceProfileSpec

_MEMBERS = (
    *("backend", "driver.name", "driver.version", "type.id", "type.name", "type.deviceAPI"),
    *("hardware.vendor", "hardware.device", "hardware.subsystemVendor", "hardware.subsystemDevice"),
)
_COMPILER_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_CODE = re.compile(r"^[A-Z_]+: ")
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]\s*$")
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")
MAX_COPIES = 1000
"""Of one text, in one evaluation: loops, each of which may add its variable to itself or list it several times."""

Variables = Mapping[str, Any]


class InvalidExpressionError(ValueError):
    """An expression that cannot be compiled; the message starts with line:column."""


class EvaluationError(Exception):
    """An expression that gives no result for this profile."""


class Expression:
    """A compiled expression."""

    def __init__(self, text: str, *, condition: bool = False) -> None:
        """Compile ``text``; a ``condition`` must give true or false. Raises InvalidExpressionError."""
        _check_growth(text)
        try:
            self._compiled = _environment().compile(text)
        except RuntimeError as error:
            raise InvalidExpressionError(_positions(str(error))) from None
        result = self._compiled.return_type()
        if condition and result not in (cel.Type.BOOL, cel.Type.DYN):
            raise InvalidExpressionError(f"1:1: the result is a {result.name()}: true or false is expected")

    def evaluate(self, variables: Variables) -> object:
        """The result as a Python value (bool, int, str, list, ...). Raises EvaluationError."""
        try:
            result = self._compiled.eval(data=variables)
        except RuntimeError as error:  # beyond the library's budget
            raise EvaluationError(f"it is not evaluated to its end: {_STATUS.sub('', str(error))}") from None
        if result.type() == cel.Type.ERROR:
            raise EvaluationError(_CODE.sub("", str(result.plain_value())))
        value: object = result.plain_value()
        return value


def variables_of(spec: DeviceProfileSpec) -> Variables:
    """What expressions see of a profile. Raises EvaluationError for a text with NUL: CEL would see it cut short."""
    content = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    members: dict[str, Any] = {f"profile.{path}": _member(content, path) for path in _MEMBERS}
    members["profile.attributes"] = {text.name: text.value for text in spec.attributes}
    members["profile.facts"] = {text.name: text.value for text in spec.facts}
    for name, value in members.items():
        texts = [*value, *value.values()] if isinstance(value, dict) else [value]
        if any("\0" in text for text in texts):
            raise EvaluationError(f"{name} has a NUL character, which no expression can read")
    return members


def _member(content: Mapping[str, Any], path: str) -> str:
    found: Any = content
    for name in path.split("."):
        found = found.get(name, {})
    return found or ""


@cache
def _environment() -> Any:
    texts = cel.Type.Map(cel.Type.STRING, cel.Type.STRING)
    members = {f"profile.{path}": cel.Type.STRING for path in _MEMBERS}
    return cel.NewEnv(variables={**members, "profile.attributes": texts, "profile.facts": texts})


def _check_growth(text: str) -> None:
    """Count what could double: additions and commas, shared out evenly among the loops, are the worst there is."""
    loops = list(_LOOP.finditer(text))
    if not loops:
        return
    repeats = text.count("+") + text.count(",")
    if (repeats / len(loops) + 1) ** len(loops) > MAX_COPIES:
        at = loops[-1].start(1)
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        message = f"{len(loops)} loops with {repeats} + and commas could make too much of a text: write it in parts"
        raise InvalidExpressionError(f"{line}:{column}: {message}")


def _positions(text: str) -> str:
    found = _COMPILER_ERROR.findall(text)
    if not found:
        return f"1:1: {_STATUS.sub('', text)}"
    return "; ".join(
        f"{max(int(line), 1)}:{max(int(column), 1)}: {said.replace(chr(32) + '(in container ' + chr(39) * 2 + ')', '')}"
        for line, column, said in found
    )
