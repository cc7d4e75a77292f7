"""How many descriptors each process of a fleet has open at once, and how many the kernel lets it open (`ulimit -n`).

    supervisor   a channel and counters of each process, three of each venue
    feed         books, trades, tops and budget of each venue, its connections, one for asking
    gate         two queues and a FIFO of each worker; of each venue books, connections, journal and its timer, keys
    recorder     a line to each worker, four for a database (at most so many stay open)
    worker       a log of each strategy (at most so many stay open), books of each venue, ends of its siblings' channels

Every mapping of a segment counts: Python keeps its descriptor. SPARE comes on top for what no file says: candle series,
files and connections that strategies open themselves, old and new segments of a process that starts again.
"""

import resource
from collections.abc import Mapping, Sequence

from hive.fleet import FleetConfig

SPARE = 128
DATABASES_MAX = 24  # hive.gate.recorder_database.OPEN_MAX
LOGS_MAX = 128  # hive.workers.strategy_logs.OPEN_MAX
EACH = 24  # of any process: standard streams, log, lock, event loop, channel, counters, FIFO
FILES_OF_DATABASE = 4
RULE = "raise the hard limit (ulimit -Hn; systemd: LimitNOFILE; docker: --ulimit nofile), or take fewer workers"


def open_files(fleet: FleetConfig, strategies: Sequence[int]) -> dict[str, int]:
    """Return how many descriptors a process of each role needs at most, SPARE included.

    Args:
        strategies: how many each worker has.
    """
    workers, venues = len(strategies), len(fleet.venues)
    connections = fleet.multiplexer.max_connections_per_exchange + 1  # while one is renewed
    counted = {
        "supervisor": 2 * workers + 3 * venues,
        "feed": venues * (5 + connections),
        "gate": 3 * workers + 10 * venues,
        "recorder": workers + 2 * venues + FILES_OF_DATABASE * min(len(fleet.strategies), DATABASES_MAX),
        "worker": workers + 4 * venues + min(max(strategies), LOGS_MAX),
    }
    return {role: EACH + count + SPARE for role, count in counted.items()}


def allowed() -> int | None:
    """Return how many descriptors a process may be allowed to open, None when there is no limit."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def allow_all() -> None:
    """Let this process, and those that it starts, open all that they may: the soft limit becomes the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def too_few(needed: Mapping[str, int], limit: int | None) -> str:
    """Return what to say when a process needs more than `limit`, "" when none does."""
    role = max(needed, key=needed.__getitem__)
    if limit is None or needed[role] <= limit:
        return ""
    return f"open files: a process may have {limit}, this fleet's {role} needs {needed[role]}: {RULE}"


def _number(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit
