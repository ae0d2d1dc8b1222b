"""One of several operators leads: election by a Lease, judged by one's own clock only.

Others' clocks are never believed. A candidate takes a held Lease only when it has itself watched it unchanged for the
time that the holder promised, by a clock that never jumps. The leader counts from *before* the request that renewed
the Lease, and gives up ``renew_deadline`` after that, earlier than anybody else may take over (``lease_duration``).
Every write of the Lease is a compare-and-swap on its resourceVersion, so two cannot take it at once.

That makes two leaders unlikely, not impossible: a process may sleep between its last look at the clock and a write
that is already on its way. Two things close the gap. ``still_leading`` compares the clock without waiting for anything
and is asked before each write, so a process that was stopped (SIGSTOP, a suspended machine) notices before it acts.
And ``leaseTransitions``, which grows with each change of the holder, is the fence that goes into every reservation: the
API server itself refuses an older one.

The clock is CLOCK_BOOTTIME: unlike CLOCK_MONOTONIC it goes on while the machine is suspended, when others went on too.
(A virtual machine that its hypervisor pauses notices by neither; there only the fence holds.)

An Elector leads once. When it has lost, all that led is ended, and a new one campaigns with a new identity.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import structlog

from mdev_api.kube.client import ApiError, Client, Unreachable
from mdev_api.kube.requests import create, get, replace
from mdev_api.kube.resources import LEASES
from mdev_api.kube.times import micro_time

log = structlog.get_logger(__name__)

_REQUEST_SHARE = 1 / 3
"""Part of the renew deadline that one request may take: a slow API server must not end the lead."""

_BELIEVED = 60.0
"""Seconds of a Retry-After that a candidate waits at most."""


class LeadershipLost(Exception):  # noqa: N818  (what happened, and no fault of this program)
    """This process does not lead any more and must not write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A time of leading. ``fence`` is the Lease's leaseTransitions: higher than that of every term before."""

    identity: str
    fence: int


