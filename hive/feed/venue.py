"""What the feed asks of a venue: its addresses, its requests and the meaning of its messages.

A venue is stateless: it turns bytes into the records below and wishes into requests. Continuity, books, connections and
limits belong to the feed. docs/venues.md shows how to write one.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Raw, Struct

from hive.feed.inlet import Shortcut
from hive.feed.lines import BookLine, TradeLine
from hive.shm.instruments import InstrumentRules

# One side of a book as it came, best level first where the venue sorts it: the undecoded JSON of [[price, quantity,
# ...], ...], which the book reads without making an object per level, or the same as lists of strings.
Levels = Raw | bytes | list


class Diff(Struct, frozen=True, gc=False):
    """A change of one book: absolute quantities, covering the update ids first_id..last_id."""

    symbol: str
    first_id: int
    last_id: int
    prev_id: int  # last_id of the diff before it, where a venue's ids are not consecutive; -1: they are
    exchange_ns: int  # wall clock of the venue
    bids: Levels
    asks: Levels
    checksum: int = -1  # of the book after this diff, as Venue.checksum() computes it; -1: the venue sends none


class TradeEvent(Struct, frozen=True, gc=False):
    """One trade of an instrument."""

    symbol: str
    trade_id: int
    exchange_ns: int  # wall clock of the venue
    price: float
    quantity: float
    buyer_is_maker: bool


class CandleEvent(Struct, frozen=True, gc=False):
    """One candle; times are the venue's, in ms, open_ms..close_ms inclusive.

    `closed` is false while the candle may still change. An answer to klines_request names no symbol and interval: "".
    """

    symbol: str
    interval: str
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_ms: int
    quote_volume: float
    trades: int
    taker_base: float
    taker_quote: float
    closed: bool


class Answer(Struct, frozen=True, gc=False):
    """The venue's answer to request `id`; `error` is empty when it was granted."""

    id: int
    error: str


class Notice(Struct, frozen=True, gc=False):
    """What the venue says about the connection itself. kind "shutdown": it will close it soon."""

    kind: str
    text: str


Event = Diff | TradeEvent | CandleEvent | Answer | Notice


class DepthSnapshot(Struct, frozen=True):
    """A whole book (up to `limit` levels per side) after update `last_id`; best levels first."""

    last_id: int
    limit: int
    bids: Levels
    asks: Levels


class Request(Struct, frozen=True):
    """An HTTP request: its URL, and what the venue charges for it."""

    url: str
    weight: int
    method: str = "GET"


class HttpAnswer(Struct, frozen=True):
    """What came back for a Request. `used_weight` is the venue's own count in this minute (-1: it did not say)."""

    status: int
    body: bytes
    used_weight: int
    retry_after_s: float


class Venue(Protocol):
    """A venue's market data protocol."""

    streams_per_connection: int
    control_interval_s: float  # between two requests on one connection
    request_weight_per_minute: int
    weight_header: str  # of an HTTP answer: the weight spent in this minute
    intervals: Sequence[str]  # of candles
    checksum_levels: int  # per side in Venue.checksum(); 0: the venue sends no checksum
    renewal_s: float | None  # how often renewal_request() is to be sent; None: never

    def symbol(self, pair: str) -> str:
        """Return the venue's symbol of "BTC-USDT"."""

    def streams(self, symbol: str, kind: str) -> Sequence[str]:
        """Return the stream names that bring `kind` of a symbol: "book" (diffs), "trades" or "candles:INTERVAL".

        Raises ValueError for a kind that the venue does not have.
        """

    def subscribe(self, request_id: int, streams: Sequence[str]) -> str:
        """Return the message that subscribes `streams`."""

    def unsubscribe(self, request_id: int, streams: Sequence[str]) -> str:
        """Return the message that ends `streams`."""

    def parse(self, raw: bytes) -> Event | None:
        """Return what a market message says, None when nothing that matters here. Raises MalformedMessage."""

    def shortcut(self, books: dict[str, BookLine], tapes: dict[str, TradeLine]) -> Shortcut | None:
        """Return what takes usual messages straight to the books and tapes by symbol, None: all go through parse()."""

    def snapshot_limits(self, depth: int) -> Sequence[int]:
        """Return the numbers of levels to ask for, the cheapest that serves `depth` first."""

    def snapshot_request(self, symbol: str, limit: int) -> Request:
        """Return the request of a book of `limit` levels per side."""

    def snapshot(self, answer: HttpAnswer, limit: int) -> DepthSnapshot:
        """Return the book in an answer. Raises VenueRefused or MalformedMessage."""

    def klines_request(self, symbol: str, interval: str, limit: int, end_ms: int | None = None) -> Request:
        """Return the request of the newest `limit` candles, or of those that open at `end_ms` or before."""

    def klines(self, answer: HttpAnswer) -> list[CandleEvent]:
        """Return the candles in an answer, oldest first. Raises VenueRefused or MalformedMessage.

        Whether the newest is over only its close_ms tells: its `closed` is false.
        """

    def rules_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Return the requests that together give the rules of `symbols`; the venue refuses one with an unknown name."""

    def all_rules_request(self) -> Request:
        """Return the request of every instrument's rules."""

    def rules(self, answer: HttpAnswer) -> dict[str, InstrumentRules]:
        """Return the rules in an answer by symbol. Raises VenueRefused or MalformedMessage."""

    def checksum(self, rules: InstrumentRules, bids: Sequence, asks: Sequence) -> int:
        """Return the checksum of the best `checksum_levels` (price, quantity) levels of a book, as Diff.checksum."""

    def renewal_request(self) -> Request:
        """Return the request that keeps the stream open or asks for a new key; sent every `renewal_s` seconds."""

    def renewed(self, answer: HttpAnswer) -> str | None:
        """Return the WebSocket address to connect to from now on, None when it stays. Raises VenueRefused."""
