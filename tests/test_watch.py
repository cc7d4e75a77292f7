"""Who is killed for an old heartbeat, and who gets time: a real process with real counters, and a clock that jumps."""

import io
import json
import secrets
import subprocess
import time

import pytest

from hive.boots import Run
from hive.child import Child
from hive.config import load_fleet
from hive.console import Console
from hive.plan import place
from hive.roster import Roster, versions
from hive.shm.channel import Channel
from hive.shm.counters import Counters, counters_size
from hive.shm.segment import Segment, segment_name
from hive.state import FleetDir
from hive.watch import HUNG_LOOKS, Watch

HANG_AFTER_MS = 2000
SECOND = 1_000_000_000


class Bench:
    """A watch over one process whose heartbeat this test beats, and whose clock it moves."""

    def __init__(self, tmp_path):
        (tmp_path / "scripts").mkdir()
        (tmp_path / "scripts/x.py").touch()
        (tmp_path / "fleet.yml").write_text("venues: {binance: {mode: sim}}\nstrategies: [{script: x}]\n")
        fleet = load_fleet(tmp_path / "fleet.yml")
        run = Run(secrets.token_hex(4), fleet, tmp_path, tmp_path, 1)
        placement = place(fleet.strategies, workers=1, cpus=(0,), limit=50)
        self.roster = Roster(run, placement, FleetDir(tmp_path), versions("0", "0"), 0)
        self.boot_ns = 10**12
        self.watch = Watch(self.roster, Console(0, stream=io.StringIO()), HANG_AFTER_MS, lambda: self.boot_ns)
        name = segment_name(run.run, "counters.feed", 1)
        self.segment = Segment.create(name, counters_size(4, 0), kind="counters", epoch=1)
        self.counters = Counters.create(self.segment, 4)
        channel, self.theirs = Channel.pair()
        self.process = subprocess.Popen(["sleep", "60"])
        self.child = Child("feed", 0, 1, channel, time.monotonic_ns(), ready=True)
        self.child.adopt(self.process.pid)
        self.child.map_counters(name)
        self.roster.children[self.child.member] = self.child

    def look(self, after_s=0.25, beat_age_s=0.0):
        self.counters.beat(time.monotonic_ns() - int(beat_age_s * SECOND))
        self.boot_ns += int(after_s * SECOND)
        self.watch.beat(stopping=True)
        return self.child.hung

    def close(self):
        self.process.kill()
        self.process.wait()
        self.child.close()
        self.theirs.close()
        self.segment.unlink()


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


class EagerConsole(Console):
    """Wants a summary at every look."""

    summary_every_s = 0.0


def test_a_summary_says_what_came_since_the_one_before(bench):
    stream = io.StringIO()
    watch = Watch(bench.roster, EagerConsole(0, as_json=True, stream=stream), HANG_AFTER_MS)
    bench.roster.state = "running"
    updates, open_orders = (bench.counters.counter(name, venue="binance") for name in ("updates", "open_orders"))
    open_orders.set(7)
    updates.inc(40)
    watch.beat(stopping=False)
    watch.beat(stopping=False)
    updates.inc(2)
    watch.beat(stopping=False)
    idle, busy = map(json.loads, stream.getvalue().splitlines())
    assert idle["updates_per_s"] == 0 < busy["updates_per_s"]
    assert (busy["orders"], busy["late_p99_ms"], busy["open_orders"]) == (0, None, 0)  # those 7 are not the gate's


def test_a_strategy_with_errors_is_named_once_with_where_to_read_them(bench):
    stream = io.StringIO()
    watch = Watch(bench.roster, EagerConsole(0, as_json=True, stream=stream), HANG_AFTER_MS)
    bench.roster.state = "running"
    name = segment_name(secrets.token_hex(4), "counters.worker0", 1)
    segment = Segment.create(name, counters_size(4, 0), kind="counters", epoch=1)
    worker = Child("worker", 0, 1, None, time.monotonic_ns(), ready=True)
    try:
        errors = Counters.create(segment, 4).counter("errors", strategy="x")
        worker.map_counters(name)
        bench.roster.children[worker.member] = worker
        for _ in range(3):
            watch.beat(stopping=False)
            errors.inc(2)
    finally:
        worker.close()
        segment.unlink()
    told = [one for line in stream.getvalue().splitlines() if (one := json.loads(line))["event"] == "warning"]
    assert [one["text"] for one in told] == ["warning: strategy x has errors, see `hive logs x`"]
    assert told[0]["strategy"] == "x"


def test_a_process_whose_heartbeat_stays_old_is_killed(bench):
    assert not bench.look()
    for _ in range(HUNG_LOOKS - 1):
        assert not bench.look(beat_age_s=3)
    assert bench.look(beat_age_s=3)
    assert bench.process.wait(10) == -9


def test_while_a_heartbeat_is_too_old_the_watch_is_in_doubt(bench):
    doubts = []
    for beat_age_s in (0.0, 3, 0.0, *[3] * HUNG_LOOKS, 3):
        bench.look(beat_age_s=beat_age_s)
        doubts.append(bench.watch.in_doubt)
    assert doubts == [False, True, False, *[True] * (HUNG_LOOKS - 1), False, False]


def test_one_that_beats_in_between_is_not(bench):
    for _ in range(3 * HUNG_LOOKS):
        assert not bench.look(beat_age_s=3)
        assert not bench.look()


def test_after_the_machine_was_suspended_every_process_gets_time_to_beat_again(bench):
    bench.look()
    for _ in range(HUNG_LOOKS - 1):
        bench.look(beat_age_s=3)
    assert not bench.look(after_s=3600, beat_age_s=3600)
    for _ in range(7):  # 1.75 s of the 2 s that it has
        assert not bench.look(beat_age_s=3600)
    hung = [bench.look(beat_age_s=3600) for _ in range(HUNG_LOOKS)]
    assert hung == [False] * (HUNG_LOOKS - 1) + [True]
