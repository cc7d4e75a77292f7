"""Starts a fleet's processes, each when what it needs is there.

    server ─────────────┐
    sim ──▶ feed, gate ─┴──▶ workers

What cannot be started for want of descriptors, processes or memory is tried again once the fleet has run; before, the
fleet ends with the reason. Called from the supervisor's loop only.
"""

from collections.abc import Callable
from typing import Any

from hive.child import Child
from hive.launch import Launcher
from hive.roster import Roster
from hive.top_sample import Member

AGAIN_S = 0.25  # before a worker is asked for that no server is there to fork


class Starts:
    """The processes of one run, from the first on.

    Args:
        roster: who lives.
        launcher: starts processes.
        sims: indices of the venues that are simulated.
        listen: is given each child that has a channel.
        on_sim_listening: is given a simulated exchange and where it listens.
        start_later: start_later(member, wait_s) calls `start` again after a wait.
        again_s: again_s(member) is the wait before what could not be started is tried again.
        say: say(level, text, **data) tells the operator.
        fail: fail(why) ends the fleet.
        stopping: whether the fleet is ending already; then nothing more is needed.
        ran: whether the whole fleet was running once.
    """

    def __init__(
        self,
        roster: Roster,
        launcher: Launcher,
        sims: list[int],
        *,
        listen: Callable[[Child], None],
        on_sim_listening: Callable[[Child, dict[str, Any]], None],
        start_later: Callable[[Member, float], None],
        again_s: Callable[[Member], float],
        say: Callable[..., None],
        fail: Callable[[str], None],
        stopping: Callable[[], bool],
        ran: Callable[[], bool],
    ) -> None:
        self._roster = roster
        self._members = roster.members
        self._launcher = launcher
        self._sims = sims
        self._listen = listen
        self._on_sim_listening = on_sim_listening
        self._start_later = start_later
        self._again_s = again_s
        self._say = say
        self._fail = fail
        self._stopping = stopping
        self._ran = ran
        self._epochs: dict[Member, int] = {}
        self._without_logs = ""

    @property
    def traded(self) -> bool:
        """Whether there may be orders: a worker was started."""
        return ("worker", 0) in self._epochs

    def first(self) -> None:
        """Start what needs nothing."""
        self.start(("server", 0))
        for index in self._sims:
            self.start(("sim", index))
        self._roster.save()
        self.go_on()

    def go_on(self) -> None:
        """Start what has all that it needs by now."""
        if self._stopping():
            return
        first_time = not self._epochs.get(("feed", 0))
        if first_time and self._launcher.all_venues_known():
            self._roster.venues = [{**one.public(), "books": "", "trades": ""} for one in self._launcher.endpoints]
            self.start(("feed", 0))
            self.start(("gate", 0))
            self.start(("recorder", 0))
        if all(self._roster.is_ready(role) for role in ("server", "feed", "gate")):
            for index in self._members.workers():
                if ("worker", index) not in self._epochs:
                    self.start(("worker", index))

    def start(self, member: Member) -> None:
        """Start a process unless it lives; a worker only while the fleet has it, and once there is a server."""
        role, index = member
        if member in self._roster.children or (role == "worker" and index not in self._members.workers()):
            return
        server = self._roster.children.get(("server", 0))
        if role == "worker" and (server is None or not server.ready):
            self._start_later(member, AGAIN_S)
            return
        epoch = self._epochs[member] = self._epochs.get(member, 0) + 1
        try:
            child = self._launched(role, index, epoch, server)
        except OSError as error:
            self._not_started(member, f"{role} {index}" if role == "worker" else role, error)
            return
        self._tell_of_logs()
        self._roster.children[member] = child
        if child.channel is not None:
            self._listen(child)
        self._roster.save()

    def _tell_of_logs(self) -> None:
        why = self._launcher.without_logs
        if why and not self._without_logs:
            self._say("error", f"what is started now does not log: {why}")
        self._without_logs = why

    def _not_started(self, member: Member, title: str, error: OSError) -> None:
        if self._stopping() or not self._ran():
            self._fail(f"{title} cannot be started: {error}")
            return
        wait_s = self._again_s(member)
        self._say("error", f"{title} cannot be started: {error}; it is tried again in {wait_s:.1f} s", role=member[0])
        self._start_later(member, wait_s)

    def _launched(self, role: str, index: int, epoch: int, server: Child | None) -> Child:
        match role:
            case "sim":
                return self._launcher.sim(index, self._on_sim_listening)
            case "feed":
                return self._launcher.feed(epoch)
            case "gate":
                return self._launcher.gate(epoch, self._roster.halts_of_this_fleet(), self._roster.living_workers())
            case "server":
                return self._launcher.server(epoch)
            case "recorder":
                return self._launcher.recorder(epoch)
        return self._launcher.worker(index, epoch, server)
