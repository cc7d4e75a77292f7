"""The worker server and its workers as real processes, with a test for a supervisor, a feed and a gate."""

import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from hive.shm.channel import Channel
from hive.shm.counters import CountersReader
from hive.shm.ids import fleet_id, strategy_tag
from hive.shm.messages import MAYBE_SENT, IntentKind, ReplyKind
from hive.shm.segment import Segment
from tests.workers.venue import ScriptedGate, TinyFeed

PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).parents[2]
PAIR = "BTC-USDT"
DEADLINE_S = 30


class Gate(ScriptedGate):
    """Acks what is placed, fills it when `fills`, and cancels what it is asked to."""

    def __init__(self, *args):
        super().__init__(*args)
        self.fills = True
        self.placed = []
        self.cancelled = []
        self.queried = []
        self.trade_ids = iter(range(1, 1 << 30))
        self.say(ReplyKind.OPENED)

    def serve(self):
        for intent in self.intents():
            cid = intent.client_order_id
            if intent.flags & MAYBE_SENT:
                self.queried.append(cid)
                self.say(ReplyKind.ACKED, cid)
            elif intent.kind is IntentKind.PLACE:
                self.placed.append(intent)
                self.say(ReplyKind.ACKED, cid, exchange_order_id=str(len(self.placed)))
                if self.fills:
                    self.say(ReplyKind.FILL, cid, trade_id=next(self.trade_ids), amount=intent.amount)
                    self.say(ReplyKind.FILLED, cid)
            elif intent.kind is IntentKind.CANCEL:
                self.cancelled.append(cid)
                self.say(ReplyKind.CANCELLED, cid)
        self.flush()


class WorkerProcess:
    """The supervisor's view of one worker."""

    def __init__(self, index, epoch, channel):
        self.index = index
        self.epoch = epoch
        self.channel = channel
        self.pid = None
        self.messages = []
        self.gate = None
        self.exit_code = None

    def of_type(self, kind):
        return [message for message in self.messages if message["type"] == kind]

    def states(self, strategy_id):
        return [message["state"] for message in self.of_type("strategy") if message["id"] == strategy_id]

    def counters(self):
        (ready,) = self.of_type("ready")
        return CountersReader(Segment.open(ready["counters"], kind="counters"))

    def value(self, name, strategy_id=None):
        labels = (("strategy", strategy_id),) if strategy_id else ()
        return self.counters().read().values[(name, labels)]


