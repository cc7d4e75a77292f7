"""Runs one measuring script: its sizes, its rivals, its goals, its verdict.

A script asks one question. Its docstring is the question and a picture, `GOALS` are the limits, `measure(args)`
answers:

    GOALS = (Goal("ring.publish_p99_us", "<=", 5, "us"),)

    def measure(args: Args) -> Outcome:
        took_ns = ...  # checks its answer with check() before it reports
        return Outcome({"ring.publish_p99_us": percentiles(took_ns).p(99) / 1e3})

    if __name__ == "__main__":
        sys.exit(run(__doc__, GOALS, measure))

One line is printed for every goal, always, and the exit status is 0 when all are met, 1 when any is not (or the script
failed or got a wrong answer), 77 when none failed but some could not be measured. SIGTERM and ctrl-C end it as an
exception does, so that all contexts close and no fleet is left; the status is then 128 and the signal's number. Run it
as `python perf/NAME.py`.
"""

import argparse
import json
import math
import operator
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from endings import ends_in_order
from host_facts import host_facts, steal_percent, steal_ticks

OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}
ALL_MET, NOT_MET, NOT_ALL_MEASURED = 0, 1, 77


class WrongAnswer(Exception):
    """What was measured did not give the right result, so its speed means nothing."""


class CannotMeasure(Exception):
    """This machine cannot answer the question; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """Stands in an Outcome for a value that could not be had, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit with a name: `measured op limit` must hold."""

    name: str
    op: str
    limit: float
    unit: str = ""

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise ValueError(f"op of goal {self.name} must be one of {' '.join(OPERATORS)}, was {self.op!r}")

    def met(self, value: float) -> bool:
        """Return whether the measured value is within the limit."""
        return OPERATORS[self.op](value, self.limit)

    def line(self, value: float | NotMeasured) -> str:
        """Return the goal's one line for a measured value, or for the reason why there is none."""
        if isinstance(value, NotMeasured):
            return f"goal {self.name}: not measured: {value.reason}"
        unit = f" {self.unit}" if self.unit else ""
        verdict = "met" if self.met(value) else "not met"
        return f"goal {self.name}: measured {number(value)}{unit}, goal {self.op} {number(self.limit)}: {verdict}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a script found: a value for each goal's name, JSON-able details, and lines for the reader."""

    values: Mapping[str, float | NotMeasured]
    details: Mapping[str, object] = field(default_factory=dict)
    lines: Sequence[str] = ()


@dataclass(slots=True)
class Args:
    """A script's options, and the sizes of the samples that it took."""

    quick: bool = False
    options: argparse.Namespace = field(default_factory=argparse.Namespace)
    sizes: dict[str, int] = field(default_factory=dict)

    def size(self, name: str, full: int, quick: int) -> int:
        """Return the sample's size for this run, and print it; --quick shortens samples and nothing else."""
        chosen = quick if self.quick else full
        self.sizes[name] = chosen
        print(f"sample {name}: {chosen}" + (f" (quick; in full {full})" if self.quick else ""), flush=True)
        return chosen


def check(right: bool, message: str) -> None:
    """Raise WrongAnswer(message) unless the answer is right."""
    if not right:
        raise WrongAnswer(message)


def wait_until[T](condition: Callable[[], T], what: Callable[[], str], seconds: float) -> T:
    """Return the condition's first true value; WrongAnswer with `what()` at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        check(time.monotonic() < deadline, f"not in {seconds:g} s: {what()}")
        time.sleep(0.02)
    return value


# ---- Sampling ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A sorted sample; percentiles by nearest rank, so that each is a value that was really seen."""

    ordered: tuple[float, ...]

    @property
    def n(self) -> int:
        """Return the size of the sample."""
        return len(self.ordered)

    @property
    def max(self) -> float:
        """Return the largest value."""
        return self.ordered[-1]

    def p(self, percent: float) -> float:
        """Return the percentile, 0 < percent <= 100; nearest rank."""
        if not 0 < percent <= 100:
            raise ValueError(f"percent must be above 0 and at most 100, was {percent}")
        return self.ordered[max(0, math.ceil(percent / 100 * self.n - 1e-9) - 1)]

    def text(self, unit: str, scale: float = 1.0, points: Sequence[float] = (50, 99, 99.9)) -> str:
        """Return "p50 1.2 us, p99 3.4 us, max 5 us (n=1000)"; a point that n is too small for is left out."""
        parts = [f"p{p:g} {number(self.p(p) * scale)} {unit}" for p in points if self.n * (100 - p) >= 100]
        return ", ".join([*parts, f"max {number(self.max * scale)} {unit}"]) + f" (n={self.n})"


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return the Percentiles of at least one value."""
    if len(values) == 0:
        raise ValueError("percentiles need at least one value, had none")
    return Percentiles(tuple(sorted(values)))


def interleaved[T](rivals: Mapping[str, Callable[[], T]], *, repeats: int, warmup: int = 1) -> dict[str, list[T]]:
    """Call every rival `warmup` times unrecorded, then `repeats` times, and return the results by name.

    A round calls each rival once and starts one further along than the round before, so that a slow minute of the
    machine, or the heat that one leaves behind, falls on all of them.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be >= 1, was {repeats}")
    names = list(rivals)
    results: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(warmup + repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            result = rivals[name]()
            if turn >= warmup:
                results[name].append(result)
    return results


def per_call_ns(call: Callable[[], object], *, calls: int, warmup: int = 100) -> list[int]:
    """Return how long each of `calls` calls took, in ns, after `warmup` unrecorded ones."""
    clock = time.perf_counter_ns
    for _ in range(warmup):
        call()
    took = []
    for _ in range(calls):
        begun = clock()
        call()
        took.append(clock() - begun)
    return took


def paced(interval_ns: int, count: int) -> Iterator[int]:
    """Yield `count` intended times, monotonic ns, not before each has come.

    A latency counted from the intended time includes the waiting that a slow predecessor caused.
    """
    intended = time.monotonic_ns() + interval_ns
    for _ in range(count):
        while (ahead := intended - time.monotonic_ns()) > 0:
            if ahead > 200_000:
                time.sleep((ahead - 100_000) / 1e9)
        yield intended
        intended += interval_ns


# ---- CPUs --------------------------------------------------------------------------------------------------------


def require_cpus(count: int) -> list[int]:
    """Return `count` CPUs that this process may use; raises CannotMeasure when there are fewer."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < count:
        raise CannotMeasure(f"needs {count} CPUs, has {len(allowed)}")
    return allowed[:count]


@contextmanager
def pinned(*cpus: int) -> Iterator[None]:
    """Keep this thread, and the children that it starts meanwhile, on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# ---- The run -----------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Return a number with up to six significant digits, large ones and whole ones in full."""
    if float(value).is_integer() or abs(value) >= 1e6:
        return f"{value:.0f}"
    return f"{value:.6g}"


def run(
    question: str | None,
    goals: Sequence[Goal],
    measure: Callable[[Args], Outcome],
    argv: Sequence[str] | None = None,
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Measure, print a line for each goal, write the JSON that --json asks for, and return the exit status.

    `question` is the script's docstring; `add_options` adds the script's own options, which `args.options` holds.
    """
    parser = argparse.ArgumentParser(description=question, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter samples; the goals and limits stay")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found to FILE")
    if add_options:
        add_options(parser)
    options = parser.parse_args(argv)
    args = Args(quick=options.quick, options=options)
    host = host_facts()
    print((question or "").strip().split("\n")[0])
    print(f"host: {host['cpu']}, {host['cpus']} CPUs, Linux {host['kernel']}, Python {host['python']}")
    print(f"commit: {host['commit']}; load {host['load']}", flush=True)

    begun, steal_before, started_wall = time.monotonic(), steal_ticks(), time.time()
    with ends_in_order():
        outcome, failure = measured(measure, args, goals)
    seconds = time.monotonic() - begun
    host["steal_percent"] = steal_percent(steal_before, steal_ticks())

    values = completed(goals, outcome.values)
    for line in outcome.lines:
        print(line)
    print(f"took {seconds:.1f} s, steal {host['steal_percent']:.1f} %")
    for goal in goals:
        print(goal.line(values[goal.name]))
    if options.json:
        report = {
            "schema": 1,
            "script": Path(sys.argv[0]).name,
            "question": (question or "").strip().split("\n")[0],
            "quick": args.quick,
            "started_wall": started_wall,
            "seconds": seconds,
            "host": host,
            "sizes": args.sizes,
            "goals": [as_json(goal, values[goal.name]) for goal in goals],
            "failure": failure,
            "details": dict(outcome.details),
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return exit_status(goals, values, failure)


def measured(measure: Callable[[Args], Outcome], args: Args, goals: Sequence[Goal]) -> tuple[Outcome, str | None]:
    """Return the script's outcome, and what went wrong when it has none."""
    try:
        outcome = measure(args)
        unknown = set(outcome.values) - {goal.name for goal in goals}
        if unknown:  # a misspelt name must not pass as "not measured"
            raise ValueError(f"values must be named as goals are, were also {', '.join(sorted(unknown))}")
        return outcome, None
    except CannotMeasure as error:
        return Outcome({"": NotMeasured(str(error))}), None
    except WrongAnswer as error:
        failure = f"wrong answer: {error}"
    except Exception as error:  # noqa: BLE001  every goal gets its line, whatever the script did
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    return Outcome({"": NotMeasured(failure)}), failure


def completed(goals: Sequence[Goal], values: Mapping[str, float | NotMeasured]) -> dict[str, float | NotMeasured]:
    """Return a value or a reason for each goal; the empty name holds what is true of all that are missing."""
    missing = values.get("", NotMeasured("the script gave no value"))
    result = {}
    for goal in goals:
        value = values.get(goal.name, missing)
        if not isinstance(value, NotMeasured) and math.isnan(value):
            value = NotMeasured("the value is not a number")
        result[goal.name] = value
    return result


def as_json(goal: Goal, value: float | NotMeasured) -> dict[str, object]:
    """Return one goal's entry in the JSON file."""
    entry: dict[str, object] = {"name": goal.name, "op": goal.op, "limit": goal.limit, "unit": goal.unit}
    if isinstance(value, NotMeasured):
        return entry | {"measured": None, "verdict": "not measured", "reason": value.reason}
    return entry | {"measured": value, "verdict": "met" if goal.met(value) else "not met"}


def exit_status(goals: Sequence[Goal], values: Mapping[str, float | NotMeasured], failure: str | None) -> int:
    """Return 1 when a goal is not met or the script failed, else 77 when one was not measured, else 0."""
    verdicts = [None if isinstance(v := values[goal.name], NotMeasured) else goal.met(v) for goal in goals]
    if failure is not None or False in verdicts:
        return NOT_MET
    return NOT_ALL_MEASURED if None in verdicts else ALL_MET
