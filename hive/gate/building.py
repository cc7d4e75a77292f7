"""Makes the accounts of a gate from its settings, each going on where the journal of the one before ends."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping

from hive.gate.account import Account, AccountRules
from hive.gate.binance import BinanceVenue
from hive.gate.books import FeedBooks
from hive.gate.budgets import VenueBudgets
from hive.gate.errors import BootError, JournalError
from hive.gate.figures import AccountFigures
from hive.gate.guards import FleetGuards
from hive.gate.journal import Journal
from hive.gate.listener import Listener
from hive.gate.quota import Quotas
from hive.gate.settings import GateSettings, OwnerSettings, VenueSettings
from hive.shm.counters import Counters
from hive.shm.messages import Reply

RUN_NOTE = "run"  # the run whose gate wrote the journal last
HOLE_NOTE = "hole"  # the run whose journal is known to lack records: what it does not know may have been sent


class Builder:
    """Makes accounts and what belongs to them.

    Args:
        settings: the boot message
        counters: the gate's
        budgets: of the venues' request weight
    """

    def __init__(
        self, settings: GateSettings, counters: Counters, budgets: VenueBudgets, log: logging.Logger
    ) -> None:
        self._settings = settings
        self._budgets = budgets
        self._log = log
        ids = {strategy.tag: strategy.id for strategy in settings.strategies}
        assets = settings.capital_assets()
        self._figures = {venue.name: AccountFigures(counters, venue.name, ids, assets) for venue in settings.venues}
        self.guards = FleetGuards(settings, time.time_ns(), log)
        self._same_run: dict[int, bool] = {}  # by venue: whether the journal was written in this run
        self._quotas = Quotas(
            settings.orders_per_second,
            settings.orders_per_second_each,
            {strategy.tag: strategy.quota for strategy in settings.strategies},
        )

    def books(self, venue: VenueSettings) -> FeedBooks | None:
        """Return the feed's books of a venue; None when orders go whatever the feed does."""
        stale_after_ms = self._settings.stale_after_ms
        if stale_after_ms is None:
            return None
        return FeedBooks(int(stale_after_ms * 1e6), self._figures[venue.name].stale)

    def account(
        self,
        venue: VenueSettings,
        books: FeedBooks | None,
        *,
        reply: Callable[[str, Reply], None],
        on_filter: Callable[[], None],
        on_bad_key: Callable[[str], None],
    ) -> Account:
        """Return a venue's account with everything that its journal knows.

        Raises:
            BootError: the journal cannot be used.
        """
        settings = self._settings
        log = self._log.getChild(venue.name)
        journal = self._journal(venue, log)
        age_s = settings.max_order_age_s
        rules = AccountRules(
            venue.recv_window_ms * 1_000_000,
            None if age_s is None else int(age_s * 1e9),
            settings.queue_per_strategy,
        )
        account = Account(
            venue.index,
            BinanceVenue(venue, log, self._budgets.of(venue.name), adaptive=settings.adaptive),
            rules,
            self._quotas,
            journal,
            self.guards.of(venue, books, journal, log),
            reply,
            self._figures[venue.name],
            log,
            on_filter=on_filter,
            on_bad_key=on_bad_key,
            **({} if books is None else {"stale": books.fault}),
        )
        self._remember(account, log)
        account.venue.assume_sent(journal.recovered.sent_wall_ns)
        journal.recovered.orders.clear()  # they are the ledger's now
        return account

    def listener(self, account: Account, broadcast: Callable[[Reply], None]) -> Listener:
        """Return the listener of an account."""
        settings = self._settings
        same_run = self._same_run[account.index]
        alive = {one.tag: _living(one, settings.living) for one in settings.strategies if same_run}
        return Listener(
            account,
            settings.fleet_id,
            cancel_unknown=settings.on_unknown_orders == "cancel",
            cancel_lost=settings.on_worker_death == "cancel",
            alive=alive,
            broadcast=broadcast,
            log=self._log.getChild(account.venue.name),
            now_ns=time.monotonic_ns,
        )

    def _journal(self, venue: VenueSettings, log: logging.Logger) -> Journal:
        settings = self._settings
        folder = settings.journal_folder(venue)
        if venue.simulated and settings.epoch == 1:
            shutil.rmtree(folder, ignore_errors=True)  # that exchange is gone, with all its orders
        kept = settings.journal
        try:
            return Journal.open(
                folder,
                settings.fleet_id,
                venue.name,
                policy=kept.policy,
                interval_s=kept.interval_s,
                file_bytes=kept.file_bytes,
                keep_bytes=kept.keep_bytes,
            )
        except (JournalError, OSError) as error:
            raise BootError(f"venue {venue.name}: its journal cannot be used: {error}") from error

    def _remember(self, account: Account, log: logging.Logger) -> None:
        recovered = account.journal.recovered
        if recovered.torn:
            log.warning("the journal's last %d bytes were not whole and are cut off", recovered.torn)
        if recovered.damage:
            log.critical("the journal is damaged: %s", recovered.damage)
            account.journal.note(HOLE_NOTE, self._settings.run)
        same_run = recovered.notes.get(RUN_NOTE) == self._settings.run
        whole = not recovered.damage and recovered.notes.get(HOLE_NOTE) != self._settings.run
        self._same_run[account.index] = same_run
        known = {strategy.tag for strategy in self._settings.strategies}
        for order in recovered.orders:
            if order.final and order.tag not in known:
                order.done = True  # its strategy is not in the fleet any more
                account.journal.done(order.client_order_id)
        account.takeover.remember(recovered.orders, complete=same_run and whole, new_run=not same_run)
        account.guards.tick({}, time.monotonic_ns())  # sums begin in the journal before the first fill that counts
        account.journal.note(RUN_NOTE, self._settings.run)
        account.journal.commit()


def _living(strategy: OwnerSettings, living: Mapping[int, int]) -> tuple[int, ...]:
    """Return a strategy's lives whose orders stay: the present one, and the last one while it moves with its orders."""
    present = living.get(strategy.worker)
    if present is not None and strategy.life is not None:
        present = strategy.life
    return tuple(one for one in (present, strategy.kept) if one is not None)
