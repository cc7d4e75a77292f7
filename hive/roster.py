"""The supervisor's book-keeping: who lives, what the dead had counted, how each strategy is; written as fleet.json."""

import logging
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hive import totals
from hive.boots import Run
from hive.child import Child
from hive.halts import Halt, Halts
from hive.members import Members
from hive.plan import Placement
from hive.processes import ProcessFacts
from hive.pure import implementation
from hive.shm.segment import process_start_ticks
from hive.shm.snapshots import CountersSnapshot, HistogramSnapshot
from hive.state import SCHEMA, FleetDir
from hive.top_sample import Member, Sample, take

ALARMS_MAX = 20
BLASTS_MAX = 20
MOVES_MAX = 20

log = logging.getLogger("hive.supervisor")


class Roster:
    """All processes and strategies of a run.

    Args:
        run: whose they are.
        placement: which worker has which strategy.
        folder: where fleet.json is written.
        versions: of hive and hummingbot, by name.
        started_wall_ns: when `hive up` was started.
    """

    def __init__(
        self, run: Run, placement: Placement, folder: FleetDir, versions: Mapping[str, str], started_wall_ns: int
    ) -> None:
        self.state = "starting"
        self.children: dict[Member, Child] = {}
        self.restarts: dict[Member, int] = {}
        self.facts: dict[str, Any] = {}  # further keys of fleet.json
        self.venues: list[dict[str, Any]] = []
        self.halts = Halts(run.state_dir / "halts.json")
        self.alarms: list[dict[str, Any]] = []  # the latest last, one entry for each text
        self._run = run
        self._placement = placement
        self._folder = folder
        self._unsaved = False
        self._without_folder = False
        self._versions = versions
        self._started_wall_ns = started_wall_ns
        self._cpu_seconds: dict[Member, float] = {}
        self._base: dict[str, CountersSnapshot] = {}
        self.members = Members(run.fleet, placement)
        self.blasts: list[dict[str, Any]] = []  # what deaths of workers have brought to a standstill, the latest last
        self.moves: list[dict[str, Any]] = []  # of strategies by themselves, the latest last

    def set_strategy(self, strategy: str, state: str, message: str) -> None:
        """Note the state of a strategy."""
        one = self.members.get(strategy)
        if one is not None:
            one.state, one.message = state, message

    def states(self) -> list[str]:
        """Return the state of every strategy."""
        return [one.state for one in self.members]

    def venue_names(self) -> list[str]:
        """Return the name of every venue, in the fleet's order."""
        return [venue.name for venue in self._run.fleet.venues]

    def strategy_ids(self) -> list[str]:
        """Return the id of every strategy, in the fleet's order."""
        return self.members.ids()

    def states_of(self, worker: int) -> list[str]:
        """Return the states of a worker's strategies."""
        return [one.state for one in self.members.on(worker)]

    def strategies_of(self, worker: int) -> list[str]:
        """Return the ids of a worker's strategies."""
        return [one.config.id for one in self.members.on(worker)]

    def bury(self, child: Child, cpu_seconds: float) -> None:
        """Keep what a dead process had counted, and forget the process."""
        snapshot = child.read_counters()
        if snapshot is not None:
            before = self._base.get(child.role, totals.EMPTY)
            self._base[child.role] = totals.add([before, totals.without_gauges(snapshot)])
        self._cpu_seconds[child.member] = self._cpu_seconds.get(child.member, 0) + cpu_seconds
        if self.children.get(child.member) is child:
            del self.children[child.member]
            if not self._without_folder:
                self._folder.drop_wake(child.title.replace(" ", ""))

    def halts_of_this_fleet(self) -> list[Halt]:
        """Return the halts of venues and strategies that the fleet has; others wait in their file."""
        venues = {None, *self.venue_names()}
        return [one for one in self.halts if one.venue in venues and one.strategy in {None, *self.members.ids()}]

    def alarm(self, text: str, venue: str | None) -> None:
        """Remember an alarm; one that was heard before becomes the latest, and is counted."""
        before = next((one for one in self.alarms if (one["text"], one["venue"]) == (text, venue)), None)
        if before is not None:
            self.alarms.remove(before)
        count = before["count"] + 1 if before is not None else 1
        self.alarms.append({"wall_ns": time.time_ns(), "venue": venue, "text": text, "count": count})
        del self.alarms[:-ALARMS_MAX]

    def blast(self, found: dict[str, Any]) -> None:
        """Remember what a worker's death has brought to a standstill."""
        self.blasts.append(found)
        del self.blasts[:-BLASTS_MAX]
        self.save()

    def move(self, made: dict[str, Any]) -> None:
        """Remember that a strategy has moved by itself."""
        self.moves.append(made)
        del self.moves[:-MOVES_MAX]
        self.save()

    def living_workers(self) -> dict[int, int]:
        """Return the epoch of each worker that lives."""
        return {child.index: child.epoch for child in self.of_role("worker")}

    def of_role(self, *roles: str) -> list[Child]:
        """Return the living processes of some roles."""
        return [child for child in self.children.values() if child.role in roles]

    def is_ready(self, role: str) -> bool:
        """Return whether all processes of a role are ready, and there is one."""
        children = self.of_role(role)
        return bool(children) and all(child.ready for child in children)

    def unnamed_workers(self) -> list[Child]:
        """Return the workers that were asked for and whose pid is not known yet."""
        return [child for child in self.of_role("worker") if child.pid is None]

    def by_pid(self, pid: int) -> Child | None:
        """Return the process of that number, None when it is none of the fleet's."""
        return next((child for child in self.children.values() if child.pid == pid), None)

    def count(self, role: str, name: str) -> int:
        """Return a counter of a role over all labels, the dead included."""
        return self._base.get(role, totals.EMPTY).total(name) + sum(one.count(name) for one in self.of_role(role))

    def merged(self, role: str, name: str) -> HistogramSnapshot:
        """Return a histogram of a role over all labels, the dead included."""
        found = self._base.get(role, totals.EMPTY).merged(name)
        for child in self.of_role(role):
            found = found.merge(child.merged(name))
        return found

    def sample(self, *, pss: bool = False) -> Sample:
        """Return the figures of all, the dead included."""
        snapshots = {}
        for member, child in self.children.items():
            snapshot = child.read_counters()
            if snapshot is not None:
                snapshots[member] = snapshot
        return take(self.document(), snapshots, pss=pss)

    def final_sample(self, before_stop: Sample) -> Sample:
        """Return the figures after the end: counts of now, with the gauges and the memory of before the stop."""
        now = self.sample()
        counters = {}
        for role, snapshot in now.counters.items():
            gauges = {key: n for key, n in before_stop.counters[role].values.items() if key[0] in totals.GAUGES}
            counters[role] = CountersSnapshot(0, {**gauges, **snapshot.values}, snapshot.histograms)
        spent = {member: ProcessFacts(round(s * 1e9), 0) for member, s in self._cpu_seconds.items()}
        facts = {}
        for member, fact in before_stop.facts.items():
            cpu_ns = max(fact.cpu_ns, spent.get(member, fact).cpu_ns)
            facts[member] = replace(fact, cpu_ns=cpu_ns)
        fleet = {**now.fleet, "processes": before_stop.fleet["processes"]}
        return Sample(
            now_ns=before_stop.now_ns,
            wall_ns=now.wall_ns,
            alive=True,
            fleet=fleet,
            counters=counters,
            beats=before_stop.beats,
            facts=facts,
            books=before_stop.books,
        )

    def save(self) -> None:
        """Write fleet.json; on a disk that is full it stays as it was, and the fleet runs on."""
        if self._without_folder:
            return
        try:
            self._folder.write(self.document())
        except OSError as error:
            if not self._unsaved:
                log.error("%s cannot be written: %s", self._folder.path / "fleet.json", error.strerror)
            self._unsaved = True
        else:
            self._unsaved = False

    def leave_folder(self) -> None:
        """Change nothing in the fleet's folder from now on: it belongs to another supervisor."""
        self._without_folder = True

    def document(self) -> dict[str, Any]:
        """Return fleet.json."""
        fleet = self._run.fleet
        return {
            "schema": SCHEMA,
            "fleet": fleet.name,
            "fleet_id": fleet.fleet_id,
            "run": self._run.run,
            "state": self.state,
            "pid": os.getpid(),
            "start_ticks": process_start_ticks(os.getpid()),
            "started_wall_ns": self._started_wall_ns,
            "config_path": str(fleet.path),
            "state_dir": str(self._run.state_dir),
            **self._versions,
            "host": {"cpus": sorted(os.sched_getaffinity(0)), "python": platform.python_version()},
            "placement": {
                "workers": len(self._placement.workers),
                "cpus": [worker.cpu for worker in self._placement.workers],
                "shared_cpus": list(self._placement.shared_cpus),
                "feed_cpus": list(self._placement.feed_cpus),
                "gate_cpus": list(self._placement.gate_cpus),
                "remarks": list(self._placement.remarks),
            },
            "segments": self._segments(),
            "processes": self._processes(),
            "strategies": [
                {
                    "id": one.config.id,
                    "tag": one.config.tag,
                    "worker": one.worker,
                    "kind": one.config.kind,
                    "name": one.config.name,
                    "pairs": list(one.config.pairs),
                    "state": one.state,
                    "message": one.message,
                    "reason": one.reason,
                }
                for one in self.members
            ],
            "blasts": list(self.blasts),
            "moves": list(self.moves),
            "venues": self.venues,
            "halts": self.halts.to_json(),
            "alarms": list(self.alarms),
            "report_base": {role: totals.to_json(snapshot) for role, snapshot in self._base.items()},
            **self.facts,
        }

    def _segments(self) -> dict[str, str]:
        named = {f"{what}.{one['name']}": one[what] for one in self.venues for what in ("books", "trades") if one[what]}
        for child in self.children.values():
            if child.counters:
                named[f"counters.{child.title.replace(' ', '')}"] = child.counters
        return named

    def _processes(self) -> list[dict[str, Any]]:
        own = {
            "role": "supervisor",
            "index": 0,
            "pid": os.getpid(),
            "start_ticks": process_start_ticks(os.getpid()),
            "epoch": 1,
            "counters": None,
            "restarts": 0,
            "cpu": None,
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "cpu_seconds_before": 0.0,
        }
        order = ("sim", "feed", "gate", "recorder", "server", "worker")
        living = sorted(self.children.values(), key=lambda child: (order.index(child.role), child.index))
        return [own, *(self._process(child) for child in living if child.pid is not None)]

    def _process(self, child: Child) -> dict[str, Any]:
        return {
            "role": child.role,
            "index": child.index,
            "pid": child.pid,
            "start_ticks": child.start_ticks,
            "epoch": child.epoch,
            "counters": child.counters,
            "restarts": self.restarts.get(child.member, 0),
            "cpu": child.cpu,
            "nice": _niceness(child.pid),
            "cpu_seconds_before": round(self._cpu_seconds.get(child.member, 0.0), 3),
        }


def _niceness(pid: int) -> int | None:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return None


def versions(hive: str, hummingbot: str) -> dict[str, str]:
    """Return the versions that a report names, and whether compiled modules or their twins run."""
    return {
        "version": hive,
        "hummingbot": hummingbot,
        "executable": sys.executable,
        "implementation": implementation(),
    }
