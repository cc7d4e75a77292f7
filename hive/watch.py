"""What the supervisor looks at twice a second, more often in doubt: heartbeats, first orders, the summary."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hive.child import Child
from hive.console import Console
from hive.roster import Roster
from hive.shm.atomics import boottime_ns
from hive.shm.snapshots import HistogramSnapshot

HUNG_LOOKS = 3  # so many looks in a row must find the heartbeat too old: one may be this process's own lateness
BUSY_FACTOR = 5  # a strategy's start may import and compute for long; so may the stop of hundreds
SILENT_S = 5.0  # a process that closed its channel must end by itself in so long
SLOW_READY_S = 20.0
AWAY_NS = 2_000_000_000  # between two looks: this process, or the machine, stood still
SELDOM = 4  # looks between two for a first order that does not come soon: each goes over all counters

log = logging.getLogger("hive.supervisor")


@dataclass(frozen=True, slots=True)
class _Figures:
    """What a summary is reckoned from."""

    at_s: float
    ticks: int
    updates: int
    lateness: HistogramSnapshot


class Watch:
    """Looks at the fleet from the supervisor's loop.

    Args:
        roster: who lives.
        console: gets the summary.
        hang_after_ms: age of a heartbeat from which on its process is killed, to be replaced.
        boot_ns: CLOCK_BOOTTIME, which goes on while the machine is suspended.
    """

    def __init__(
        self, roster: Roster, console: Console, hang_after_ms: int, boot_ns: Callable[[], int] = boottime_ns
    ) -> None:
        self._roster = roster
        self._console = console
        self._hang_after_ns = hang_after_ms * 1_000_000
        self._boot_ns = boot_ns
        self._looked_ns = 0
        self._judge_from_ns = 0
        self._hung_up: dict[Child, float] = {}
        self._told_slow: set[Child] = set()
        self._summary_at = 0.0
        self._errors = 0
        self._told_errors: set[str] = set()
        self._looks = 0
        self._before: _Figures | None = None

    def hung_up(self, child: Child) -> None:
        """Note that a process closed its channel: it is about to end."""
        self._hung_up[child] = time.monotonic()

    @property
    def in_doubt(self) -> bool:
        """Whether a process may hang: the next looks will tell."""
        return any(child.late_beats and not child.hung for child in self._roster.children.values())

    def beat(self, *, stopping: bool) -> None:
        """Look at everything."""
        children = list(self._roster.children.values())
        if self._may_judge():
            for child in children:
                self._check_heartbeat(child, stopping)
        for child, since in list(self._hung_up.items()):
            if child not in children:
                del self._hung_up[child]
            elif time.monotonic() - since > SILENT_S:
                child.kill()
        if stopping:
            return
        self._note_firsts()
        self._notice_slow_starts(children)
        self._summarize()

    def _may_judge(self) -> bool:
        """Return whether heartbeats say something: after a standstill all are old, and each gets time to beat again."""
        now_ns = self._boot_ns()
        if self._looked_ns and now_ns - self._looked_ns > AWAY_NS:
            log.warning("nothing ran for %.1f s: every process gets time", (now_ns - self._looked_ns) / 1e9)
            self._judge_from_ns = now_ns + self._hang_after_ns
            for child in self._roster.children.values():
                child.late_beats = 0
        self._looked_ns = now_ns
        return now_ns >= self._judge_from_ns

    def _check_heartbeat(self, child: Child, stopping: bool) -> None:
        now_ns = time.monotonic_ns()
        age_ns = child.heartbeat_age_ns(now_ns)
        limit_ns = self._hang_after_ns
        if child.role == "worker" and (stopping or "starting" in self._roster.states_of(child.index)):
            limit_ns *= BUSY_FACTOR
        if age_ns is None or age_ns <= limit_ns:
            child.late_beats = 0
            return
        child.late_beats += 1
        if child.late_beats >= HUNG_LOOKS and not child.hung:
            child.hung = True
            culprit = self._culprit(child)
            log.error("%s has no heartbeat for %.1f s%s: killed", child.title, age_ns / 1e9, culprit)
            self._console.say("error", f"error: {child.title} has no heartbeat for {age_ns / 1e9:.1f} s{culprit}")
            child.kill()

    def _culprit(self, child: Child) -> str:
        snapshot = child.read_counters()
        number = snapshot.value("running_strategy") if snapshot is not None else 0
        one = self._roster.members.by_number(number - 1)
        return f", in strategy {one.config.id}" if one is not None else ""

    def _note_firsts(self) -> None:
        facts = self._roster.facts
        self._looks += 1
        if "first_fill_s" in facts or (self._looks > 100 * SELDOM and self._looks % SELDOM):
            return
        for key, counter in (("first_order_s", "orders_acked"), ("first_fill_s", "fills")):
            if key not in facts and self._roster.count("worker", counter):
                facts[key] = round(self._console.since_start_s(), 2)
                what = "order acknowledged by the venue" if counter == "orders_acked" else "fill"
                self._console.say(key.removesuffix("_s"), f"first {what}")
                self._roster.save()

    def _notice_slow_starts(self, children: list[Child]) -> None:
        for child in children:
            lived_s = (time.monotonic_ns() - child.started_ns) / 1e9
            if not child.ready and lived_s > SLOW_READY_S and child not in self._told_slow:
                self._told_slow.add(child)
                self._console.say("warning", f"warning: {child.title} is not ready yet: its log may say why")

    def _summarize(self) -> None:
        now = time.monotonic()
        if self._roster.state != "running" or now < self._summary_at:
            return
        self._summary_at = now + self._console.summary_every_s
        figures = _Figures(
            now,
            self._roster.count("worker", "ticks"),
            self._roster.count("feed", "updates"),
            self._roster.merged("worker", "tick_lateness_ns"),
        )
        if self._before is not None:
            self._console.summary(self._told(figures, self._before))
        self._before = figures
        self._notice_errors()

    def _notice_errors(self) -> None:
        """Say of which strategies there are errors, once of each: its log has them all."""
        errors = self._roster.count("worker", "errors")
        if errors == self._errors:
            return
        self._errors = errors
        for child in self._roster.of_role("worker"):
            snapshot = child.read_counters()
            for strategy in self._roster.strategies_of(child.index) if snapshot is not None else ():
                if strategy not in self._told_errors and snapshot.value("errors", strategy=strategy):
                    self._told_errors.add(strategy)
                    text = f"strategy {strategy} has errors, see `hive logs {strategy}`"
                    self._console.say("warning", f"warning: {text}", strategy=strategy)

    def _told(self, now: _Figures, before: _Figures) -> dict[str, Any]:
        count, seconds = self._roster.count, now.at_s - before.at_s
        late = now.lateness.minus(before.lateness)
        states = self._roster.states()
        return {
            "strategies": len(states),
            "running": states.count("running"),
            "ticks_per_s": round(max(0, now.ticks - before.ticks) / seconds, 1),
            "late_p99_ms": round(late.percentile(99) / 1e6, 2) if late.count else None,
            "orders": count("worker", "orders_submitted"),
            "fills": count("worker", "fills"),
            "open_orders": count("gate", "open_orders"),
            "unknown_now": count("gate", "unknown_now"),
            "updates_per_s": round(max(0, now.updates - before.updates) / seconds, 1),
            "errors": count("worker", "errors"),
            "halts": len(self._roster.halts),
        }
