"""The commands that look at fleets or end them: status, down, check, clean."""

import json
import os
import select

import click

from hive import cli_keys, report, status_view
from hive.cli_errors import ERROR, NOT_FOUND, NOT_RUNNING, TIMEOUT, Failure
from hive.cli_up import prepared
from hive.control import ControlError, ask
from hive.gate_view import notices, venue_table
from hive.handover import UpOptions
from hive.screens import screen_width
from hive.shm.errors import LayoutMismatch, ShmError
from hive.shm.segment import Segment, sweep
from hive.state import FleetDir, StateError, drop_key_locks, fleet_names, is_alive
from hive.top_sample import Sampler
from hive.top_view import Frame, Look, draw_all

START = "`hive up --strategies FILE` starts one"


def find_fleet(name: str | None) -> FleetDir:
    """Return the folder of a running fleet: the named one, or the only one that runs.

    Raises:
        Failure: 2 when there is no such fleet, 3 when it does not run, 1 when the name is needed.
    """
    try:
        names = fleet_names()
    except StateError as error:
        raise Failure(str(error)) from None
    if name is not None:
        folder = FleetDir.of(name)
        if name not in names:
            raise Failure(f"there is no fleet {name}" + (f"; known: {', '.join(names)}" if names else ""), NOT_FOUND)
        if not is_alive(folder.read()):
            raise Failure(f"fleet {name}: {_why_not_alive(folder)}", NOT_RUNNING)
        return folder
    running = [one for one in names if is_alive(FleetDir.of(one).read())]
    if not running:
        raise Failure(f"no fleet is running; {START}", NOT_RUNNING)
    if len(running) > 1:
        raise Failure(f"several fleets are running, name one: {', '.join(running)}", ERROR)
    return FleetDir.of(running[0])


def _why_not_alive(folder: FleetDir) -> str:
    if not folder.is_locked():
        return "it does not run"
    if folder.is_of_another_version():
        return "it runs under another version of Hive, whose commands reach it"
    return "its supervisor died and its gate is ending"


def find_readable(name: str | None) -> FleetDir:
    """Return the folder of a running fleet, as find_fleet(), whose memory this build can read.

    Raises:
        Failure: as find_fleet(); 1 when another build of Hive runs it.
    """
    folder = find_fleet(name)
    for segment in (folder.read() or {}).get("segments", {}).values():
        try:
            Segment.open(segment).close()
        except LayoutMismatch as error:
            text = f"fleet {folder.name} runs under another build of Hive, whose commands show it: {error}"
            raise Failure(text) from None
        except ShmError:  # just made, or just gone
            continue
    return folder


def status(name: str | None, as_json: bool) -> None:
    """Print a running fleet's report, as JSON or as tables."""
    folder = find_readable(name)
    sampler = Sampler(folder)
    try:
        sample = sampler.sample(pss=True)
    finally:
        sampler.close()
    if sample is None or not sample.alive:
        raise Failure(f"fleet {folder.name}: it does not run", NOT_RUNNING)
    total = report.build(sample)
    if as_json:
        click.echo(json.dumps(total, indent=1))
        return
    frame = Frame(total, total, total["duration_s"], took_ns=sample.took_ns)
    width = screen_width()
    for line in draw_all(frame, Look(title="hive status"), width):
        click.echo(line)
    for line in [*venue_table(frame, width), *notices(total)]:
        click.echo(line.text.rstrip())
    for text in status_view.notices(total):
        click.echo(text)


def down(name: str | None, timeout_s: float) -> None:
    """Stop a fleet and wait for its end."""
    folder = find_fleet(name)
    fleet = folder.read()
    if fleet is None:
        raise Failure(f"fleet {folder.name}: it does not run", NOT_RUNNING)
    try:
        pidfd = os.pidfd_open(fleet["pid"])
    except ProcessLookupError:
        return
    try:
        ask(folder.control, {"command": "down", "timeout_s": timeout_s})
        waiter = select.poll()
        waiter.register(pidfd, select.POLLIN)
        if not waiter.poll(timeout_s * 1000):
            raise Failure(f"fleet {folder.name} has not ended after {timeout_s:g} s", TIMEOUT)
    except ControlError as error:
        raise Failure(str(error), error.code) from None
    finally:
        os.close(pidfd)
    click.echo(f"fleet {folder.name} stopped")


def check(options: UpOptions) -> None:
    """Validate a fleet without starting it; print what it is, or raise Failure with everything that is wrong."""
    fleet, placement = prepared(options)
    for notice in fleet.notices:
        click.echo(f"notice: {notice}")
    for notice in cli_keys.notices(fleet, os.environ):
        click.echo(f"notice: {notice}")
    for remark in placement.remarks:
        click.echo(remark)
    ids, names = (max(len(getattr(one, key)) for one in fleet.strategies) for key in ("id", "name"))
    for worker in placement.workers:
        for one in worker.strategies:
            click.echo(f"worker {worker.index}  {one.id:{ids}}  {one.name:{names}}  {' '.join(one.pairs)}".rstrip())
    count = len(fleet.strategies)
    click.echo(f"{options.strategies}: ok, {count} strateg{'y' if count == 1 else 'ies'}")


def clean() -> None:
    """Remove what dead fleets left: segments, folders, sockets, locks of API keys."""
    try:
        names = fleet_names()
    except StateError as error:
        raise Failure(str(error)) from None
    left = []
    for name in names:
        folder = FleetDir.of(name)
        if not folder.is_locked():
            folder.remove()
            left.append(f"removed the run folder of fleet {name}; its logs and data stay")
    left += [f"removed {lock}" for lock in drop_key_locks()]
    left += [f"removed segment {segment}" for segment in sweep()]
    click.echo("\n".join(left) or "nothing was left by dead fleets")
