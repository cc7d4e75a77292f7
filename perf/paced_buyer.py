"""Calls a strategy's buy() at the times that another process sets, and writes down what it called.

    pacer --(FIFO: int64 per order, its intended time)--> on the strategy's event loop: buy() --> LOG.1, LOG.2, ...

A negative number -N ends a round and lets LOG.N appear: a JSON list of [client order id, intended ns, called ns] for
each order (CLOCK_MONOTONIC). Used by Hive's script and by the stock connector's process alike.
"""

import asyncio
import json
import os
import struct
import time
from collections.abc import Callable

INTENDED = struct.Struct("<q")


class PacedBuyer:
    """Listens on the running loop until the process ends.

    Args:
        fifo: made by the pacer
        log: path without the number of the round
        buy: places one order and returns its client order id
    """

    def __init__(self, fifo: str, log: str, buy: Callable[[], str]) -> None:
        self._fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)  # for writing too: it must not hang up between pacers
        self._log = log
        self._buy = buy
        self._rows: list[tuple[str, int, int]] = []
        asyncio.get_running_loop().add_reader(self._fd, self._on_due)

    def _on_due(self) -> None:
        for (intended_ns,) in INTENDED.iter_unpack(os.read(self._fd, 4096 * INTENDED.size)):
            if intended_ns < 0:
                self._write(-intended_ns)
                continue
            called_ns = time.monotonic_ns()
            self._rows.append((self._buy(), intended_ns, called_ns))

    def _write(self, number: int) -> None:
        path = f"{self._log}.{number}"
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            json.dump(self._rows, file)
        self._rows = []
        os.rename(f"{path}.tmp", path)
