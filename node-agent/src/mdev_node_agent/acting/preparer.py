"""Carries out what the reservations of this node say, one pass per entry, all entries at once.

A pass asks :func:`~mdev_node_agent.deciding.decision.next_step`, does it, and asks again, until there is nothing more
to do now. From its first change on it holds the lock of the parent, so two creations never race for the last instance.
No call into a driver holds anything else up: one that exceeds its deadline goes on in its thread while the pass ends,
and when it returns at last the entry is looked at again. Passes start when entries change, after each look at the node,
and when such a call returns.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

import structlog

from mdev_api.kinds.common import dump
from mdev_api.kinds.node_reservations import Entry, EntryAnswer, Role, State, Waiting
from mdev_node_agent.acting.answers import Answers
from mdev_node_agent.acting.faults import Faults
from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.blocking import in_thread, start
from mdev_node_agent.deciding.claims import claimed, elsewhere, owned, taken_places, waiting_slots
from mdev_node_agent.deciding.decision import next_step
from mdev_node_agent.deciding.failures import failure_of
from mdev_node_agent.deciding.standing import planned_instance
from mdev_node_agent.deciding.steps import (
    Adopt,
    Attempt,
    Bind,
    Create,
    Look,
    Read,
    Reading,
    Remove,
    Restore,
    Settle,
    Situation,
    Step,
    Write,
)
from mdev_node_agent.kubelet.serving import Service
from mdev_node_agent.memory.journal import JournalError
from mdev_node_agent.seeing.sight import Eye
from mdev_node_agent.settings import Deadlines

log = structlog.get_logger(__name__)


class Preparer:
    """The entries of one node on their way."""

    def __init__(self, *, eye: Eye, hands: Hands, answers: Answers, deadlines: Deadlines) -> None:
        self._eye = eye
        self._hands = hands
        self._answers = answers
        self._deadlines = deadlines
        self._entries: dict[str, Entry] = {}
        self._attempts: dict[str, Attempt] = {}
        self._passes: set[str] = set()
        self._again: set[str] = set()
        self._calls: dict[str, asyncio.Future[None]] = {}
        self._late: dict[str, Step] = {}
        self._picked: dict[str, str] = {}
        self._binders: defaultdict[str, list[asyncio.Future[EntryAnswer]]] = defaultdict(list)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._wake = asyncio.Event()
        self._faults = Faults(self._wake.set)
        self.on_blocked: Callable[[], None] = lambda: None
        """Called when ``blocked`` has changed."""
        self.on_answer: Callable[[], None] = lambda: None
        """Called when an entry has got another answer."""

    @property
    def blocked(self) -> frozenset[str]:
        """Instances whose removal has not returned."""
        return frozenset(step.instance for step in self._late.values() if isinstance(step, Remove))

    @property
    def held(self) -> frozenset[str]:
        """Instances that entries name, that were made for them, or that the kubelet has picked or may pick for them."""
        service = Service() if self._eye.latest is None else self._eye.latest.service
        return claimed(self._entries.values(), self._answers.given, self._picked.values(), service)

    @property
    def answers(self) -> Mapping[str, EntryAnswer]:
        """The newest answer to each entry, by id."""
        return self._answers.given

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries that stand."""
        return tuple(self._entries.values())

    @property
    def waits_for_pick(self) -> bool:
        """Does a slot wait until the kubelet picks a device? No event tells when that happens."""
        return any(entry.device.slot is not None for entry in self._entries.values())

    @property
    def waits_for_use(self) -> bool:
        """Does an entry wait until somebody closes its device? No event tells when that happens."""
        return any(
            answer.waiting is Waiting.IN_USE for key, answer in self._answers.given.items() if key in self._entries
        )

    def take(self, entries: Iterable[Entry]) -> None:
        """These are the entries now. One that is missing is left as it is."""
        self._entries = {entry.id: entry for entry in entries}
        self._picked = {key: instance for key, instance in self._picked.items() if key in self._entries}
        self._faults.keep(self._entries)
        for key in self._binders.keys() - self._entries.keys():
            for binder in self._binders.pop(key):
                if not binder.done():
                    binder.set_exception(LookupError(f"reservation {key} has been taken away"))
        self._wake.set()

    async def bind(self, key: str, instance: str) -> EntryAnswer:
        """The kubelet has picked ``instance`` for the slot entry ``key``: check, bind and write it.

        Returns the answer that came of it, at once if the slot was bound before (compare its instance). LookupError:
        the entry does not stand, or stands no longer.
        """
        if key not in self._entries:
            raise LookupError(f"there is no reservation {key}")
        binder: asyncio.Future[EntryAnswer] = asyncio.get_running_loop().create_future()
        self._binders[key].append(binder)
        self._picked.setdefault(key, instance)
        self._wake.set()
        try:
            return await binder
        finally:
            if binder in self._binders.get(key, ()):
                self._binders[key].remove(binder)

    async def make(self, key: str, step: Create) -> None:
        """Make a device that no entry asks for; ``key`` names it in journal and ledger.

        Waits for the parent like any entry. OSError with the kernel's errno or JournalError: it was not made.
        TimeoutError: the driver is still at it when the deadline is over; whether it makes it shows in a later look.
        """
        hands = self._hands

        def order() -> None:
            try:
                hands.create(key, step)
            finally:
                hands.end(key)

        async with self._locks[step.parent]:
            call = start(order, name=f"Create {key}")
            done, _ = await asyncio.wait({call}, timeout=self._deadlines.call)
            if not done:
                call.add_done_callback(lambda late: _tell_late(key, late))
                raise TimeoutError(f"the driver has not made it within {self._deadlines.call:.0f} s")
            call.result()

    def poke(self, *, retry: bool = False) -> None:
        """Look at all entries again; ``retry``: and try failed undos again."""
        if retry:
            for key, answer in self._answers.given.items():
                if answer.state is State.TAINTED and key not in self._passes and key not in self._calls:
                    self._attempts[key] = Attempt(retry=True)
        self._wake.set()

    async def run(self) -> None:
        """Carry entries out until cancelled. Call :meth:`take` first with what the API server says."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for key, entry in self._entries.items():
                    if key in self._passes:
                        self._again.add(key)
                    elif not self._faults.rests(entry):
                        self._passes.add(key)
                        group.create_task(self._pass(key), name=f"reservation {key}")

    async def _pass(self, key: str) -> None:
        entry = self._entries.get(key)
        try:
            await self._go_through(key)
            self._faults.passed(key)
        except Exception as error:  # noqa: BLE001 (whatever it is, the other entries and the agent go on)
            if key in self._attempts:
                # What it was decided from is forgotten; what was done is not.
                self._attempts[key] = replace(self._attempts[key], fresh=False, readings=None)
            if entry is not None:
                self._faults.met(entry, error)
        finally:
            self._passes.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._wake.set()

    async def _go_through(self, key: str) -> None:
        async with AsyncExitStack() as held:
            locked = False
            while (situation := self._situation(key)) is not None:
                step = next_step(situation)
                if isinstance(step, Settle):
                    await self._settle(situation, step)
                    break
                if not locked:
                    await held.enter_async_context(self._locks[_parent(situation)])
                    locked = True
                    continue
                if not await self._carry_out(key, step):
                    break

    def _situation(self, key: str) -> Situation | None:
        entry, sight = self._entries.get(key), self._eye.latest
        if entry is None or sight is None:
            return None
        situation = Situation(
            entry=entry,
            sight=sight,
            answer=self._answers.given.get(key),
            record=self._hands.journal.records.get(key),
            busy=key in self._calls,
            late=self._late.get(key),
            attempt=self._attempts.get(key, Attempt()),
        )
        made = dict(self._hands.ledger.instances)
        situation = replace(situation, listed=planned_instance(situation) in owned(made, sight.observation))
        if entry.device.instance is not None:
            return situation
        others = [other for other in self._entries.values() if other.id != key]
        given, records = self._answers.given, dict(self._hands.journal.records)
        if entry.device.slot is None:
            return replace(situation, elsewhere=taken_places(key, others, given, records, made) | self._being_made(key))
        return replace(
            situation,
            picked=self._picked.get(key),
            waiting_slots=waiting_slots(entry.device.slot.resource, others, given, self._picked),
            elsewhere=elsewhere(others, given, records),
        )

    def _being_made(self, key: str) -> frozenset[str]:
        """Where drivers that are late may still make something for others: perhaps before any record of it."""
        return frozenset(s.instance for other, s in self._late.items() if other != key and isinstance(s, Create))

    async def _carry_out(self, key: str, step: Step) -> bool:
        """Do one step and remember what came of it; False: nothing more can be done in this pass."""
        attempt = self._attempts.get(key, Attempt())
        if isinstance(step, Look):
            try:
                await self._eye.look()
            except OSError as error:
                log.error("cannot look at the node", reservation=key, reason=str(error))
                return False
            self._attempts[key] = replace(attempt, fresh=True)
            return True
        if isinstance(step, Read):
            self._attempts[key] = await self._read(key, step, attempt)
            return True
        # A write changes nothing that a look sees, but on a source: its own reading is the answer, and is published.
        entry = self._entries.get(key)
        same = isinstance(step, Write | Restore | Bind) and (entry is None or entry.role is not Role.SOURCE)
        changed = replace(attempt, fresh=same and attempt.fresh, readings=None)
        if isinstance(step, Restore):
            changed = replace(changed, restored={**changed.restored, step.written.key: None})
        try:
            await self._call(key, step, self._order(key, step))
        except (OSError, JournalError) as error:
            changed = self._refused(key, step, changed, error)
        self._attempts[key] = changed
        return True

    def _refused(self, key: str, step: Step, attempt: Attempt, error: OSError | JournalError) -> Attempt:
        """The attempt after a step that was refused; only of a creation EEXIST tells that somebody else was there."""
        if isinstance(step, Create) and isinstance(error, FileExistsError):
            return replace(attempt, collided=True, lost=attempt.lost | {step.instance})
        failed = failure_of(step, error)
        log.warning("step failed", reservation=key, reason=str(failed.reason), message=failed.message)
        if isinstance(step, Restore):
            # The others are still to be restored; what did not work shows when it is read back.
            return replace(attempt, restored={**attempt.restored, step.written.key: failed})
        if isinstance(step, Remove) and key in self._calls:
            return attempt
        return replace(attempt, failure=failed)

    async def _read(self, key: str, step: Read, attempt: Attempt) -> Attempt:
        """The attempt with the readings, or with a failure that names what the driver does not answer."""
        readings: dict[str, Reading] = {}
        try:
            await self._call(key, step, lambda: self._hands.read(step, readings))
        except TimeoutError as error:
            late = tuple(file for file in step.files if file[0] not in readings)
            return replace(attempt, failure=failure_of(replace(step, files=late or step.files), error))
        return replace(attempt, readings=readings)

    async def _call(self, key: str, step: Step, order: Callable[[], None]) -> None:
        """Run the step in a thread of its own. TimeoutError: it exceeds its deadline and goes on."""
        deadline = self._deadlines.remove if isinstance(step, Remove) else self._deadlines.call
        future = start(order, name=f"{type(step).__name__} {key}")
        self._calls[key] = future
        done, _ = await asyncio.wait({future}, timeout=deadline)
        if done:
            del self._calls[key]
            future.result()
            return
        self._late[key] = step
        future.add_done_callback(lambda returned: self._returned(key, step, returned))
        self.on_blocked()
        raise TimeoutError

    def _order(self, key: str, step: Step) -> Callable[[], None]:
        hands = self._hands
        if isinstance(step, Create):
            return lambda: hands.create(key, step)
        if isinstance(step, Adopt):
            return lambda: hands.adopt(key, step)
        if isinstance(step, Bind):
            return lambda: hands.bind(key, step)
        if isinstance(step, Write):
            return lambda: hands.write(key, step)
        if isinstance(step, Restore):
            return lambda: hands.restore(step)
        assert isinstance(step, Remove)
        return lambda: hands.remove(key, step)

    def _returned(self, key: str, step: Step, future: asyncio.Future[None]) -> None:
        """A call that had exceeded its deadline is back."""
        del self._calls[key], self._late[key]
        error = None if future.cancelled() else future.exception()
        if isinstance(step, Remove) and isinstance(error, OSError | JournalError):
            self._attempts[key] = Attempt(failure=failure_of(step, error))
        if isinstance(step, Restore):
            refused = failure_of(step, error) if isinstance(error, OSError | JournalError) else None
            restored = {**self._attempts.get(key, Attempt()).restored, step.written.key: refused}
            self._attempts[key] = Attempt(restored=restored, retry=True)
        log.info("a late call has returned", reservation=key, step=type(step).__name__, reason=str(error or "done"))
        self.on_blocked()
        self._wake.set()

    async def _settle(self, situation: Situation, step: Settle) -> None:
        key, answer = situation.entry.id, step.answer
        attempt = self._attempts.pop(key, Attempt())
        if situation.busy and attempt.restored:
            self._attempts[key] = Attempt(restored=attempt.restored)
        record = self._hands.journal.records.get(key)
        if answer.state is State.FAILED and answer.failure is not None and record is not None and not record.failure:
            failed = dump(answer.failure)
            await in_thread(lambda: self._hands.fail(key, failed), name=f"journal {key}")
        if step.ended and record is not None and not situation.busy:
            undone = answer.state is State.UNDONE
            await in_thread(lambda: self._hands.end(key, undone=undone), name=f"journal {key}")
        if self._answers.give(answer):
            _tell(situation.entry, answer)
            self.on_answer()
        if answer.instance is not None or answer.state not in (State.PENDING, State.PREPARED):
            for binder in self._binders.pop(key, ()):
                if not binder.done():
                    binder.set_result(answer)


def _parent(situation: Situation) -> str:
    create = situation.entry.device.create
    if create is not None:
        return create.parent
    instance = planned_instance(situation) or situation.picked or ""
    seen = situation.sight.observation.instance(instance)
    return "" if seen is None else seen.parent


def _tell_late(key: str, call: asyncio.Future[None]) -> None:
    error = None if call.cancelled() else call.exception()
    log.info("a late call has returned", reservation=key, step="Create", reason=str(error or "done"))


def _tell(entry: Entry, answer: EntryAnswer) -> None:
    failure = answer.failure
    log.info(
        "answered",
        reservation=entry.id,
        intent=str(entry.intent),
        state=str(answer.state),
        instance=answer.instance,
        waiting=None if answer.waiting is None else str(answer.waiting),
        reason=None if failure is None else str(failure.reason),
        message=None if failure is None else failure.message,
    )
