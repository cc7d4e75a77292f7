"""Who is told of whom: books to workers, their wishes to the feed, order queues to workers and gate."""

from typing import Any

from hive.child import Child
from hive.pairs import QueuePairs
from hive.roster import Roster
from hive.shm.errors import ShmError


class Wiring:
    """Connects the fleet's processes, again whenever one of them was replaced.

    Args:
        roster: who lives.
        pairs: makes order queues.

    Attributes:
        unlinked: why a worker has no queues to the gate yet, by its number; link_again() tries once more.
    """

    def __init__(self, roster: Roster, pairs: QueuePairs) -> None:
        self._roster = roster
        self._pairs = pairs
        self.unlinked: dict[int, str] = {}
        self._wanted: dict[tuple[str, str], list] = {}  # who, venue -> all that is wanted
        self._series: dict[tuple[str, str, str], dict[str, Any]] = {}  # what the feed has told of candle series
        self._budgets: dict[str, str] = {}  # venue -> the gate's segment

    def ready(self, child: Child, message: dict[str, Any]) -> None:
        """Connect a process that has just become ready."""
        if child.role == "feed":
            self._feed_ready(child, message)
        elif child.role == "gate":
            self._budgets = dict(message.get("budgets") or {})
            self._tell_budgets()
            self._tell_feed_to(child)
            for worker in self._roster.of_role("worker"):
                self.link(worker.index)
        elif child.role == "worker":
            self._tell_feed_to(child)
            for series in self._series.values():
                child.send(series)
            self.link(child.index)

    def gone(self, child: Child) -> None:
        """Tell the others that a process is dead, and unlink its queues.

        What a dead worker wanted stays wanted until the one that replaces it has said what it wants.
        """
        if child.role == "worker":
            self._pairs.drop(child.index)
            self.unlinked.pop(child.index, None)
            for gate in self._roster.of_role("gate"):  # one that is starting was told that this worker lives
                gate.send({"type": "worker_gone", "index": child.index, "epoch": child.epoch})
        elif child.role == "gate":
            self._pairs.drop_all()
            self.unlinked.clear()
            self.tell("worker", {"type": "gate_gone", "epoch": child.epoch})
        elif child.role == "feed":
            self._series.clear()

    def link(self, index: int) -> None:
        """Give a worker and the gate a fresh pair of queues, once both are ready; `unlinked` says why it has none."""
        worker = self._roster.children.get(("worker", index))
        gate = self._roster.children.get(("gate", 0))
        if worker is None or gate is None or not (worker.ready and gate.ready):
            return
        try:
            pair = self._pairs.fresh(index)
        except ShmError as error:
            self.unlinked[index] = str(error)
            return
        self.unlinked.pop(index, None)
        head = {"type": "worker", "index": index, "epoch": worker.epoch, "wake": worker.wake}
        head["lives"] = self._roster.members.lives_on(index)
        gate.send({**head, "inbound": pair.intents, "outbound": pair.replies})
        head = {"type": "gate", "epoch": gate.epoch, "link_epoch": worker.epoch, "wake": gate.wake}
        worker.send({**head, "inbound": pair.replies, "outbound": pair.intents})

    def link_again(self) -> None:
        """Try once more for the workers that have no queues yet."""
        for index in list(self.unlinked):
            self.link(index)

    def want(self, child: Child, venue: str, wants: list) -> None:
        """Pass on all that a worker wants of a venue now, and remember it for the feed's next epoch."""
        who = f"{child.role}{child.index}"
        self._wanted[who, venue] = wants
        self.tell("feed", _want(who, venue, wants))

    def unknown(self, message: dict[str, Any]) -> None:
        """Tell the workers that a pair cannot be followed; the feed has dropped it from every wish list."""
        for (_, venue), wants in self._wanted.items():
            if venue == message["venue"]:
                wants[:] = [wish for wish in wants if wish[0] != message["pair"]]
        self.tell("worker", message)

    def series(self, message: dict[str, Any]) -> None:
        """Tell the workers, and those that come later, where a candle series is."""
        self._series[message["venue"], message["pair"], message["interval"]] = message
        self.tell("worker", message)

    def tell(self, role: str, message: dict[str, Any]) -> None:
        """Send a message to every process of a role that is ready."""
        for child in self._roster.of_role(role):
            if child.ready:
                child.send(message)

    def _feed_ready(self, feed: Child, message: dict[str, Any]) -> None:
        for venue in self._roster.venues:
            named = next(one for one in message["venues"] if one["name"] == venue["name"])
            venue |= {"books": named["books"], "trades": named["trades"]}
        for (who, venue), wants in self._wanted.items():
            feed.send(_want(who, venue, wants))
        self._tell_budgets()
        for child in (*self._roster.of_role("gate"), *self._roster.of_role("worker")):  # orders follow the books
            if child.ready:
                self._tell_feed_to(child)

    def _tell_budgets(self) -> None:
        for venue, segment in self._budgets.items():
            self.tell("feed", {"type": "budget", "venue": venue, "segment": segment})

    def _tell_feed_to(self, child: Child) -> None:
        feed = self._roster.children.get(("feed", 0))
        for venue in self._roster.venues if feed is not None and feed.ready else ():
            segments = {"books": venue["books"], "trades": venue["trades"]}
            child.send({"type": "feed", "venue": venue["name"], "epoch": feed.epoch, **segments})


def _want(who: str, venue: str, wants: list) -> dict[str, Any]:
    return {"type": "want", "who": who, "venue": venue, "wants": wants}
