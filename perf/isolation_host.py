"""The strategies of isolation.py: those of chaos.py, and beside them bad neighbours that behave until they are let go.

A bad neighbour's `harm` names what it does; it does it with every tick from the moment at which the file `go.ID` lies
beside the diaries.
"""

import asyncio
import ctypes
import locale
import logging
import os
import sys
import time
from decimal import Decimal
from pathlib import Path

from chaos_host import VENUE, ChaosHost, ChaosStrategy
from hive.shm.ids import order_prefix
from hive.shm.messages import Intent, IntentKind, OrderType, Side
from hive.workers.context import StrategyContext
from hive.workers.errors import OrderRefused
from hive.workers.host import StrategySpec, WorkerServices

MB = 1 << 20
CHUNK_MB = 100
CHUNKS = 20  # two gigabytes
LINES_A_TICK = 5_000  # 100,000 a second
ORDERS_A_TICK = 500  # 10,000 a second
BLOCK_S = 0.5

log = logging.getLogger("neighbour")


class Neighbour:
    """A strategy that trades nothing and harms when it is let go."""

    def __init__(self, spec: StrategySpec, context: StrategyContext, services: WorkerServices) -> None:
        self._context = context
        self._services = services
        self._pair = spec.config["trading_pair"]
        self._go = Path(spec.config["diaries"]) / f"go.{spec.id}"
        self._harm = getattr(self, spec.config["harm"])
        self._prefix = f"{order_prefix(services.fleet_id, context.tag)}{services.now_ns():x}-"
        self._serial = 0
        self._kept: list[object] = []
        context.on_reply = self._ignore

    def tick(self, wall_timestamp: float) -> object:
        """Do harm, if it may."""
        return self._harm() if self._go.exists() else None

    def raise_always(self) -> None:
        """Raise."""
        raise ValueError("no such spread")

    def raise_in_task(self) -> None:
        """Raise in a task."""
        self._kept.append(asyncio.ensure_future(self._raising()))
        del self._kept[:-10]

    def raise_in_event(self) -> None:
        """Raise in an event handler."""
        self._context.post(self.raise_always)

    def return_garbage(self) -> object:
        """Return and order what makes no sense."""
        for price, amount in ((Decimal("NaN"), Decimal(1)), ("seven", Decimal(1)), (Decimal(-7), Decimal(1))):
            try:
                self._place(price, amount)
            except OrderRefused as refused:
                self._kept[:] = [refused]
        return {"no": object()}

    def block(self) -> None:
        """Block for half a second."""
        time.sleep(BLOCK_S)

    def spin(self) -> None:
        """Loop for ever."""
        while True:
            pass

    def spin_in_task(self) -> None:
        """Loop for ever in a task."""
        self._kept.append(asyncio.ensure_future(self._spinning()))

    def swallow(self) -> None:
        """Loop for ever and swallow every interruption."""
        while True:
            try:
                self.spin()
            except BaseException as error:  # noqa: BLE001 - as bad code does
                self._kept[:] = [error]

    def leave(self) -> None:
        """Ask Python to exit."""
        sys.exit(3)

    def leave_hard(self) -> None:
        """End the process."""
        os._exit(3)

    def crash(self) -> None:
        """Read where nothing is."""
        ctypes.string_at(0)

    def take_memory(self) -> None:
        """Keep two gigabytes of garbage, a chunk with every tick."""
        if len(self._kept) < CHUNKS:
            chunk = bytearray(CHUNK_MB * MB)
            chunk[::4096] = b"x" * len(chunk[::4096])
            self._kept.append(chunk)

    def flood_log(self) -> None:
        """Log far too much."""
        for number in range(LINES_A_TICK):
            log.info("line %d", number)

    def flood_orders(self) -> None:
        """Order far too much."""
        for _ in range(ORDERS_A_TICK):
            try:
                self._place(Decimal(1), Decimal(1))
            except OrderRefused as refused:
                self._kept[:] = [refused]

    def change_directory(self) -> None:
        """Change the working directory."""
        os.chdir("/")

    def change_environment(self) -> None:
        """Change the environment."""
        os.environ["TZ"] = "Mars"

    def change_locale(self) -> None:
        """Change the locale."""
        locale.setlocale(locale.LC_ALL, "C")

    def recurse(self) -> None:
        """Call itself."""
        self.recurse()

    async def _raising(self) -> None:
        raise ValueError("no such spread")

    async def _spinning(self) -> None:
        self.spin()

    def _place(self, price: object, amount: object) -> None:
        self._serial += 1
        about = {"side": Side.BUY, "order_type": OrderType.LIMIT, "price": price, "amount": amount}
        order = f"{self._prefix}{self._serial}"
        created_ns = self._services.now_ns()
        self._services.orders.place(Intent(IntentKind.PLACE, VENUE, self._pair, order, created_ns=created_ns, **about))

    def _ignore(self, reply: object) -> None:
        """Take what is told of its orders."""


class IsolationHost(ChaosHost):
    """Makes both kinds."""

    def __init__(self, config: dict, services: WorkerServices) -> None:
        super().__init__(config, services)
        self._all = services

    async def start(self, spec: StrategySpec, context: StrategyContext) -> ChaosStrategy | Neighbour:
        """Make one strategy."""
        if "harm" not in spec.config:
            return await super().start(spec, context)
        await self._all.instruments(VENUE, [spec.config["trading_pair"]])
        return Neighbour(spec, context, self._all)
