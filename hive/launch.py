"""Starts the fleet's processes: simulated exchanges, feed, gate, worker server, and workers through that server."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hive import keys
from hive.boots import Endpoint, Run, feed_boot, gate_boot, recorder_boot, server_boot, worker_boot
from hive.child import Child, start
from hive.fleet import LiveVenue, ReplayVenue, SimVenue
from hive.halts import Halt
from hive.members import Members
from hive.plan import Placement, WorkerPlan
from hive.priority import prefer
from hive.shm.channel import Channel
from hive.users import Users, passing_on

log = logging.getLogger("hive.supervisor")


class Launcher:
    """Starts children with their channels and boot messages; knows the venues' endpoints and keys.

    Args:
        run: whose processes they are.
        placement: CPUs and strategies of the workers.
        lock_fd: the fleet's lock, which every child inherits.
        environment: what children find; without any key.
        key_fds: the descriptor of each live venue's keys by name, see `hive/keys.py`.
        users: who runs it; None: everything runs as this process does.
        members: the strategies and workers that there are now; None: those of the placement.

    Attributes:
        without_logs: why the process that was started last cannot log, "" when it can.
    """

    def __init__(
        self,
        run: Run,
        placement: Placement,
        lock_fd: int,
        environment: Mapping[str, str],
        key_fds: Mapping[str, int],
        users: Users | None = None,
        members: Members | None = None,
    ) -> None:
        self._members = Members(run.fleet, placement) if members is None else members
        self._run = run
        self._placement = placement
        self._lock_fd = lock_fd
        self._environment = environment
        self._users = users
        self._sim_keys: dict[int, int] = {}
        self._sim_stdin: dict[int, int] = {}
        self._endpoints: dict[int, Endpoint] = {}
        self.without_logs = ""
        for index, venue in enumerate(run.fleet.venues):
            if isinstance(venue, LiveVenue):
                self._set_endpoint(index, venue, key_fds[venue.name], venue.rest_url, venue.ws_url, venue.ws_api_url)
            elif isinstance(venue, ReplayVenue):
                self._endpoints[index] = _replayed(index, venue)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return the venues that are known so far."""
        return [self._endpoints[index] for index in sorted(self._endpoints)]

    def all_venues_known(self) -> bool:
        """Return whether every simulated exchange has said where it listens."""
        return len(self._endpoints) == len(self._run.fleet.venues)

    def sim(self, index: int, on_listening: Callable[[Child, dict[str, Any]], None]) -> Child:
        """Start the simulated exchange of a venue; `on_listening(child, where)` is called when it says where it is."""
        venue = self._run.fleet.venues[index]
        arguments = ["-m", "hive.sim", "--port", "0", "--exit-on-eof", "--keys-from-stdin", "--seed", str(venue.seed)]
        for option, value in (("--rate", venue.rate), ("--symbols", venue.symbols)):
            arguments += [option, str(value)] if value is not None else []
        for fault in venue.faults:
            arguments += ["--fault", fault]
        child = Child("sim", index, 1, None, time.monotonic_ns())
        key, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._sim_keys[index] = keys.seal(key, secret)
        stdin, self._sim_stdin[index] = os.pipe()
        stdout, theirs = os.pipe()
        try:
            self._start(child, arguments, stdin=stdin, stdout=theirs)
        finally:
            os.close(stdin)
            os.close(theirs)
        os.write(self._sim_stdin[index], json.dumps([{"api_key": key, "api_secret": secret}]).encode() + b"\n")
        asyncio.get_running_loop().add_reader(stdout, _read_line, stdout, bytearray(), partial(on_listening, child))
        return child

    def set_sim(self, index: int, announced: Mapping[str, Any]) -> None:
        """Note where a simulated exchange listens."""
        venue = self._run.fleet.venues[index]
        urls = (announced["rest_url"], announced["ws_url"], announced["ws_api_url"])
        self._set_endpoint(index, venue, self._sim_keys[index], *urls)

    def end_sim(self, index: int) -> None:
        """Close the simulated exchange's standard input, which ends it when nobody else (the gate) holds it."""
        fd = self._sim_stdin.pop(index, None)
        if fd is not None:
            os.close(fd)

    def feed(self, epoch: int) -> Child:
        """Start the feed."""
        child = self._with_channel("feed", epoch, "hive.feed.process")
        child.send(feed_boot(self._now(), epoch, self.endpoints))
        return child

    def gate(self, epoch: int, halts: Iterable[Halt], living: Mapping[int, int]) -> Child:
        """Start the gate with the halts in force and the epochs of the living workers.

        It keeps the simulated exchanges alive as well.
        """
        with passing_on() if self._users is not None else contextlib.nullcontext():
            child = self._with_channel("gate", epoch, "hive.gate.process", keep_fds=self._sim_stdin.values())
        key_fds = [endpoint.key_fd for endpoint in self.endpoints if endpoint.key_fd is not None]
        plans, lives = tuple(self._members.plans()), self._members.lives()
        boot = gate_boot(self._now(), epoch, self.endpoints, plans, halts, living, lives, self._members.kept())
        if self._users is not None:
            boot["user"] = {"uid": self._users.gate.pw_uid, "gid": self._users.gate.pw_gid}
        with _closed_on_error(child):
            child.send(boot, key_fds)
        return child

    def recorder(self, epoch: int) -> Child:
        """Start the recorder."""
        child = self._with_channel("recorder", epoch, "hive.gate.recorder")
        child.send(recorder_boot(self._now(), epoch, self.endpoints))
        return child

    def server(self, epoch: int) -> Child:
        """Start the worker server."""
        child = self._with_channel("server", epoch, "hive.workers.process")
        child.send(server_boot(self._now(), epoch))
        return child

    def worker(self, index: int, epoch: int, server: Child) -> Child:
        """Ask the server for a worker; its pid comes with the server's answer."""
        self._members.begin_all(index)
        plan = self._members.plan(index)
        self._log_file("worker", index)
        channel, theirs = Channel.pair()
        child = Child("worker", index, epoch, channel, time.monotonic_ns(), cpu=plan.cpu)
        with theirs, _closed_on_error(child):
            server.send({"type": "spawn", "index": index, "epoch": epoch}, [theirs.fileno()])
        child.send(self._worker_boot(epoch, plan))
        return child

    def close(self) -> None:
        """Close what is kept open for the simulated exchanges."""
        for index in list(self._sim_stdin):
            self.end_sim(index)

    def _worker_boot(self, epoch: int, plan: WorkerPlan) -> dict[str, Any]:
        held = {one.config.id: one.held or one.rests for one in self._members.on(plan.index)}
        numbers, quarantine = self._members.numbers(), self._members.is_quarantine(plan.index)
        return worker_boot(self._now(), epoch, plan, self.endpoints, numbers, held, quarantine=quarantine)

    def _now(self) -> Run:
        """Return the run with the strategies of now."""
        return replace(self._run, fleet=self._members.fleet(), without_logs=bool(self.without_logs))

    def _log_file(self, role: str, index: int) -> Path:
        """Return where a process may log; nowhere, when its file cannot be written: a gate must cancel all the same."""
        path = self._run.log_file(role, index)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.open("ab").close()
        except OSError as error:
            self.without_logs = f"{error.filename}: {error.strerror}"
            return Path(os.devnull)
        self.without_logs = ""
        return path

    def _with_channel(self, role: str, epoch: int, module: str, **options: Any) -> Child:
        channel, theirs = Channel.pair()
        child = Child(role, 0, epoch, channel, time.monotonic_ns())
        with _closed_on_error(child):
            self._start(child, ["-m", module], theirs=theirs, **options)
        if role in ("feed", "gate"):
            log.info("%s (pid %s): %s", role, child.pid, prefer(child.pid))
            if cpus := self._placement.cpus_of(role):
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(child.pid, cpus)
        return child

    def _start(self, child: Child, arguments: list[str], *, keep_fds: Any = (), **options: Any) -> None:
        start(
            child,
            arguments,
            environment=self._environment,
            log=self._log_file(child.role, child.index),
            keep_fds=[self._lock_fd, *keep_fds],
            **{"stdin": subprocess.DEVNULL, **options},
        )

    def _set_endpoint(
        self,
        index: int,
        venue: SimVenue | LiveVenue,
        key_fd: int,
        rest_url: str,
        ws_url: str,
        ws_api_url: str,
    ) -> None:
        self._endpoints[index] = Endpoint(
            index=index,
            name=venue.name,
            kind=venue.kind,
            mode=venue.mode,
            rest_url=rest_url,
            ws_url=ws_url,
            ws_api_url=ws_api_url,
            recv_window_ms=venue.recv_window_ms,
            key_fd=key_fd,
            production=isinstance(venue, LiveVenue) and venue.production,
        )


@contextlib.contextmanager
def _closed_on_error(child: Child) -> Iterator[None]:
    """Leave nothing of a process that could not be started, or not be told what it needs: its channel ends."""
    try:
        yield
    except OSError:
        child.kill()
        child.close()
        raise


def _replayed(index: int, venue: ReplayVenue) -> Endpoint:
    """Return the endpoint of a venue that is played from a file: it has no address and no keys."""
    return Endpoint(
        index=index,
        name=venue.name,
        kind=venue.kind,
        mode=venue.mode,
        rest_url="",
        ws_url="",
        ws_api_url="",
        recv_window_ms=0,
        key_fd=None,
    )


def _read_line(fd: int, line: bytearray, on_line: Callable[[dict[str, Any]], None]) -> None:
    """Take what a simulated exchange prints: one line of JSON. What follows is read too, so that it never blocks."""
    data = os.read(fd, 65536)
    if not data:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        return
    complete = b"\n" in line
    line += data
    if not complete and b"\n" in line:
        on_line(json.loads(line[: line.index(b"\n")]))
