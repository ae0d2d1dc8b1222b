"""Carries single steps out: journal and ledger first, then the back-end. Blocking; each call runs in its own thread.

Every name that comes here was checked against what this node shows (:mod:`mdev_node_agent.deciding.hold`). Raises
OSError with the kernel's errno, or :class:`~mdev_node_agent.memory.journal.JournalError`, and then nothing was touched,
unless it is a :class:`~mdev_node_agent.memory.journal.NotNotedError`: the driver had done it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import structlog

from mdev_api.engine.metadata import ValueType
from mdev_api.values import ValueFault, from_raw
from mdev_node_agent.backends.backend import Backend
from mdev_node_agent.deciding.steps import Adopt, Bind, Create, Read, Reading, Remove, Restore, Write
from mdev_node_agent.memory.journal import Journal, JournalError, NotNotedError
from mdev_node_agent.memory.ledger import Ledger, Made
from mdev_node_agent.memory.record import Making, Record, Written, lines_of, write_line
from mdev_node_agent.memory.sole import SoleUse
from mdev_node_agent.sysfs.attribute import GONE, errno_name, reason
from mdev_node_agent.sysfs.port import Port

log = structlog.get_logger(__name__)


P = ParamSpec("P")
R = TypeVar("R")


def _alone(act: Callable[Concatenate[Hands, P], R]) -> Callable[Concatenate[Hands, P], R]:
    """While this is under way no other agent begins (:mod:`mdev_node_agent.memory.sole`), and its record stays."""

    @wraps(act)
    def whole(hands: Hands, /, *args: P.args, **kwargs: P.kwargs) -> R:
        about = args[0].instance if isinstance(args[0], Restore) else str(args[0])
        with hands.sole.call(), hands.at_work(about):
            return act(hands, *args, **kwargs)

    return whole


class Hands:
    """The back-ends of one node, with journal and ledger. ``boot_id``: of this boot."""

    def __init__(
        self,
        *,
        port: Port,
        backends: Sequence[Backend],
        journal: Journal,
        ledger: Ledger,
        boot_id: str,
        sole: SoleUse,
    ) -> None:
        self._port = port
        self._backends = {backend.name: backend for backend in backends}
        self.boot_id = boot_id
        self.journal = journal
        self.ledger = ledger
        self.sole = sole
        self._guard = threading.Lock()
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def at_work(self, about: str) -> Iterator[None]:
        """A call about this reservation or instance is under way."""
        with self._guard:
            self._under_way[about] += 1
        try:
            yield
        finally:
            with self._guard:
                self._under_way[about] -= 1

    @_alone
    def create(self, entry: str, step: Create) -> None:
        """Make the instance. EEXIST and every other errno: nothing of ours is there.

        The claim comes first: journal and ledger name the instance before the journal says that the driver is asked.
        """
        self._leave(entry, step)
        self._begin(entry, Record(instance=step.instance, backend=step.backend))
        made = self._made(entry, step.instance, step.backend, parent=step.parent, type=step.type)
        self._list(replace(made, made=not step.place))
        try:
            self.journal.append(entry, _making(Making.BEGUN))
            self._backends[step.backend].create(
                self._port, parent=step.parent, type_id=step.type, instance=step.instance
            )
        except (OSError, JournalError):
            self._note(entry, _making(Making.NONE))
            self._strike(step.instance)
            raise
        if step.place:
            self._confirm(made)
        self._done(entry, _making(Making.DONE))

    @_alone
    def adopt(self, entry: str, step: Adopt) -> None:
        """Take on an instance that an earlier try of this reservation has made."""
        self._begin(entry, step.record)
        made = self._made(entry, step.record.instance, step.record.backend, parent=step.parent, type=step.type)
        self._list(made)
        self.journal.append(entry, _making(Making.DONE))

    @_alone
    def bind(self, entry: str, step: Bind) -> None:
        """Remember, before anything is written to it, which instance a slot stands for."""
        self._begin(entry, step.record)

    def read(self, step: Read, readings: dict[str, Reading]) -> None:
        """Add what each parameter file says, as soon as it is known; one that cannot be read is told, not raised."""
        for name, kind, attribute in step.files:
            readings[name] = self._reading(step, ValueType(kind), attribute)

    @_alone
    def write(self, entry: str, step: Write) -> None:
        """Change one value."""
        value = step.value
        self._begin(entry, step.record)
        written = Written(
            name=value.name,
            type=str(value.type),
            attribute=value.attribute,
            before=step.before,
            after=value.value,
        )
        self.journal.append(entry, write_line(written))
        backend = self._backends[step.record.backend]
        backend.write(self._port, instance=step.record.instance, attribute=value.attribute, text=value.value)
        self._done(entry, {"event": "wrote", "name": value.name})

    @_alone
    def restore(self, step: Restore) -> None:
        """Write the old value back."""
        backend = self._backends[step.backend]
        backend.write(self._port, instance=step.instance, attribute=step.written.attribute, text=step.written.before)

    @_alone
    def remove(self, entry: str, step: Remove) -> None:
        """Give the device back; one that is gone already is what was wanted."""
        try:
            self._backends[step.backend].release(self._port, instance=step.instance)
        except OSError as error:
            if error.errno not in GONE:
                raise
        self._note(entry, _making(Making.GONE))
        self._strike(step.instance)

    @_alone
    def fail(self, entry: str, failure: Mapping[str, object]) -> None:
        """Remember why the preparation failed, so that no restart tries it again."""
        self._note(entry, {"event": "failed", "failure": failure}, sync=True)

    @_alone
    def end(self, entry: str, *, undone: bool = False) -> None:
        """The entry needs nothing of the journal any more.

        A claim ends with it if all is ``undone``, also what turned out not to be ours, or if nothing has come of it.
        """
        record = self.journal.records.get(entry)
        if record is not None and (undone or record.making is Making.NONE):
            self._strike_claim(entry, record.instance)
        self._note(entry, {"event": "end"}, sync=True)

    def end_left(
        self, entry: str, record: Record, left: Callable[[Mapping[str, Record]], Mapping[str, Record]]
    ) -> None:
        """End a record that needs nothing and that no reservation needs, and its claim; one that came to life stays.

        ``left`` leaves out the records whose reservation stands by now. No call begins while this is under way.
        """
        with self.sole.call(), self._guard:
            busy = self._under_way[entry] or self._under_way[record.instance]
            if busy or self.journal.records.get(entry) != record or entry not in left({entry: record}):
                return
            log.info("nothing is left of it", reservation=entry, instance=record.instance, making=str(record.making))
            self._strike_claim(entry, record.instance)
            self._note(entry, {"event": "end"}, sync=True)

    @_alone
    def forget(self, instance: str) -> None:
        """The instance is gone: it is ours no longer."""
        self._strike(instance)

    def _begin(self, entry: str, record: Record) -> None:
        try:
            self.sole.make_sure()
        except OSError as error:
            raise JournalError(f"the state directory cannot be had: {error}") from error
        if entry not in self.journal.records:
            for line in lines_of(record):
                self.journal.append(entry, line)
        known = self.journal.records[entry].instance
        if known != record.instance:
            # It could not be read before: whoever decided this did not know of it.
            raise JournalError(f"the journal names {known} for this reservation already, not {record.instance}")

    def _done(self, entry: str, line: Mapping[str, object]) -> None:
        """The driver has done it. A journal that does not take this stops the preparation, for what comes next."""
        try:
            self.journal.append(entry, line, sync=False)
        except JournalError as error:
            raise NotNotedError(str(error)) from error

    def _note(self, entry: str, line: Mapping[str, object], *, sync: bool = False) -> None:
        """What only spares work after a restart: a disk that refuses it must not stop what has already happened."""
        if entry not in self.journal.records:
            return
        try:
            self.journal.append(entry, line, sync=sync)
        except JournalError as error:
            log.error("not in the journal", reservation=entry, note=line["event"], reason=str(error))

    def _leave(self, entry: str, step: Create) -> None:
        """Give up the place that was claimed before and that somebody else has taken meanwhile."""
        record = self.journal.records.get(entry)
        if record is not None and record.instance != step.instance:
            self._strike_claim(entry, record.instance)
            self.journal.append(entry, {"event": "end"})

    def _strike_claim(self, entry: str, instance: str) -> None:
        listed = self.ledger.instances.get(instance)
        if listed is not None and listed.reservation == entry:
            self._strike(instance)

    def _made(self, entry: str, instance: str, backend: str, *, parent: str, type: str) -> Made:
        return Made(
            instance=instance, reservation=entry, boot_id=self.boot_id, backend=backend, parent=parent, type=type
        )

    def _confirm(self, made: Made) -> None:
        """The place is more than claimed now. A disk that refuses this only spares it from being collected."""
        try:
            self.ledger.add(made)
        except OSError as error:
            log.error("not confirmed in the ledger", instance=made.instance, reason=str(error))

    def _list(self, made: Made) -> None:
        try:
            self.ledger.add(made)
        except OSError as error:
            raise JournalError(f"the ledger cannot be written ({error}): correct --state-dir") from error

    def _strike(self, instance: str) -> None:
        try:
            self.ledger.strike(instance)
        except OSError as error:
            log.error("not struck from the ledger", instance=instance, reason=str(error))

    def _reading(self, step: Read, kind: ValueType, attribute: str) -> Reading:
        try:
            backend = self._backends[step.backend]
            return Reading(value=from_raw(kind, backend.read(self._port, instance=step.instance, attribute=attribute)))
        except OSError as error:
            return Reading(errno=errno_name(error), message=reason(error))
        except ValueFault as fault:
            return Reading(message=str(fault))


def _making(state: Making) -> dict[str, str]:
    return {"event": "making", "state": str(state)}
