"""The measuring harness: its lines, its exit statuses, its samples."""

import itertools
import json
import os
import time

import pytest

from harness import (
    Args,
    CannotMeasure,
    Goal,
    NotMeasured,
    Outcome,
    check,
    interleaved,
    paced,
    per_call_ns,
    percentiles,
    pinned,
    require_cpus,
    run,
)
from host_facts import host_facts, steal_percent

FAST = Goal("ring.publish_us", "<=", 5, "us")
MANY = Goal("ring.rate", ">=", 1_000_000)


def answer(values):
    return lambda args: Outcome(values)


def test_each_goal_has_one_line_with_its_value_and_verdict(capsys):
    status = run("Is it fast?", [FAST, MANY], answer({"ring.publish_us": 4.25, "ring.rate": 999_999}), [])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("goal ")]
    assert lines == [
        "goal ring.publish_us: measured 4.25 us, goal <= 5: met",
        "goal ring.rate: measured 999999, goal >= 1000000: not met",
    ]
    assert status == 1


def test_exit_status_is_0_when_every_goal_is_met():
    assert run("q", [FAST, MANY], answer({"ring.publish_us": 5, "ring.rate": 1e6}), []) == 0


def test_exit_status_is_77_when_none_failed_and_one_was_not_measured(capsys):
    values = {"ring.publish_us": 5, "ring.rate": NotMeasured("needs more CPUs")}
    assert run("q", [FAST, MANY], answer(values), []) == 77
    assert "goal ring.rate: not measured: needs more CPUs" in capsys.readouterr().out.splitlines()


def test_a_failed_goal_outweighs_one_that_was_not_measured():
    assert run("q", [FAST, MANY], answer({"ring.publish_us": 6}), []) == 1


def test_a_goal_that_the_script_forgot_is_not_measured(capsys):
    assert run("q", [FAST], answer({}), []) == 77
    assert "goal ring.publish_us: not measured: the script gave no value" in capsys.readouterr().out


def test_a_value_that_is_not_a_number_is_not_measured(capsys):
    assert run("q", [FAST], answer({"ring.publish_us": float("nan")}), []) == 77
    assert "not measured: the value is not a number" in capsys.readouterr().out


def test_a_misspelt_value_is_a_failure_and_every_goal_still_has_its_line(capsys):
    assert run("q", [FAST], answer({"ring.publish": 1}), []) == 1
    assert "goal ring.publish_us: not measured: ValueError: values must be named" in capsys.readouterr().out


def test_a_wrong_answer_is_a_failure_however_fast_it_was(capsys):
    def measure(args):
        check(2 + 2 == 5, "the sum was 4")
        return Outcome({"ring.publish_us": 1})

    assert run("q", [FAST], measure, []) == 1
    assert "goal ring.publish_us: not measured: wrong answer: the sum was 4" in capsys.readouterr().out


def test_a_machine_with_too_few_cpus_cannot_measure_but_does_not_fail(capsys):
    def measure(args):
        require_cpus(10_000)
        return Outcome({})

    assert run("q", [FAST], measure, []) == 77
    assert "not measured: needs 10000 CPUs, has " in capsys.readouterr().out
    with pytest.raises(CannotMeasure):
        require_cpus(10_000)


def test_quick_shortens_the_sample_and_says_so_but_moves_no_limit(capsys):
    def measure(args):
        return Outcome({"ring.publish_us": args.size("ticks", 1_000_000, quick=20_000)})

    assert run("q", [FAST], measure, ["--quick"]) == 1
    out = capsys.readouterr().out
    assert "sample ticks: 20000 (quick; in full 1000000)" in out
    assert "measured 20000 us, goal <= 5: not met" in out
    assert Args().size("ticks", 7, quick=1) == 7


def test_json_holds_goals_host_sizes_and_details(tmp_path):
    def measure(args):
        args.size("ticks", 10, quick=1)
        return Outcome({"ring.publish_us": 4}, details={"rivals": {"peer": [1, 2]}})

    path = tmp_path / "out.json"
    assert run("Is it fast?\n\npicture", [FAST, MANY], measure, ["--json", str(path)]) == 77
    report = json.loads(path.read_text())
    assert report["question"] == "Is it fast?"
    assert report["sizes"] == {"ticks": 10}
    assert report["details"] == {"rivals": {"peer": [1, 2]}}
    assert [goal["verdict"] for goal in report["goals"]] == ["met", "not measured"]
    assert {"cpu", "cpus", "kernel", "python", "commit", "load", "steal_percent"} <= set(report["host"])


def test_a_script_has_its_own_options():
    seen = []

    def measure(args):
        seen.append(args.options.peers)
        return Outcome({})

    run("q", [], measure, ["--peers", "3"], lambda parser: parser.add_argument("--peers", type=int))
    assert seen == [3]


def test_a_goal_refuses_an_operator_that_it_does_not_know():
    with pytest.raises(ValueError, match="op of goal x must be one of <= >= < > ==, was '='"):
        Goal("x", "=", 1)


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0.5, 1), (99.9, 100)])
def test_percentiles_are_values_of_the_sample_by_nearest_rank(percent, expected):
    assert percentiles(range(100, 0, -1)).p(percent) == expected


def test_percentiles_agree_with_counting():
    values = [(7919 * i) % 1009 for i in range(1000)]
    sample = percentiles(values)
    for percent in (1, 25, 50, 90, 99):
        found = sample.p(percent)
        assert sum(v <= found for v in values) >= percent * 10
        assert sum(v < found for v in values) < percent * 10


def test_percentiles_are_printed_with_n_and_without_points_that_n_is_too_small_for():
    assert percentiles([3000, 1000, 2000] * 100).text("us", 1e-3) == "p50 2 us, p99 3 us, max 3 us (n=300)"
    assert percentiles([1.5]).text("s") == "max 1.5 s (n=1)"


def test_rivals_take_turns_and_warm_up_rounds_are_dropped():
    calls = []
    rivals = {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"}
    results = interleaved(rivals, repeats=2, warmup=1)
    assert "".join(calls) == "abc" + "bca" + "cab"
    assert results == {"a": [6, 8], "b": [4, 9], "c": [5, 7]}


def test_per_call_times_are_those_of_the_calls_after_the_warm_up():
    calls = []
    assert len(per_call_ns(lambda: calls.append(1), calls=5, warmup=3)) == 5
    assert len(calls) == 8


def test_paced_calls_never_come_before_their_intended_time():
    intended = []
    for due in paced(100_000, 20):
        assert time.monotonic_ns() >= due
        intended.append(due)
    assert {b - a for a, b in itertools.pairwise(intended)} == {100_000}


def test_pinning_ends_with_its_block():
    before = os.sched_getaffinity(0)
    with pinned(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_host_facts_name_the_machine_and_the_commit():
    facts = host_facts()
    assert facts["cpus"] >= 1
    assert facts["commit"]
    assert steal_percent((10, 1000), (20, 2000)) == 1.0
