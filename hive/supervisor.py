"""The supervisor: starts a fleet's processes, watches them, replaces the dead and the hung, and stops them in order.

    server ─────────────┐
    sim ──▶ feed, gate ─┴──▶ workers ──▶ strategies         starting: what each needs is there first
    workers ──▶ gate ──▶ feed, server ──▶ sim               stopping: each still finds what it needs to end well

Everything that happens (a signal, a message, an exit, the timer, a command) is put into one queue, and one loop takes
it out: no state changes anywhere else. Until all workers have been ready once, a child's exit code 3, or its message
`fatal`, ends the fleet; any other death of feed, gate, server or worker is followed by a restart with back-off. The
simulated exchange is not restarted: its orders and balances would be gone.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hive.changes import Operations, with_fleet
from hive.child import Child, map_quietly
from hive.cli_errors import CONFIG
from hive.commands import Commands
from hive.config_reader import ConfigError
from hive.console import Console
from hive.deaths import Deaths
from hive.ending import Ending
from hive.events import Asked, Beat, Ended, Restart, Said, Signalled, StopAsked
from hive.fleet import FleetConfig
from hive.launch import Launcher
from hive.moves import Moves
from hive.quarantine import Quarantine
from hive.restarts import Restarts
from hive.roster import Roster
from hive.run_folder import RunFolder
from hive.shm.heap import give_back
from hive.shutdown import Shutdown, end_everything, leave_to_gate
from hive.starts import Starts
from hive.state import FleetDir
from hive.steps import Changes
from hive.top_sample import Member, Sample, Sampler
from hive.watch import Watch
from hive.wiring import Wiring

BEAT_S = 0.5
LOOK_AGAIN_S = 0.1  # while a heartbeat is too old
NOT_SUSPENDED = "ctrl-Z has no effect: the fleet would trade on, unwatched; `hive halt` lets no new order pass"

log = logging.getLogger("hive.supervisor")


class Supervisor:
    """One run of a fleet.

    Args:
        roster: who lives and what they had counted.
        folder: the fleet's, which is looked after.
        lock_fd: of the lock in it.
        launcher: starts processes.
        wiring: tells processes of each other.
        console: tells the operator.
        sampler: measures the fleet for the report, before it stops.
        read_fleet: reads the fleet file again, or another one; raises ConfigError.
        sims: indices of the venues that are simulated.
        stop_timeout_s: how long strategies, then the gate, may take to stop.
        hang_after_ms: age of a heartbeat from which on its process is replaced.
        restart_wait_max_s: the longest wait before a dead process is started again.
        duration_s: when to stop by itself, counted from when all workers are up; None never.

    Attributes:
        listen_again: opens the control socket once more, when its folder was removed.
    """

    listen_again: Callable[[], Coroutine[Any, Any, None]]

    def __init__(
        self,
        roster: Roster,
        launcher: Launcher,
        wiring: Wiring,
        console: Console,
        sampler: Sampler,
        *,
        folder: FleetDir,
        lock_fd: int,
        run: str,
        read_fleet: Callable[[Path], FleetConfig],
        sims: list[int],
        stop_timeout_s: float,
        hang_after_ms: int,
        restart_wait_max_s: float,
        duration_s: float | None = None,
    ) -> None:
        self._roster = roster
        self._launcher = launcher
        self._wiring = wiring
        self._console = console
        self._run = run
        self._read_fleet = read_fleet
        self._members = roster.members
        self._watch = Watch(roster, console, hang_after_ms)
        self._changes = Changes(roster, self._say, stop_timeout_s)
        self._quarantine = Quarantine(roster, self._changes, self._say)
        self._moves = Moves(roster, self._changes, self._say)
        self._commands = Commands(roster, self._say, operations=Operations(roster, self._changes, self._say))
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._restarts = Restarts(restart_wait_max_s)
        self._tasks: set[asyncio.Task] = set()
        self._shutdown = Shutdown(roster, launcher, console, stop_timeout_s, lambda: self._starts.start(("gate", 0)))
        self._ending = Ending(
            roster,
            console,
            sampler,
            self._shutdown,
            duration_s,
            say=self._say,
            end_work=self._end_work,
            traded=lambda: self._starts.traded and not self._deaths.gate_cannot_boot,
        )
        self._starts = Starts(
            roster,
            launcher,
            sims,
            listen=self._listen_to,
            on_sim_listening=self._on_sim_listening,
            start_later=self._later,
            again_s=self._restarts.again_s,
            say=self._say,
            fail=self._ending.fail,
            stopping=lambda: self._ending.begun,
            ran=lambda: self._ran,
        )
        self._deaths = Deaths(
            roster,
            wiring,
            self._quarantine,
            self._restarts,
            run,
            say=self._say,
            hear=self._on_message,
            start_later=self._later,
            fail=self._ending.fail,
            stopping=lambda: self._ending.begun,
            ran=lambda: self._ran,
        )
        self._run_folder = RunFolder(
            folder,
            lock_fd,
            say=self._say,
            taken=roster.leave_folder,
            made_again=self._on_folder_made_again,
            fail=self._ending.fail,
        )
        self._some_ran = False
        self._ran = False

    @property
    def before_stop(self) -> Sample | None:
        """Return what was measured before the fleet stopped, if it was."""
        return self._ending.before_stop

    async def supervise(self) -> int:
        """Run the fleet until it is stopped; return the exit code. Nothing of it is left afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup: outlive the terminal
                loop.add_signal_handler(number, self._events.put_nowait, Signalled(number))
        loop.add_signal_handler(signal.SIGTSTP, self._events.put_nowait, Signalled(signal.SIGTSTP))
        loop.add_signal_handler(signal.SIGCHLD, self._events.put_nowait, Ended())
        self._spawn(self._keep_time())
        self._commands.introduce()
        try:
            self._starts.first()
            while not self._ending.over:
                self._react(await self._events.get())
        except Exception:
            self._ending.broken = True
            leave_to_gate(self._roster)
            raise
        finally:
            self._run_folder.close()
            for task in self._tasks:
                task.cancel()
            end_everything(self._roster, self._launcher, self._run, self._deaths.reap)
        return self._ending.exit_code

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of the control socket, when there is an answer."""
        command = request.get("command")
        try:
            request = await with_fleet(request, self._members.fleet().path, self._read_fleet)
        except ConfigError as error:
            return {"ok": False, "error": str(error), "code": CONFIG}
        if command not in ("down", "status"):
            answer = asyncio.get_running_loop().create_future()
            self._events.put_nowait(Asked(request, answer))
            return await answer
        if command == "down":
            self._events.put_nowait(StopAsked("hive down", request.get("timeout_s")))
        return {"ok": True, "state": self._roster.state, "pid": os.getpid(), "run": self._run}

    def _react(self, event: Any) -> None:
        match event:
            case Said(child, message):
                self._on_message(child, message)
            case Ended():
                self._deaths.reap()
            case Beat():
                self._on_beat()
            case Restart(member) if not self._ending.begun:
                self._starts.start(member)
            case Signalled(signal.SIGTSTP):
                self._say("warning", NOT_SUSPENDED)
            case Signalled(number):
                self._ending.signalled(number)
            case StopAsked(why, timeout_s):
                self._ending.stop(why, timeout_s=timeout_s)
            case Asked(request, answer):
                self._commands.ask(request, answer)
        self._changes.go_on()
        self._starts.go_on()
        self._shutdown.go_on()

    # messages

    def _on_message(self, child: Child, message: dict[str, Any]) -> None:
        if self._roster.children.get(child.member) is not child:
            return  # the last words of one that is dead and counted
        match message.get("type"):
            case "ready":
                self._on_ready(child, message)
            case "fatal":
                child.fatal = str(message.get("message"))
            case "spawned":
                self._on_spawned(message)
            case "want":
                self._wiring.want(child, message["venue"], message["wants"])
            case "series":
                self._wiring.series(message)
            case "reread_rules":
                self._wiring.tell("feed", message)
            case "unknown":
                self._wiring.unknown(message)
                self._say("warning", f"{message['venue']} lists no {message['pair']}: {message.get('reason') or ''}")
            case "strategy":
                self._on_strategy(child, message)
            case "removed" | "expecting" | "idle" | "retire" | "adopt" | "exposure":
                self._changes.told(message)
            case "executors":
                self._members.hold(message["id"], child.index, message["executors"])
            case "misbehaved":
                self._quarantine.misbehaved(child, message)
            case "wedged":
                self._connect(lambda: self._wiring.link(message["index"]))
            case "flat" | "halted" | "alarm":
                self._commands.told(message)
            case "stopped":
                self._shutdown.stopped(child, message)
            case "event":
                self._say(message.get("level", "info"), f"{child.title}: {message['text']}")
            case other:
                log.warning("%s sent a message of unknown type %r", child.title, other)

    def _on_ready(self, child: Child, message: dict[str, Any]) -> None:
        if child.role == "sim":
            self._launcher.set_sim(child.index, message)
            message = {**message, "counters": None}
        if message.get("counters") and (problem := map_quietly(child, message["counters"])):
            self._say("error", f"{child.title} cannot be watched, and is started again: {problem}")
            child.kill()
            return
        if child.role == "worker":
            self._adopt(child, message["pid"])
        child.ready = True
        child.wake = message.get("wake") or ""
        self._restarts.ready(child)
        log.info("%s ready (pid %s), epoch %d", child.title, child.pid, child.epoch)
        text = f"{child.title} ready (pid {child.pid}){child.again}"
        self._console.say("ready", text, role=child.role, pid=child.pid)
        self._connect(lambda: self._wiring.ready(child, message))
        if child.role == "gate":
            self._commands.gate_ready()
        if child.role == "worker" and not self._ending.begun and self._all_workers_ready():
            self._roster.state = "running"
            self._ran = True
            self._ending.running()
        self._roster.save()

    def _connect(self, connect: Callable[[], None]) -> None:
        before = set(self._wiring.unlinked)
        connect()
        for index, why in self._wiring.unlinked.items():
            if not self._ran:
                self._ending.fail(why)
            elif index not in before:
                self._say("error", f"worker {index} cannot send orders yet, it is tried again: {why}")

    def _all_workers_ready(self) -> bool:
        return len(self._roster.of_role("worker")) == len(self._members.workers()) and self._roster.is_ready("worker")

    def _on_spawned(self, message: dict[str, Any]) -> None:
        child = self._roster.children.get(("worker", message["index"]))
        if child is not None and child.epoch == message["epoch"]:
            self._adopt(child, message["pid"])

    def _adopt(self, child: Child, pid: int) -> None:
        """Take a worker's pid from the server or from itself, whoever is first."""
        if child.pid is not None:
            return
        child.adopt(pid)
        self._roster.save()
        self._deaths.named(child)

    def _on_strategy(self, child: Child, message: dict[str, Any]) -> None:
        state, text = message["state"], message.get("message") or ""
        one = self._members.get(message["id"])
        if one is None or one.worker != child.index:
            return  # it has left
        self._some_ran = self._some_ran or state == "running"
        self._roster.set_strategy(message["id"], state, text)
        if state == "failed" or (state == "paused" and not one.held):
            more = f"`hive logs {message['id']} --fleet {self._members.fleet().name}` has more"
            self._say("error", f"strategy {message['id']} {state}: {text}; {more}", strategy=message["id"])
        states = self._roster.states()
        if state == "running" and "starting" not in states:
            running = states.count("running")
            text = f"{running} of {len(states)} strategies running; `hive top` shows them"
            self._console.say("running", text, running=running)
            give_back()
        if not self._ending.begun and not self._some_ran and all(one == "failed" for one in states):
            self._ending.fail("no strategy could be started")
        self._roster.save()

    # time

    def _on_beat(self) -> None:
        self._watch.beat(stopping=self._ending.begun)
        self._wiring.link_again()
        if not self._ending.begun:
            self._run_folder.beat()
        self._commands.beat()
        if self._roster.state == "running":
            self._moves.beat()
        self._ending.beat()

    def _on_folder_made_again(self) -> None:
        self._roster.save()
        self._spawn(self.listen_again())
        for gate in self._roster.of_role("gate"):
            gate.kill()

    # plumbing

    def _end_work(self, why: str) -> None:
        self._commands.end(why)
        self._changes.end(why)

    def _say(self, level: str, text: str, **data: Any) -> None:
        log.log(logging.getLevelNamesMapping().get(level.upper(), logging.INFO), "%s", text)
        self._console.say(level, text if level == "info" else f"{level}: {text}", **data)

    def _later(self, member: Member, wait_s: float) -> None:
        asyncio.get_running_loop().call_later(wait_s, self._events.put_nowait, Restart(member))

    def _listen_to(self, child: Child) -> None:
        child.listener = self._spawn(self._listen(child))

    async def _listen(self, child: Child) -> None:
        try:
            while (message := await child.channel.recv()) is not None:
                self._events.put_nowait(Said(child, message))
            self._watch.hung_up(child)
            await asyncio.Event().wait()  # until child.close()
        finally:
            child.channel.close()

    def _on_sim_listening(self, child: Child, where: dict[str, Any]) -> None:
        self._events.put_nowait(Said(child, {"type": "ready", **where}))

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_S if self._watch.in_doubt else BEAT_S)
            self._events.put_nowait(Beat())

    def _spawn(self, coroutine: Any) -> asyncio.Task:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
