"""Puts what an account knows into its counters, a part four times a second.

What is the account's is shown once in a second, what is a strategy's once in two.
"""

from itertools import islice

from hive.gate.account import Account
from hive.gate.order import State
from hive.gate.quota import RequestClass

MS = 1_000_000
E8 = 100_000_000  # drifts are counted in this part of a unit
PARTS = 8  # of the strategies; twice those of the account


def show(account: Account, now_ns: int, part: int) -> None:
    """Set the gauges of an account and of its strategies that are in the turn of one of the PARTS."""
    _SHOWN[part % len(_SHOWN)](account)
    _show_strategies(account, now_ns, part)


def _show_venue(account: Account) -> None:
    for name, value in account.venue.figures().items():
        account.figures.set(name, value)


def _show_queues(account: Account) -> None:
    figures, sender = account.figures, account.sender
    figures.set("queue_depth", sender.length(RequestClass.NEW))
    for rank in RequestClass:
        figures.depth(rank, sender.length(rank))
    figures.set("breaker_open", sender.breaker.open)
    figures.set("closed_ms_total", sender.starvation.closed_ns // MS)


def _show_orders(account: Account) -> None:
    figures = account.figures
    figures.set("unknown_now", account.ledger.count(State.UNKNOWN))
    figures.set("open_orders", account.ledger.count(State.ACKED))
    for asset, drift in account.guards.drift.by_asset.items():
        if asset in figures.drifts:
            figures.drifts[asset].set(round(drift * E8))


def _show_journal(account: Account) -> None:
    figures, journal = account.figures, account.journal
    figures.set("journal_records", journal.records)
    figures.set("journal_backlog", journal.backlog)
    figures.set("journal_failing", bool(journal.failing))
    figures.set("halted", bool(account.admission.halts.all))


def _show_strategies(account: Account, now_ns: int, part: int) -> None:
    figures, sender = account.figures, account.sender
    for tag, one in islice(figures.strategies.items(), part, None, PARTS):
        spent, starvation = sender.spent(tag, now_ns), sender.starvation.figures(tag)
        one.strategy_queue.set(sender.depth(tag))
        one.starved_ms_total.set(starvation.starved_ns // MS)
        one.starvation_events_total.set(starvation.events)
        one.head_wait_ms.set(starvation.wait_ns // MS)
        one.service_deficit.set(round(starvation.deficit))
        one.order_rate_milli.set(round(spent.orders_per_second * 1000))
        one.weight_rate_milli.set(round(spent.weight_per_minute * 1000 / 60))
        one.halted_strategy.set(bool(account.admission.halts.reason(tag)))
        one.backoff_ms.set(sender.backoff.wait_ns(tag, now_ns) // MS)


_SHOWN = (_show_venue, _show_queues, _show_orders, _show_journal)  # in turn
