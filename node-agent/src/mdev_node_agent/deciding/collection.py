"""The ledger's rule: what we made, nobody holds and nobody uses does not stay for ever.

An instance of the ledger that is in no reservation and provably unused for ten minutes is removed. Provably: every look
of these ten minutes said No; a single other answer, or a device that was not seen, begins them anew. What is not in
the ledger is never removed. Nothing is removed unless the API server's reservations are known, since a missing one
means Hold: only an object that was read and that has no such entry says that nobody holds the device.

A record of the journal whose reservation is gone ends when nothing of it is left to be taken back: it would keep its
place (a VF) from everybody else. While what was made is there and may be ours, the rule above comes first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mdev_node_agent.memory.ledger import Made
from mdev_node_agent.memory.record import Making, Record
from mdev_node_agent.seeing.in_use import InUse
from mdev_node_agent.seeing.sight import Sight

UNUSED_SECONDS = 600.0


def unused_since(
    earlier: Mapping[str, float], sight: Sight, made: Collection[str], held: Collection[str], now: float
) -> dict[str, float]:
    """Since when (seconds of a monotonic clock) each instance of the ledger is held and used by nobody."""
    idle = {
        instance
        for instance in made
        if instance not in held
        and sight.observation.instance(instance) is not None
        and sight.use(instance).state is InUse.NO
    }
    return {instance: earlier.get(instance, now) for instance in idle}


def to_remove(since: Mapping[str, float], now: float) -> tuple[str, ...]:
    """Instances whose ten minutes are over."""
    return tuple(sorted(instance for instance, began in since.items() if now - began >= UNUSED_SECONDS))


def needs_nothing(reservation: str, record: Record, sight: Sight, made: Mapping[str, Made]) -> bool:
    """Is nothing left of what was begun? ``sight`` began after ``record`` had become so; ``made``: the ledger.

    What was changed on a device that is there is remembered: whoever asks again for it to be undone needs the values.
    """
    if sight.is_leaving(record.instance):
        return False
    if record.making is Making.GONE or sight.is_gone(record.instance):
        return True
    if record.making is Making.NONE:
        return not record.writes
    seen, listed = sight.observation.instance(record.instance), made.get(record.instance)
    if seen is None or listed is None or listed.reservation != reservation:
        return False
    return bool(listed.type) and (seen.parent, seen.type) != (listed.parent, listed.type)