def new_identity() -> str:
    """``host_uuid``: new in each process, so that a restarted leader is never taken for its predecessor."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def boot_time() -> float:
    """Seconds by a clock that never jumps and goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Elector:
    """Campaigns for the Lease ``namespace/name``.

    Use it as ``async with Elector(...) as elector: term = await elector.acquire()``. Leaving the block gives the Lease
    back, so that a successor need not wait; whatever writes must have ended by then. ``lost`` is set when leading ended
    in any other way; the owner stops everything then, within ``lease_duration - renew_deadline`` seconds.

    Needs 0 < retry_period < renew_deadline < lease_duration (seconds), else ValueError. A request is given less than a
    retry period. ``clock`` never jumps; ``now`` is the time of day, written for people only.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        clock: Callable[[], float] = boot_time,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not 0 < retry_period < renew_deadline < lease_duration:
            raise ValueError(
                "an election needs 0 < retry_period < renew_deadline < lease_duration, "
                f"not {retry_period:g}, {renew_deadline:g}, {lease_duration:g}"
            )
        self.lost = asyncio.Event()
        """Set when leading ended other than by ``release``; never cleared."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._lease_duration = lease_duration
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._clock = clock
        self._now = now
        self._lease: dict[str, Any] | None = None
        self._observed_at = 0.0
        self._renewed_at: float | None = None
        self._term: Term | None = None
        self._unheard: dict[str, float] = {}
        self._asked = 0.0
        self._writing = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None
        self._log = log.bind(lease=f"{namespace}/{name}", identity=identity)

    async def __aenter__(self) -> Elector:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    async def acquire(self) -> Term:
        """Wait until this process leads, however long; renewing goes on in the background from then on."""
        if self._term is not None or self.lost.is_set():
            raise RuntimeError("an Elector leads only once")
        while True:
            asked = 0.0
            try:
                if await self._campaign():
                    break
            except (ApiError, Unreachable) as error:
                asked = min(_retry_after(error), _BELIEVED)
                self._log.warning("cannot campaign, trying again", reason=str(error))
            await asyncio.sleep(max(self._retry_period * random.uniform(0.8, 1.2), asked))
        assert self._lease is not None
        self._term = Term(identity=self._identity, fence=_transitions(self._lease))
        self._renewing = asyncio.create_task(self._keep(), name=f"renew lease {self._namespace}/{self._name}")
        self._log.info("leading", fence=self._term.fence)
        return self._term

    def still_leading(self) -> bool:
        """Whether a write may begin now. Asks the clock alone, so it is right after any pause of this process."""
        return self._term is not None and not self.lost.is_set() and self._time_left() > 0

    async def raise_fence(self, above: int) -> Term:
        """Make leaseTransitions greater than ``above`` (it began anew when somebody deleted the Lease).

        Returns the term as it is then, tries again until it worked, and raises LeadershipLost.
        """
        while self.still_leading():
            assert self._term is not None
            if self._term.fence > above:
                return self._term
            if not await self._renew(fence=above + 1):
                await asyncio.sleep(self._pause())
        raise self._lose(f"the time was over before its fence could be raised above {above}")

    async def release(self) -> None:
        """Stop renewing and, if still leading, give the Lease back. Twice is harmless.

        A release that fails is logged: the Lease then expires by itself.
        """
        task, self._renewing = self._renewing, None
        if task is None:
            return
        may_release = self.still_leading()
        self._term = None
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        if may_release:
            try:
                await self._give_back()
                self._log.info("released the lease")
            except (ApiError, Unreachable) as error:
                self._log.warning("cannot release the lease, it will expire", reason=str(error))

    async def _give_back(self) -> None:
        # The renewal that was just cancelled may have arrived: then the version to swap is another one.
        self._lease = await self._send_get()
        spec = _spec(self._lease)
        if spec.get("holderIdentity") == self._identity:
            await self._write({**spec, "holderIdentity": "", "leaseDurationSeconds": 1})

    async def _campaign(self) -> bool:
        """One look at the Lease and, if it is free, one attempt to take it."""
        began = self._clock()
        try:
            seen = await self._send_get()
        except ApiError as error:
            if not error.not_found:
                raise
            return await self._take(began, None)
        if self._lease is None or _spec(self._lease) != _spec(seen):
            self._observed_at = began
        self._lease = seen
        return self._free(began) and await self._take(began, seen)

    def _free(self, at: float) -> bool:
        assert self._lease is not None
        spec = _spec(self._lease)
        holder = spec.get("holderIdentity")
        # Held by us: an earlier attempt arrived although its answer did not.
        if not holder or holder == self._identity:
            return True
        promised = spec.get("leaseDurationSeconds") or self._lease_duration
        return at - self._observed_at >= float(promised)

    async def _take(self, began: float, seen: dict[str, Any] | None) -> bool:
        previous = _spec(seen) if seen is not None else {}
        again = previous.get("holderIdentity") == self._identity
        moment = micro_time(self._now())
        spec = {
            **previous,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._lease_duration),
            "acquireTime": previous.get("acquireTime", moment) if again else moment,
            "renewTime": moment,
            "leaseTransitions": (_transitions(seen) if seen else 0) + (0 if again else 1),
        }
        try:
            if seen is None:
                body = {"metadata": {"name": self._name, "namespace": self._namespace}, "spec": spec}
                request = create(LEASES, body, self._namespace)
                self._lease = await self._client.send(request, timeout=self._allowed())
            else:
                await self._write(spec)
        except ApiError as error:
            if error.conflict or error.already_exists:
                return False
            raise
        # The Lease was taken at this moment or later, so nobody may take it from us before this plus its duration.
        self._renewed_at = began
        return self._time_left() > 0

    async def _keep(self) -> None:
        """Renew until cancelled or lost."""
        try:
            while True:
                await asyncio.sleep(self._pause())
                if self._time_left() <= 0:
                    raise self._lose(f"not renewed within {self._renew_deadline:g} s")
                await self._renew()
        except LeadershipLost as error:
            self._log.error("not leading any more", reason=str(error))
        finally:
            # Also when this task ends by a bug: nobody renews any more. After a release nobody is left to be told.
            if self._term is not None:
                self.lost.set()

    def _pause(self) -> float:
        """Seconds until the next attempt: what the server asked for, but never so long that none is left to make."""
        left = self._time_left()
        asked = min(self._asked, left - self._allowed())
        return max(0.0, min(max(self._retry_period, asked), left))

    def _lose(self, why: str) -> LeadershipLost:
        self.lost.set()
        return LeadershipLost(f"lost the Lease {self._namespace}/{self._name}: {why}")

    async def _renew(self, fence: int = 0) -> bool:
        """One attempt to renew, with leaseTransitions at least ``fence``; LeadershipLost when another one leads."""
        async with self._writing:
            assert self._lease is not None and self._term is not None
            began, moment, self._asked = self._clock(), micro_time(self._now()), 0.0
            spec = {**_spec(self._lease), "renewTime": moment}
            spec["leaseTransitions"] = max(_transitions(self._lease), fence)
            try:
                await self._write(spec)
            except ApiError as error:
                if error.not_found:
                    raise self._lose("somebody deleted it") from error
                if error.conflict:
                    return await self._reread() and self._term.fence >= fence
                return self._not_heard(error, moment, began)
            except Unreachable as error:
                return self._not_heard(error, moment, began)
            self._renewed(began)
            return True

    def _renewed(self, began: float) -> None:
        """The Lease that is remembered was written by us, at this moment or later."""
        assert self._lease is not None
        self._renewed_at = began
        self._term = Term(identity=self._identity, fence=_transitions(self._lease))
        self._unheard.clear()

    def _not_heard(self, error: ApiError | Unreachable, moment: str, began: float) -> bool:
        """A renewal failed, or it arrived and its answer did not: what the Lease says later will tell."""
        self._unheard.setdefault(moment, began)
        self._asked = _retry_after(error)
        self._log.warning("cannot renew the lease, trying again", reason=str(error))
        return False

    async def _reread(self) -> bool:
        """After a conflict: whether our own write arrived without its answer. Else a label changed: try again."""
        try:
            seen = await self._send_get()
        except (ApiError, Unreachable) as error:
            self._asked = _retry_after(error)
            self._log.warning("cannot read the lease, trying again", reason=str(error))
            return False
        holder = _spec(seen).get("holderIdentity")
        if holder != self._identity:
            raise self._lose(f"{holder or 'nobody'} holds it now")
        self._lease = seen
        began = self._unheard.get(str(_spec(seen).get("renewTime")))
        if began is None:
            return False
        self._renewed(began)
        return True

    async def _send_get(self) -> dict[str, Any]:
        return await self._client.send(get(LEASES, self._name, self._namespace), timeout=self._allowed())

    async def _write(self, spec: dict[str, Any]) -> None:
        """Compare-and-swap; what is remembered of the Lease becomes what the server answered."""
        assert self._lease is not None
        request = replace(LEASES, self._name, {**self._lease, "spec": spec}, self._namespace)
        self._lease = await self._client.send(request, timeout=self._allowed())

    def _allowed(self) -> float:
        """Seconds that one request may take now."""
        most = self._renew_deadline * _REQUEST_SHARE
        return most if self._term is None else max(0.001, min(most, self._time_left()))

    def _time_left(self) -> float:
        """Seconds until the last renewal is too old to lead."""
        assert self._renewed_at is not None
        return self._renewed_at + self._renew_deadline - self._clock()


def _retry_after(error: ApiError | Unreachable) -> float:
    """Seconds that the server asks to wait; 0 if it asks for nothing."""
    return (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0


def _spec(lease: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = lease.get("spec") or {}
    return spec


def _transitions(lease: dict[str, Any]) -> int:
    return int(_spec(lease).get("leaseTransitions") or 0)
