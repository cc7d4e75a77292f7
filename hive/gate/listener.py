"""What the venue says by itself, and what is asked when it may have said too little.

Each time the user stream is subscribed, the account's balances and open orders are read and held against the ledger:
what was missed in between is asked for and told once. The open orders are compared while the stream is silent too; a
stream that missed something, or does not speak of an order that the venue has just acknowledged, is made anew.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

from hive.gate import replies
from hive.gate.account import Account
from hive.gate.display import PARTS, show
from hive.gate.errors import Refused, VenueError
from hive.gate.order import Order, State
from hive.gate.pace import BEAT_S, moment
from hive.gate.venue import Balance, OrderState, OrderStatus, Trade
from hive.shm.ids import parse_order_id
from hive.shm.messages import IntentKind, Reply, ReplyKind

RETRY_S = 1.0
TRANSFER_S = 1.0  # after the word of a transfer: what it moved is read
SILENCE_NS = 8_000_000_000  # with orders open: then the venue is asked
MUTE_NS = 3_000_000_000  # after an acknowledgement: then the stream is made anew
RESTART_NS = 15_000_000_000  # between two streams that were made anew for being mute
DOWN_NS = 5_000_000_000  # without a stream: then the account is not ready
REMEMBER_NS = 600_000_000_000  # how long an order that ended is remembered; far above an intent's maximum age


class Listener:
    """One account's ear; the `VenueEvents` of its venue.

    Args:
        account: whose venue is listened to
        fleet_id: tells our orders from others'
        cancel_unknown: whether open orders of this fleet that the journal does not know are cancelled at the start
        cancel_lost: whether those of workers that are dead are cancelled
        alive: by tag of each strategy, the lives (or epochs of workers) whose orders stay; those that the ledger has
            of others by now are lost, whoever they are handed over to until they can be judged
        broadcast: takes a reply for every worker
        now_ns: monotonic
    """

    def __init__(
        self,
        account: Account,
        fleet_id: str,
        cancel_unknown: bool,
        cancel_lost: bool,
        alive: Mapping[str, Collection[int]],
        broadcast: Callable[[Reply], None],
        log: logging.Logger,
        now_ns: Callable[[], int],
    ) -> None:
        self._account = account
        self._venue = account.venue
        self._ledger = account.ledger
        self._fleet_id = fleet_id
        self._cancel_unknown = cancel_unknown
        self._cancel_lost = cancel_lost
        self._lost = [one for one in account.ledger.open_orders() if self._is_lost(one, alive)]  # until they are judged
        self._broadcast = broadcast
        self._log = log
        self._now_ns = now_ns
        self._balances: dict[str, Balance] = {}
        self._told_ns: dict[str, int] = {}  # by asset: when its balance was told last
        self._closed = "its account was not read yet"
        self._stream_up = False
        self._down_since_ns = now_ns()
        self._heard_ns = now_ns()
        self._restarted_ns = -RESTART_NS
        self._reading: asyncio.Task | None = None
        self._transfer: asyncio.TimerHandle | None = None
        self.ready = asyncio.Event()
        self.leftovers = 0

    async def run(self) -> None:
        """Open the venue and listen until cancelled; BootError when the keys or URLs cannot work."""
        while True:
            try:
                await self._venue.open(self)
                break
            except VenueError as error:
                self._log.warning("opening the account failed: %s", error)
                await asyncio.sleep(RETRY_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._venue.run())
            group.create_task(self._check())

    def announce(self, send: Callable[[Reply], None]) -> None:
        """Tell a worker that has just come what it must know: whether the account is ready, and its balances."""
        for balance in self._balances.values():
            send(self._balance_reply(balance))
        send(self._opened_reply())

    def on_order(self, state: OrderState, trade: Trade | None) -> None:
        """Take an order event; see `VenueEvents`."""
        self._heard_ns = self._now_ns()
        order = self._ledger.get(state.client_order_id)
        if order is None:
            changed = self._ledger.at_venue(state.symbol, state.exchange_order_id)
            if changed is not None:
                self._account.renamed(changed, state)
                return
            owner = parse_order_id(state.client_order_id)
            lives = state.status is OrderStatus.LIVE or trade is not None
            if owner is None or owner[0] != self._fleet_id or not lives:
                return  # another's, or the end of one that was forgotten
            order = self._adopt(state, owner[1])
        order.stream_ns = self._heard_ns
        self._account.unheard.pop(order.client_order_id, None)
        trades = () if trade is None else (trade,)
        try:
            self._account.apply(order, self._ledger.observe(order, state, trades, self._heard_ns))
        except Exception:  # noqa: BLE001 - what the venue told must not be lost
            text = "order %s: an error in the gate, which is not the venue's: the venue is asked how it stands"
            self._log.critical(text, order.client_order_id, exc_info=True)
            order.retell = True
            self._account.requests.doubt(order)

    def on_transfer(self) -> None:
        """Read the balances soon, once for all that comes meanwhile; see `VenueEvents`."""
        if self._transfer is None:
            self._transfer = asyncio.get_running_loop().call_later(TRANSFER_S, self._look_again)

    def on_balances(self, balances: list[Balance]) -> None:
        """Take a balance event; see `VenueEvents`."""
        self._heard_ns = self._now_ns()
        for balance in balances:
            self._told_ns[balance.asset] = self._heard_ns
            if self._balances.get(balance.asset) != balance and _nameable(balance.asset):
                self._balances[balance.asset] = balance
                self._account.balances[balance.asset] = balance.free + balance.locked
                self._broadcast(self._balance_reply(balance))

    def on_stream(self, up: bool) -> None:
        """Take the user stream's coming and going; see `VenueEvents`."""
        self._stream_up = up
        self._account.unheard.clear()
        if not up:
            self._down_since_ns = self._now_ns()
            self._log.warning("the user stream is down")
            return
        self._heard_ns = self._now_ns()
        self._read_again()

    def on_throttled(self, wait_s: float, text: str) -> None:
        """Take the venue's demand for a pause; see `VenueEvents`."""
        self._account.figures.count("http_429")
        self._log.error("throttled, nothing is sent for %.1f s: %s", wait_s, text)

    def _look_again(self) -> None:
        self._transfer = None
        if self._reading is not None and not self._reading.done():
            self.on_transfer()  # that one may have asked before
        elif self._stream_up:  # else the next stream begins with it
            self._read_again()

    def _read_again(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.get_running_loop().create_task(self._read())
        self._reading.add_done_callback(self._read_done)

    def _read_done(self, task: asyncio.Task) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._log.error("reading the account broke", exc_info=task.exception())
            asyncio.get_running_loop().call_later(RETRY_S, self._read_again)

    async def _read(self) -> None:
        while True:
            try:
                await self._read_once()
                return
            except VenueError as error:
                self._log.warning("reading the account failed: %s", error)
                if isinstance(error, Refused) and not self.ready.is_set():
                    self._set_closed(str(error))
                await asyncio.sleep(RETRY_S)

    async def _read_once(self) -> None:
        asked_ns = self._now_ns()
        listed = {state.client_order_id: state for state in await self._venue.open_orders()}
        self._account.inquiry.compare(listed, asked_ns)
        if self.ready.is_set():
            self._enter_strangers(listed)
        else:
            self._take_stock(listed)
        balances_ns = self._now_ns()
        balances = await self._venue.balances()
        gone = self._balances.keys() - {balance.asset for balance in balances}
        read = [*balances, *(Balance(asset, Decimal(0), Decimal(0)) for asset in gone)]
        self.on_balances([one for one in read if self._told_ns.get(one.asset, 0) <= balances_ns])  # else it is older
        self._heard_ns = asked_ns
        if not self.ready.is_set():
            self._lost.clear()
            self.ready.set()
            self._account.accept()
        if self._stream_up:
            self._set_closed("")

    def _take_stock(self, listed: dict[str, OrderState]) -> None:
        """Enter open orders that the journal does not know; end those that nobody looks after, or wants any more."""
        lost = [order for order in self._lost if not order.final]
        unwanted = [order for order in self._ledger.open_orders() if order.urgent]
        found, foreign = self._enter_strangers(listed)
        for order in [*unwanted, *(lost if self._cancel_lost else ())]:
            self._account.cancel(order, urgent=True)
        self.leftovers = found + sum(order.client_order_id in listed for order in lost)
        if foreign:
            self._log.warning("%d open orders of this account are not this fleet's: they are left alone", foreign)
        if found:
            self._log.error("%d open orders of this fleet were not in the journal", found)
        if lost:
            done = "being cancelled" if self._cancel_lost else "kept"
            self._log.warning("%d orders of workers that are gone were open at the start: %s", len(lost), done)
        if unwanted:
            self._log.warning("%d orders that an earlier gate was to cancel are being cancelled", len(unwanted))

    def _enter_strangers(self, listed: dict[str, OrderState]) -> tuple[int, int]:
        """Enter open orders of this fleet that nobody knows; returns how many, and how many are not this fleet's."""
        found = foreign = 0
        for state in listed.values():
            owner = parse_order_id(state.client_order_id)
            if owner is None or owner[0] != self._fleet_id:
                foreign += 1
            elif self._ledger.get(state.client_order_id) is None:
                found += 1
                order = self._adopt(state, owner[1])
                self._account.apply(order, self._ledger.observe(order, state, (), self._now_ns()))
        self._account.figures.set("foreign_orders", foreign)
        return found, foreign

    def _adopt(self, state: OrderState, tag: str) -> Order:
        """Enter an order of ours that nobody knows; by policy it is cancelled."""
        done = "being cancelled" if self._cancel_unknown else "adopted"
        self._log.warning("order %s is ours and was not known: %s", state.client_order_id, done)
        pair = self._venue.pair(state.symbol) or state.symbol
        order = self._ledger.adopt(state, pair, tag, self._now_ns())
        if self._cancel_unknown:
            self._ledger.want_cancel(order, urgent=True)
        return order

    def _is_lost(self, order: Order, alive: Mapping[str, Collection[int]]) -> bool:
        """Return whether the worker that holds an order is gone; one that was adopted by policy has none, and stays."""
        if order.origin is IntentKind.QUERY and not self._cancel_unknown:
            return False
        return order.worker_epoch not in alive.get(order.tag, ())

    async def _check(self) -> None:
        for part in itertools.cycle(range(PARTS)):
            await moment(BEAT_S)
            self._account.tick()
            now_ns = self._now_ns()
            show(self._account, now_ns, part)
            self._ledger.forget_ended(now_ns - REMEMBER_NS)
            if not self._stream_up:
                if self.ready.is_set() and now_ns - self._down_since_ns > DOWN_NS:
                    self._set_closed("its user stream is down")
                if now_ns - self._heard_ns > SILENCE_NS:
                    self._ask_in_silence(now_ns)
                continue
            mute_since_ns = min(self._account.unheard.values(), default=now_ns)
            if now_ns - mute_since_ns > MUTE_NS:
                self._restart_stream(now_ns, "it does not speak of an acknowledged order")
                self._ask_for_unheard(now_ns)
            if now_ns - self._heard_ns > SILENCE_NS:
                self._ask_in_silence(now_ns)

    def _ask_for_unheard(self, now_ns: int) -> None:
        """Ask for what the stream should have told: it was made anew a moment ago, and that did not help."""
        for name, since_ns in list(self._account.unheard.items()):
            order = self._ledger.get(name)
            if now_ns - since_ns > MUTE_NS:
                del self._account.unheard[name]
                if order is not None and not order.final:
                    order.suspect = True
                    self._account.inquiry.ask(order, at_once=True)

    def _ask_in_silence(self, now_ns: int) -> None:
        self._heard_ns = now_ns
        if self._ledger.count(State.ACKED) and (self._reading is None or self._reading.done()):
            self._reading = asyncio.get_running_loop().create_task(self._compare())
            self._reading.add_done_callback(self._read_done)

    async def _compare(self) -> None:
        asked_ns = self._now_ns()
        try:
            listed = {state.client_order_id: state for state in await self._venue.open_orders()}
        except VenueError as error:
            self._log.warning("the open orders could not be read: %s", error)
            return
        differing = self._account.inquiry.compare(listed, asked_ns)
        found, _ = self._enter_strangers(listed)
        if differing or found:
            self._restart_stream(self._now_ns(), "it missed something")

    def _restart_stream(self, now_ns: int, why: str) -> None:
        if now_ns - self._restarted_ns > RESTART_NS and self._stream_up:
            self._log.error("the user stream is made anew: %s", why)
            self._restarted_ns = now_ns
            self._account.unheard.clear()
            self._venue.restart_stream()

    def _set_closed(self, why: str) -> None:
        if why != self._closed:
            self._closed = why
            self._broadcast(self._opened_reply())

    def _opened_reply(self) -> Reply:
        return Reply(ReplyKind.OPENED, self._account.index, text=self._closed)

    def _balance_reply(self, balance: Balance) -> Reply:
        return replies.balance(self._account.index, balance.asset, balance.free, balance.locked)


def _nameable(asset: str) -> bool:
    return asset.isascii() and len(asset) <= 12  # what a reply can carry; others no strategy can name either
