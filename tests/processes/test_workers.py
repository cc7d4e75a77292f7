"""The worker server and its workers as real processes, with a test for a supervisor, a feed and a gate."""

import os
import signal
import time
from pathlib import Path

import pytest

from hive.shm.ids import strategy_tag
from hive.shm.messages import ReplyKind
from workers_run import DEADLINE_S, PAIR, running_fleet


@pytest.fixture
def fleet(tmp_path):
    with running_fleet(tmp_path) as made:
        yield made


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
    log = fleet.run_dir / "worker1.1.log"
    fleet.wait_for(lambda: "not pinned to CPU 4095" in log.read_text(), "the notice in the log")
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
    log = fleet.run_dir / "worker0.1.log"
    fleet.wait_for(lambda: "strategy fail: tick raised ValueError" in log.read_text(), "the error in the log")
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

    def hangs_in_it():
        running = reader.read().values[("running_strategy", ())]
        return running == 1 + 1 and time.monotonic_ns() - reader.heartbeat_ns > 500_000_000

    fleet.wait_for(hangs_in_it, "a missing heartbeat, and who is to blame")
    fleet.wait_for(lambda: worker.value("slow_callbacks", "slow") == 1, "the notice")
    log = fleet.run_dir / "worker0.1.log"  # which is written by a thread, after the figure
    fleet.wait_for(lambda: "strategy slow blocked the loop for" in log.read_text(), "the notice in the log")
    fleet.wait_for(lambda: "time.sleep(" in log.read_text(), "where it blocks, in the log")
    assert worker.value("slow_callbacks", "good") == 0
    assert worker.value("missed_ticks", "good") > 10
    fleet.wait_for(lambda: worker.value("running_strategy") == 0, "a moment between two callbacks")


def test_a_strategy_that_does_not_stop_is_left_behind_at_the_deadline(fleet):
    fleet.start_server()
    worker = fleet.spawn(0, 1, [("good", "trade", {}), ("stuck", "never_stop", {}), ("late", "never_start", {})])
    fleet.attach_gate(worker)
    fleet.wait_running(worker, "good", "stuck")
    worker.channel.send({"type": "stop", "deadline_s": 3})
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
