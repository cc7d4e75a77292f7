"""The supervisor's process: `python -m hive.up FD ...`, what `hive up` becomes when it has read all that it needs.

    hive up: command line, files, keys  ->  handover.become()  ->  this: lock, memory, supervisor, report

So a fleet that runs has neither YAML nor pydantic nor the command line in its memory. One that serves /metrics runs as
`hive.up_metrics`. FD is what was handed over; the
arguments after it are those of `hive up`, for whoever looks at the list of processes.
"""

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from hive import __version__, handover, keys, report
from hive._build_info import HUMMINGBOT_RELEASE
from hive.boots import Run
from hive.child import become_supervisor
from hive.cli_errors import CONFIG, ERROR, OK, Failure, of_file
from hive.config_reader import read_fleet
from hive.console import Console
from hive.control import ControlServer
from hive.costs import measured, unchanged, write_costs
from hive.fleet import FleetConfig, SimVenue
from hive.handover import HandOver, UpOptions
from hive.launch import Launcher
from hive.pairs import QueuePairs
from hive.placing import costs_file, placed
from hive.plan import Placement, shm_bytes
from hive.processes import is_same
from hive.pure import implementation
from hive.roster import Roster, versions
from hive.shm.segment import free_bytes, process_start_ticks, sweep
from hive.state import FleetDir, FleetLocked, StateError, drop_key_locks, is_alive, rotate_logs, state_dir
from hive.supervisor import Supervisor
from hive.top_sample import Sampler
from hive.users import Users, UsersError, become_user
from hive.wiring import Wiring

log = logging.getLogger("hive.supervisor")

PROFILED_HANG_MS = 60_000
STILL_ENDING_S = 25.0  # a gate whose supervisor died takes up to 15 s to cancel


class Metrics(Protocol):
    """What serves /metrics on `port`; see `hive.metrics`."""

    port: int

    def close(self) -> None:
        """Stop serving."""


type Serve = Callable[[FleetDir, int, str], Metrics]
"""Takes the fleet's folder, a port and the address to bind."""


def main(arguments: list[str], serve: Serve | None = None) -> int:
    """Run the fleet that was handed over until it is stopped; return the exit code.

    Args:
        serve: serves /metrics, where the fleet wants that.
    """
    keys.forbid_reads()
    os.umask(os.umask(0o077) | 0o022)  # whatever it was, nobody else writes to what the fleet makes
    try:
        return up(handover.taken(int(arguments[0])), serve)
    except Failure as failure:
        failure.show()
        return failure.exit_code
    except StateError as error:
        Failure(str(error)).show()
        return ERROR
    except OSError as error:
        of_file(error).show()
        return ERROR
    except KeyboardInterrupt:  # before the supervisor listens to it
        return ERROR


def up(handed: HandOver, serve: Serve | None = None) -> int:
    """Run a fleet until it is stopped; return the exit code.

    Raises:
        Failure: the machine, or another fleet, is in the way.
    """
    started_ns = process_started_ns()
    fleet, options, placement = handed.fleet, handed.options, handed.placement
    if handed.users is not None:
        try:
            become_user(handed.users, os.environ)
        except UsersError as error:
            raise Failure(f"{options.strategies.name}: {error}", CONFIG) from None
        placement = placed(fleet, options)  # what earlier runs have cost is in that user's folder
    console = Console(started_ns, as_json=options.as_json)
    folder = FleetDir.of(fleet.name)
    lock_fd = locked(folder)
    try:
        drop_key_locks()
        check_memory(fleet, placement, console)
        return asyncio.run(
            run_fleet(fleet, placement, folder, lock_fd, handed.key_fds, handed.users, console, options, serve)
        )
    finally:
        if folder.holds(lock_fd):  # else it was removed, and may be another fleet's by now
            folder.clear()
        os.close(lock_fd)


def locked(folder: FleetDir) -> int:
    """Return the descriptor of the fleet's lock, once the processes of a dead supervisor have ended."""
    try:
        return folder.lock(STILL_ENDING_S)
    except FleetLocked as error:
        fleet = folder.read()
        if is_alive(fleet) or fleet is None:
            raise Failure(str(error)) from None
    except StateError as error:
        raise Failure(str(error)) from None
    end_survivors(fleet)
    try:
        return folder.lock(5.0)
    except StateError as error:
        raise Failure(str(error)) from None


def end_survivors(fleet: Mapping[str, Any]) -> None:
    """Kill what is left of a fleet whose supervisor is dead: stopped or stuck processes."""
    for one in fleet["processes"]:
        if one["role"] != "supervisor" and one.get("start_ticks") and is_same(one["pid"], one["start_ticks"]):
            os.kill(one["pid"], signal.SIGKILL)


def check_memory(fleet: FleetConfig, placement: Placement, console: Console) -> None:
    """Sweep what dead fleets left in /dev/shm, and raise Failure when it has too little room for this one."""
    swept = sweep()
    if swept:
        console.say("swept", f"removed {len(swept)} segments of fleets that are dead", segments=len(swept))
    needed = shm_bytes(fleet.feed, len(fleet.venues), len(placement.workers), len(fleet.strategies))
    free = free_bytes()
    if needed > free:
        raise Failure(
            f"/dev/shm has {free / 1e6:.1f} MB free, this fleet needs {needed / 1e6:.1f} MB: "
            "make it larger (docker: --shm-size), or lower feed.instruments, feed.depth or feed.versions"
        )


