"""Bad neighbours in real workers: what each gets, by which name it is known, and that the others trade on."""

import os
import signal
import time

import pytest

from tests.workers.bad_host import ORDERS_A_TICK
from workers_run import running_fleet

HOST = "tests.workers.bad_host:BadHost"
GOOD = ("good-1", "good-2", "good-3")
LIMITS = {
    "slow_callback_ms": 60,
    "interrupt_after_ms": 300,
    "loop_share": 0.5,
    "memory_mb": 700,
    "log_lines_per_s": 100,
    "orders_waiting": 50,
}
GO = {  # the harm, and what its doer is told to have done
    "spin": {"held the loop"},
    "spin_in_task": {"held the loop"},
    "spin_in_event": {"held the loop"},
    "hog": {"took the loop"},
    "flood_log": {"flooded the log", "took the loop"},
    "flood_orders": {"flooded its orders", "took the loop"},
    "take_memory": {"took memory", "took the loop"},
}
PAUSED = {  # the harm, and what the operator reads
    "exit_hard": "SystemExit",
    "change_directory": "os.chdir is refused",
    "change_environment": "os.putenv is refused",
    "change_locale": "locale.setlocale is refused",
    "fork_off": "os.fork is refused",
    "recurse": "RecursionError",
}
TOLD = {
    "change_directory": "os.chdir was refused",
}
COUNTED = ("raise_in_task", "raise_in_event")
HARMLESS = ("exit_in_thread", "return_garbage", "sleep_now_and_then")


@pytest.fixture
def fleet(tmp_path):
    with running_fleet(tmp_path) as made:
        yield made


def strategies(*harms):
    return [(name, "trade", {}) for name in GOOD] + [(harm.replace("_", "-"), harm, {}) for harm in harms]


def trade_on(fleet, worker, more=10):
    """Wait until every good strategy has placed more orders."""
    before = {name: worker.value("orders_acked", name) for name in GOOD}
    fleet.wait_for(
        lambda: all(worker.value("orders_acked", name) >= before[name] + more for name in GOOD), "orders of the others"
    )


def test_who_harms_its_neighbours_has_to_go_with_a_reason_and_they_trade_on(fleet):
    """One of them in each worker: the harm of one must not be what another one is judged by."""
    fleet.start_server(host=HOST)
    workers = {harm: fleet.spawn(index, 1, strategies(harm), **LIMITS) for index, harm in enumerate(GO)}
    for worker in workers.values():
        fleet.attach_gate(worker)
    for harm, worker in workers.items():
        fleet.wait_for(lambda worker=worker: worker.of_type("misbehaved"), f"a verdict on {harm}")
        trade_on(fleet, worker)
        name = harm.replace("_", "-")
        (message,) = worker.of_type("misbehaved")
        assert (message["id"], message["verdict"]) == (name, "quarantine")
        assert message["what"] in GO[harm]
        paused = [one for one in worker.of_type("strategy") if one["state"] == "paused"]
        assert [(one["id"], one["message"]) for one in paused] == [(name, f"paused: {message['reason']}")]
        assert all(worker.value("errors", one) == 0 for one in GOOD)
        if harm == "flood_orders":
            submitted = worker.value("orders_submitted", name)
            assert submitted < worker.value("orders_refused", name)
            assert submitted < worker.value("ticks", name) * ORDERS_A_TICK
        worker.channel.send({"type": "stop", "deadline_s": 10})
    fleet.wait_for(lambda: all(worker.exit_code == 0 for worker in fleet.workers), "the end of all")


def test_what_harms_nobody_else_is_refused_counted_or_told_and_all_others_trade_on(fleet):
    fleet.start_server(host=HOST)
    harms = (*PAUSED, *COUNTED, *HARMLESS)
    worker = fleet.spawn(0, 1, strategies(*harms), **LIMITS | {"loop_share": None})
    fleet.attach_gate(worker)
    fleet.wait_running(worker, *GOOD)
    where = os.readlink(f"/proc/{worker.pid}/cwd")

    def messages(harm, state):
        own = (one for one in worker.of_type("strategy") if one["id"] == harm.replace("_", "-"))
        return [one["message"] for one in own if one["state"] == state]

    for harm, text in PAUSED.items():
        fleet.wait_for(lambda h=harm, t=text: any(t in one for one in messages(h, "paused")), f"{harm} paused")
    for harm, text in TOLD.items():
        fleet.wait_for(
            lambda h=harm, t=text: any(t in one for one in messages(h, "running") + messages(h, "paused")),
            f"{harm} told",
        )
    for harm in COUNTED:
        fleet.wait_for(lambda h=harm: worker.value("errors", h.replace("_", "-")) > 5, f"errors of {harm}")
    fleet.wait_for(lambda: worker.value("slow_callbacks", "sleep-now-and-then") > 0, "the notice of a long sleep")
    trade_on(fleet, worker)
    for harm in (*COUNTED, *HARMLESS):
        assert worker.states(harm.replace("_", "-"))[-1] == "running", harm
    assert os.readlink(f"/proc/{worker.pid}/cwd") == where
    assert all(worker.value("errors", one) == 0 for one in GOOD)
    assert worker.of_type("misbehaved") == []


def test_a_worker_that_dies_or_hangs_names_the_culprit(fleet):
    fleet.start_server(host=HOST)
    dies = fleet.spawn(0, 1, strategies("crash_in_task"), **LIMITS)
    hangs = fleet.spawn(1, 1, strategies("spin_and_swallow"), **LIMITS)
    for worker in (dies, hangs):
        fleet.attach_gate(worker)
    fleet.wait_for(lambda: dies.exit_code is not None, "a crash")
    assert dies.exit_code == -signal.SIGSEGV
    assert dies.value("running_strategy") == len(GOOD) + 1
    reader = hangs.counters()
    fleet.wait_for(lambda: time.monotonic_ns() - reader.heartbeat_ns > 2_000_000_000, "a hanging loop")
    assert hangs.value("running_strategy") == len(GOOD) + 1
    os.kill(hangs.pid, signal.SIGKILL)
    fleet.wait_for(lambda: hangs.exit_code is not None, "its end")
    for worker in (dies, hangs):
        (fleet.run_dir / f"wake.worker{worker.index}.1").unlink()
