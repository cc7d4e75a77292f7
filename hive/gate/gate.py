"""The running gate: accounts, links, wake-ups and the control channel around one event loop.

wake FIFO, 10 ms heartbeat -> intake.poll -> account.handle ... -> intake.reply -> flush (once per loop turn)
control channel            -> worker, worker_gone, feed, refuse_new, accept_new, stop; end of file: alone
"""

import asyncio
import logging
import os
import signal
import time
from decimal import Decimal

from hive.gate.account import Account
from hive.gate.binance import BinanceVenue
from hive.gate.books import FeedBooks
from hive.gate.budgets import VenueBudgets
from hive.gate.closing import close_out
from hive.gate.errors import BootError
from hive.gate.fifo import OrderRates
from hive.gate.figures import AccountFigures
from hive.gate.intake import Intake
from hive.gate.listener import Listener
from hive.gate.log import report_errors
from hive.gate.settings import GateSettings, VenueSettings
from hive.shm.atomics import boottime_ns
from hive.shm.channel import Channel
from hive.shm.counters import Counters
from hive.shm.errors import ShmError
from hive.shm.messages import STALE_BOOK, Intent, IntentKind, Reply, ReplyKind
from hive.shm.segment import list_segments, unlink
from hive.shm.wake import WakeReceiver

BEAT_S = 0.01
READY_PATIENCE_S = 15.0  # then a gate with one account ready does not wait for the others
DEATH_DEADLINE_S = 15.0  # for cancelling when the supervisor is gone
OTHERS_GO_S = 3.0  # for the other processes of a dead fleet to end before its segments are unlinked
RETRY_S = 1.0
SUSPENDED_NS = 500_000_000  # less may be this process's own lateness between two clocks
REREAD_EVERY_S = 1.0  # how often the feed is asked at most to read a venue's rules again


class Gate:
    """One fleet's gate.

    Args:
        settings: the boot message
        channel: to the supervisor
        counters: the gate's, beaten from here
        counters_name: of their segment
        budgets: of the venues' request weight
        wake: where the workers wake this process
    """

    def __init__(
        self,
        settings: GateSettings,
        channel: Channel,
        counters: Counters,
        counters_name: str,
        budgets: VenueBudgets,
        wake: WakeReceiver,
        log: logging.Logger,
    ) -> None:
        self._settings = settings
        self._channel = channel
        self._counters = counters
        self._counters_name = counters_name
        self._budgets = budgets
        self._wake = wake
        self._log = log
        self._flushing = False
        self._asleep_ns = boottime_ns() - time.monotonic_ns()
        self._leave: asyncio.Future[int] | None = None
        self._tasks: set[asyncio.Task] = set()
        self._intake = Intake(
            settings.fleet_id, settings.strategies, self._handle, self._on_wedged, self._flush_soon, log
        )
        own_rate = {s.tag: s.orders_per_second for s in settings.strategies if s.orders_per_second is not None}
        rates = OrderRates(settings.orders_per_second, lambda tag: own_rate.get(tag, settings.orders_per_second_each))
        self._accounts: dict[int, Account] = {}
        self._listeners: dict[int, Listener] = {}
        self._books: dict[str, FeedBooks] = {}
        self._reread_at: dict[str, float] = {}
        for venue in settings.venues:
            self._add_account(venue, rates)

    async def run(self) -> int:
        """Run until told to stop or left alone; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._leave = loop.create_future()
        report_errors(self._log, self._channel)
        loop.add_reader(self._wake.fileno(), self._on_wake)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # ctrl-C reaches the whole group; the supervisor decides
        loop.add_signal_handler(signal.SIGTERM, lambda: self._spawn(self._stop(DEATH_DEADLINE_S)))
        self._beat()
        for index in self._listeners:
            self._spawn(self._keep(index))
        self._spawn(self._say_ready())
        self._spawn(self._obey())
        try:
            return await self._leave
        finally:
            for task in self._tasks:
                task.cancel()
            for account in self._accounts.values():
                account.stop()
            await asyncio.gather(*(account.venue.close() for account in self._accounts.values()))
            self._intake.flush()
            self._intake.close()
            for books in self._books.values():
                books.close()

    def _add_account(self, venue: VenueSettings, rates: OrderRates) -> None:
        log = self._log.getChild(venue.name)
        figures = AccountFigures(self._counters, venue.name)
        stale_after_ms = self._settings.stale_after_ms
        checks = {}
        if stale_after_ms is not None:
            books = self._books[venue.name] = FeedBooks(int(stale_after_ms * 1e6), figures.stale)
            checks = {"stale": books.fault}
        account = Account(
            venue.index,
            BinanceVenue(venue, log, self._budgets.of(venue.name)),
            venue.recv_window_ms * 1_000_000,
            int(self._settings.max_order_age_s * 1e9),
            rates,
            self._intake.reply,
            figures,
            log,
            on_filter=lambda: self._reread_rules(venue.name),
            **checks,
        )
        cancel = self._settings.on_supervisor_death == "cancel"
        self._accounts[venue.index] = account
        self._listeners[venue.index] = Listener(
            account, self._settings.fleet_id, cancel, self._intake.broadcast, log, time.monotonic_ns
        )

    async def _keep(self, index: int) -> None:
        """Keep one venue's task tree alive, whatever happens to it."""
        listener = self._listeners[index]
        while True:
            try:
                await listener.run()
            except BootError as error:
                self._fail(error)
                return
            except Exception:  # noqa: BLE001 - an account that broke must not take the others with it
                self._log.exception("venue %s: its tasks broke and are started again", self._accounts[index].venue.name)
            await asyncio.sleep(RETRY_S)

    async def _say_ready(self) -> None:
        waits = [asyncio.create_task(listener.ready.wait()) for listener in self._listeners.values()]
        if waits:
            await asyncio.wait(waits, timeout=READY_PATIENCE_S)
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        left = sum(listener.leftovers for listener in self._listeners.values())
        self._channel.send(
            {
                "type": "ready",
                "counters": self._counters_name,
                "wake": str(self._wake.path),
                "leftovers": left,
                "budgets": self._budgets.names,
            }
        )

    async def _obey(self) -> None:
        while (message := await self._channel.recv()) is not None:
            kind = message.get("type")
            if kind == "worker":
                self._attach(message)
            elif kind == "worker_gone":
                self._worker_gone(message["index"], message["epoch"])
            elif kind == "feed":
                self._follow_feed(message)
            elif kind == "refuse_new":
                for account in self._accounts.values():
                    account.refuse(message["reason"])
            elif kind == "accept_new":
                for index, listener in self._listeners.items():
                    if listener.ready.is_set():
                        self._accounts[index].refusing = ""
            elif kind == "stop":
                self._spawn(self._stop(float(message["deadline_s"])))
            else:
                self._log.warning("control channel: a message of unknown type %s", kind)
        self._spawn(self._orphaned())

    def _attach(self, message: dict) -> None:
        index, epoch = message["index"], message["epoch"]
        self._intake.assign(message.get("tags", []), index)
        try:
            new = self._intake.attach(index, epoch, message["inbound"], message["outbound"], message["wake"])
        except ShmError as error:
            self._log.error("the queues of worker %d cannot be used: %s", index, error)
            return
        if new:
            for listener in self._listeners.values():
                listener.announce(lambda reply: self._intake.send(index, reply))
            for venue in self._settings.replays:
                self._open_replay(venue, index)
        self._flush_soon()

    def _open_replay(self, venue: int, worker: int) -> None:
        """Open the account of a replay, which has nothing: strategies run, and their orders are refused."""
        for asset in self._settings.assets:
            self._intake.send(
                worker, Reply(ReplyKind.BALANCE, venue, amount=Decimal(0), cumulative=Decimal(0), fee_asset=asset)
            )
        self._intake.send(worker, Reply(ReplyKind.OPENED, venue))

    def _follow_feed(self, message: dict) -> None:
        books = self._books.get(message["venue"])
        if books is None:
            return
        try:
            books.attach(message["epoch"], message["books"], asyncio.get_running_loop())
        except ShmError as error:  # that feed is gone already: the next one is told soon
            self._log.error("the feed's books cannot be used: %s", error)

    def _reread_rules(self, venue: str) -> None:
        now = time.monotonic()
        if now >= self._reread_at.get(venue, 0.0):
            self._reread_at[venue] = now + REREAD_EVERY_S
            self._channel.send({"type": "reread_rules", "venue": venue})

    def _worker_gone(self, index: int, epoch: int) -> None:
        self._intake.detach(index, epoch)
        tags = self._intake.tags_of(index)
        cancel = self._settings.on_worker_death == "cancel"
        for account in self._accounts.values():
            count = account.worker_gone(tags, epoch, cancel)
            self._log.warning("worker %d (epoch %d) is gone with %d open orders", index, epoch, count)

    async def _stop(self, deadline_s: float) -> None:
        left = await self._close_out("the fleet is stopping", True, deadline_s)
        self._channel.send({"type": "stopped", "open_orders": left})
        self._end(0)

    async def _orphaned(self) -> None:
        """Leave when the supervisor is gone: nothing new, cancel by policy, take the segments along."""
        self._log.error("the supervisor is gone: no new orders, and the fleet is closed down")
        cancel = self._settings.on_supervisor_death == "cancel"
        left = await self._close_out("the supervisor is gone", cancel, DEATH_DEADLINE_S)
        self._log.error("%d orders of the fleet stay open", left)
        deadline = time.monotonic() + OTHERS_GO_S
        while time.monotonic() < deadline and sum(i.alive for i in self._others()):
            await asyncio.sleep(0.05)
        for info in list_segments(self._settings.run):
            unlink(info.name)
        self._end(0)

    def _others(self) -> list:
        return [info for info in list_segments(self._settings.run) if info.creator_pid != os.getpid()]

    async def _close_out(self, why: str, cancel: bool, deadline_s: float) -> int:
        deadline_ns = time.monotonic_ns() + int(deadline_s * 1e9)
        counts = await asyncio.gather(
            *(
                close_out(account, self._settings.fleet_id, why, cancel, deadline_ns, self._log, time.monotonic_ns)
                for account in self._accounts.values()
            )
        )
        return sum(counts)

    def _handle(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        account = self._accounts.get(intent.venue)
        if account is not None:
            try:
                account.handle(intent, tag, worker_epoch)
            except Exception:  # noqa: BLE001 - the intent is acknowledged soon: its sender must be told something true
                self._log.exception("order %s: handling an intent broke", intent.client_order_id)
                account.recover(intent, tag)
            return
        kind = ReplyKind.CANCEL_FAILED if intent.kind is IntentKind.CANCEL else ReplyKind.REJECTED
        replay = self._settings.replays.get(intent.venue)
        text = f"no venue has the number {intent.venue}" if replay is None else _no_orders(replay)
        self._intake.reply(tag, Reply(kind, intent.venue, intent.client_order_id, text=text))

    def _on_wake(self) -> None:
        self._wake.drain()
        self._intake.poll()
        self._flush_soon()

    def _beat(self) -> None:
        self._counters.beat(time.monotonic_ns())
        if self._was_suspended():
            for account in self._accounts.values():  # by the monotonic clock they look young
                account.drop_waiting("the machine was suspended", STALE_BOOK)
        for books in self._books.values():
            books.look()
        self._intake.poll()  # a wake-up that got lost costs 10 ms, not an order
        self._intake.flush()
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _was_suspended(self) -> bool:
        """Return whether the machine slept since the last call: only CLOCK_BOOTTIME went on."""
        before_ns, self._asleep_ns = self._asleep_ns, boottime_ns() - time.monotonic_ns()
        return self._asleep_ns - before_ns > SUSPENDED_NS

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._intake.flush()

    def _on_wedged(self, index: int, epoch: int) -> None:
        self._channel.send({"type": "wedged", "index": index, "epoch": epoch})

    def _fail(self, error: BootError) -> None:
        self._log.warning("cannot start: %s", error)  # the supervisor hears it as fatal, and once
        self._channel.send({"type": "fatal", "message": str(error)})
        self._end(3)

    def _end(self, code: int) -> None:
        if not self._leave.done():
            self._leave.set_result(code)

    def _spawn(self, coroutine) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("the gate broke", exc_info=task.exception())
            self._end(1)


def _no_orders(venue: str) -> str:
    return f"venue {venue} is a replay"
