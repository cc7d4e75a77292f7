"""The links to the workers: intents in, replies out, and whose order is whose.

A worker has one link per epoch. Intents whose client order id is not one of its own strategies' are refused here;
replies find their worker by the strategy's tag, and those of a worker that is gone are told to its next life by the
ledger. A strategy has a life on a worker; each further one, there or elsewhere, has a greater number. When a worker has
acknowledged the reply that ends an order, `on_taken` is told.

A balance that is told to all is told at once to the workers with something going on, and with the next beat to those
that have had nothing else for one to two beats: to wake a worker costs as much as some ticks, and others' orders change
the account's balances all the time.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from hive.gate import replies
from hive.gate.settings import OwnerSettings
from hive.shm.errors import NotRepresentable, QueueWedged
from hive.shm.ids import PREFIX_LENGTH, order_prefix
from hive.shm.link import Link
from hive.shm.messages import MAYBE_SENT, Intent, IntentKind, Reply, ReplyKind, unpack
from hive.shm.order_queue import OrderQueue
from hive.shm.refusals import Refusal
from hive.shm.wake import Waker

CALM = 2  # beats after the last message to or from a worker but balances


@dataclass(slots=True)
class WorkerLink:
    """A worker's link; `wedged` when its queues cannot be used until a fresh pair comes.

    `dirty` when there is something to put, `later` when only from the next beat on, `calm_in` how many beats from now.
    """

    index: int
    epoch: int
    names: tuple[str, str]
    link: Link
    queues: tuple[OrderQueue, OrderQueue]
    waker: Waker
    wedged: bool = False
    dirty: bool = False
    later: bool = False
    calm_in: int = CALM
    ends: deque[tuple[int, int, str]] = field(default_factory=deque)  # sequence, venue, order of replies that end one


@dataclass(slots=True)
class _Owner:
    """A strategy: the worker that it lives on, -1 when it lives nowhere, and the number of its latest life.

    `rests`: the orders of an earlier life rest until they are handed over to this one.
    """

    tag: str
    worker: int
    life: int | None
    rests: bool = False


class Intake:
    """All workers' links.

    Args:
        fleet_id: of the orders that this gate sends
        strategies: who owns which tag
        handle: takes (intent, tag, the strategy's life)
        on_wedged: told the index and epoch of a worker whose queue pair must be replaced
        on_pending: called when there is something to flush
        on_taken: told (venue, client order id) when a worker has acted upon the reply that ends an order
        on_refused: told (venue, tag) of an intent for a strategy that is not on the worker which sent it
    """

    def __init__(
        self,
        fleet_id: str,
        strategies: tuple[OwnerSettings, ...],
        handle: Callable[[Intent, str, int], None],
        on_wedged: Callable[[int, int], None],
        on_pending: Callable[[], None],
        on_taken: Callable[[int, str], None],
        log: logging.Logger,
        on_refused: Callable[[int, str], None] = lambda venue, tag: None,
    ) -> None:
        self._on_refused = on_refused
        self._fleet_id = fleet_id
        self._on_taken = on_taken
        self._owners = {one.tag: _Owner(one.tag, one.worker, one.life, one.kept is not None) for one in strategies}
        self._by_prefix = {order_prefix(fleet_id, tag): owner for tag, owner in self._owners.items()}
        self._handle = handle
        self._on_wedged = on_wedged
        self._on_pending = on_pending
        self._log = log
        self._links: dict[int, WorkerLink] = {}

    def attach(self, index: int, epoch: int, inbound: str, outbound: str, wake: str) -> bool:
        """Use a worker's queue pair; returns whether it is a new link (not a fresh pair of one that was wedged).

        Raises:
            ShmError: a queue cannot be mapped.
        """
        old = self._links.get(index)
        names = (inbound, outbound)
        if old is not None and old.epoch == epoch and old.names == names:
            return False
        queues = (OrderQueue.attach(inbound), OrderQueue.attach(outbound))
        if old is not None and old.epoch == epoch:
            for queue in old.queues:
                queue.close()
            old.link.relink(*queues)
            old.queues, old.names, old.wedged, old.dirty = queues, names, False, True
            return False
        if old is not None:
            self.detach(index, old.epoch)
        waker = Waker(wake)
        self._links[index] = WorkerLink(index, epoch, names, Link(*queues, waker, epoch), queues, waker)
        return True

    def detach(self, index: int, epoch: int) -> bool:
        """Forget a worker's link; returns False, and does nothing, when a later epoch has taken its place."""
        entry = self._links.get(index)
        if entry is None or entry.epoch > epoch:
            return entry is None
        del self._links[index]
        unacked = len(entry.link.unacked())
        if unacked:
            self._log.info("worker %d (epoch %d) is gone with %d replies not taken", index, epoch, unacked)
        for queue in entry.queues:
            queue.close()
        entry.waker.close()
        return True

    def assign(self, lives: Mapping[str, int], worker: int) -> None:
        """Say that these strategies, by tag, live on a worker from now on, with these numbers of their lives."""
        for tag, life in lives.items():
            owner = self._owners[tag] = _Owner(tag, worker, life, self.rests(tag))
            self._by_prefix[order_prefix(self._fleet_id, tag)] = owner

    def unassign(self, tag: str) -> None:
        """Say that a strategy lives nowhere: what comes for it is refused, what goes to it is kept by the ledger."""
        if tag in self._owners:
            self._owners[tag].worker = -1

    def rests(self, tag: str) -> bool:
        """Return whether a strategy's orders rest for its present life, which has not been handed them yet."""
        return tag in self._owners and self._owners[tag].rests

    def handed_over(self, tag: str) -> None:
        """Say that a strategy's present life has been handed the orders of earlier ones."""
        self._owners[tag].rests = False

    def life(self, tag: str) -> int | None:
        """Return the number of a strategy's latest life, None when it never had one."""
        owner = self._owners.get(tag)
        return None if owner is None else owner.life

    def tags_of(self, worker: int) -> set[str]:
        """Return the tags of a worker's strategies."""
        return {tag for tag, owner in self._owners.items() if owner.worker == worker}

    def poll(self) -> None:
        """Take in what every worker has sent, and act on it before it is acknowledged."""
        for entry in list(self._links.values()):
            if entry.wedged:
                continue
            try:
                while payloads := entry.link.poll():
                    entry.dirty = True  # an ack is owed
                    entry.calm_in = CALM
                    for payload in payloads:
                        self._take(entry, payload)
            except QueueWedged:
                self._wedge(entry)
            self._note_taken(entry)

    def reply(self, tag: str, reply: Reply) -> None:
        """Send a reply to the worker of a strategy."""
        owner = self._owners.get(tag)
        entry = None if owner is None else self._links.get(owner.worker)
        if entry is None:
            self._log.info("reply %s of order %s: told when its worker is back", reply.kind.name, reply.client_order_id)
            return
        self.send(entry.index, reply)

    def broadcast(self, reply: Reply) -> None:
        """Send a reply to every worker; a balance may wait for the next beat."""
        patient = reply.kind is ReplyKind.BALANCE
        self._send(self._links.values(), reply, patient=patient)

    def send(self, worker: int, reply: Reply) -> None:
        """Send a reply to one worker."""
        self._send((self._links[worker],), reply)

    def _send(self, entries: Iterable[WorkerLink], reply: Reply, *, patient: bool = False) -> None:
        try:
            payload = reply.pack()
        except NotRepresentable as error:
            self._log.error("reply %s of order %s cannot be sent: %s", reply.kind.name, reply.client_order_id, error)
            return
        for entry in entries:
            sequence = entry.link.send(payload)
            if reply.final:
                entry.ends.append((sequence, reply.venue, reply.client_order_id))
            if patient and not entry.calm_in:
                entry.later = True
                continue
            entry.dirty = True
            if not patient:
                entry.calm_in = CALM
        self._on_pending()

    def beat(self) -> bool:
        """Do what flush() does, and put what could wait."""
        for entry in self._links.values():
            entry.dirty, entry.later = entry.dirty or entry.later, False
            entry.calm_in = max(0, entry.calm_in - 1)
        return self.flush()

    def flush(self) -> bool:
        """Put what is to be sent into the queues; returns False when one is full or busy: call again soon."""
        done = True
        dirty = [entry for entry in self._links.values() if entry.dirty and not entry.wedged]
        for entry in dirty:
            try:
                entry.dirty = not entry.link.put()
                done = done and not entry.dirty
            except QueueWedged:
                self._wedge(entry)
        for entry in dirty:  # last: who is woken may take this CPU at once
            entry.link.wake()
        return done

    def close(self) -> None:
        """Forget every link."""
        for entry in list(self._links.values()):
            self.detach(entry.index, entry.epoch)

    def _take(self, entry: WorkerLink, payload: bytes) -> None:
        try:
            intent = unpack(payload)
        except ValueError as error:
            self._log.error("worker %d sent what is no intent: %s", entry.index, error)
            return
        if not isinstance(intent, Intent):
            self._log.error("worker %d sent a reply", entry.index)
            return
        order_id = intent.client_order_id
        owner = self._by_prefix.get(order_id[:PREFIX_LENGTH])
        if owner is None or not order_id.replace("-", "0").isalnum():  # ASCII, and not too long, as it was unpacked
            why = f"client order id is not one of fleet {self._fleet_id}'s strategies"
            self._refuse(entry, intent, Refusal.INVALID, why)
        elif owner.worker != entry.index:
            why = f"no strategy of worker {entry.index} has the tag {owner.tag}"
            self._refuse(entry, intent, Refusal.WRONG_WORKER, why)
            self._on_refused(intent.venue, owner.tag)
        else:
            self._handle(intent, owner.tag, entry.epoch if owner.life is None else owner.life)

    def _note_taken(self, entry: WorkerLink) -> None:
        acked = entry.link.acked if entry.ends else 0
        while entry.ends and entry.ends[0][0] <= acked:
            _, venue, client_order_id = entry.ends.popleft()
            self._on_taken(venue, client_order_id)

    def _refuse(self, entry: WorkerLink, intent: Intent, code: Refusal, why: str) -> None:
        self._log.error("worker %d, order %s refused: %s", entry.index, intent.client_order_id, why)
        if intent.flags & MAYBE_SENT and intent.kind is not IntentKind.CANCEL:
            return  # it may live: only the venue's word ends it
        self.send(entry.index, replies.refused(intent, code, why))

    def _wedge(self, entry: WorkerLink) -> None:
        entry.wedged = True
        self._log.error("the queues of worker %d (epoch %d) are wedged", entry.index, entry.epoch)
        self._on_wedged(entry.index, entry.epoch)
