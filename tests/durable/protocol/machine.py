"""All that may happen, in any order (hypothesis chooses), and after each event the laws."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.durable.protocol import laws
from tests.durable.protocol.movers import Movers, Wish
from tests.durable.protocol.nodes import BrokenError
from tests.durable.protocol.operators import Operator
from tests.durable.protocol.wire import Fate, Wire
from tests.durable.protocol.world import World

NODES = st.sampled_from(["a", "b"])
NUMBERS = st.integers(0, 7)
STALE = 7
"""Of :data:`NUMBERS`, the one that means the operator that does not lead any more, if it runs."""
WISHES = st.builds(
    Wish,
    memory=st.sampled_from(["1024", "2048", "4096"]),
    devices=st.sampled_from([1, 1, 2]),
    policy=st.sampled_from(["Keep", "Remove"]),
    adjust=st.sampled_from(["Never", "IfNeeded"]),
)
ACTS = ["arrive", "arrive", "arrive", "tell", "tell", "tell", "give up", "open", "begin to open", "close", "delete"]
AROUND = ["not ready", "ready", "unknown", "known", "vm 4GB", "vm varGB", "end", "steal", "steal"]
A_MOMENT = 0.2
MOST_ROUNDS = 80
"""Of half a minute each, until everything has ended: what takes longest is the ledger's ten minutes."""


class Protocol(RuleBasedStateMachine):
    """Numbers that rules draw pick one of what there is, if there is any."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World().__enter__()
        self.world.store.watchers.append(laws.Writes(store=self.world.store).judge)
        self.movers = Movers(world=self.world)

    @initialize(vm=st.sampled_from(["4GB", "varGB"]), number=NUMBERS, wish=WISHES)
    def begin(self, vm: str, number: int, wish: Wish) -> None:
        self.movers.boot("a", vm)
        self.world.pass_time(2.0)
        self.world.leader.work()
        self.migrate(number, wish)

    @precondition(lambda self: len(self.movers.moves) < 4)
    @rule(number=NUMBERS, wish=WISHES)
    def migrate(self, number: int, wish: Wish) -> None:
        """Somebody wants a VM to be moved."""
        self.movers.want(number, wish)
        self._moment()

    @precondition(lambda self: self.movers.moves)
    @rule(number=NUMBERS, act=st.sampled_from(ACTS))
    def move(self, number: int, act: str) -> None:
        """Whoever moves a VM does the next thing, or gives up."""
        self.movers.act(number, act)
        self._moment()

    @rule(number=NUMBERS)
    def operator_works(self, number: int) -> None:
        """An operator does all that is due, and so do the agents."""
        operator = self._operator(number)
        operator.wire.let_through()
        for _ in range(2):
            operator.work()
            self._moment()

    @rule(number=NUMBERS, key=NUMBERS, writes=st.integers(0, 3))
    def operator_begins(self, number: int, key: int, writes: int) -> None:
        """An operator begins with one thing, and only the first writes of it arrive."""
        operator = self._operator(number)
        if operator.idle:
            operator.wire.passes = writes
            operator.begin(operator.idle[key % len(operator.idle)])
            self._moment()

    @precondition(lambda self: self._on_their_way())
    @rule(number=NUMBERS, which=NUMBERS, fate=st.sampled_from(Fate))
    def write_ends(self, number: int, which: int, fate: Fate) -> None:
        """What becomes of a write, whoever sent it, whether or not he still waits, and in which order."""
        wires = self._on_their_way()
        wire = wires[number % len(wires)]
        wire.settle(wire.on_its_way[which % len(wire.on_its_way)], fate)
        self._moment()

    @precondition(lambda self: len(self.world.operators) > 1)
    @rule(order=st.permutations([0, 1]), blind=st.booleans())
    def operators_race(self, order: list[int], blind: bool) -> None:
        """Both decide all that is due before anything of it arrives; one may also not see what the other writes."""
        operators = [self.world.operators[number] for number in order]
        for operator in operators:
            operator.wire.passes = 0
            if blind:
                operator.wire.see(self.world.store.version)
            for key in operator.idle:
                operator.begin(key)
        self._moment()
        for operator in operators:
            operator.wire.let_through()
        self._moment()

    @rule(number=NUMBERS, event=st.sampled_from(["blind", "sees", "sees", "another leads", "crash"]))
    def operator_event(self, number: int, event: str) -> None:
        """Its view stops or becomes current; another one leads unknown to it; it crashes, and another follows."""
        operator = self._operator(number)
        match event:
            case "blind":
                operator.wire.see(self.world.store.version)
            case "sees":
                operator.wire.see(None)
            case "another leads":
                self.world.lead_anew()
            case "crash":
                operator.end()
        self._moment()

    @rule(node=NODES, acts=st.integers(1, 12))
    def agent_will_crash(self, node: str, acts: int) -> None:
        """At one of its next acts."""
        lifeline = self.world.nodes[node].lifeline
        lifeline.at = lifeline.acts + acts

    @rule(node=NODES, event=st.sampled_from(["start", "start", "forget", "reboot", "cut off", "reach"]))
    def node_event(self, node: str, event: str) -> None:
        """The agent is another process now, perhaps without its memory; or what it writes does not arrive, or does."""
        self.movers.node_event(node, event)
        self._moment()

    @rule(node=NODES, event=st.sampled_from(AROUND))
    def around(self, node: str, event: str) -> None:
        """What goes on around: the Node's condition, whether anybody can tell who uses what, other VMs; somebody
        removes a device by hand that is not his.
        """
        self.movers.around(node, event)
        self._moment()

    @rule(seconds=st.sampled_from([1, 1, 12, 12, 35, 70, 400]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    # The laws.

    @invariant()
    def the_laws_hold(self) -> None:
        laws.of_the_world(self.world)

    def teardown(self) -> None:
        try:
            self._come_to_rest()
        finally:
            self.world.__exit__(None, None, None)

    def _come_to_rest(self) -> None:
        """Nothing fails any more, and everybody says how it ended."""
        world = self.world
        for wire in self._wires():
            wire.let_through()
            wire.see(None)
        if world.stale is not None:
            world.stale.end()
        if world.leader.ended:
            world.lead_anew()
        for node in world.nodes.values():
            node.lifeline.at, node.blind = None, False
            node.start()
            world.ready(node.name, ready=True)
        for name in list(self.movers.moves):
            self.movers.end(name)
        for _ in range(MOST_ROUNDS):
            world.pass_time(30.0)
            world.leader.work()
            with suppress(BrokenError):
                laws.at_rest(world, self.movers.kept())
                break
        laws.of_the_world(world)
        laws.at_rest(world, self.movers.kept())

    def _moment(self) -> None:
        self.world.pass_time(A_MOMENT)

    def _operator(self, number: int) -> Operator:
        operators = self.world.operators
        if not operators:
            self.world.lead_anew()
            operators = self.world.operators
        return operators[-1 if number == STALE else 0]

    def _wires(self) -> list[Wire]:
        world = self.world
        nodes = [wire for node in world.nodes.values() for wire in (node.wire, *node.dead_wires)]
        known = (world.leader, world.stale, *world.former)
        return [*(operator.wire for operator in known if operator is not None), *nodes]

    def _on_their_way(self) -> list[Wire]:
        return [wire for wire in self._wires() if wire.on_its_way]
