"""The running gate: accounts, links, wake-ups and the control channel around one event loop.

wake FIFO, heartbeat        -> intake.poll -> account.handle ... -> intake.reply -> flush (once per loop turn)
control channel            -> worker, worker_gone, feed, adopt, retire, halt, resume, flat, stop; end of file: alone
"""

import asyncio
import logging
import os
import signal
import time

from hive.gate import replies
from hive.gate.account import Account
from hive.gate.books import FeedBooks
from hive.gate.budgets import VenueBudgets
from hive.gate.building import Builder
from hive.gate.closing import close_out
from hive.gate.errors import BootError
from hive.gate.exact import ZERO
from hive.gate.halting import Halting
from hive.gate.intake import Intake
from hive.gate.listener import Listener
from hive.gate.log import report_errors
from hive.gate.owners import Owners
from hive.gate.pace import BEAT_S, next_moment
from hive.gate.settings import GateSettings, Halt, VenueSettings
from hive.shm.atomics import boottime_ns
from hive.shm.channel import Channel
from hive.shm.counters import Counters
from hive.shm.errors import ShmError
from hive.shm.heap import give_back
from hive.shm.messages import Intent, Reply, ReplyKind
from hive.shm.refusals import Refusal
from hive.shm.segment import list_segments, unlink
from hive.shm.wake import WakeReceiver

