"""The order queues between workers and gate: a fresh named pair whenever either end, or the pair itself, is new."""

from dataclasses import dataclass

from hive.plan import QUEUE_BYTES
from hive.shm.errors import ShmError
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import segment_name, unlink


@dataclass(frozen=True, slots=True)
class QueuePair:
    """Segment names of the queue of intents (worker to gate) and that of replies (gate to worker)."""

    intents: str
    replies: str


class QueuePairs:
    """Creates and unlinks the pairs of a run; one per worker at a time.

    Args:
        run: of whose segments they are.
        capacity_bytes: of each queue.
    """

    def __init__(self, run: str, capacity_bytes: int = QUEUE_BYTES) -> None:
        self._run = run
        self._capacity_bytes = capacity_bytes
        self._pairs: dict[int, QueuePair] = {}
        self._made = 0

    def fresh(self, worker: int) -> QueuePair:
        """Return a new pair for a worker; the one before is unlinked (who has it mapped keeps it).

        Raises:
            ShmError: there is no room for it (ShmFull), or it cannot be made or mapped.
        """
        self.drop(worker)
        self._made += 1
        intents, replies = (
            segment_name(self._run, f"orders.{what}{worker}", self._made) for what in ("intents", "replies")
        )
        pair = self._pairs[worker] = QueuePair(intents, replies)
        try:
            for name in (intents, replies):
                OrderQueue.create(name, self._made, self._capacity_bytes).close()
        except ShmError:
            self.drop(worker)
            raise
        return pair

    def drop_all(self) -> None:
        """Unlink every pair."""
        for worker in list(self._pairs):
            self.drop(worker)

    def drop(self, worker: int) -> None:
        """Unlink a worker's pair, if it has one."""
        pair = self._pairs.pop(worker, None)
        if pair is not None:
            unlink(pair.intents)
            unlink(pair.replies)
