"""What the gate told about the venues' accounts: whether they are ready, and what is in them."""

from dataclasses import dataclass, field
from decimal import Decimal

from hive.shm.messages import Reply, ReplyKind

NOT_READ = "its account was not read yet"


@dataclass(frozen=True, slots=True)
class Balance:
    """One asset of a venue's account."""

    free: Decimal
    locked: Decimal


@dataclass(slots=True)
class Account:
    """One venue's account. The three dicts are by asset, and live: they are updated in place for ever."""

    closed: str = NOT_READ  # why it is not ready; "" when it is
    balances: dict[str, Balance] = field(default_factory=dict)
    totals: dict[str, Decimal] = field(default_factory=dict)
    free: dict[str, Decimal] = field(default_factory=dict)


class Accounts:
    """All venues' accounts, by venue index."""

    def __init__(self) -> None:
        self._accounts: dict[int, Account] = {}

    def __getitem__(self, venue: int) -> Account:
        account = self._accounts.get(venue)
        if account is None:
            account = self._accounts[venue] = Account()
        return account

    def take(self, reply: Reply) -> bool:
        """Note a BALANCE or OPENED reply; returns whether it was one."""
        if reply.kind is ReplyKind.BALANCE:
            account = self[reply.venue]
            balance = Balance(reply.amount or Decimal(0), reply.cumulative or Decimal(0))
            account.balances[reply.fee_asset] = balance
            account.totals[reply.fee_asset] = balance.free + balance.locked
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
