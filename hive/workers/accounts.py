"""What the gate told about the venues' accounts: whether they are ready, what is in them, and whose capital it is.

A strategy with capital has an account of its own inside each venue's, which the gate alone counts: what it was given,
moved by its own fills, less what its own orders reserve.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from hive.shm.decimals import whole
from hive.shm.messages import Reply, ReplyKind

NOT_READ = "its account was not read yet"


@dataclass(frozen=True, slots=True)
class Balance:
    """One asset of a venue's account."""

    free: Decimal
    locked: Decimal


@dataclass(slots=True)
class Account:
    """A venue's account, or what a strategy has of it. The three dicts are by asset, and updated in place for ever."""

    closed: str = NOT_READ  # why it is not ready; "" when it is
    balances: dict[str, Balance] = field(default_factory=dict)
    totals: dict[str, Decimal] = field(default_factory=dict)
    free: dict[str, Decimal] = field(default_factory=dict)


class Accounts:
    """All venues' accounts, by venue index."""

    def __init__(self) -> None:
        self._accounts: dict[int, Account] = {}
        self._capital: dict[tuple[str, int], Account] = {}

    def __getitem__(self, venue: int) -> Account:
        account = self._accounts.get(venue)
        if account is None:
            account = self._accounts[venue] = Account()
        return account

    def capital(self, tag: str, venue: int) -> Account:
        """Return what the strategy with this tag has at a venue."""
        return self._capital.setdefault((tag, venue), Account(closed=""))

    def take(self, reply: Reply) -> bool:
        """Note a BALANCE or OPENED reply; returns whether it was one."""
        if reply.kind is ReplyKind.BALANCE:
            tag = reply.client_order_id
            account = self.capital(tag, reply.venue) if tag else self[reply.venue]
            balance = Balance(whole(reply.amount, reply.price), whole(reply.cumulative, reply.fee))
            account.balances[reply.fee_asset] = balance
            account.totals[reply.fee_asset] = whole(balance.free, balance.locked)
            account.free[reply.fee_asset] = balance.free
            return True
        if reply.kind is ReplyKind.OPENED:
            self[reply.venue].closed = reply.text
            return True
        return False

    def close_all(self) -> None:
        """Hold every account for not ready until it is opened again; balances stay as they were."""
        for account in self._accounts.values():
            account.closed = NOT_READ
