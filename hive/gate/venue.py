"""What the gate needs of a venue (an exchange account), and the values that cross that line.

A venue object speaks one exchange's protocol with its own connections, keys, clock and limits. It reports what
happened to orders in two ways: the answers to its calls, and `VenueEvents`, which it calls from its user stream. A
call either returns what the venue said or raises one of `hive.gate.errors`, each of which says what is known.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from hive.gate.errors import EndpointRefused
from hive.gate.limits import Operation
from hive.shm.messages import OrderType, Side, TimeInForce

# Binance's demo mode: github.com/binance/binance-spot-api-docs, demo-mode/general-info.md
DEMO_HOSTS = frozenset({"demo-api.binance.com", "demo-ws-api.binance.com", "demo-stream.binance.com"})
TESTNET = ".testnet.binance.vision"  # itself and what lies below it: faqs/testnet.md, web-socket-api.md
# General API Information of rest-api.md, web-socket-api.md and web-socket-streams.md there. data-api.binance.vision is
# missing on purpose: it knows no accounts, and the gate reads the account where it reads the rules.
PRODUCTION_HOSTS = frozenset(
    {
        "api.binance.com",
        "api-gcp.binance.com",
        "api1.binance.com",
        "api2.binance.com",
        "api3.binance.com",
        "api4.binance.com",
        "ws-api.binance.com",
        "stream.binance.com",
        "data-stream.binance.vision",
    }
)


class OrderStatus(IntEnum):
    """What a venue says of an order."""

    LIVE = 1
    FILLED = 2
    CANCELLED = 3
    EXPIRED = 4
    REJECTED = 5


class NewOrder(NamedTuple):
    """An order to place; price is None for a market order."""

    symbol: str
    client_order_id: str
    side: Side
    order_type: OrderType
    tif: TimeInForce
    price: Decimal | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class OrderState:
    """What the venue says of an order; `executed` is in base units, `wall_ns` the venue's time."""

    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    status: OrderStatus
    executed: Decimal
    price: Decimal
    amount: Decimal
    wall_ns: int


COUNTED = -1
"""The number of a fill that was counted long ago, under a number that nobody remembers."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill; `fee` is in units of `fee_asset`, `serial` its number among the account's fills, from 1 on."""

    trade_id: int
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    wall_ns: int
    serial: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """What the account has of an asset."""

    asset: str
    free: Decimal
    locked: Decimal


class VenueEvents(Protocol):
    """Who is told what a venue's user stream says."""

    def on_order(self, state: OrderState, trade: Trade | None) -> None:
        """An order changed; `trade` is the fill that changed it."""

    def on_balances(self, balances: list[Balance]) -> None:
        """Balances changed."""

    def on_transfer(self) -> None:
        """Balances were moved from outside: by a deposit, a withdrawal, a transfer, a lock."""

    def on_stream(self, up: bool) -> None:
        """The user stream is subscribed (and what it missed must be asked for), or it is down."""

    def on_throttled(self, wait_s: float, text: str) -> None:
        """The venue refused a request for a limit, and takes none that touches it for a while."""


class Venue(Protocol):
    """One exchange account."""

    name: str

    def venue_ns(self) -> int:
        """Return the venue's wall time."""

    def symbol(self, pair: str) -> str | None:
        """Return the venue's name of a pair such as BTC-USDT, None when it lists none."""

    def pair(self, symbol: str) -> str | None:
        """Return the pair of a venue's symbol, None when it lists none."""

    def wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        """Return when to ask again for a request, in ns from now; 0 when it may go now.

        Args:
            symbol: its pair's; "" asks only what holds for all pairs
            now_ns: monotonic
            age_ns: of the order that is cancelled or amended
        """

    def pair_wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        """Return the same of what holds for one pair alone: 0 when only the limits of all pairs may hold it up."""

    def closed_ns(self, now_ns: int) -> int:
        """Return how much longer the venue takes no new orders because it said so (a 429, a ban), 0 when it does."""

    def order_limit(self) -> tuple[float, int]:
        """Return how many orders the window that binds allows at present, and its length in ns."""

    def assume_sent(self, times_venue_ns: Sequence[int]) -> None:
        """Take it that an earlier gate sent orders at these times (the venue's wall clock); before `open`."""

    def figures(self) -> dict[str, int]:
        """Return what the venue's counters show: user_connections, weight_used and so on."""

    def restart_stream(self) -> None:
        """Make the user stream anew, because it says nothing when it should."""

    async def sync_clock(self) -> None:
        """Ask the venue for its time."""

    async def open(self, events: VenueEvents) -> None:
        """Read clock, limits and instruments; BootError when the keys or URLs cannot work, VenueError to retry."""

    async def run(self) -> None:
        """Keep connections, subscription and clock until cancelled."""

    async def place(
        self, order: NewOrder, on_sent: Callable[[int, int], None], may_send: Callable[[], None]
    ) -> tuple[OrderState, list[Trade]]:
        """Place an order.

        `may_send()` is called when the request can be written at once, and what it raises keeps it from that;
        `on_sent(ready_ns, sent_ns)` is called once it has been written: when the connection was asked to, and when it
        had (monotonic).
        """

    async def cancel(self, symbol: str, client_order_id: str) -> OrderState:
        """Cancel an order."""

    async def status(self, symbol: str, client_order_id: str) -> OrderState | None:
        """Return an order's state, None when the venue says that it does not exist."""

    async def trades(self, symbol: str, exchange_order_id: str) -> list[Trade]:
        """Return an order's fills."""

    async def open_orders(self) -> list[OrderState]:
        """Return the account's open orders, other people's included."""

    async def balances(self) -> list[Balance]:
        """Return every balance that is not zero."""

    async def close(self) -> None:
        """Close every connection."""


def check_endpoint(url: str, production: bool = False) -> None:
    """Raise EndpointRefused unless `url` is where this account may trade.

    Args:
        url: http, https, ws or wss
        production: False: loopback, Binance's testnet or a demo host. True: a production host by https or wss, and
            nothing else, so that no account has one foot in each.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("http", "https", "ws", "wss") or not host:
        raise EndpointRefused(f"a venue's URL must be http, https, ws or wss with a host, was {url!r}")
    if production:
        if host not in PRODUCTION_HOSTS:
            known = ", ".join(sorted(PRODUCTION_HOSTS))
            raise EndpointRefused(f"{host} is not a production host of Binance's, which are {known}")
        if parts.scheme not in ("https", "wss"):
            raise EndpointRefused(f"{host} must be reached by https or wss, was {parts.scheme}")
        return
    if _is_loopback(host) or host in DEMO_HOSTS or f".{host}".endswith(TESTNET):
        return
    real = "; where money is real, the venue must say `production: true`" if host in PRODUCTION_HOSTS else ""
    raise EndpointRefused(f"{host} is not a loopback, testnet or demo host{real}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
