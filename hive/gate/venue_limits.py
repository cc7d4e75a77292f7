"""The limits of venues, as data.

binance_spot() is read from the venue; the others are what their documents say (each function names its source), for a
caller that has nothing better. What a venue counts in spans whose edges its documents do not give is taken as rolling:
that is safe wherever the edges are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hive.gate.limit_rules import (
    SECOND_NS,
    Aligned,
    Cost,
    Decaying,
    Earned,
    LimitKind,
    LimitRule,
    OpenCap,
    Operation,
    Rolling,
    Rule,
    Scope,
    Tokens,
    WiderForCancels,
)

PLACE, CANCEL, AMEND, ORDER_STATUS, TRADES, OPEN_ORDERS, ACCOUNT, TIME, RULES, ORDER_COUNTS, CONNECT = Operation

OPEN_CAP = "MAX_NUM_ORDERS"  # the filter of a symbol of Binance's
RESERVE = 20  # new orders leave one part in this of request weight to cancels and questions
ONE = Cost(request=1)
EACH = Cost(each=1)

BINANCE_WEIGHTS: dict[Operation, int] = {
    PLACE: 1,
    CANCEL: 1,
    AMEND: 4,
    ORDER_STATUS: 4,
    TRADES: 5,
    OPEN_ORDERS: 80,
    ACCOUNT: 20,
    TIME: 1,
    RULES: 20,
    ORDER_COUNTS: 40,
    CONNECT: 2,  # a connection; the subscription of the user stream costs the same
}


def _all(cost: Cost, *without: Operation) -> dict[Operation, Cost]:
    return {operation: cost for operation in Operation if operation not in without}


def _ages(seconds: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((below * SECOND_NS, cost) for below, cost in seconds)


def binance_spot(
    limits: Iterable[LimitRule], open_orders: Mapping[str, int] | None = None, all_open_orders: int = 0
) -> list[Rule]:
    """Return Binance's rules.

    A placement costs one of each ORDERS window, which the first fill gives back; a cancel or an amendment none. Orders
    per account, requests and weight per address.

    github.com/binance/binance-spot-api-docs: rest-api.md, faqs/order_count_decrement.md, filters.md

    Args:
        limits: exchangeInfo's rateLimits
        open_orders: MAX_NUM_ORDERS by symbol
        all_open_orders: EXCHANGE_MAX_NUM_ORDERS; 0: none
    """
    weights = {operation: Cost(request=weight) for operation, weight in BINANCE_WEIGHTS.items()}
    costs = {LimitKind.WEIGHT: weights, LimitKind.ORDERS: {PLACE: EACH}, LimitKind.REQUESTS: _all(ONE)}
    scopes = {LimitKind.WEIGHT: Scope.IP, LimitKind.ORDERS: Scope.ACCOUNT, LimitKind.REQUESTS: Scope.IP}
    rules = [
        Rule(
            limit.kind,
            scopes[limit.kind],
            Aligned(limit.limit, limit.window_ns),
            costs[limit.kind],
            reserve=limit.limit // RESERVE if limit.kind is LimitKind.WEIGHT else 0,
        )
        for limit in limits
    ]
    if open_orders:
        cap = OpenCap(max(open_orders.values()), dict(open_orders))
        rules.append(Rule("MAX_NUM_ORDERS", Scope.PAIR, cap, {PLACE: EACH}))
    if all_open_orders:
        rules.append(Rule("EXCHANGE_MAX_NUM_ORDERS", Scope.ACCOUNT, OpenCap(all_open_orders), {PLACE: EACH}))
    return rules


def binance_open_caps(body: Mapping) -> tuple[dict[str, int], int]:
    """Return MAX_NUM_ORDERS by symbol, and EXCHANGE_MAX_NUM_ORDERS or 0, of exchangeInfo's answer."""
    by_symbol = {
        symbol["symbol"]: int(one["maxNumOrders"])
        for symbol in body["symbols"]
        for one in symbol.get("filters", ())
        if one["filterType"] == OPEN_CAP
    }
    all_symbols = [
        int(one["maxNumOrders"])
        for one in body.get("exchangeFilters", ())
        if one["filterType"] == "EXCHANGE_MAX_NUM_ORDERS"
    ]
    return by_symbol, min(all_symbols, default=0)