class Fleet:
    """Starts a server and workers, and serves them until what a test waits for has happened."""

    def __init__(self, tmp_path):
        self.run = secrets.token_hex(4)
        self.run_dir = tmp_path
        self.feed = TinyFeed(self.run)
        self.feed.add(PAIR)
        self.workers = []
        self.gates = []
        self.server_messages = []
        self.server_gone = False
        self.gate_epoch = 0

    def start_server(self, host="tests.workers.tiny_host:TinyHost", asleep_after_s=None, **config):
        self.server_channel, theirs = Channel.pair()
        command = [sys.executable, "-m", "hive.workers.process", "--channel-fd", str(theirs.fileno())]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.server = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT, env=environment)
        theirs.close()
        boot = {"type": "boot", "host": host, "host_config": config, "log_file": str(self.run_dir / "server.log")}
        self.server_channel.send({**boot, "asleep_after_s": asleep_after_s})

    def spawn(self, index, epoch, strategies, **boot):
        channel, theirs = Channel.pair()
        worker = WorkerProcess(index, epoch, channel)
        self.workers.append(worker)
        self.server_channel.send({"type": "spawn", "index": index, "epoch": epoch}, fds=[theirs.fileno()])
        theirs.close()
        specs = [
            {
                "id": name,
                "tag": strategy_tag(name),
                "index": k,
                "kind": "v1",
                "name": what,
                "config": {"pair": PAIR, **more},
            }
            for k, (name, what, more) in enumerate(strategies)
        ]
        channel.send(
            {
                "type": "boot",
                "run": self.run,
                "fleet": "test",
                "fleet_id": fleet_id("test"),
                "epoch": epoch,
                "index": index,
                "run_dir": str(self.run_dir),
                "log_file": str(self.run_dir / f"worker{index}.{epoch}.log"),
                "tick_interval_ms": 20,
                "strategies": specs,
                "venues": [{"index": 0, "name": "sim"}],
                "stale_after_ms": 5000,
                **boot,
            }
        )
        channel.send(
            {"type": "feed", "venue": "sim", "epoch": 1, "books": self.feed.books.name, "trades": self.feed.trades.name}
        )
        return worker

    def attach_gate(self, worker):
        self.gate_epoch += 1
        worker.gate = Gate(self.run, self.gate_epoch, worker.epoch)
        self.gates.append(worker.gate)
        inbound, outbound = worker.gate.names
        wake = str(self.run_dir / "wake.gate.1")
        worker.channel.send(
            {
                "type": "gate",
                "venue": "sim",
                "epoch": self.gate_epoch,
                "inbound": inbound,
                "outbound": outbound,
                "wake": wake,
            }
        )

    def serve(self):
        self.feed.beat()
        self._read(self.server_channel, self.server_messages)
        for worker in self.workers:
            self._read(worker.channel, worker.messages)
            if worker.gate is not None:
                worker.gate.serve()
            if worker.pid is None:
                for message in self.server_messages:
                    if (message["type"], message.get("index"), message.get("epoch")) == (
                        "spawned",
                        worker.index,
                        worker.epoch,
                    ):
                        worker.pid = message["pid"]
            elif worker.exit_code is None:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    worker.exit_code = os.waitstatus_to_exitcode(status)

    @staticmethod
    def _read(channel, messages):
        try:
            while (message := channel.recv_blocking(0)) is not None:
                messages.append(message)
        except TimeoutError:
            pass

    def wait_for(self, happened, what):
        give_up = time.monotonic() + DEADLINE_S
        while not happened():
            self.serve()
            if time.monotonic() > give_up:
                logs = "\n".join(path.read_text()[-3000:] for path in self.run_dir.glob("*.log"))
                messages = json.dumps([worker.messages for worker in self.workers])
                pytest.fail(f"{what} did not happen within {DEADLINE_S} s\n{messages}\n{logs}")
            time.sleep(0.002)
        self.serve()  # what came with it

    def wait_running(self, worker, *names):
        self.wait_for(
            lambda: all("running" in worker.states(name) for name in names), f"worker {worker.index} running {names}"
        )

    def end(self):
        for worker in self.workers:
            worker.channel.close()
        self.server_channel.close()
        self.server.wait(DEADLINE_S)
        for worker in self.workers:
            if worker.pid is not None and worker.exit_code is None:
                os.waitpid(worker.pid, 0)
            for ready in worker.of_type("ready"):
                Path("/dev/shm", ready["counters"].lstrip("/")).unlink(missing_ok=True)
        self.feed.close()
        for gate in self.gates:
            gate.close()


@contextmanager
def subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def fleet(tmp_path):
    with subreaper():
        made = Fleet(tmp_path)
        try:
            yield made
        finally:
            made.end()
    assert [name for name in os.listdir("/dev/shm") if f".{made.run}." in name] == []
    assert list(tmp_path.glob("wake.worker*")) == [] or any(w.exit_code == -signal.SIGKILL for w in made.workers)


