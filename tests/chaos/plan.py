"""A whole run as values: which migrations, which troubles, and when. Pure: one seed, one plan.

When: troubles begin as the move of that number begins; a kill of an agent waits there for the step that it is meant
for, one of the operator for its request. By the clock is only how long a call still takes whose process is dead.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.life import Snare
from tests.chaos.wired import STEPS

NODES = ("a", "b", "c", "d")
PARENTS = {"a": 2, "b": 2, "c": 2, "d": 1}
TYPES: dict[str, tuple[str, ...] | None] = {"a": None, "b": ("varGB", "nic"), "c": ("4GB", "varGB", "nic"), "d": None}
"""What the driver of each node offers; None: all that it has."""


class Ending(StrEnum):
    """How a migration ends that was Ready; ``EARLY`` before it can be, ``STAYS``: it is Ready when the run ends."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETED = "deleted"
    DELETED_STARTED = "deleted after started"
    EXPIRED = "never started"
    LATE = "started as it expires"
    EARLY = "deleted at once"
    STAYS = "stays Ready"


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One migration. ``pick``: which of the virtual machines that run then (0 to 1); None: a new one is placed.

    ``rival``: also one that somebody else is moving.
    ``memory`` 0: a NIC instead of a GPU. ``opens``: the destination is opened although it does not end well.
    ``lingers``: a device that is to be let go is closed only after that was told.
    ``late``: seconds from Ready to its start, if it ends ``LATE``.
    ``ends``: the virtual machine ends afterwards, and its device is left behind or removed by hand. ``deadline``:
    seconds, until it is Ready.
    """

    number: int
    ending: Ending
    pick: float | None = None
    rival: bool = False
    memory: int = 4096
    node: str | None = None
    late: float = 1.0
    remove: bool = False
    opens: bool = False
    lingers: bool = False
    ends: str | None = None
    deadline: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class KillOperator:
    """``when`` a request is on its way: ``before`` it is done, ``after`` it, ``late``: it is done afterwards."""

    when: str
    verb: str
    resource: str

    @property
    def kind(self) -> str:
        return f"operator killed {self.when} {self.verb} {self.resource}"


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverFault:
    """A fault of the driver on one node while the next ``moves`` begin, and until it was met so many ``times``."""

    node: str
    name: str
    value: str
    moves: int
    times: int = 1

    @property
    def kind(self) -> str:
        return f"driver {self.name}" + (f" {self.value}" if self.name == "fail_create" else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiFault:
    """What happens to the next ``times`` requests of a program, to ``writes`` only or to all."""

    program: str
    what: str
    times: int
    writes: bool

    @property
    def kind(self) -> str:
        return f"api {self.program} {self.what}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreign:
    """What somebody else does on a node: ``make`` a device (and ``hold`` it open), ``remove`` one of those, or
    ``steal``: remove one that this project made and nobody has open.
    """

    node: str
    what: str
    hold: bool = False

    @property
    def kind(self) -> str:
        return f"foreign {self.what}"


Trouble = Snare | KillOperator | DriverFault | ApiFault | Foreign


def kind_of(trouble: Trouble) -> str:
    """By which the account knows it."""
    return f"agent killed {trouble.step}" if isinstance(trouble, Snare) else trouble.kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """``troubles``: by the number of the move with which they begin."""

    seed: int
    moves: tuple[Move, ...]
    troubles: tuple[tuple[int, Trouble], ...]

    @property
    def kinds(self) -> list[str]:
        """Everything that is to happen, as the account knows it."""
        reboots = ["node rebooted" for _, trouble in self.troubles if isinstance(trouble, Snare) and trouble.reboot]
        return [*(kind_of(trouble) for _, trouble in self.troubles), *reboots]


OPERATOR_STEPS = tuple(
    KillOperator(when=when, verb="patch", resource=resource)
    for resource in ("nodereservations", "devicemigrations/status", "devicemigrations")
    for when in ("before", "after", "late")
)
API_FAULTS = (
    "429",
    "500",
    "503",
    "reset",
    "hang",
    "slow",
    "lost answer",
    "watches end",
    "watches 410",
    "watches reset",
)
DRIVER_FAULTS = (
    ("fail_create", "5"),
    ("fail_create", "28"),
    ("fail_write", "memory"),
    ("clamp_write", "memory"),
    ("hang_write", "memory"),
    ("fail_read", "memory"),
)
WEIGHTS = {
    Ending.SUCCEEDED: 50,
    Ending.FAILED: 20,
    Ending.DELETED: 8,
    Ending.DELETED_STARTED: 5,
    Ending.EXPIRED: 5,
    Ending.LATE: 8,
    Ending.EARLY: 8,
}
STAY = 2
"""Migrations at the end of a run that stay Ready."""


def make_plan(seed: int, moves: int) -> Plan:
    """The run of this seed."""
    rng = random.Random(seed)
    planned = [_move(rng, number, moves) for number in range(moves)]
    troubles = sorted(_troubles(rng, moves), key=lambda each: each[0])
    for number, trouble in troubles:
        if isinstance(trouble, DriverFault):
            for near in range(number, min(number + trouble.moves, moves - STAY)):
                planned[near] = _towards(planned[near], trouble)
    return Plan(seed=seed, moves=tuple(planned), troubles=tuple(troubles))


def _move(rng: random.Random, number: int, moves: int) -> Move:
    ending = rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
    memory = rng.choice((1024, 2048, 2048, 4096, 4096, 8192, 0))
    # A device of 2048 that is left idle would be taken instead of one that must be written.
    ends = ("by hand", None) if memory == 2048 else ("left", "by hand", "by hand", None)
    return Move(
        number=number,
        ending=Ending.STAYS if number >= moves - STAY else ending,
        pick=rng.random() if rng.random() < 0.45 else None,
        rival=rng.random() < 0.2,
        memory=memory,
        node=rng.choice(NODES) if rng.random() < 0.2 else None,
        late=rng.uniform(0.5, 2.5),
        remove=rng.random() < 0.6,
        opens=rng.random() < 0.5,
        lingers=rng.random() < 0.4,
        ends=rng.choice(ends),
    )


def _towards(move: Move, fault: DriverFault) -> Move:
    """The same move on the node of the fault, and such that the fault is met there: with one value to be written."""
    return Move(
        number=move.number,
        ending=Ending.FAILED if move.ending is Ending.EARLY else move.ending,
        memory=2048,
        node=fault.node,
        opens=move.opens,
        lingers=move.lingers,
        ends="by hand",
        deadline=6,
    )


def _troubles(rng: random.Random, moves: int) -> Iterator[tuple[int, Trouble]]:
    last = max(1, int(moves * 0.75))
    steps = list(STEPS) if moves >= 80 else rng.sample(STEPS, k=max(6, moves // 4))
    surely = rng.choice(steps) if moves >= 80 else None
    for step in steps:
        rare = "none" in step or "failed" in step
        reboot, hold = step == surely or rng.random() < 0.12, rng.choice((0.5, 2.0, 4.0))
        yield rng.randrange(max(1, last // (8 if rare else 1))), Snare(step=step, reboot=reboot, hold=hold)
    for kill in OPERATOR_STEPS if moves >= 80 else rng.sample(OPERATOR_STEPS, k=max(1, moves // 20)):
        yield rng.randrange(last), kill
    for name, value in DRIVER_FAULTS if moves >= 80 else rng.sample(DRIVER_FAULTS, k=3):
        # Late enough for the kills that wait for a failure, and often enough for each of them.
        at, times = rng.randrange(last // 4, last), 4 if name == "fail_create" else 1
        yield at, DriverFault(node=rng.choice(NODES), name=name, value=value, moves=4, times=times)
    for what in API_FAULTS if moves >= 80 else rng.sample(API_FAULTS, k=4):
        for program in ("operator", "agents"):
            times, writes = rng.randint(1, 4), rng.random() < 0.7
            yield rng.randrange(last), ApiFault(program=program, what=what, times=times, writes=writes)
    for number in range(max(3, moves // 8)):
        what = ("make", "remove", "steal")[number] if number < 3 else rng.choice(("make", "remove", "steal"))
        at, node = rng.randrange(last), rng.choice(NODES)
        if what == "remove":
            yield at, Foreign(node=node, what="make")
        yield at, Foreign(node=node, what=what, hold=what == "make" and rng.random() < 0.5)
