"""What follows the death of a process: another one, or the end of the fleet."""

import time

import pytest

from hive.child import EXIT_CANNOT_BOOT, Child
from hive.restarts import NEVER_READY_MAX, Restarts, Verdict

KILLED = "was killed by SIGKILL"


def child(role: str = "gate", *, ready: bool = True, fatal: str = "") -> Child:
    return Child(role, 0, 1, None, time.monotonic_ns(), ready=ready, fatal=fatal)


def test_a_death_is_followed_by_a_restart_that_waits_longer_each_time():
    restarts = Restarts(30)
    assert [restarts.judge(child(), KILLED, -9) for _ in range(3)] == [Verdict(wait_s=s) for s in (0.1, 0.2, 0.4)]


def test_no_wait_is_longer_than_the_longest():
    restarts = Restarts(0.3)
    assert [restarts.judge(child(), KILLED, -9).wait_s for _ in range(4)] == [0.1, 0.2, 0.3, 0.3]


@pytest.mark.parametrize(
    ("fatal", "code", "why"),
    [("no such key", 1, "no such key"), ("", EXIT_CANNOT_BOOT, "gate cannot start: see its log")],
)
def test_a_process_that_says_it_cannot_start_ends_the_fleet(fatal, code, why):
    assert Restarts(30).judge(child(fatal=fatal), KILLED, code) == Verdict(why, cannot_boot=True)


def test_the_simulated_exchange_is_not_started_again():
    assert Restarts(30).judge(child("sim"), KILLED, -9).fatal == (
        "the simulated exchange was killed by SIGKILL: its orders are gone with it"
    )


def test_a_process_that_never_becomes_ready_ends_the_fleet_and_may_have_left_orders():
    restarts = Restarts(30)
    for _ in range(NEVER_READY_MAX - 1):
        assert restarts.judge(child(ready=False), KILLED, -9).fatal == ""
    last = restarts.judge(child(ready=False), KILLED, -9)
    assert last.fatal == "gate was killed by SIGKILL 5 times before it was ready: see its log"
    assert not last.cannot_boot


def test_becoming_ready_once_is_enough_to_be_forgiven():
    restarts = Restarts(30)
    for _ in range(3 * NEVER_READY_MAX):
        assert restarts.judge(child(ready=False), KILLED, -9).fatal == ""
        restarts.ready(child())


@pytest.mark.parametrize(
    ("role", "facts"), [("gate", {"fatal": "/dev/shm is full"}), ("worker", {"ready": False}), ("recorder", {})]
)
def test_a_fleet_that_has_run_goes_on_whatever_keeps_a_process_from_starting(role, facts):
    restarts = Restarts(30)
    one = child(role, **facts)
    waits = [restarts.judge(one, KILLED, EXIT_CANNOT_BOOT, ran=True) for _ in range(3 * NEVER_READY_MAX)]
    assert waits[:3] == [Verdict(wait_s=s) for s in (0.1, 0.2, 0.4)]
    assert waits[-1] == Verdict(wait_s=30)


def test_what_could_not_even_be_started_waits_longer_with_each_death_and_try():
    restarts = Restarts(30)
    restarts.judge(child(), KILLED, -9)
    assert [restarts.again_s(("gate", 0)) for _ in range(2)] == [0.2, 0.4]
