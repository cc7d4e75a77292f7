"""A fleet in one thread: strategies with their routers, a gate, both of which die and come back, and a model exchange.

    Strategy ── OrderRouter ── Link ══ pipes ══ Link ── Gate: AccountBench, Listener ── ModelVenue ── Exchange
      heard       of one life of its worker                of one life

Routers, links, account, listener, ledger and journal are the real ones. What the processes around them do (hive.gate
Gate and Intake, the supervisor) is done here step by step, so that a death can fall between any two.
"""

import logging
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path

from gate.fake_venue import FLEET_ID, AccountBench, FakeClock
from gate.model_venue import Exchange, ModelVenue
from gate.model_worker import TAGS, Worker
from gate.virtual_loop import VirtualLoop
from hive.gate.journal import FILE_BYTES_MIN
from hive.gate.listener import Listener
from hive.gate.venue import Balance
from hive.shm.ids import parse_order_id
from hive.shm.link import Link
from hive.shm.messages import FINAL_KINDS, Reply, ReplyKind, unpack
from hive.workers.context import StrategyCounters


class Pipe:
    """An order queue that always has room."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()

    def put_many(self, frames: list[bytes]) -> int:
        self._frames.extend(frames)
        return len(frames)

    def get_many(self) -> list[bytes]:
        frames = list(self._frames)
        self._frames.clear()
        return frames


class Errors(logging.Handler):
    """Collects what was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class Gate:
    """One life of the gate."""

    def __init__(self, world: "World", epoch: int, same_run: bool) -> None:
        self.epoch = epoch
        self.loop = VirtualLoop(world.clock)
        self._world = world
        self._links: dict[int, tuple[Worker, Link, deque[tuple[int, str]]]] = {}
        self.handled: list[tuple[Worker, bytes]] = []
        self.venue = ModelVenue(world.exchange)
        self.enter(self._start, same_run)  # before anybody is attached

    def _start(self, same_run: bool) -> None:
        world = self._world
        self.bench = AccountBench(
            world.folder,
            clock=world.clock,
            venue=self.venue,
            ready=False,
            same_run=same_run,
            file_bytes=FILE_BYTES_MIN,
            given=world.given,
        )
        self.bench.account.guards.tick({}, world.clock.now)  # as Builder does: sums begin before the first fill
        self.bench.journal.commit()
        alive = {tag: (life,) for tag, life in world.kept.items()} if same_run else {}
        for worker in filter(None, world.workers if same_run else ()):
            alive[worker.tag] = (worker.epoch, *alive.get(worker.tag, ()))
        self.listener = Listener(
            self.bench.account,
            FLEET_ID,
            cancel_unknown=False,
            cancel_lost=world.cancel_lost,
            alive=alive,
            broadcast=self._broadcast,
            log=logging.getLogger("test"),
            now_ns=world.clock,
        )
        self._task = self.loop.create_task(self.listener.run())

    def attach(self, worker: Worker, again: bool = True) -> None:
        """Use a fresh pair of queues with a worker; see Gate._attach. Not `again`: its strategy comes later."""
        there, back = Pipe(), Pipe()
        self._links[worker.index] = (worker, Link(there, back, None, worker.epoch), deque())
        account = self.bench.account
        self.loop.enter(account.lives.tell_capital, {worker.tag})
        self._collect()
        self.loop.enter(self.listener.announce, lambda reply: self._send(worker.index, reply))
        if again:
            self.loop.enter(account.lives.tell_again, {worker.tag}, worker.epoch)
            self._collect()

        def make_link(inbound: str, outbound: str) -> Link:
            return Link(back, there, None, worker.epoch)

        worker.next_gate = partial(worker.router.attach_gate, self.epoch, "in", "out", make_link)

    def retire(self, worker: Worker, cancel: bool) -> None:
        """End the life of a worker's strategy; see Owners.retire."""
        self.poll()
        self._links.pop(worker.index, None)
        self.enter(self.bench.account.part, worker.tag, cancel)

    def adopt(self, worker: Worker) -> None:
        """Let a worker's strategy begin its life; see Owners.adopt."""
        if worker.index not in self._links:
            self.attach(worker, again=False)
        self.enter(self.bench.account.lives.hand_over, worker.tag, worker.epoch)

    def worker_gone(self, worker: Worker) -> None:
        """See Gate._worker_gone."""
        self._links.pop(worker.index, None)
        self.enter(self.bench.account.worker_gone, {worker.tag}, worker.epoch, self._world.cancel_lost)

    def enter(self, call, *args) -> None:
        """Let something happen in the gate's process."""
        self.loop.enter(call, *args)
        self._collect()

    def run_due(self) -> None:
        self.loop.run_due()
        self._collect()

    def poll(self) -> None:
        """Take in what workers have sent."""
        for worker, link, ends in list(self._links.values()):
            while payloads := link.poll():
                for payload in payloads:
                    self.handle(worker, payload)
            while ends and ends[0][0] <= link.acked:
                self.bench.account.taken(ends.popleft()[1])

    def handle(self, worker: Worker, payload: bytes) -> None:
        self.handled.append((worker, payload))
        intent = unpack(payload)
        owner = parse_order_id(intent.client_order_id)
        assert owner == (FLEET_ID, worker.tag)
        self.enter(self.bench.account.handle, intent, worker.tag, worker.epoch)

    def commit(self) -> None:
        self.bench.journal.commit()

    def flush(self) -> None:
        """Write the journal, then let replies leave."""
        self.commit()
        for _, link, _ in self._links.values():
            link.flush()

    def kill(self) -> None:
        """End as by SIGKILL: nothing of it runs any more."""
        self.loop.enter(self.bench.kill)
        self.loop.enter(self._task.cancel)
        assert not self.loop.errors, self.loop.errors

    def _collect(self) -> None:
        """Hand what the account told to the links, as Intake.reply does; a worker that is gone has none."""
        told, self.bench.told[:] = list(self.bench.told), []
        for tag, reply in told:
            index = TAGS.index(tag)
            if index in self._links:
                self._send(index, reply)

    def _broadcast(self, reply: Reply) -> None:
        for index in self._links:
            self._send(index, reply)

    def _send(self, index: int, reply: Reply) -> None:
        _, link, ends = self._links[index]
        sequence = link.send(reply.pack())
        if reply.final:
            ends.append((sequence, reply.client_order_id))


