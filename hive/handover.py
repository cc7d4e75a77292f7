"""From `hive up`, which reads a fleet, to the supervisor that it becomes: the same process, another program.

    hive up  ->  sealed file in memory: HandOver      ->  exec python -m hive.up FD ...  ->  taken(FD)
             ->  descriptors of keys, as they are
             ->  environment without the variables that held secrets

What was imported and read to get there is gone with the first program, keys and passwords too.
"""

import fcntl
import os
import pickle
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hive.boots import HOST
from hive.fleet import FleetConfig
from hive.keys import SEALS
from hive.plan import Placement
from hive.users import Users

PROGRAM = "hive.up"
PROGRAM_WITH_METRICS = "hive.up_metrics"


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


@dataclass(frozen=True, slots=True)
class HandOver:
    """What the supervisor starts with; `key_fds` are descriptors by venue, `users` None: all run as this process."""

    options: UpOptions
    fleet: FleetConfig
    placement: Placement
    users: Users | None
    key_fds: Mapping[str, int]


def become(handed: HandOver, secret: Iterable[str], program: str = PROGRAM) -> NoReturn:
    """Replace this process by the supervisor, without the environment variables `secret`; does not return.

    Args:
        program: a module that takes the descriptor as its first argument.
    """
    fd = os.memfd_create("hive-up", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(fd), "wb") as file:
        pickle.dump(handed, file)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    for kept in (fd, *handed.key_fds.values()):
        os.set_inheritable(kept, True)
    without = set(secret)
    environment = {name: value for name, value in os.environ.items() if name not in without}
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until somebody is there who knows what it means
    os.execve(sys.executable, [sys.executable, "-P", "-m", program, str(fd), *sys.argv[1:]], environment)


def taken(fd: int) -> HandOver:
    """Return what this process's first program has handed over, and let nothing of it be inherited further."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        handed = pickle.load(file)  # sealed, and made by this very process
    for key_fd in handed.key_fds.values():
        os.set_inheritable(key_fd, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return handed
