"""A host of bad neighbours: a strategy's `name` is the harm that it does, tick by tick; `trade` does none."""

import asyncio
import ctypes
import locale
import logging
import os
import sys
import threading
import time
from decimal import Decimal

from hive.shm.messages import Intent, IntentKind, OrderType, Side
from hive.workers.errors import OrderRefused
from tests.workers.tiny_host import TinyHost, TinyStrategy

MB = 1 << 20
LINES_A_TICK = 3000
ORDERS_A_TICK = 200
CALM_TICKS = 10  # before the harm begins

log = logging.getLogger("bad")


class BadStrategy(TinyStrategy):
    """Does its harm with every tick after the first few."""

    def __init__(self, spec, context, services):
        super().__init__(spec, context, services)
        self.calm = spec.config.get("calm", CALM_TICKS)
        self.kept = []

    def tick(self, timestamp):
        self.timestamps.append(timestamp)
        if self.spec.name == "trade" or len(self.timestamps) > self.calm:
            return getattr(self, self.spec.name)()
        return None

    def spin(self):
        while True:
            pass

    def spin_in_task(self):
        async def work():
            self.spin()

        self.kept.append(asyncio.ensure_future(work()))

    def spin_in_event(self):
        self.context.post(self.spin)

    def spin_and_swallow(self):
        while True:
            try:
                self.spin()
            except BaseException:  # noqa: BLE001 - as bad code does
                pass

    def sleep_now_and_then(self):
        if len(self.timestamps) == self.calm + 5:
            time.sleep(0.2)

    def hog(self):
        time.sleep(0.018)

    def raise_in_task(self):
        async def work():
            raise ValueError("task")

        self.kept[:] = [asyncio.ensure_future(work())]  # what nobody asked is told when the task is forgotten

    def raise_in_event(self):
        def handle():
            raise ValueError("event")

        self.context.post(handle)

    def return_garbage(self):
        for price, amount in ((Decimal("NaN"), Decimal(1)), ("seven", Decimal(1)), (Decimal(7), None), (7.5, "x")):
            try:
                self.place(price, amount)
            except OrderRefused:
                pass
        return object()

    def place(self, price, amount):
        self.number += 1
        order = f"{self.prefix}{self.services.worker_epoch}-{self.number}"
        about = {"side": Side.BUY, "order_type": OrderType.LIMIT, "price": price, "amount": amount}
        return self.services.orders.place(Intent(IntentKind.PLACE, 0, self.pair, order, created_ns=1, **about))

    def flood_orders(self):
        for _ in range(ORDERS_A_TICK):
            try:
                self.place(Decimal(7), Decimal(1))
            except OrderRefused:
                pass

    def flood_log(self):
        for number in range(LINES_A_TICK):
            log.info("line %d", number)

    def take_memory(self):
        if len(self.kept) < 20:
            chunk = bytearray(100 * MB)
            chunk[::4096] = b"x" * len(chunk[::4096])
            self.kept.append(chunk)

    def exit_hard(self):
        os._exit(9)

    def exit_in_thread(self):
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()

    def change_directory(self):
        os.chdir("/")

    def change_environment(self):
        os.environ["TZ"] = "Mars"

    def change_locale(self):
        locale.setlocale(locale.LC_ALL, "C")

    def fork_off(self):
        if os.fork() == 0:
            os._exit(0)

    def recurse(self):
        self.recurse()

    def crash_in_task(self):
        async def work():
            ctypes.string_at(0)

        self.kept.append(asyncio.ensure_future(work()))


class BadHost(TinyHost):
    """Makes BadStrategies."""

    async def start(self, spec, context):
        await self.services.instruments(0, [spec.config["pair"]])
        context.host_data = BadStrategy(spec, context, self.services)
        return context.host_data
