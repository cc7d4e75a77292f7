"""Accounts: API keys, balances with what is locked in orders, and every order ever placed.

Two accounts belong to the exchange itself and have no key: HOUSE, whose orders are the background flow and
whose balances may go below zero, and FEES, which receives every commission. So for each asset the sum over all
accounts never changes.
"""
from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from hive.sim.decimals import parse_units
from hive.sim.orders import Fill, Order

HOUSE = "house"
FEES = "fees"


class Balance:
    """What an account has of one asset, in 1e-8 units."""

    __slots__ = ("free", "locked")

    def __init__(self, free: int = 0, locked: int = 0) -> None:
        self.free = free
        self.locked = locked


class Account:
    """One account; `orders` keeps every order by id in order of arrival, `open_orders` the live ones."""

    def __init__(self, name: str, api_key: str, api_secret: str, balances: Mapping[str, int], number: int) -> None:
        self.name = name
        self.api_key = api_key
        self.api_secret = api_secret.encode()
        self.number = number
        self.balances = {asset: Balance(units) for asset, units in balances.items()}
        self.orders: OrderedDict[int, Order] = OrderedDict()
        self.open_orders: dict[int, Order] = {}
        self.open_counts: dict[str, int] = {}
        self.open_by_client_id: dict[tuple[str, str], Order] = {}
        self.last_by_client_id: dict[tuple[str, str], Order] = {}
        self.fills: dict[str, dict[Fill, None]] = {}  # by symbol, oldest first; a dict so that one is dropped in O(1)
        self.updated_ms = 0
        self.forgotten_orders = 0

    @property
    def is_house(self) -> bool:
        """Tell whether this is the background flow's account, which needs no funds."""
        return self.name == HOUSE

    def balance(self, asset: str) -> Balance:
        """Return the balance of an asset, creating an empty one."""
        balance = self.balances.get(asset)
        if balance is None:
            balance = self.balances[asset] = Balance()
        return balance

    def remember(self, order: Order, keep: int) -> None:
        """Record a new order; of closed ones only about the latest `keep` stay."""
        self.orders[order.order_id] = order
        key = (order.symbol.name, order.client_id)
        self.open_orders[order.order_id] = order
        self.open_counts[key[0]] = self.open_counts.get(key[0], 0) + 1
        self.open_by_client_id[key] = order
        self.last_by_client_id[key] = order
        if len(self.orders) > keep + len(self.open_orders):
            self._forget_oldest()

    def close(self, order: Order) -> None:
        """Note that an order can no longer trade."""
        name = order.symbol.name
        del self.open_orders[order.order_id]
        del self.open_by_client_id[name, order.client_id]
        self.open_counts[name] -= 1

    def _forget_oldest(self) -> None:
        for order in self.orders.values():
            if not order.is_open:
                break
        else:
            return
        del self.orders[order.order_id]
        key = (order.symbol.name, order.client_id)
        if self.last_by_client_id.get(key) is order:
            del self.last_by_client_id[key]
        for fill in order.fills:
            del self.fills[order.symbol.name][fill]
        self.forgotten_orders += 1


class Accounts:
    """All accounts of the exchange, by API key, and its own two."""

    def __init__(self) -> None:
        self.house = Account(HOUSE, "", "", {}, 0)
        self.fees = Account(FEES, "", "", {}, 1)
        self.by_key: dict[str, Account] = {}

    def open(self, api_key: str, api_secret: str, balances: Mapping[str, str]) -> Account:
        """Open an account with starting balances given as decimal strings.

        Raises ValueError when the key is taken or empty, or a balance is not a plain decimal.
        """
        if not api_key or not api_secret:
            raise ValueError("api_key and api_secret must not be empty")
        if api_key in self.by_key:
            raise ValueError(f"api_key must be unique, {api_key[:6]}... is given twice")
        units = {asset: parse_units(str(amount)) for asset, amount in balances.items()}
        number = len(self.by_key) + 2
        account = Account(f"account-{number - 1}", api_key, api_secret, units, number)
        self.by_key[api_key] = account
        return account

    def users(self) -> Iterable[Account]:
        """Return the accounts that have a key."""
        return self.by_key.values()

    def everyone(self) -> list[Account]:
        """Return all accounts with the exchange's own two."""
        return [self.house, self.fees, *self.by_key.values()]


def new_key_pair() -> tuple[str, str]:
    """Return a fresh (api_key, api_secret) of the venue's length, 64 letters and digits each."""
    return secrets.token_hex(32), secrets.token_hex(32)