def memory_mb(pid):
    fields = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    return {name: int(fields[fields.index(f"{name}:") + 1]) / 1024 for name in ("Rss", "Pss", "Private_Dirty")}


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_strategies_trade_are_filled_and_trade_again_until_they_are_stopped(fleet):
    fleet.start_server()
    worker = fleet.spawn(0, 1, [("one", "trade", {}), ("two", "trade", {})])
    fleet.attach_gate(worker)
    fleet.wait_running(worker, "one", "two")
    gate = worker.gate
    fleet.wait_for(lambda: len(gate.placed) >= 40, "40 orders")
    tags = {intent.client_order_id[7:12] for intent in gate.placed}
    assert tags == {strategy_tag("one"), strategy_tag("two")}
    assert worker.of_type("want")[0] == {
        "type": "want",
        "venue": "sim",
        "wants": [[PAIR, "book"], [PAIR, "trades"]],
    }
    gate.fills = False
    placed = len(gate.placed)
    fleet.wait_for(lambda: len(gate.placed) == placed + 2, "a resting order each")
    worker.channel.send({"type": "stop", "deadline_s": 10})
    fleet.wait_for(lambda: worker.exit_code is not None, "the worker's end")
    assert worker.exit_code == 0
    assert worker.of_type("stopped") == [{"type": "stopped", "open_orders": 0, "late": []}]
    assert len(gate.cancelled) == 2
    for name in ("one", "two"):
        assert worker.states(name)[0] == "starting"
        assert worker.states(name)[-1] == "stopped"
        submitted = worker.value("orders_submitted", name)
        assert submitted == worker.value("orders_acked", name) == worker.value("orders_filled", name) + 1
        assert worker.value("fills", name) == submitted - 1
        assert worker.value("orders_cancelled", name) == 1
        assert worker.value("errors", name) == 0
        assert worker.value("ticks", name) > 20
    assert worker.value("context_unresolved") == 0


def test_workers_are_children_of_the_supervisor_and_outlive_their_server(fleet):
    fleet.start_server(megabytes=64)
    cpu = min(os.sched_getaffinity(0))
    first = fleet.spawn(0, 1, [("one", "trade", {})], cpu=cpu)
    second = fleet.spawn(1, 1, [("two", "trade", {})], cpu=4095)
    for worker in (first, second):
        fleet.attach_gate(worker)
    fleet.wait_running(first, "one")
    fleet.wait_running(second, "two")
    assert parent(first.pid) == parent(second.pid) == os.getpid()
    assert first.of_type("ready")[0]["pid"] == first.pid
    assert os.sched_getaffinity(first.pid) == {cpu}
    assert "not pinned to CPU 4095" in (fleet.run_dir / "worker1.1.log").read_text()
    assert Path(f"/proc/{second.pid}/comm").read_text() == "hive-worker-1\n"
    shared = memory_mb(first.pid)
    print(f"worker of a server that preloaded 64 MB: {shared}")
    assert shared["Private_Dirty"] < 48  # the 64 MB are not its own
    fleet.server.kill()
    fleet.server.wait()
    placed = len(first.gate.placed), len(second.gate.placed)
    fleet.wait_for(
        lambda: len(first.gate.placed) > placed[0] and len(second.gate.placed) > placed[1], "orders without the server"
    )


def test_a_killed_worker_takes_nobody_along_and_comes_back_with_the_next_epoch(fleet):
    fleet.start_server()
    first = fleet.spawn(0, 1, [("one", "trade", {})])
    second = fleet.spawn(1, 1, [("two", "trade", {})])
    for worker in (first, second):
        fleet.attach_gate(worker)
    fleet.wait_running(first, "one")
    fleet.wait_running(second, "two")
    os.kill(first.pid, signal.SIGKILL)
    fleet.wait_for(lambda: first.exit_code is not None, "the end of worker 0")
    assert first.exit_code == -signal.SIGKILL
    again = fleet.spawn(0, 2, [("one", "trade", {})])
    fleet.attach_gate(again)
    fleet.wait_running(again, "one")
    placed = len(second.gate.placed)
    fleet.wait_for(lambda: len(again.gate.placed) > 5 and len(second.gate.placed) > placed + 5, "orders of both")
    (fleet.run_dir / "wake.worker0.1").unlink()


