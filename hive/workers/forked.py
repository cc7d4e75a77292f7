"""What makes a forked copy of the server a worker: its own log, CPU, name, place for the OOM killer, and counters."""

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
from pathlib import Path

import numpy

from hive.shm.channel import Channel
from hive.shm.counters import counters_size
from hive.shm.segment import Segment, segment_name
from hive.workers.affinity import pin
from hive.workers.boot import WorkerBoot
from hive.workers.children import part_from
from hive.workers.context import StrategyCounters
from hive.workers.log import set_up_worker_logging
from hive.workers.log_quota import LineQuota
from hive.workers.printed import log_what_is_printed
from hive.workers.strategy_logs import StrategyLogs

OOM_SCORE_MORE = 100  # than the server: workers are the first to go when memory ends
OOM_SCORE_MAX = 1000
GIVES_WAY = 5  # niceness: a strategy that computes must not keep feed and gate from the CPU
GIVES_WAY_TO_ALL = 15  # in quarantine: nor other workers
COUNTERS_OF_ITS_OWN = 32  # beside those of its strategies; the host may add some
COUNTERS_PER_VENUE = 2
ADDED_LATER = 16  # strategies that may come to a running worker, each with counters of its own; more need another one
COUNTERS_PER_STRATEGY = len(StrategyCounters.__annotations__) + 8

log = logging.getLogger(__name__)


def set_up_process(boot: WorkerBoot, lines: LineQuota, logs: StrategyLogs | None = None) -> None:
    """Give a forked copy of the server its own log, CPU, name, random numbers and place for the OOM killer."""
    log_stream = set_up_worker_logging(boot.log_file, boot.log_level, lines, logs)
    log_what_is_printed()
    faulthandler.enable(log_stream)
    gc.enable()
    part_from(Path(boot.run_dir))
    numpy.random.seed()  # Python's own generator does that by itself after a fork
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole foreground group; the supervisor decides
    not_pinned = pin(boot.cpu)
    if not_pinned:
        log.warning("%s", not_pinned)
    os.nice(GIVES_WAY_TO_ALL if boot.quarantine else GIVES_WAY)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"hive-worker-{boot.index}")
    with contextlib.suppress(OSError):
        score = Path("/proc/self/oom_score_adj")
        score.write_text(str(min(OOM_SCORE_MAX, int(score.read_text()) + OOM_SCORE_MORE)))
    log.info("worker %d, epoch %d, pid %d: %d strategies", boot.index, boot.epoch, os.getpid(), len(boot.strategies))


def strategy_logs(boot: WorkerBoot) -> StrategyLogs | None:
    """Return the log files that strategies have of their own, None when the boot message names no place for them."""
    kept = boot.strategy_logs
    if kept is None:
        return None
    return StrategyLogs(Path(kept["folder"]), max_bytes=int(kept["max_bytes"]), keep=int(kept["keep"]))


def tell_of_logs(logs: StrategyLogs, index: int, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
    """Have the supervisor told when strategies' log files cannot be written."""

    def tell(text: str) -> None:  # on the thread that writes
        message = {"type": "event", "level": "error", "text": f"worker {index}: {text}"}
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(channel.send, message)

    logs.alarm = tell


def counters_capacity(boot: WorkerBoot) -> int:
    """Return how many counters and histograms a worker has room for."""
    per_venue = COUNTERS_PER_VENUE * len(boot.venues)
    return COUNTERS_OF_ITS_OWN + per_venue + COUNTERS_PER_STRATEGY * (len(boot.strategies) + ADDED_LATER)


def create_counters(boot: WorkerBoot) -> Segment:
    """Create a worker's counters segment."""
    name = segment_name(boot.run, f"counters.worker{boot.index}", boot.epoch)
    size = counters_size(counters_capacity(boot), 8 + 4 * (len(boot.strategies) + ADDED_LATER))
    return Segment.create(name, size, kind="counters", epoch=boot.epoch)
