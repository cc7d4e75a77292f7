"""Binance's depth update and trade in the form in which they come, each read in one pass.

    {"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","100"]]}
    {"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782135,"m":true,"M":true}

These keys in this order, without a space, are nearly all that a feed reads, so they are worth a shortcut: it takes half
the time of the decoder in binance.py, which decides about everything else. The levels are cut out, not read; whether
they are levels the book finds out before it applies any. A price or quantity is the float64 that `float()` makes of it.

BinanceShortcut hands them to their book or tape without making an event (see lines.pyx).
"""

from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp

from hive.feed.inlet cimport Shortcut
from hive.feed.levels cimport c_decimal
from hive.feed.lines cimport BookLine, TradeLine

from hive.feed.venue import Diff, TradeEvent

cdef extern from *:
    """
    static inline int letter_or_digit(char c) {
        return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
    }
    """
    bint letter_or_digit(char sign) noexcept nogil

cdef enum:
    MOST_DIGITS = 18  # of an id: fits into int64
    NS_PER_MS = 1000000
    LONGEST_SYMBOL = 24
    LONGEST_DECIMAL = 32

cdef int64_t MOST_MS = 9223372036854  # fit into int64 as ns
LONGEST_MESSAGE = 1 << 20  # a diff of 5,000 levels on both sides is about 300 kB
cdef Py_ssize_t _LONGEST_MESSAGE = LONGEST_MESSAGE


cdef struct UsualDiff:
    const char *symbol
    const char *symbol_end
    int64_t first_id
    int64_t last_id
    int64_t ms
    const char *bids
    const char *bids_end
    const char *asks
    const char *asks_end


cdef struct UsualTrade:
    const char *symbol
    const char *symbol_end
    int64_t trade_id
    int64_t ms
    double price
    double quantity
    bint buyer_is_maker


cdef inline const char *_past(const char *at, const char *end, const char *text, Py_ssize_t size) noexcept nogil:
    """Return what follows `text`, NULL when something else is there."""
    if at == NULL or end - at < size or memcmp(at, text, size) != 0:
        return NULL
    return at + size


cdef inline const char *_integer(const char *at, const char *end, int64_t *into) noexcept nogil:
    """Read an integer >= 0; return what follows."""
    cdef const char *start = at
    cdef int64_t value = 0
    cdef unsigned int digit
    if at == NULL:
        return NULL
    while at < end and at - start <= MOST_DIGITS:
        digit = <unsigned int>(<unsigned char>at[0]) - c"0"
        if digit > 9:
            break
        value = value * 10 + digit
        at += 1
    into[0] = value
    if at == start or at - start > MOST_DIGITS or (start[0] == c"0" and at - start > 1):
        return NULL
    return at


cdef inline const char *_symbol(const char *at, const char *end) noexcept nogil:
    """Return what follows a name of letters and digits; it is in quotes, the first of which was read."""
    cdef const char *start = at
    if at == NULL:
        return NULL
    while at < end and letter_or_digit(at[0]):
        at += 1
    if at == start or at - start > LONGEST_SYMBOL or at == end or at[0] != c'"':
        return NULL
    return at


cdef inline const char *_positive(const char *at, const char *end, double *into) noexcept nogil:
    """Read a plain decimal above 0 and the quote behind it; return what follows."""
    cdef const char *closing
    if at == NULL:
        return NULL
    closing = <const char *>memchr(at, c'"', min(end - at, LONGEST_DECIMAL))
    if closing == NULL:
        return NULL
    into[0] = c_decimal(at, closing - at)
    return closing + 1 if into[0] > 0.0 else NULL


cdef inline const char *_boolean(const char *at, const char *end, bint *into) noexcept nogil:
    """Read true or false; return what follows."""
    cdef const char *behind = _past(at, end, b"true", 4)
    into[0] = behind != NULL
    return behind if behind != NULL else _past(at, end, b"false", 5)


cdef inline const char *_levels(const char *at, const char *end) noexcept nogil:
    """Return what follows a list of lists, as far as brackets tell; strings that hold some are for the decoder."""
    cdef const char *closing
    if at == NULL or end - at < 2 or at[0] != c"[":
        return NULL
    if at[1] == c"]":
        return at + 2
    closing = at
    while True:
        closing = <const char *>memchr(closing + 1, c"]", end - closing - 1)
        if closing == NULL or closing + 1 == end:
            return NULL
        if closing[1] == c"]":
            return closing + 2


