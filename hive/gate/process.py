"""The gate's process: `python -m hive.gate.process --channel-fd N`.

The keys come with the boot message as descriptors of files in memory, one per venue, and from nowhere else: not from
the environment, not from the arguments. The process is not dumpable, so that other processes of this user cannot read
them out of /proc.
Exit codes: 0 asked to stop or left alone by the supervisor, 3 cannot boot, 1 it broke.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import logging
import os
import sys
import time

from hive.gate.budgets import VenueBudgets
from hive.gate.errors import BootError, GateError
from hive.gate.figures import room
from hive.gate.gate import Gate
from hive.gate.key_lock import KeyLock
from hive.gate.log import open_log
from hive.gate.own_user import become
from hive.gate.settings import GateSettings, is_replay
from hive.shm.channel import Channel, connect_fd
from hive.shm.counters import Counters, counters_size
from hive.shm.errors import ShmError
from hive.shm.heap import give_back
from hive.shm.order_queue import self_test
from hive.shm.segment import Segment, segment_name
from hive.shm.wake import WakeReceiver

BOOT_TIMEOUT_S = 30.0
YOUNG_OBJECTS = 50_000  # orders live for minutes: looking at them every few hundred objects costs as much as they do
EXIT_BROKE = 1
EXIT_CANNOT_BOOT = 3
_PR_SET_DUMPABLE = 4


def main(arguments: list[str] | None = None) -> int:
    """Run the gate; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hive.gate.process")
    parser.add_argument("--channel-fd", type=int, required=True)
    options = parser.parse_args(arguments)
    make_undumpable()
    channel = connect_fd(options.channel_fd)
    boot = channel.recv_blocking(BOOT_TIMEOUT_S)
    if boot is None:
        return 0
    try:
        if "user" in boot:
            become(**boot["user"])
            make_undumpable()  # a new user undoes it
        return run(GateSettings.from_boot(with_keys(boot)), channel)
    except (BootError, ShmError) as error:
        logging.getLogger("gate").error("%s", error)
        channel.send({"type": "fatal", "message": str(error)})
        return EXIT_CANNOT_BOOT


def with_keys(boot: dict) -> dict:
    """Return the boot message with each account's keys, from the descriptors that came with it, which are closed."""
    fds = list(boot.get("fds", []))
    venues = boot.get("venues", [])
    if len(fds) != sum(not is_replay(venue) for venue in venues):
        raise BootError(f"the boot message must bring a descriptor of keys per venue account, brought {len(fds)}")
    complete = []
    for venue in venues:
        keys = {}
        if not is_replay(venue):
            fd = fds.pop(0)
            keys = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
            os.close(fd)
        complete.append({**venue, **keys})
    return {**boot, "venues": complete}


def run(settings: GateSettings, channel: Channel) -> int:
    """Take the locks, make the counters and run until the gate ends; returns the exit code."""
    log = open_log(settings)
    self_test()
    locks = [KeyLock(settings.run_dir.parent, venue.api_key, settings.fleet) for venue in settings.venues]
    name = segment_name(settings.run, "counters.gate", settings.epoch)
    capacity, histograms = room(len(settings.venues), len(settings.strategies), len(settings.capital_assets()))
    size = counters_size(capacity, histograms)
    segment = Segment.create(name, size, kind="counters", epoch=settings.epoch)
    wake = WakeReceiver(settings.run_dir / f"wake.gate.{settings.epoch}")
    code = EXIT_CANNOT_BOOT
    budgets = None
    try:
        budgets = VenueBudgets(settings.run, settings.epoch, settings.venues, settings.feed_share, time.time_ns())
        gate = Gate(settings, channel, Counters.create(segment, capacity), name, budgets, wake, log)
        gc.freeze()
        give_back()
        gc.set_threshold(YOUNG_OBJECTS)
        code = asyncio.run(gate.run())
        return code
    except GateError:
        raise
    except Exception as error:
        log.exception("the gate broke: %s: %s", type(error).__name__, error)
        code = EXIT_BROKE
        return code
    finally:
        wake.close()
        if code == EXIT_CANNOT_BOOT:
            segment.unlink()
            if budgets is not None:
                budgets.unlink()
        for lock in locks:
            lock.close()


def make_undumpable() -> None:
    """Forbid core dumps and reads of this process's memory and environment by others of the same user."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise BootError(f"prctl(PR_SET_DUMPABLE) failed with errno {ctypes.get_errno()}")


if __name__ == "__main__":
    sys.exit(main())