def okx(orders_per_2s: int = 1000) -> list[Rule]:
    """Return OKX's rules for single orders.

    Placing, amending and cancelling are counted apart, each per sub-account and instrument; new orders and amendments
    together per sub-account, where each order of a batch counts. Cancels are outside of that.

    okx.com/docs-v5/en: #order-book-trading-trade-post-place-order and its neighbours (60 per 2 s, User ID + Instrument
    ID), #overview-rate-limits-sub-account-rate-limit (1,000 per 2 s, what account-rate-limit tells as accRateLimit)

    Args:
        orders_per_2s: the sub-account's accRateLimit
    """
    two_seconds = 2 * SECOND_NS
    return [
        Rule("place", Scope.PAIR, Rolling(60, two_seconds), {PLACE: EACH}),
        Rule("amend", Scope.PAIR, Rolling(60, two_seconds), {AMEND: EACH}),
        Rule("cancel", Scope.PAIR, Rolling(60, two_seconds), {CANCEL: EACH}),
        Rule("sub-account", Scope.ACCOUNT, Rolling(orders_per_2s, two_seconds), {PLACE: EACH, AMEND: EACH}),
        Rule("order", Scope.PAIR, Rolling(60, two_seconds), {ORDER_STATUS: ONE}),
        Rule("orders-pending", Scope.ACCOUNT, Rolling(60, two_seconds), {OPEN_ORDERS: ONE}),
        Rule("fills", Scope.ACCOUNT, Rolling(60, two_seconds), {TRADES: ONE}),
        Rule("balance", Scope.ACCOUNT, Rolling(10, two_seconds), {ACCOUNT: ONE}),
        Rule("time", Scope.IP, Rolling(10, two_seconds), {TIME: ONE}),
        Rule("instruments", Scope.IP, Rolling(20, two_seconds), {RULES: ONE}),
        Rule("connect", Scope.IP, Rolling(3, SECOND_NS), {CONNECT: ONE}),
    ]


def bybit_spot() -> list[Rule]:
    """Return Bybit's rules for a spot account without a VIP level.

    Requests per address; per account and endpoint in a rolling second, where each order of a batch counts. A response
    says what is left (X-Bapi-Limit-Status): hand the rest to `Limits.settle` as the endpoint's count. A breach of the
    address's limit is a 403, and then ten minutes of silence.

    bybit-exchange.github.io/docs/v5/rate-limit
    """
    rules = [Rule("ip", Scope.IP, Rolling(600, 5 * SECOND_NS), _all(ONE, CONNECT))]
    rules += [
        Rule(path, Scope.ACCOUNT, Rolling(limit, SECOND_NS), {operation: cost})
        for path, limit, operation, cost in (
            ("/v5/order/create", 20, PLACE, EACH),
            ("/v5/order/amend", 10, AMEND, EACH),
            ("/v5/order/cancel", 20, CANCEL, EACH),
            ("/v5/account/wallet-balance", 20, ACCOUNT, ONE),
            ("/v5/execution/list", 20, TRADES, ONE),
        )
    ]
    rules.append(
        Rule("/v5/order/realtime", Scope.ACCOUNT, Rolling(20, SECOND_NS), {ORDER_STATUS: ONE, OPEN_ORDERS: ONE})
    )
    rules.append(Rule("connections", Scope.IP, Rolling(500, 300 * SECOND_NS), {CONNECT: ONE}))
    return rules


@dataclass(frozen=True, slots=True)
class KrakenTier:
    """What an account's verification allows: most and decay per second of the trading counter and of the call counter
    of each key, and open orders per pair."""

    trading: float
    trading_decay: float
    open_orders: int
    calls: float
    calls_decay: float


KRAKEN_TIERS = {
    "starter": KrakenTier(60, 1.0, 60, 15, 0.33),
    "intermediate": KrakenTier(125, 2.34, 80, 20, 0.5),
    "pro": KrakenTier(180, 3.75, 225, 20, 1.0),
}
KRAKEN_CANCEL_S = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))  # below that age in s: this much
KRAKEN_AMEND_S = ((5, 3), (10, 2), (15, 1))


