"""One request budget in a whole fleet: both parties draw from it, and neither's death gives a minute away twice."""

import os
import signal
import time

import pytest

from command import Command
from feed_run import until
from hive.shm.budget import MINUTE_NS, Budget
from hive.shm.segment import Segment, list_segments


@pytest.fixture
def fleet(tmp_path):
    made = Command(tmp_path)
    made.up()
    made.wait_for_event("first_fill")
    yield made
    made.close()


class View:
    """The fleet's only budget, read by this test."""

    def __init__(self, run):
        self.name = max(info.name for info in list_segments(run) if info.kind == "budget" and info.alive)
        self._segment = Segment.open(self.name, kind="budget", writable=True)
        self.budget = Budget.open(self._segment, "gate")

    @property
    def wall_ns(self):
        return time.time_ns() + self.budget.offset_ns

    def used(self):
        """Return (window, gate, feed, what the venue counted), all of one minute."""
        while True:
            wall_ns = self.wall_ns
            gate, feed, _ = self.budget.used(wall_ns)
            found = wall_ns // MINUTE_NS, gate, feed, self.budget.settled(wall_ns)
            if self.wall_ns // MINUTE_NS == found[0]:
                return found

    def close(self):
        self.budget = None
        self._segment.close()


def seen(run):
    view = View(run)
    try:
        return (view.name, *view.used())
    finally:
        view.close()


def wait_for_room_in_the_minute(run):
    """Come back when this minute of the venue has time for a restart."""
    view = View(run)
    until_ns = view.wall_ns
    into = until_ns % MINUTE_NS
    view.close()
    if into > MINUTE_NS - 15_000_000_000:
        time.sleep((MINUTE_NS - into) / 1e9 + 1)


def test_a_minute_goes_on_when_gate_and_feed_are_replaced(fleet):
    run = fleet.status()["run"]
    wait_for_room_in_the_minute(run)
    until(lambda: seen(run)[2] > 0, "the gate spends")
    name, window, gate, feed, settled = seen(run)
    assert settled <= gate + feed
    os.kill(fleet.process_of("gate")["pid"], signal.SIGKILL)
    until(lambda: any(info.alive for info in list_segments(run) if info.kind == "budget" and info.name != name), "next")
    fleet.wait_for(lambda: "second time" in str(fleet.lines()), "the gate is ready again")
    after = until(lambda: (now := seen(run))[3] >= feed and now, "the feed has brought along what it spent")
    assert after[0] != name
    if after[1] == window:
        assert after[2] > gate, "what the dead gate spent, and what the next one did"
        assert after[4] <= after[2] + after[3]
    assert [info.name for info in list_segments(run) if info.kind == "budget"] == [after[0]]

    os.kill(fleet.process_of("feed")["pid"], signal.SIGKILL)
    fleet.wait_for(lambda: str(fleet.lines()).count("second time") == 2, "the feed is ready again")
    again = until(lambda: (now := seen(run))[3] > after[3] and now, "the feed spends from the same budget")
    assert again[0] == after[0]
    assert fleet.stop() == 0
    assert list_segments(run) == []
