"""A running source that is given other values first, so that a destination fits (``sourceAdjustment: IfNeeded``).

The values are those of its pin, the Source entry: the agent writes them while the entry is on Hold, puts the old ones
back on Undo and keeps them on HandOver. As soon as it has written, the inventory shows the device with them. So what
to plan with is never taken from the inventory alone: the attempt under way is judged by the device as its pin will have
it, and the next one is planned for the device as it was before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mdev_api.engine.adjustment import adjusted
from mdev_api.engine.metadata import Write
from mdev_api.kinds.device_migration import Adjustment, MappedDevice
from mdev_api.kinds.node_reservations import DesiredValue, Intent, State
from mdev_operator.inventory.cluster import Cluster, Held
from mdev_operator.migration import entries
from mdev_operator.migration.decision import Situation
from mdev_operator.migration.device_map import at_source
from mdev_operator.migration.source import SourceDevice

Pins = Mapping[int, Held]


def pins_of(s: Situation) -> Pins:
    """The entries that pin the source devices now, by the device's position."""
    return {entries.index_of(h.entry): h for h in s.sources if h.entry.intent is Intent.HOLD}


def as_pinned(sources: Sequence[SourceDevice], pins: Pins) -> tuple[SourceDevice, ...]:
    """The devices as their pins will have them, whether that was written already or not."""
    return tuple(
        with_values(source, {v.name: v.value for v in pins[index].entry.values}) if index in pins else source
        for index, source in enumerate(sources)
    )


def as_before(sources: Sequence[SourceDevice], pins: Pins) -> tuple[SourceDevice, ...] | str:
    """The devices as they were before they were pinned, or which pin has not told yet."""
    found = []
    for index, source in enumerate(sources):
        pin = pins.get(index)
        if pin is None or not pin.entry.values:
            found.append(source)
            continue
        if pin.answer is None or pin.answer.state is not State.PREPARED:
            return f"waiting for the agent of node {pin.node} to adjust device {source.instance}"
        # Of several writes to one file the first knows what was there before.
        before = {w.name: w.from_value for w in reversed(pin.answer.writes)}
        found.append(with_values(source, before))
    return tuple(found)


def with_values(source: SourceDevice, values: Mapping[str, str]) -> SourceDevice:
    """The device with other values of some parameters; its digest stays that of what was read."""
    return replace(source, source=adjusted(source.source, values)) if values else source


def entry_values(cluster: Cluster, source: SourceDevice, writes: Iterable[Write]) -> tuple[DesiredValue, ...]:
    """The adjustment as the pin's values."""
    wanted = {write.parameter: write.value for write in writes}
    if not wanted:
        return ()
    return entries.desired_values(cluster.profiles[source.profile or ""].profile, wanted)


def mapped(source: SourceDevice, writes: Iterable[Write]) -> MappedDevice:
    """The device as the status tells it, with its adjustment and the class that it then has. ``source``: as it was."""
    values = {write.parameter: write.value for write in writes}
    changes = tuple(
        Adjustment(name=p.name, from_value=p.value, to=values[p.name])
        for p in source.source.parameters
        if p.name in values and p.value is not None
    )
    return at_source(with_values(source, values), changes)