def test_an_idle_server_gives_its_memory_back_and_forks_again_when_asked(fleet):
    fleet.start_server(asleep_after_s=0.2, megabytes=64)
    first = fleet.spawn(0, 1, [("one", "trade", {})])
    fleet.attach_gate(first)
    fleet.wait_running(first, "one")
    fleet.wait_for(lambda: memory_mb(fleet.server.pid)["Rss"] < 32, "the server asleep")
    second = fleet.spawn(1, 1, [("two", "trade", {})])
    fleet.attach_gate(second)
    fleet.wait_running(second, "two")
    fleet.wait_for(lambda: memory_mb(fleet.server.pid)["Rss"] < 32, "the server asleep again")
    assert parent(second.pid) == os.getpid()
    fleet.server_channel.send({"type": "stop"})
    fleet.wait_for(lambda: fleet.server.poll() == 0, "the end of the server")


def test_a_worker_ends_at_once_when_its_supervisor_is_gone(fleet):
    fleet.start_server()
    worker = fleet.spawn(0, 1, [("one", "trade", {}), ("two", "never_stop", {})])
    fleet.attach_gate(worker)
    fleet.wait_running(worker, "one", "two")
    (ready,) = worker.of_type("ready")
    worker.channel.close()
    _, status = os.waitpid(worker.pid, 0)
    worker.exit_code = os.waitstatus_to_exitcode(status)
    assert worker.exit_code == 1
    assert not Path("/dev/shm", ready["counters"].lstrip("/")).exists()
    assert not list(fleet.run_dir.glob("wake.worker*"))


def test_what_a_strategy_raises_stays_with_that_strategy(fleet):
    fleet.start_server()
    bad = ["fail_to_start", "fail", "exit_in_tick", "exit_in_task"]
    worker = fleet.spawn(0, 1, [(name, name, {}) for name in bad] + [("good", "trade", {})])
    fleet.attach_gate(worker)
    fleet.wait_running(worker, "good")
    fleet.wait_for(lambda: worker.states("fail_to_start")[-1:] == ["failed"], "a failed start")
    for name in bad[1:]:
        fleet.wait_for(lambda name=name: worker.states(name)[-1:] == ["paused"], f"{name} paused")
    placed = len(worker.gate.placed)
    fleet.wait_for(lambda: len(worker.gate.placed) > placed + 10, "orders of the good one")
    messages = {message["id"]: message["message"] for message in worker.of_type("strategy")}
    assert messages["fail_to_start"] == "LookupError: no such config"
    assert "10 ticks in a row failed" in messages["fail"]
    assert "a tick raised SystemExit" in messages["exit_in_tick"]
    assert "a callback raised SystemExit" in messages["exit_in_task"]
    assert worker.value("errors", "good") == 0
    assert all(worker.value("errors", name) > 0 for name in bad)
    log = (fleet.run_dir / "worker0.1.log").read_text()
    assert "strategy fail: tick raised ValueError" in log
    worker.channel.send({"type": "stop", "deadline_s": 10})
    fleet.wait_for(lambda: worker.exit_code is not None, "the worker's end")
    assert worker.exit_code == 0


def test_the_orders_of_a_strategy_that_was_paused_for_its_errors_are_cancelled(fleet):
    fleet.start_server()
    worker = fleet.spawn(0, 1, [("bad", "trade_then_fail", {}), ("good", "trade", {})])
    fleet.attach_gate(worker)
    worker.gate.fills = False
    fleet.wait_for(lambda: worker.states("bad")[-1:] == ["paused"], "the pause")
    fleet.wait_for(lambda: worker.gate.cancelled, "the cancel")
    assert {cid[7:12] for cid in worker.gate.cancelled} == {strategy_tag("bad")}
    fleet.wait_for(lambda: worker.value("orders_cancelled", "bad") == 1, "the reply")


