"""The commands of a running fleet over a real channel, with the gate's end in the test's hands."""

import asyncio
from pathlib import Path

from hive.boots import Run
from hive.child import Child
from hive.commands import Commands
from hive.config import load_fleet
from hive.plan import place
from hive.roster import Roster, versions
from hive.shm.channel import Channel
from hive.state import FleetDir


class Bench:
    """Commands of a fleet with two strategies; time is this test's, and so is the gate's end of the channel."""

    def __init__(self, folder: Path, fleet_dir: FleetDir | None = None) -> None:
        (folder / "scripts").mkdir(exist_ok=True)
        (folder / "scripts/x.py").touch()
        (folder / "fleet.yml").write_text("venues: {binance: {mode: sim}}\nstrategies: [{script: x, count: 2}]\n")
        fleet = load_fleet(folder / "fleet.yml")
        placement = place(fleet.strategies, workers=1, cpus=(0,), limit=50)
        self.folder = fleet_dir or FleetDir(folder)
        self.roster = Roster(Run("r", fleet, folder, folder, 1), placement, self.folder, versions("0", "0"), 0)
        self.now_s = 100.0
        self.said: list[tuple[str, str]] = []
        self.commands = Commands(self.roster, self._say, lambda: self.now_s)
        self.ends: list[Channel] = []

    def _say(self, level: str, text: str, **data) -> None:
        self.said.append((level, text))

    def gate(self, epoch: int = 1, *, ready: bool = True) -> Channel:
        """Let a gate live; return this test's end of its channel."""
        ours, theirs = Channel.pair()
        child = self.roster.children["gate", 0] = Child("gate", 0, epoch, ours, 0, pid=1, ready=ready)
        self.ends += [Channel(theirs), child.channel]
        if ready:
            self.commands.gate_ready()
        return self.ends[-2]

    def ask(self, command: str, **request) -> asyncio.Future:
        """Ask as the control socket does."""
        answer = asyncio.get_running_loop().create_future()
        self.commands.ask({"command": command, **request}, answer)
        return answer

    def close(self) -> None:
        """Close every channel."""
        for end in self.ends:
            end.close()


def told(end: Channel) -> list[dict]:
    """Return what the end of a channel has received since the last call."""
    messages = []
    while True:
        try:
            messages.append(end.recv_blocking(0))
        except TimeoutError:
            return messages