def kraken_spot(tier: str = "starter") -> list[Rule]:
    """Return Kraken's rules.

    A counter per pair that falls every second: an order adds 1 (in a batch a half), its cancel the more the younger it
    is. Other calls raise a counter of their key; placing and cancelling do not.

    docs.kraken.com/api/docs/guides/spot-ratelimits, docs.kraken.com/api/docs/guides/spot-rest-ratelimits

    Args:
        tier: one of KRAKEN_TIERS
    """
    if tier not in KRAKEN_TIERS:
        raise ValueError(f"tier must be one of {', '.join(KRAKEN_TIERS)}, was {tier!r}")
    told = KRAKEN_TIERS[tier]
    trading = {
        PLACE: Cost(each=1, batch=0.5),
        AMEND: Cost(each=1, ages=_ages(KRAKEN_AMEND_S)),
        CANCEL: Cost(ages=_ages(KRAKEN_CANCEL_S)),
    }
    calls = {ORDER_STATUS: ONE, OPEN_ORDERS: ONE, ACCOUNT: ONE, CONNECT: ONE, TRADES: Cost(request=2)}
    return [
        Rule("trading", Scope.PAIR, Decaying(told.trading, told.trading_decay), trading),
        Rule("open orders", Scope.PAIR, OpenCap(told.open_orders), {PLACE: EACH}),
        Rule("calls", Scope.KEY, Decaying(told.calls, told.calls_decay), calls),
        Rule("public", Scope.IP, Tokens(1.0, 1.0), {TIME: ONE, RULES: ONE}),
    ]


def coinbase() -> list[Rule]:
    """Return Coinbase's rules for Advanced Trade: one pool for orders, cancels and questions of a user.

    docs.cloud.coinbase.com/advanced-trade/docs/rest-api-rate-limits (30 a second per user, 10 a second per address for
    public endpoints); how the bucket fills: docs.cdp.coinbase.com/exchange/rest-api/rate-limits
    """
    return [
        Rule("private", Scope.ACCOUNT, Tokens(30.0, 30.0), _all(ONE, TIME, RULES, CONNECT)),
        Rule("public", Scope.IP, Tokens(10.0, 10.0), {TIME: ONE, RULES: ONE}),
        Rule("connections", Scope.IP, Tokens(750.0, 750.0), {CONNECT: ONE}),
    ]


def hyperliquid() -> list[Rule]:
    """Return Hyperliquid's rules.

    Weight per address, where a batch of n costs 1 + n // 40; per user an allowance that each action uses up, each order
    of a batch counting, and each USDC traded raises by one (`Limits.earn`). Cancels have a wider limit on the same
    count; above the limit one request passes every 10 s.

    hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/rate-limits-and-user-limits
    """
    action = Cost(request=1, per=40)
    weight = {
        PLACE: action,
        CANCEL: action,
        AMEND: action,
        ORDER_STATUS: Cost(request=2),
        ACCOUNT: Cost(request=2),
        TIME: Cost(request=2),
        TRADES: Cost(request=20),
        OPEN_ORDERS: Cost(request=20),
        RULES: Cost(request=20),
        ORDER_COUNTS: Cost(request=20),
    }
    return [
        Rule("weight", Scope.IP, Rolling(1200, 60 * SECOND_NS), weight, reserve=1200 // RESERVE),
        Rule("actions", Scope.ACCOUNT, Earned(10_000, 10 * SECOND_NS), {PLACE: EACH, AMEND: EACH}),
        Rule("cancels", Scope.ACCOUNT, WiderForCancels("actions", 100_000, 2), {CANCEL: EACH}),
        Rule("open orders", Scope.ACCOUNT, OpenCap(1000), {PLACE: EACH}),
        Rule("connections", Scope.IP, Rolling(30, 60 * SECOND_NS), {CONNECT: ONE}),
    ]


VENUES: dict[str, Sequence[Rule]] = {
    "okx": okx(),
    "bybit": bybit_spot(),
    "kraken": kraken_spot(),
    "coinbase": coinbase(),
    "hyperliquid": hyperliquid(),
}
"""Rules by venue, each with the least that an account has."""
