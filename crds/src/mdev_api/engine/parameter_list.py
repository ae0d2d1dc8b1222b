"""The migration parameter list: what a destination must reproduce of this source (RFC v3, corrected by design 4.1).

A parameter is *listed* iff it has no off value or its value differs from it. One that is unreadable or has a fault is
not in the list; the verdict then says Unknown, so nothing that was left out here can be forgotten.
"""

from __future__ import annotations

from mdev_api.engine.metadata import Source, SourceParameter


def is_listed(parameter: SourceParameter) -> bool:
    """Is this parameter part of the list?"""
    return parameter.fault is None and parameter.value is not None and parameter.value != parameter.off


def parameter_list(source: Source) -> dict[str, str]:
    """Canonical text of every listed parameter, sorted by name: the same whatever the order of definition."""
    listed = {p.name: p.value for p in source.parameters if is_listed(p) and p.value is not None}
    return dict(sorted(listed.items()))