FULL_RETRY_S = 0.01  # for replies that a worker's queue did not take
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
        self._flushing = self._retrying = False
        self._asleep_ns = boottime_ns() - time.monotonic_ns()
        self._leave: asyncio.Future[int] | None = None
        self._tasks: set[asyncio.Task] = set()
        self._intake = Intake(
            settings.fleet_id,
            settings.strategies,
            self._handle,
            self._on_wedged,
            self._flush_soon,
            self._on_taken,
            log,
            lambda venue, tag: self._owners.count_refused(venue, tag),
        )
        self._accounts: dict[int, Account] = {}
        self._listeners: dict[int, Listener] = {}
        self._books: dict[str, FeedBooks | None] = {}
        self._reread_at: dict[str, float] = {}
        builder = Builder(settings, counters, budgets, log)
        for venue in settings.venues:
            self._add_account(builder, venue)
        self._guards = builder.guards
        self._owners = Owners(settings.strategies, self._intake, self._accounts, self._guards, log)
        self._guards.begin(time.time_ns())
        self._halting = Halting(self._accounts, self._owners, self._guards, channel, log)
        for halt in settings.halts:
            self._halting.halt(halt)

    async def run(self) -> int:
        """Run until told to stop or left alone; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._leave = loop.create_future()
        report_errors(self._log, self._channel)
        loop.add_reader(self._wake.fileno(), self._on_wake)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # ctrl-C reaches the whole group; the supervisor decides
        loop.add_signal_handler(signal.SIGTERM, lambda: self._spawn(self._stop(DEATH_DEADLINE_S)))
        self._beat()
        for index, account in self._accounts.items():
            self._spawn(account.journal.run())
            self._spawn(self._keep(index))
        self._spawn(self._halting.watch_losses())
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
            self._write_journals()
            self._intake.flush()
            self._intake.close()
            for account in self._accounts.values():
                account.journal.close()
            for books in self._books.values():
                if books is not None:
                    books.close()

    def _add_account(self, builder: Builder, venue: VenueSettings) -> None:
        books = self._books[venue.name] = builder.books(venue)
        account = builder.account(
            venue,
            books,
            reply=self._intake.reply,
            on_filter=lambda: self._reread_rules(venue.name),
            on_bad_key=lambda text: self._halting.stop_venue(venue, text),
        )
        self._accounts[venue.index] = account
        self._listeners[venue.index] = builder.listener(account, self._intake.broadcast)

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
        give_back()  # what the venues' rules took while they were read
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
            elif kind == "halt":
                self._halting.halt(Halt(message.get("strategy"), message.get("venue"), message["reason"]))
            elif kind == "resume":
                self._halting.resume(Halt(message.get("strategy"), message.get("venue"), ""))
            elif kind in ("adopt", "retire", "exposure"):
                self._change(kind, message)
            elif kind == "flat":
                self._spawn(self._flatten(message["request"], float(message["deadline_s"])))
            elif kind == "stop":
                self._spawn(self._stop(float(message["deadline_s"])))
            else:
                self._log.warning("control channel: a message of unknown type %s", kind)
        self._spawn(self._orphaned())

    def _attach(self, message: dict) -> None:
        index, epoch = message["index"], message["epoch"]
        lives = message.get("lives")
        self._intake.assign(dict.fromkeys(self._intake.tags_of(index), epoch) if lives is None else lives, index)
        try:
            new = self._intake.attach(index, epoch, message["inbound"], message["outbound"], message["wake"])
        except ShmError as error:
            self._log.error("the queues of worker %d cannot be used: %s", index, error)
            return
        if new:
            for account in self._accounts.values():
                account.lives.tell_capital(self._intake.tags_of(index))
            for listener in self._listeners.values():
                listener.announce(lambda reply: self._intake.send(index, reply))
            for account in self._accounts.values():
                for tag in self._intake.tags_of(index):
                    account.lives.tell_again({tag}, self._intake.life(tag))
            for venue in self._settings.replays:
                self._open_replay(venue, index)
        self._flush_soon()

    def _change(self, kind: str, message: dict) -> None:
        """Take, change or end a strategy's life, or say what strategies have at stake; the answer names the change."""
        answer = {"type": kind, "change": message.get("change")}
        try:
            if kind == "adopt":
                self._owners.adopt(message["strategy"])
            elif kind == "retire":
                answer["orders"] = self._owners.retire(message["id"], bool(message["cancel"]))
            else:
                answer["strategies"] = {one: self._owners.exposure(one) for one in message["ids"]}
        except (BootError, ValueError) as error:
            answer["error"] = str(error)
            self._log.error("%s: %s", kind, error)
        self._write_journals()  # what is promised now is known to the next gate
        self._channel.send(answer)
        self._flush_soon()

    def _open_replay(self, venue: int, worker: int) -> None:
        """Open the account of a replay, which has nothing: strategies run, and their orders are refused."""
        for asset in self._settings.assets:
            self._intake.send(worker, replies.balance(venue, asset, ZERO, ZERO))
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
        if not self._intake.detach(index, epoch):
            return
        by_policy = self._settings.on_worker_death == "cancel"
        lives = {  # what rests for a life that has not begun is not the dead worker's
            tag: (self._intake.life(tag), by_policy and not self._intake.rests(tag))
            for tag in self._intake.tags_of(index)
        }
        for account in self._accounts.values():
            count = sum(
                account.worker_gone({tag for tag, one in lives.items() if one == (life, cancel)}, life or epoch, cancel)
                for life, cancel in set(lives.values())
            )
            self._log.warning("worker %d (epoch %d) is gone with %d open orders", index, epoch, count)
        self._flush_soon()

    async def _flatten(self, request: int, deadline_s: float) -> None:
        """Cancel the fleet's open orders, and say how many the venues still show."""
        left = await self._close_out("hive flat", True, deadline_s, refuse=False)
        text = "" if not left else f"{left} orders of the fleet are not known to be gone"
        text = "a venue has not told in time: orders may be open" if left is None else text
        self._channel.send({"type": "flat", "request": request, "open": left, "text": text})

    async def _stop(self, deadline_s: float) -> None:
        left = await self._close_out("the fleet is stopping", True, deadline_s)
        self._channel.send({"type": "stopped", "open_orders": left})
        self._end(0)

    async def _orphaned(self) -> None:
        """Leave when the supervisor is gone: nothing new, cancel by policy, take the segments along."""
        self._log.error("the supervisor is gone: no new orders, and the fleet is closed down")
        cancel = self._settings.on_supervisor_death == "cancel"
        left = await self._close_out("the supervisor is gone", cancel, DEATH_DEADLINE_S)
        self._log.error("%s orders of the fleet stay open", "an unknown number of" if left is None else left)
        deadline = time.monotonic() + OTHERS_GO_S
        while time.monotonic() < deadline and sum(i.alive for i in self._others()):
            await asyncio.sleep(0.05)
        for info in list_segments(self._settings.run):
            unlink(info.name)
        self._end(0)

    def _others(self) -> list:
        return [info for info in list_segments(self._settings.run) if info.creator_pid != os.getpid()]

    async def _close_out(self, why: str, cancel: bool, deadline_s: float, refuse: bool = True) -> int | None:
        if refuse:
            for account in self._accounts.values():
                account.refuse_all(why)
        deadline_ns = time.monotonic_ns() + int(deadline_s * 1e9)
        counts = await asyncio.gather(
            *(
                close_out(account, self._settings.fleet_id, cancel, deadline_ns, self._log, time.monotonic_ns)
                for account in self._accounts.values()
            )
        )
        known = sum(count or 0 for count in counts)
        return None if not known and None in counts else known

    def _handle(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        account = self._accounts.get(intent.venue)
        if account is not None:
            try:
                account.handle(intent, tag, worker_epoch)
            except Exception:  # noqa: BLE001 - the intent is acknowledged soon: its sender must be told something true
                self._log.exception("order %s: handling an intent broke", intent.client_order_id)
                account.recover(intent, tag)
            return
        replay = self._settings.replays.get(intent.venue)
        text = f"no venue has the number {intent.venue}" if replay is None else _no_orders(replay)
        self._intake.reply(tag, replies.refused(intent, Refusal.VENUE_CLOSED, text))

    def _on_taken(self, venue: int, client_order_id: str) -> None:
        account = self._accounts.get(venue)
        if account is not None:
            account.taken(client_order_id)

    def _on_wake(self) -> None:
        self._wake.drain()
        self._flushing = True  # below, without another turn of the loop
        try:
            self._intake.poll()
        finally:
            self._flush()

    def _beat(self) -> None:
        self._counters.beat(time.monotonic_ns())
        if self._was_suspended():
            for account in self._accounts.values():  # by the monotonic clock they look young
                account.drop_waiting("the machine was suspended", Refusal.STALE_BOOK)
        for books in self._books.values():
            if books is not None:
                books.look()
        self._intake.poll()  # a wake-up that got lost costs a beat, not an order
        self._write_journals()
        self._intake.beat()
        loop = asyncio.get_running_loop()
        loop.call_at(next_moment(loop.time(), BEAT_S), self._beat)

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
        self._write_journals()
        if not self._intake.flush() and not self._retrying:
            self._retrying = True
            asyncio.get_running_loop().call_later(FULL_RETRY_S, self._flush_again)

    def _flush_again(self) -> None:
        self._retrying = False
        self._flush_soon()

    def _write_journals(self) -> None:
        """Write what is known before anybody is told of it."""
        for account in self._accounts.values():
            account.journal.commit()

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
            error = task.exception()
            self._log.error("the gate broke: %s: %s", type(error).__name__, error, exc_info=error)
            self._end(1)


def _no_orders(venue: str) -> str:
    return f"venue {venue} is a replay"