class World:
    """Everything, and what must hold of it.

    Attributes:
        placed: by client order id, the life of the worker that placed it
        lives: every worker that lived, in order
        kept: by tag of a strategy that is between two lives, the life whose orders rest meanwhile
    """

    def __init__(
        self,
        folder: Path,
        counters: tuple[StrategyCounters, ...],
        cancel_lost: bool,
        given: Mapping[str, Mapping[str, Decimal]] | None = None,
    ) -> None:
        self.folder = folder
        self.given = given or {}
        self.counters = counters
        self.cancel_lost = cancel_lost
        self.clock = FakeClock()
        self.exchange = Exchange(self.clock)
        if self.given:  # the account has plenty of what is given out
            self.exchange.balances = [Balance(asset, Decimal(10**9), Decimal(0)) for asset in ("USDT", "BTC", "BNB")]
        self.placed: dict[str, Worker] = {}
        self.lives: list[Worker] = []
        self.kept: dict[str, int] = {}
        self.workers: list[Worker | None] = [None, None]
        self.gates: list[Gate] = []
        self.gate: Gate | None = None
        self.errors = Errors()
        self._number = 0
        self._epochs = [0, 0]
        for index in range(len(TAGS)):
            self.start_worker(index)
        self.start_gate()

    def next_number(self) -> int:
        self._number += 1
        return self._number

    # --- who lives

    def start_gate(self, same_run: bool = True) -> None:
        self.gate = Gate(self, len(self.gates) + 1, same_run)
        self.gates.append(self.gate)
        self._check_memory()
        for worker in self.workers:
            if worker is not None:
                self.gate.attach(worker)

    def kill_gate(self) -> None:
        self.gate.kill()
        self.gate = None
        self.exchange.gate_died()
        for worker in self.workers:
            if worker is not None:
                worker.gate_gone()

    def start_worker(self, index: int) -> None:
        worker = self._new_life(index)
        if self.gate is not None:
            self.gate.attach(worker)

    def move(self, index: int, cancel: bool, death: str = "") -> None:
        """End a strategy's life and begin its next one elsewhere; with a death of the gate before the step `death`.

        What a gate has not answered is asked of the next one, as the supervisor does.
        """
        old, self.workers[index] = self.workers[index], None
        if not cancel:
            self.kept[old.tag] = old.epoch
        self.gate.retire(old, cancel)
        if death == "retired":
            self._next_gate()
            self.gate.retire(old, cancel)
        self.gate.commit()
        if death == "begun":
            self._next_gate()
        new = self._new_life(index)
        self.gate.adopt(new)
        if death == "adopted":
            self._next_gate()
            self.gate.adopt(new)
        self.gate.commit()
        self.kept.pop(old.tag, None)

    def _new_life(self, index: int) -> Worker:
        self._epochs[index] += 1
        worker = self.workers[index] = Worker(self, index, self._epochs[index])
        self.lives.append(worker)
        return worker

    def _next_gate(self) -> None:
        self.kill_gate()
        self.start_gate()

    def kill_worker(self, index: int) -> None:
        worker, self.workers[index] = self.workers[index], None
        if self.gate is not None:
            self.gate.worker_gone(worker)

    def restart_all(self) -> None:
        """Begin another run after the death of everything."""
        self.kill_gate()
        self._epochs = [0, 0]
        self.workers = [None, None]
        for index in range(len(TAGS)):
            self.start_worker(index)
        self.start_gate(same_run=False)

    def close(self) -> None:
        for gate in self.gates:
            gate.loop.enter(gate.bench.close)

    # --- what goes on between the steps

    def pump(self) -> None:
        """Let messages go back and forth once."""
        if self.gate is not None:
            self.gate.poll()
            self.gate.flush()
        for worker in self.workers:
            if worker is not None and not worker.busy:
                worker.pump()

    def advance(self, time_ns: int) -> None:
        """Let time pass, with everything that comes due."""
        end_ns = self.clock.now + time_ns
        while self.gate is not None and (due_ns := self.gate.loop.due_ns) is not None and due_ns <= end_ns:
            self.clock.now = max(self.clock.now, due_ns)
            self.gate.run_due()
            self.pump()
        self.clock.now = end_ns

    # --- what must hold

    def check_told(self, worker: Worker, reply: Reply) -> None:
        """Check one reply at the moment in which a strategy hears it."""
        name, placed = reply.client_order_id, self.exchange.orders.get(reply.client_order_id)
        assert parse_order_id(name) == (FLEET_ID, worker.tag), f"{worker.tag} was told of {name}"
        if reply.kind in FINAL_KINDS:
            assert name not in self.exchange.live(), f"{name} lives and was told {reply.kind.name}: {reply.text}"
            assert reply.kind is not ReplyKind.REJECTED or placed is None, f"{name} lived and was told REJECTED"
        elif reply.kind is ReplyKind.FILL:
            amounts = {trade.trade_id: trade.amount for trade in placed.trades}
            assert amounts.get(reply.trade_id) == reply.amount, f"{name} was told a fill that is none: {reply}"

    def _check_memory(self) -> None:
        """A gate that has just started knows each order that is open or may become so."""
        for name in [*self.exchange.live(), *self.exchange.flying()]:
            order = self.gate.bench.account.ledger.get(name)
            assert order is not None, f"the journal has forgotten {name}"
            assert not order.final, f"the journal says that {name} is {order.state.name}"
