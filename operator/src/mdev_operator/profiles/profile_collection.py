"""A DeviceProfile that nothing has named for a day is deleted.

Hardware and drivers come and go, and each new sight is another profile. What counts as a reference is what a decision
would look up: offers and instances in NodeDevices, devices in NodeReservations. The delete holds only for the version
that was seen. An agent that begins to name the profile in the same moment does not write it, so its reference may
dangle for a while (ProfileMissing); agents check theirs after each relist and hourly, and create what is missing.

For how long nothing named it is counted by this process; a new leader counts a new day.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import delete
from mdev_api.kube.resources import DEVICE_PROFILES
from mdev_operator.context import Context
from mdev_operator.inventory.absences import Absences
from mdev_operator.inventory.cluster import Cluster
from mdev_operator.migration.entries import profile_of

log = structlog.get_logger(__name__)

KEY = "unreferenced/profiles"


def referenced(cluster: Cluster) -> frozenset[str]:
    """Names of all profiles that something refers to."""
    return frozenset(_references(cluster))


def _references(cluster: Cluster) -> Iterator[str]:
    for devices in cluster.devices.values():
        if devices.status is None:
            continue
        for parent in devices.status.parents:
            yield from (offer.profile for offer in parent.offers)
        yield from (instance.profile for instance in devices.status.instances)
    for reservations in cluster.reservations.values():
        yield from (name for e in reservations.spec.reservations if (name := profile_of(e)) is not None)


def due(cluster: Cluster, unreferenced: Absences) -> tuple[str, ...]:
    """Profiles that nothing has named for long enough; takes in what is unreferenced now."""
    missed = set(cluster.profiles) - referenced(cluster)
    unreferenced.keep_only(missed)
    return tuple(sorted(name for name in missed if unreferenced.missed(name) == 0))


async def collect_profiles(ctx: Context) -> None:
    """One look at all profiles; comes back by itself."""
    ctx.queue.add_after(KEY, ctx.unreferenced.interval)
    cluster = ctx.inventory.cluster()
    for name, meta in [(n, cluster.profiles[n].profile.metadata) for n in due(cluster, ctx.unreferenced)]:
        if name in referenced(ctx.inventory.cluster()):
            continue
        try:
            await ctx.send(delete(DEVICE_PROFILES, name, uid=meta.uid, resource_version=meta.resource_version))
        except ApiError as error:
            if not (error.conflict or error.not_found):
                raise
            continue
        log.info("deleted a profile that nothing refers to", profile=name)
