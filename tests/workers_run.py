"""A worker server and its workers as real processes, with a test for a supervisor, a feed and a gate."""

import ctypes
import json
import os
import secrets
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
ROOT = Path(__file__).parents[1]
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
        self.link.flush()  # what a busy queue does not take goes with the next look


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


@contextmanager
def running_fleet(tmp_path):
    """A Fleet whose processes this one adopts; when it has ended, nothing of it may be left."""
    with subreaper():
        made = Fleet(tmp_path)
        try:
            yield made
        finally:
            made.end()
    assert [name for name in os.listdir("/dev/shm") if f".{made.run}." in name] == []
    if not any(worker.exit_code is not None and worker.exit_code < 0 for worker in made.workers):
        assert list(tmp_path.glob("wake.worker*")) == []