cdef bint _read_diff(const char *at, const char *end, UsualDiff *into) noexcept nogil:
    """Read a diff of the usual form; False for any other."""
    at = _integer(_past(at, end, b'{"e":"depthUpdate","E":', 23), end, &into.ms)
    into.symbol = _past(at, end, b',"s":"', 6)
    into.symbol_end = _symbol(into.symbol, end)
    at = _integer(_past(into.symbol_end, end, b'","U":', 6), end, &into.first_id)
    at = _integer(_past(at, end, b',"u":', 5), end, &into.last_id)
    into.bids = _past(at, end, b',"b":', 5)
    into.bids_end = _levels(into.bids, end)
    into.asks = _past(into.bids_end, end, b',"a":', 5)
    into.asks_end = _levels(into.asks, end)
    return _past(into.asks_end, end, b"}", 1) == end and into.ms <= MOST_MS and into.first_id <= into.last_id


cdef bint _read_trade(const char *at, const char *end, UsualTrade *into) noexcept nogil:
    """Read a trade of the usual form; False for any other."""
    cdef int64_t event_ms
    cdef bint ignored
    at = _integer(_past(at, end, b'{"e":"trade","E":', 17), end, &event_ms)
    into.symbol = _past(at, end, b',"s":"', 6)
    into.symbol_end = _symbol(into.symbol, end)
    at = _integer(_past(into.symbol_end, end, b'","t":', 6), end, &into.trade_id)
    at = _positive(_past(at, end, b',"p":"', 6), end, &into.price)
    at = _positive(_past(at, end, b',"q":"', 6), end, &into.quantity)
    at = _integer(_past(at, end, b',"T":', 5), end, &into.ms)
    at = _boolean(_past(at, end, b',"m":', 5), end, &into.buyer_is_maker)
    at = _boolean(_past(at, end, b',"M":', 5), end, &ignored)
    return _past(at, end, b"}", 1) == end and into.ms <= MOST_MS


def usual_diff(bytes raw):
    """Return the Diff in a message of the usual form, None for any other."""
    cdef const char *at = raw
    cdef UsualDiff diff
    if not _read_diff(at, at + len(raw), &diff):
        return None
    return Diff(
        diff.symbol[: diff.symbol_end - diff.symbol].decode("ascii"),
        diff.first_id,
        diff.last_id,
        -1,
        diff.ms * NS_PER_MS,
        diff.bids[: diff.bids_end - diff.bids],
        diff.asks[: diff.asks_end - diff.asks],
    )


def usual_trade(bytes raw):
    """Return the TradeEvent in a message of the usual form, None for any other."""
    cdef const char *at = raw
    cdef UsualTrade trade
    if not _read_trade(at, at + len(raw), &trade):
        return None
    return TradeEvent(
        trade.symbol[: trade.symbol_end - trade.symbol].decode("ascii"),
        trade.trade_id,
        trade.ms * NS_PER_MS,
        trade.price,
        trade.quantity,
        trade.buyer_is_maker,
    )


cdef class BinanceShortcut(Shortcut):
    """Hands usual diffs to `books` and usual trades to `tapes`, both by symbol; one that is in neither is ignored."""

    def __init__(self, dict books not None, dict tapes not None):
        self._books = books
        self._tapes = tapes

    cdef bint c_take(self, bytes raw, int64_t read_ns) except -1:
        cdef const char *at = raw
        cdef const char *end = at + len(raw)
        cdef UsualDiff diff
        cdef UsualTrade trade
        cdef BookLine book
        cdef TradeLine tape
        if len(raw) > _LONGEST_MESSAGE:
            return False
        if _read_trade(at, end, &trade):
            tape = self._tapes.get(trade.symbol[: trade.symbol_end - trade.symbol].decode("ascii"))
            if tape is not None:
                tape.c_trade(
                    trade.trade_id, trade.ms * NS_PER_MS, trade.price, trade.quantity, trade.buyer_is_maker, read_ns
                )
            return True
        if _read_diff(at, end, &diff):
            book = self._books.get(diff.symbol[: diff.symbol_end - diff.symbol].decode("ascii"))
            return book is None or book.c_follow(
                diff.first_id, diff.last_id, diff.ms * NS_PER_MS, diff.bids, diff.bids_end, diff.asks, diff.asks_end,
                read_ns,
            )
        return False