async def run_fleet(
    fleet: FleetConfig,
    placement: Placement,
    folder: FleetDir,
    lock_fd: int,
    key_fds: Mapping[str, int],
    users: Users | None,
    console: Console,
    options: UpOptions,
    serve: Serve | None,
) -> int:
    """Run the supervisor with its control socket and metrics; write the report at the end."""
    become_supervisor()
    state = state_dir(fleet.name)
    rotate_logs(state / "logs")
    logging.basicConfig(
        filename=state / "logs" / "supervisor.log",
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    run = Run(secrets.token_hex(4), fleet, folder.path, state, os.getpid(), options.host)
    introduce(run, placement, console)
    started_wall_ns = time.time_ns() - round(console.since_start_s() * 1e9)
    roster = Roster(run, placement, folder, versions(__version__, HUMMINGBOT_RELEASE), started_wall_ns)
    supervisor = Supervisor(
        roster,
        Launcher(run, placement, lock_fd, dict(os.environ), key_fds, users, roster.members),
        Wiring(roster, QueuePairs(run.run)),
        console,
        Sampler(folder),
        folder=folder,
        lock_fd=lock_fd,
        run=run.run,
        read_fleet=partial(read_fleet, config=options.config, root=fleet.root, name=options.name),
        sims=[index for index, venue in enumerate(fleet.venues) if isinstance(venue, SimVenue)],
        stop_timeout_s=fleet.runtime.stop_timeout_s,
        hang_after_ms=hang_after_ms(fleet),
        restart_wait_max_s=fleet.runtime.restart_wait_max_s,
        duration_s=options.duration_s,
    )
    control = ControlServer(folder.control, supervisor.ask)
    supervisor.listen_again = control.open
    await control.open()
    metrics = None if serve is None else serve_metrics(serve, fleet, folder, console)
    try:
        code = await supervisor.supervise()
    except Exception:  # the one broad catch of this process: its children are dead by now
        log.exception("the supervisor broke")
        console.say("error", f"error: the supervisor broke: see {state / 'logs' / 'supervisor.log'}")
        code = ERROR
    finally:
        control.close()
        if metrics is not None:
            metrics.close()
    finish(fleet, roster, supervisor, console, options, code)
    return code


def hang_after_ms(fleet: FleetConfig) -> int:
    """Return the age of a heartbeat that gets its process killed; a profiler may hold a process for some seconds."""
    return max(fleet.runtime.hang_after_ms, PROFILED_HANG_MS if fleet.monitoring.enable_profiling else 0)


def introduce(run: Run, placement: Placement, console: Console) -> None:
    """Say what is about to start, and which keys have no effect yet."""
    fleet = run.fleet
    venues = ", ".join(f"{venue.name} ({venue.mode})" for venue in fleet.venues)
    count = len(fleet.strategies)
    console.say(
        "fleet",
        f"fleet {fleet.name}: {count} strateg{'y' if count == 1 else 'ies'} on {venues}",
        fleet=fleet.name,
        run=run.run,
        logs=str(run.state_dir / "logs"),
    )
    console.say("logs", f"logs in {run.state_dir}/logs")
    console.say("modules", f"Hive's modules: {implementation()}", implementation=implementation())
    for notice in fleet.notices:
        console.say("notice", notice)
    for remark in placement.remarks:
        console.say("placement", remark)


def serve_metrics(serve: Serve, fleet: FleetConfig, folder: FleetDir, console: Console) -> Metrics | None:
    """Serve /metrics where the fleet wants it; a port that is in use is a warning, not the end."""
    port = fleet.monitoring.metrics_port
    if not port:
        return None
    host = fleet.monitoring.metrics_host
    try:
        server = serve(folder, port, host)
    except OSError as error:
        reason = error.strerror or error
        console.say("warning", f"warning: no metrics: {host}:{port}: {reason} (monitoring.metrics_port)")
        return None
    console.say("metrics", f"metrics at http://{host}:{server.port}/metrics", port=server.port)
    return server


def finish(
    fleet: FleetConfig, roster: Roster, supervisor: Supervisor, console: Console, options: UpOptions, code: int
) -> None:
    """Write the report and what the strategies have cost, and say how it ended."""
    roster.state = "stopped" if code == OK else "failed"
    before = supervisor.before_stop or roster.sample()
    final = roster.final_sample(before)
    text = json.dumps(report.build(final), indent=1) + "\n"
    console.end_summary()
    if options.report is not None:
        fresh = options.report.with_name(f"{options.report.name}.{os.getpid()}")
        fresh.write_text(text)
        fresh.rename(options.report)
        console.say("report", f"report written to {options.report}", path=str(options.report))
    try:
        if costs := measured(before, unchanged(fleet, roster.members.fleet())):
            write_costs(costs_file(fleet), costs, roster.members.fleet())
    except OSError as error:
        console.say("warning", f"warning: {costs_file(fleet)}: {error.strerror}: the costs of this run are lost")
    left = (roster.facts.get("stop") or {}).get("open_orders")
    ended = "stopped; no order of it is open" if left == 0 else "stopped"
    how = ended if code == OK else f"ended: {roster.facts.get('error', 'with errors')}"
    console.say("stopped", f"fleet {how}", exit_code=code)


def process_started_ns() -> int:
    """Return when this process started, on the monotonic clock: its imports count as well."""
    ticks = process_start_ticks(os.getpid()) or 0
    lived_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.monotonic_ns() - lived_ns


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
