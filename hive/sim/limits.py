"""The venue's limits: request weight per IP, orders per account, in fixed windows aligned to the clock.

A window begins at a multiple of its length (a day at 00:00 UTC) and its count starts again from zero. Weight over
the limit is answered 429 until the window ends; who keeps asking regardless is banned (418) for 2 minutes, twice
as long each further time, up to 3 days. An order that is placed costs one order, and gets it back when it is
first filled. An accepted order costs no weight. A venue may secretly allow less than it says: its answers then come
earlier and name the limits that it states, and its counts stay true.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field

from hive.sim import errors
from hive.sim.errors import VenueError

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
FIVE_MINUTES_MS = 300_000
DAY_MS = 86_400_000
FIRST_BAN_MS = 120_000
LONGEST_BAN_MS = 3 * DAY_MS


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much is allowed.

    weight: per IP and minute; raw_requests: per IP and 5 minutes; orders_10s, orders_day: per account;
    ban_after: how many 429 answers in one window make a ban; messages: per market connection and second;
    connections: new ones per IP and 5 minutes.
    """

    weight: int = 6000
    raw_requests: int = 61_000
    orders_10s: int = 100
    orders_day: int = 200_000
    ban_after: int = 20
    messages: int = 5
    connections: int = 300

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, was {getattr(self, name)}")


class Window:
    """A count that starts from zero at every multiple of its length."""

    __slots__ = ("_count", "_start_ms", "length_ms", "limit")

    def __init__(self, limit: int, length_ms: int) -> None:
        self.limit = limit
        self.length_ms = length_ms
        self._start_ms = 0
        self._count = 0

    def count(self, now_ms: int) -> int:
        """Return what the current window counts."""
        start_ms = now_ms - now_ms % self.length_ms
        if start_ms != self._start_ms:
            self._start_ms = start_ms
            self._count = 0
        return self._count

    def add(self, amount: int, now_ms: int) -> int:
        """Add to the current window, never below zero, and return its count."""
        self._count = max(0, self.count(now_ms) + amount)
        return self._count

    def end_ms(self, now_ms: int) -> int:
        """Return when the current window ends."""
        return now_ms - now_ms % self.length_ms + self.length_ms


@dataclass(slots=True)
class _Peer:
    weight: Window
    raw: Window
    refused: Window
    connections: Window
    banned_until_ms: int = 0
    bans: int = 0


@dataclass(slots=True)
class _OrderCounts:
    ten_seconds: Window
    day: Window


