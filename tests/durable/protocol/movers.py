"""Whoever moves VMs, as they should: they open what a Ready migration shows, and say how it ended when it has."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdev_api.kinds.device_migration import DeviceMigration
from mdev_operator.migration.status import is_true
from tests.durable.protocol.nodes import quietly
from tests.durable.protocol.store import Object
from tests.durable.protocol.world import World

Place = tuple[str, str]
DEADLINE = 60
"""Seconds that a migration has to become Ready, and then to be started."""


MEANT_FOR_ONE = ("arrive", "open", "begin to open", "tell")
"""What only some migrations are ready for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is asked for; ``devices`` and ``memory`` (MB) are of an explicit source."""

    memory: str
    devices: int
    policy: str
    adjust: str


@dataclass(kw_only=True)
class Move:
    """One migration. ``vm`` None: its source is explicit. ``opened``: what the VM has open at its destination;
    ``complete``: it has begun to run there.
    """

    name: str
    vm: str | None = None
    complete: bool = False
    opened: list[Place] = field(default_factory=list)


@dataclass(kw_only=True)
class Movers:
    """``vms``: where each running VM has its device; ``moves`` by name, those whose outcome is not told."""

    world: World
    vms: dict[str, Place] = field(default_factory=dict)
    moves: dict[str, Move] = field(default_factory=dict)
    made: int = 0
    named: int = 0

    def boot(self, node: str, mdev_type: str) -> None:
        """A VM starts with a device that its owner makes for it."""
        self.made += 1
        device = f"00000000-0000-4000-8000-{self.made:012d}"
        if self.world.nodes[node].make(device, mdev_type):
            self.world.nodes[node].kernel.open_device(device)
            self.vms[f"vm{self.made}"] = (node, device)

    def halt(self, vm: str) -> None:
        """A VM ends; its device stays."""
        self._close(self.vms.pop(vm))

    def free_vms(self) -> list[str]:
        """VMs that nobody moves."""
        moving = {move.vm for move in self.moves.values()}
        return [vm for vm in self.vms if vm not in moving]

    def want(self, number: int, wish: Wish) -> None:
        """Somebody asks for a migration: of a VM, or of what is only described."""
        self.named += 1
        name, sources = f"m{self.named}", [*self.free_vms(), None]
        vm = sources[number % len(sources)]
        spec = {"sourcePolicy": wish.policy, "sourceAdjustment": wish.adjust}
        spec |= {"mode": "Prepare", "deadlineSeconds": DEADLINE, "preparedTTLSeconds": DEADLINE}
        if vm is None:
            source: Object = {"explicit": [_gpu(f"gpu{n}", wish.memory) for n in range(wish.devices)]}
        else:
            node, device = self.vms[vm]
            source = {"node": {"name": node, "devices": [device]}}
        self.world.migrate(name, {**spec, "source": source})
        self.moves[name] = Move(name=name, vm=vm)

    def act(self, number: int, act: str) -> None:
        """One mover does one thing: if one is ready for it, that one."""
        moves = list(self.moves.values())
        fits = {"tell": _has_opened}.get(act, self._is_ready)
        fitting = [move for move in moves if act in MEANT_FOR_ONE and fits(move)] or moves
        move = fitting[number % len(fitting)]
        match act:
            case "open" | "begin to open":
                self.open(move, most=1 if act == "begin to open" else None)
            case "close":
                self.close(move)
            case "tell" | "give up":
                self.tell(move)
            case "arrive" if self.world.migration(move.name) is not None:
                self.world.tell(move.name, started=True)
                self.open(move)
            case "delete" if self.world.migration(move.name) is not None:
                self.world.delete(move.name)

    def _is_ready(self, move: Move) -> bool:
        seen = self.seen(move.name)
        waits = not (move.opened and move.complete)
        return seen is not None and waits and is_true(seen.status.conditions, "Ready")

    def end(self, name: str) -> None:
        """A mover who has begun says how it ended; one who has not is late."""
        move, seen = self.moves[name], self.seen(name)
        if seen is not None and not seen.spec.started and not move.opened:
            del self.moves[name]
        else:
            self.tell(move)

    def node_event(self, name: str, event: str) -> None:
        """What happens to a node's agent, or to the node."""
        node = self.world.nodes[name]
        match event:
            case "start" | "forget":
                node.crash()
                if event == "forget":
                    node.forget()
                node.start()
            case "reboot":
                node.reboot()
                self.lose_power(name)
                node.start()
            case "cut off":
                node.wire.passes = 0
            case "reach":
                node.wire.let_through()

    def around(self, name: str, event: str) -> None:
        """What happens around a node's agent."""
        free = self.free_vms()
        match event:
            case "ready" | "not ready":
                self.world.ready(name, ready=event == "ready")
            case "known" | "unknown":
                self.world.nodes[name].blind = event == "unknown"
            case "steal":
                self.world.nodes[name].steal()
            case "end" if free:
                self.halt(free[0])
            case "vm 4GB" | "vm varGB":
                self.boot(name, event.removeprefix("vm "))

    def seen(self, name: str) -> DeviceMigration | None:
        """The migration as its mover sees it; None: it is gone."""
        obj: Object | None = self.world.migration(name)
        return None if obj is None else DeviceMigration.model_validate(obj)

    def open(self, move: Move, most: int | None = None) -> None:
        """The VM is started at the destination, if one is shown, and opens its devices, or so many of them as yet."""
        seen = self.seen(move.name)
        if seen is None or seen.spec.outcome is not None or not is_true(seen.status.conditions, "Ready"):
            return
        shown = [(str(seen.status.node), str(device.instance)) for device in seen.status.devices]
        if not set(move.opened) <= set(shown):
            self.close(move)
        if move.opened and move.complete:
            return
        move.complete = most is None
        for place in shown[:most]:
            if place in move.opened:
                continue
            try:
                self.world.nodes[place[0]].kernel.open_device(place[1])
            except OSError:
                self.close(move)
                return
            move.opened.append(place)

    def close(self, move: Move) -> None:
        """The VM ends at the destination."""
        for place in move.opened:
            self._close(place)
        move.opened = []

    def tell(self, move: Move) -> None:
        """The outcome, as it is: the VM is there, or it is not and will not be."""
        seen = self.seen(move.name)
        if seen is None or is_true(seen.status.conditions, "Finished"):
            self.close(move)
        elif move.opened and move.complete:
            if move.vm in self.vms:
                self._close(self.vms.pop(move.vm))
            for number, place in enumerate(move.opened):
                self.vms[f"{move.name}.{number}"] = place
            self.world.tell(move.name, outcome="Succeeded")
        else:
            self.close(move)
            self.world.tell(move.name, outcome="Failed")
        del self.moves[move.name]

    def kept(self) -> dict[str, set[str]]:
        """By node, the devices that running VMs have."""
        return {name: {device for node, device in self.vms.values() if node == name} for name in self.world.nodes}

    def lose_power(self, node: str) -> None:
        """The node goes down with all that runs there."""
        self.vms = {vm: place for vm, place in self.vms.items() if place[0] != node}
        for move in self.moves.values():
            move.opened = [place for place in move.opened if place[0] != node]

    def _close(self, place: Place) -> None:
        with quietly():
            self.world.nodes[place[0]].kernel.close_device(place[1])


def _has_opened(move: Move) -> bool:
    return bool(move.opened)


def _gpu(name: str, memory: str) -> Object:
    return {"name": name, "model": "com.gfx/GPU", "values": [{"name": "memory", "type": "int", "value": memory}]}
