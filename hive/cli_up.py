"""`hive up`: everything between the command line and a running supervisor."""

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import os
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hive import __version__, report
from hive._build_info import HUMMINGBOT_RELEASE
from hive.boots import HOST, Run
from hive.child import become_supervisor
from hive.cli_errors import CONFIG, ERROR, OK, Failure
from hive.cli_keys import keys_of, without_secrets
from hive.config import ConfigError, load_fleet, users_in
from hive.console import Console
from hive.control import ControlServer
from hive.costs import FILE as COSTS_FILE
from hive.costs import costs_of, measured, read_costs, unchanged, write_costs
from hive.fleet import FleetConfig, SimVenue
from hive.launch import Launcher
from hive.metrics import MetricsServer
from hive.pairs import QueuePairs
from hive.plan import Placement, PlanError, place, shm_bytes
from hive.processes import is_same
from hive.pure import implementation
from hive.roster import Roster, versions
from hive.shm.segment import free_bytes, process_start_ticks, sweep
from hive.state import FleetDir, FleetLocked, StateError, is_alive, rotate_logs, state_dir, states_dir
from hive.supervisor import Supervisor
from hive.top_sample import Sampler
from hive.topology import read_topology
from hive.users import Users, UsersError, become_user, files_of, find_users
from hive.wiring import Wiring

log = logging.getLogger("hive.supervisor")

PROFILED_HANG_MS = 60_000
STILL_ENDING_S = 25.0  # a gate whose supervisor died takes up to 15 s to cancel


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `hive up`; `host` names what makes the strategies, as module:Class."""

    strategies: Path
    workers: int | None = None
    config: Path | None = None
    root: Path | None = None
    name: str | None = None
    duration_s: float | None = None
    report: Path | None = None
    pin: bool = True
    as_json: bool = False
    password_stdin: bool = False
    host: str = HOST


def up(options: UpOptions) -> int:
    """Run a fleet until it is stopped; return the exit code.

    Raises:
        Failure: it cannot be started: its configuration, the machine, or another fleet is in the way.
    """
    started_ns = process_started_ns()
    fleet, placement, key_fds, users = entered(options)
    if options.report is not None and not options.report.absolute().parent.is_dir():
        raise Failure(f"--report: there is no folder {options.report.absolute().parent}")
    console = Console(started_ns, as_json=options.as_json)
    folder = FleetDir.of(fleet.name)
    lock_fd = locked(folder)
    try:
        check_memory(fleet, placement, console)
        return asyncio.run(run_fleet(fleet, placement, folder, lock_fd, key_fds, users, console, options))
    finally:
        folder.clear()
        os.close(lock_fd)


def prepared(options: UpOptions) -> tuple[FleetConfig, Placement]:
    """Return the checked fleet and its placement; Failure with code 4 names everything that is wrong."""
    fleet = loaded(options)
    return fleet, placed(fleet, options)


def loaded(options: UpOptions) -> FleetConfig:
    """Return the checked fleet; Failure with code 4 names everything that is wrong."""
    try:
        return load_fleet(options.strategies, config=options.config, root=options.root, name=options.name)
    except ConfigError as error:
        raise Failure("\n".join(error.problems), CONFIG) from None


def placed(fleet: FleetConfig, options: UpOptions) -> Placement:
    """Return where a fleet goes on this machine, by what earlier runs have cost; Failure with code 4: it cannot."""
    try:
        return place(
            fleet.strategies,
            workers=options.workers,
            cpus=read_topology(),
            limit=fleet.runtime.max_strategies_per_container,
            pin=options.pin,
            costs=costs_of(fleet, read_costs(costs_file(fleet))).values,
        )
    except PlanError as error:
        raise Failure(str(error), CONFIG) from None


def costs_file(fleet: FleetConfig) -> Path:
    """Return where it is kept what a fleet's strategies cost."""
    return states_dir() / fleet.name / COSTS_FILE


def entered(options: UpOptions) -> tuple[FleetConfig, Placement, dict[str, int], Users | None]:
    """Return the checked fleet, the descriptors of its keys and its users; this process is the fleet's user's then."""
    try:
        users = users_of(options)
        with files_of(users.user) if users is not None else contextlib.nullcontext():
            fleet, placement = prepared(options)
        check_hummingbot()
        key_fds = keys_of(fleet, options.password_stdin)
        if users is not None:
            become_user(users, os.environ)
            placement = placed(fleet, options)  # what earlier runs have cost is in that user's folder
    except UsersError as error:
        raise Failure(f"{options.strategies.name}: {error}", CONFIG) from None
    return fleet, placement, key_fds, users


def users_of(options: UpOptions) -> Users | None:
    """Return the users that the fleet is to run as, None when everything runs as this process does."""
    user, gate_user = users_in(options.strategies, options.config)
    if not isinstance(user, str) or not isinstance(gate_user, str):
        return None  # nobody is named, or load_fleet() refuses it
    return find_users(user, gate_user, [file for file in (options.strategies, options.config) if file is not None])


def check_hummingbot() -> None:
    """Raise Failure unless the installed Hummingbot is the one that the extensions were compiled against."""
    try:
        installed = importlib.metadata.version("hummingbot")
    except importlib.metadata.PackageNotFoundError:
        raise Failure("hummingbot is not installed here: run ./compile in Hive's folder") from None
    if installed != HUMMINGBOT_RELEASE:
        raise Failure(
            f"hummingbot {installed} is installed, but Hive was compiled against {HUMMINGBOT_RELEASE}: "
            f"run ./compile in Hive's folder, which installs that release and builds again"
        )


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
        Launcher(run, placement, lock_fd, without_secrets(fleet, os.environ), key_fds, users, roster.members),
        Wiring(roster, QueuePairs(run.run)),
        console,
        Sampler(folder),
        run=run.run,
        read_fleet=lambda path: load_fleet(path, config=options.config, root=fleet.root, name=options.name),
        sims=[index for index, venue in enumerate(fleet.venues) if isinstance(venue, SimVenue)],
        stop_timeout_s=fleet.runtime.stop_timeout_s,
        hang_after_ms=hang_after_ms(fleet),
        restart_wait_max_s=fleet.runtime.restart_wait_max_s,
        duration_s=options.duration_s,
    )
    control = ControlServer(folder.control, supervisor.ask)
    await control.open()
    metrics = serve_metrics(fleet, folder, console)
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
        f"fleet {fleet.name}: {count} strateg{'y' if count == 1 else 'ies'} on {venues}; logs in {run.state_dir}/logs",
        fleet=fleet.name,
        run=run.run,
        logs=str(run.state_dir / "logs"),
    )
    console.say("memory", f"memory: {implementation()}", implementation=implementation())
    for notice in fleet.notices:
        console.say("notice", notice)
    for remark in placement.remarks:
        console.say("placement", remark)


def serve_metrics(fleet: FleetConfig, folder: FleetDir, console: Console) -> MetricsServer | None:
    """Serve /metrics where the fleet wants it; a port that is in use is a warning, not the end."""
    port = fleet.monitoring.metrics_port
    if not port:
        return None
    host = fleet.monitoring.metrics_host
    try:
        server = MetricsServer(folder, port, host)
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
    how = "stopped" if code == OK else f"ended: {roster.facts.get('error', 'with errors')}"
    console.say("stopped", f"fleet {how}", exit_code=code)


def process_started_ns() -> int:
    """Return when this process started, on the monotonic clock: its imports count as well."""
    ticks = process_start_ticks(os.getpid()) or 0
    lived_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.monotonic_ns() - lived_ns