@dataclass(slots=True)
class Limits:
    """What every IP and account has used."""

    settings: LimitSettings
    _peers: dict[str, _Peer] = field(default_factory=dict)
    _orders: dict[str, _OrderCounts] = field(default_factory=dict)
    _secret_orders_10s: float = math.inf
    _secret_weight: float = math.inf

    def allow_secretly(self, orders_10s: int = 0, weight: int = 0) -> None:
        """Allow no more than this from now on, without saying so; 0: as stated."""
        self._secret_orders_10s = orders_10s or math.inf
        self._secret_weight = weight or math.inf

    def charge(self, peer: str, weight: int, now_ms: int) -> int:
        """Charge a request to an IP and return the weight used in this minute.

        Raises VenueError 429 when the window is full, 418 while the IP is banned.
        """
        state = self._peer(peer)
        if now_ms < state.banned_until_ms:
            raise self._banned(state)
        used, raw = state.weight.add(weight, now_ms), state.raw.add(1, now_ms)
        if used > min(self.settings.weight, self._secret_weight):
            text = f"{self.settings.weight} request weight per 1 MINUTE"
            end_ms = state.weight.end_ms(now_ms)
        elif raw > self.settings.raw_requests:
            text = f"{self.settings.raw_requests} raw requests per 5 MINUTE"
            end_ms = state.raw.end_ms(now_ms)
        else:
            return used
        if state.refused.add(1, now_ms) > self.settings.ban_after:
            state.banned_until_ms = now_ms + min(LONGEST_BAN_MS, FIRST_BAN_MS << state.bans)
            state.bans += 1
            raise self._banned(state)
        raise VenueError(
            errors.TOO_MANY_WEIGHT,
            f"Too much request weight used; current limit is {text}. "
            "Please use WebSocket Streams for live updates to avoid polling the API.",
            errors.TOO_MANY_REQUESTS, end_ms,
        )

    def refund(self, peer: str, weight: int, now_ms: int) -> int:
        """Give weight back to an IP and return the weight used."""
        return self._peer(peer).weight.add(-weight, now_ms)

    def used_weight(self, peer: str, now_ms: int) -> int:
        """Return the weight that an IP has used in this minute."""
        return self._peer(peer).weight.count(now_ms)

    def connect(self, peer: str, now_ms: int) -> bool:
        """Count a new connection of an IP; tell whether it is allowed."""
        state = self._peer(peer)
        return now_ms >= state.banned_until_ms and state.connections.add(1, now_ms) <= self.settings.connections

    def check_order(self, account: str, now_ms: int) -> None:
        """Raise VenueError 429 with code -1015 when an account may place no order now."""
        counts = self._counts(account)
        for window, text, secret in (
            (counts.ten_seconds, "10 SECOND", self._secret_orders_10s),
            (counts.day, "1 DAY", math.inf),
        ):
            if window.count(now_ms) >= min(window.limit, secret):
                raise VenueError(
                    errors.TOO_MANY_ORDERS, f"Too many new orders; current limit is {window.limit} orders per {text}.",
                    errors.TOO_MANY_REQUESTS, window.end_ms(now_ms),
                )

    def add_order(self, account: str, now_ms: int) -> tuple[int, int]:
        """Count an order that an account is about to place; return its counts of these 10 s and this day."""
        counts = self._counts(account)
        return counts.ten_seconds.add(1, now_ms), counts.day.add(1, now_ms)

    def drop_order(self, account: str, now_ms: int) -> None:
        """Take an order off an account's counts: it was refused, or it was filled for the first time."""
        counts = self._counts(account)
        counts.ten_seconds.add(-1, now_ms)
        counts.day.add(-1, now_ms)

    def order_counts(self, account: str, now_ms: int) -> tuple[int, int]:
        """Return an account's order counts of these 10 s and this day."""
        counts = self._counts(account)
        return counts.ten_seconds.count(now_ms), counts.day.count(now_ms)

    def describe(self) -> list[dict[str, object]]:
        """Return the limits as exchangeInfo lists them."""
        settings = self.settings
        return [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, settings.weight),
            _limit("ORDERS", "SECOND", 10, settings.orders_10s),
            _limit("ORDERS", "DAY", 1, settings.orders_day),
            _limit("RAW_REQUESTS", "MINUTE", 5, settings.raw_requests),
        ]

    def weight_status(self, peer: str, now_ms: int) -> dict[str, object]:
        """Return an IP's weight as a WebSocket API response shows it."""
        return {**_limit("REQUEST_WEIGHT", "MINUTE", 1, self.settings.weight),
                "count": self.used_weight(peer, now_ms)}

    def order_status(self, counts: tuple[int, int]) -> list[dict[str, object]]:
        """Return order counts of 10 s and a day as a WebSocket API response shows them."""
        return [
            {**_limit("ORDERS", "SECOND", 10, self.settings.orders_10s), "count": counts[0]},
            {**_limit("ORDERS", "DAY", 1, self.settings.orders_day), "count": counts[1]},
        ]

    def forget_bans(self) -> None:
        """Lift all bans and start every window again."""
        self._peers.clear()

    def _peer(self, peer: str) -> _Peer:
        state = self._peers.get(peer)
        if state is None:
            settings = self.settings
            state = self._peers[peer] = _Peer(
                Window(settings.weight, MINUTE_MS), Window(settings.raw_requests, FIVE_MINUTES_MS),
                Window(settings.ban_after, MINUTE_MS), Window(settings.connections, FIVE_MINUTES_MS),
            )
        return state

    def _counts(self, account: str) -> _OrderCounts:
        counts = self._orders.get(account)
        if counts is None:
            settings = self.settings
            counts = self._orders[account] = _OrderCounts(
                Window(settings.orders_10s, TEN_SECONDS_MS), Window(settings.orders_day, DAY_MS)
            )
        return counts

    @staticmethod
    def _banned(state: _Peer) -> VenueError:
        return VenueError(
            errors.TOO_MANY_WEIGHT,
            f"Way too much request weight used; IP banned until {state.banned_until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans.",
            errors.BANNED, state.banned_until_ms,
        )


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
