"""A supervisor's end of a fleet over real channels: two workers with two strategies each, a gate, and the operator."""

import asyncio

import yaml

from command_bench import told
from hive.boots import Run
from hive.changes import Operations
from hive.child import Child
from hive.config import load_fleet
from hive.plan import place
from hive.quarantine import Quarantine
from hive.roster import Roster, versions
from hive.shm.channel import Channel
from hive.state import FleetDir
from hive.steps import Changes


class Bench:
    """What a test asks, says in others' names, and reads. `runtime` is that section of the fleet file, `fleet` more."""

    def __init__(self, folder, fleet=None, **runtime) -> None:
        self.sections = fleet or {}
        self.runtime = {"max_strategies_per_container": 3, **runtime}
        (folder / "scripts").mkdir()
        (folder / "scripts/x.py").touch()
        self.file = folder / "fleet.yml"
        self.strategies = [{"id": name, "script": "x"} for name in ("a", "b", "c", "d")]
        fleet = self.load()
        self.placement = placement = place(fleet.strategies, workers=2, cpus=(0, 1), limit=3)
        self.run = Run("r", fleet, folder, folder, 1)
        self.roster = Roster(self.run, placement, FleetDir(folder), versions("0", "0"), 0)
        self.members = self.roster.members
        self.said: list[str] = []
        self.oom_kills = 0
        self.now_s = 100.0
        self.changes = Changes(self.roster, self._say, 5.0, lambda: self.now_s)
        self.operations = Operations(self.roster, self.changes, self._say)
        self.quarantine = Quarantine(self.roster, self.changes, self._say, lambda: self.oom_kills)
        self.ends: dict[tuple[str, int], Channel] = {}
        self._all: list[Channel] = []
        self.gate = self.join("gate", 0)
        for worker in (0, 1):
            self.members.begin_all(worker)
            self.join("worker", worker)
        for one in self.members:
            one.state = "running"

    def load(self):
        sections = {"name": "trial", "venues": {"binance": {"mode": "sim"}}, **self.sections}
        sections["runtime"] = self.runtime
        self.file.write_text(yaml.safe_dump({**sections, "strategies": self.strategies}))
        return load_fleet(self.file)

    def _say(self, level: str, text: str, **data) -> None:
        self.said.append(text)

    def join(self, role: str, index: int, epoch: int = 1) -> Child:
        ours, theirs = Channel.pair()
        child = Child(role, index, epoch, ours, 0, pid=1, ready=True)
        self.roster.children[child.member] = child
        self.ends[child.member] = Channel(theirs)
        self._all += [ours, self.ends[child.member]]
        return child

    def told(self, role: str, index: int = 0) -> list[dict]:
        return told(self.ends[role, index])

    def ask(self, command: str, **request) -> asyncio.Future:
        answer = asyncio.get_running_loop().create_future()
        if command in ("add", "apply"):
            request.setdefault("fleet", self.load())
        self.operations.ask({"command": command, **request}, answer)
        self.changes.go_on()
        return answer

    def says(self, **message) -> None:
        """Let a worker or the gate answer."""
        self.changes.told(message)
        self.changes.go_on()

    def gate_answers(self) -> list[dict]:
        """Let the gate answer what it was asked; return that."""
        asked = [one for one in self.told("gate") if one["type"] in ("adopt", "retire", "exposure")]
        for one in asked:
            self.says(type=one["type"], change=one["change"], orders=2, strategies={})
        return asked

    def state(self, strategy: str, state: str, message: str = "") -> None:
        self.roster.set_strategy(strategy, state, message)
        self.changes.go_on()

    def close(self) -> None:
        for end in self._all:
            end.close()
