"""Whose orders the gate takes while the fleet changes: strategies that come, move to another worker, change, and go.

    adopt    a strategy begins a life on a worker: from now on its orders are taken from there, and from nowhere else;
             that life is told of every order that an earlier one left. The same life again: only its limits are taken,
             and what the gate before had not handed over yet
    retire   a strategy's life is over: what waits is not sent, what rests is cancelled or kept, and what is heard of
             either later is written down and kept for its next life

Limits, capital, quota and share are the strategy's, whatever worker it is on. The positions and the capital of one that
has gone stay, and it has them again when it comes back.
"""

import logging
from collections.abc import Mapping
from typing import Any

from hive.gate.account import Account
from hive.gate.errors import BootError
from hive.gate.exact import ZERO, add, plain, unfilled
from hive.gate.guards import FleetGuards
from hive.gate.intake import Intake
from hive.gate.settings import OwnerSettings, read_owner
from hive.shm.messages import Side
from hive.shm.refusals import Refusal


class Owners:
    """All strategies that this gate has known.

    Args:
        strategies: of the boot message
        intake: of all workers
        accounts: by index
        guards: of all accounts
    """

    def __init__(
        self,
        strategies: tuple[OwnerSettings, ...],
        intake: Intake,
        accounts: Mapping[int, Account],
        guards: FleetGuards,
        log: logging.Logger,
    ) -> None:
        self.tags = {one.id: one.tag for one in strategies}
        self.ids = {one.tag: one.id for one in strategies}
        self._known = {one.tag: one for one in strategies}
        self._intake = intake
        self._accounts = accounts
        self._guards = guards
        self._log = log

    def adopt(self, entry: dict[str, Any]) -> None:
        """Take a strategy as one entry of the boot message describes it.

        Raises:
            BootError: its limits are none, or its tag is another strategy's.
        """
        owner = read_owner(entry)
        other = self.ids.get(owner.tag, owner.id)
        if other != owner.id:
            raise BootError(f"strategy {owner.id}: its tag {owner.tag} must be its own, is that of {other}")
        self._intake.poll()  # what its last life has sent is taken, or refused, as that one's
        self._take_limits(owner)
        life = 0 if owner.life is None else owner.life
        known = self._intake.life(owner.tag)
        if known is None or life > known:
            self._intake.assign({owner.tag: life}, owner.worker)
            for account in self._accounts.values():
                account.lives.tell_capital({owner.tag})
            self._log.info("strategy %s lives on worker %d from now on (life %d)", owner.id, owner.worker, life)
        elif life < known:
            return  # it is over: this was asked of a gate that has died
        for account in self._accounts.values():
            account.lives.hand_over(owner.tag, life)
        self._intake.handed_over(owner.tag)

    def retire(self, strategy: str, cancel: bool) -> int:
        """End a strategy's life; returns how many orders it had. With `cancel` its open ones are cancelled."""
        tag = self.tags.get(strategy)
        if tag is None:
            return 0
        self._intake.poll()
        self._intake.unassign(tag)
        count = sum(account.part(tag, cancel) for account in self._accounts.values())
        self._log.info("strategy %s lives no more; it had %d orders", strategy, count)
        return count

    def count_refused(self, venue: int, tag: str) -> None:
        """Count an intent for a strategy that is not on the worker which sent it."""
        account = self._accounts.get(venue)
        if account is not None:
            account.figures.refused(tag, Refusal.WRONG_WORKER)

    def exposure(self, strategy: str) -> dict[str, Any]:
        """Return what a strategy has at stake: its positions by asset, and what of its orders is open by pair."""
        tag = self.tags.get(strategy, "")
        orders: dict[str, dict[str, Any]] = {}
        for account in self._accounts.values():
            for order in account.ledger.open_orders():
                if order.tag == tag:
                    one = orders.setdefault(order.pair, {"orders": 0, "buys": ZERO, "sells": ZERO})
                    side = "buys" if order.side is Side.BUY else "sells"
                    one["orders"] += 1
                    one[side] = add(one[side], unfilled(order))
        open_orders = {
            pair: {"orders": one["orders"], "buys": plain(one["buys"]), "sells": plain(one["sells"])}
            for pair, one in orders.items()
        }
        positions = {asset: plain(amount) for asset, amount in self._guards.positions(tag).items() if amount}
        return {"open_orders": open_orders, "positions": positions}

    def _take_limits(self, owner: OwnerSettings) -> None:
        known = self._known.get(owner.tag)
        self._known[owner.tag] = owner
        self.tags[owner.id], self.ids[owner.tag] = owner.tag, owner.id
        for account in self._accounts.values():
            if not account.figures.add_strategy(owner.tag, owner.id):
                self._log.warning("strategy %s: there is no room for counters of its own", owner.id)
            if known is None or known.quota != owner.quota:
                account.sender.set_quota(owner.tag, owner.quota)
        same = known is not None and (known.risk, known.capital, known.capital_venue) == (
            owner.risk,
            owner.capital,
            owner.capital_venue,
        )
        if same:
            return
        counted = [
            (account.guards, order)
            for account in self._accounts.values()
            for order in account.ledger.open_orders()
            if order.tag == owner.tag and order.guarded
        ]
        for guards, order in counted:
            guards.ended(order)
        self._guards.set_owner(owner)
        for account in self._accounts.values():
            account.guards.set_owner(owner, account.ledger.last_fill)
        for guards, order in counted:
            guards.admitted(order)
