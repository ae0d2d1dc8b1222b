"""Which writes, in which order, turn the values that a device has into those that it is to have.

A device that has all values already is not touched, whatever the strategy: nothing that a pooled device holds is
released, and doing it again does nothing. Otherwise:

* ``Direct``: each parameter that differs gets its desired value, once.
* ``OffFirst`` (RFC v3 as first posted): every parameter of :func:`off_values` that has another value than off now gets
  its off value; then each that still differs from what it is to be gets that. So a parameter may be written twice, and
  one that is to be off, or was off already, at most once.

Both go through the parameters in the order of definition. The agent carries the same out from the entry alone
(:mod:`mdev_node_agent.deciding.configuring`); it reads back after each write, so parameters that act on each other
show.

Where the text as first posted writes *every* off value, an off value that the destination itself does not allow is left
out here: such a parameter cannot be switched off there (facts, section (a): "treat the parameter as not switchable"),
the write would only be refused, and any refused write ends an attempt. A parameter of the source's list needs no off
value, so the verdict stays Compatible and its value alone is written; where the off value *is* needed,
OffValueNotAllowed has said so before.
"""

from __future__ import annotations

from collections.abc import Mapping

from mdev_api.engine.metadata import Metadata, Write, WriteStrategy
from mdev_api.values import allows


def off_values(metadata: Metadata) -> dict[str, str]:
    """What OffFirst writes before the list: each parameter with a file that may be switched off. Direct: nothing.

    An off value that the device's own allowed values lack would only be refused, so that parameter keeps its value.
    """
    if metadata.write_strategy is not WriteStrategy.OFF_FIRST:
        return {}
    return {
        p.name: p.off
        for p in metadata.parameters
        if p.has_file and p.off is not None and p.type is not None and allows(p.allowed, p.type, p.off)
    }


def writes_to(metadata: Metadata, desired: Mapping[str, str], current: Mapping[str, str]) -> tuple[Write, ...]:
    """What turns ``current`` into ``desired``, in order. A parameter that is missing in ``current`` was not read."""
    if all(current.get(name) == text for name, text in desired.items()):
        return ()
    off = {name: text for name, text in off_values(metadata).items() if name in desired and current.get(name) != text}
    now = {**current, **off}
    rest = {name: text for name, text in desired.items() if now.get(name) != text}
    return tuple(Write(parameter=name, value=text) for name, text in (*off.items(), *rest.items()))