def test_a_callback_that_blocks_the_loop_is_named_while_it_blocks(fleet):
    fleet.start_server()
    strategies = [("good", "trade", {}), ("slow", "block", {"block_s": 1.5})]
    worker = fleet.spawn(0, 1, strategies, slow_callback_ms=100)
    fleet.attach_gate(worker)
    fleet.wait_running(worker, "good", "slow")
    reader = worker.counters()

    def hangs():
        return time.monotonic_ns() - reader.heartbeat_ns > 500_000_000

    fleet.wait_for(hangs, "a missing heartbeat")
    assert reader.read().values[("running_strategy", ())] == 1 + 1
    fleet.wait_for(lambda: worker.value("slow_callbacks", "slow") == 1, "the notice")
    log = (fleet.run_dir / "worker0.1.log").read_text()
    assert "strategy slow blocked the loop for" in log
    assert "time.sleep(" in log
    assert worker.value("slow_callbacks", "good") == 0
    assert worker.value("missed_ticks", "good") > 10
    assert worker.value("running_strategy") == 0


def test_a_strategy_that_does_not_stop_is_left_behind_at_the_deadline(fleet):
    fleet.start_server()
    worker = fleet.spawn(0, 1, [("good", "trade", {}), ("stuck", "never_stop", {}), ("late", "never_start", {})])
    fleet.attach_gate(worker)
    fleet.wait_running(worker, "good", "stuck")
    worker.channel.send({"type": "stop", "deadline_s": 0.5})
    fleet.wait_for(lambda: worker.exit_code is not None, "the worker's end")
    assert worker.exit_code == 0
    (stopped,) = worker.of_type("stopped")
    assert stopped["late"] == ["stuck"]
    assert worker.states("late")[-1] == "stopped"


def test_sigterm_stops_a_worker_as_the_supervisor_would(fleet):
    fleet.start_server()
    worker = fleet.spawn(0, 1, [("good", "trade", {})])
    fleet.attach_gate(worker)
    fleet.wait_running(worker, "good")
    os.kill(worker.pid, signal.SIGTERM)
    fleet.wait_for(lambda: worker.exit_code is not None, "the worker's end")
    assert worker.exit_code == 0
    assert worker.states("good")[-1] == "stopped"


def test_a_new_gate_takes_over_and_trading_goes_on(fleet):
    fleet.start_server()
    worker = fleet.spawn(0, 1, [("good", "trade", {})])
    fleet.attach_gate(worker)
    fleet.wait_running(worker, "good")
    worker.gate.fills = False
    placed = len(worker.gate.placed)
    fleet.wait_for(lambda: len(worker.gate.placed) > placed, "a resting order")
    resting = worker.gate.placed[-1].client_order_id
    worker.channel.send({"type": "gate_gone", "epoch": fleet.gate_epoch})
    fleet.attach_gate(worker)
    fleet.wait_for(lambda: resting in worker.gate.queried, "the question about the resting order")
    worker.gate.say(ReplyKind.CANCELLED, resting)
    fleet.wait_for(lambda: len(worker.gate.placed) > 5, "orders through the new gate")
    assert worker.value("orders_cancelled", "good") == 1


def test_a_host_or_boot_that_cannot_work_is_fatal(fleet):
    fleet.start_server(host="tests.workers.no_such_host:Host")
    fleet.wait_for(lambda: fleet.server_messages, "the server's answer")
    assert fleet.server_messages[0]["type"] == "fatal"
    assert "no_such_host" in fleet.server_messages[0]["message"]
    assert fleet.server.wait(DEADLINE_S) == 3
    fleet.start_server()
    worker = fleet.spawn(0, 1, [("one", "trade", {})], tick_interval_ms=0)
    fleet.wait_for(lambda: worker.exit_code is not None, "the worker's end")
    assert worker.exit_code == 3
    assert worker.of_type("fatal") == [{"type": "fatal", "message": "boot: tick_interval_ms must be positive, was 0"}]
