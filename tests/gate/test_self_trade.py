"""Orders that would trade with another strategy's: which are refused, when, and who says so."""

import pytest

from gate.made_orders import BUY, LIMIT, MAKER, MARKET, OTHERS, SELL
from gate.risk_bench import Bench
from hive.gate.exposure import RiskLimits
from hive.gate.order import State
from hive.shm.refusals import Refusal

CROSSED = [
    ((SELL, "1", "100", OTHERS), (BUY, "1", "100"), "self_trade: BTC-USDT 100 meets another strategy's sell at 100"),
    ((SELL, "1", "100", OTHERS), (BUY, "1", "101"), "self_trade: BTC-USDT 101 meets another strategy's sell at 100"),
    ((BUY, "1", "100", OTHERS), (SELL, "1", "99.5"), "self_trade: BTC-USDT 99.5 meets another strategy's buy at 100"),
]


@pytest.mark.parametrize("state", [State.PENDING, State.SENT, State.UNKNOWN, State.ACKED])
@pytest.mark.parametrize(("first", "second", "text"), CROSSED)
def test_a_limit_order_that_would_trade_with_another_strategys_is_refused(state, first, second, text):
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    bench.touch = None
    theirs = bench.admit(*first, state=state)
    order = bench.order(*second)
    assert bench.risk.check(order) == (Refusal.SELF_TRADE, text)
    assert bench.risk.recheck(order) == (Refusal.SELF_TRADE, text)
    bench.end(theirs)
    assert bench.risk.check(order) is None


@pytest.mark.parametrize(("price", "kind"), [("101", LIMIT), ("101", MAKER), (None, MARKET)])
def test_a_strategy_may_trade_with_itself(price, kind):
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    bench.admit(SELL, "1", "100", state=State.SENT)
    bench.admit(SELL, "1", "102", OTHERS)
    order = bench.admit(BUY, "1", price, kind=kind)
    assert bench.risk.recheck(order) is None


@pytest.mark.parametrize("state", [State.SENT, State.UNKNOWN, State.ACKED])
@pytest.mark.parametrize(
    ("side", "others_side", "meets", "passes"),
    [(BUY, SELL, ("100", "101"), ("101.01", "150")), (SELL, BUY, ("100", "99"), ("98.99", "50"))],
)
def test_a_market_order_is_refused_while_another_strategy_rests_at_the_best_price(
    state, side, others_side, meets, passes
):
    for price in passes:
        bench = Bench(account=RiskLimits(), fleet=RiskLimits())
        bench.admit(others_side, "1", price, OTHERS, state=state)
        for judge in (bench.risk.check, bench.risk.recheck):
            assert judge(bench.order(side, "1", None, kind=MARKET)) is None
    name = others_side.name.lower()
    for price in meets:
        bench = Bench(account=RiskLimits(), fleet=RiskLimits())
        bench.admit(others_side, "1", price, OTHERS, state=state)
        refused = Refusal.SELF_TRADE, f"self_trade: BTC-USDT market meets another strategy's {name} at {price}"
        for judge in (bench.risk.check, bench.risk.recheck):
            order = bench.order(side, "1", None, kind=MARKET)
            assert judge(order) == refused
            bench.touch = None
            assert judge(order) is None  # nobody knows: only a price band asks for a book
            bench.touch = (99.0, 101.0)


def test_a_market_order_meets_what_waits_once_that_has_been_sent():
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    waiting = bench.admit(SELL, "1", "101", OTHERS, state=State.PENDING)
    order = bench.admit(BUY, "1", None, kind=MARKET)
    assert bench.risk.recheck(order) is None
    waiting.state = State.SENT
    assert bench.risk.recheck(order)[0] is Refusal.SELF_TRADE


@pytest.mark.parametrize("state", [State.PENDING, State.SENT])
@pytest.mark.parametrize("kind", [LIMIT, MAKER, MARKET])
def test_a_market_order_that_waits_or_is_on_its_way_is_in_nobodys_way(state, kind):
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    market = bench.admit(SELL, "1", None, OTHERS, MARKET, state=state)
    assert bench.risk.check(bench.order(BUY, "1", None if kind is MARKET else "150", kind=kind)) is None
    bench.end(market, State.FILLED)


def test_orders_that_do_not_cross_or_are_of_other_pairs_live_beside_each_other():
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    bench.admit(SELL, "1", "100")
    bench.admit(BUY, "1", "99.99", OTHERS)
    bench.admit(BUY, "1", "100", OTHERS, pair="ETH-USDT")
    bench.admit(SELL, "1", "100", OTHERS)


def test_a_post_only_order_is_left_to_the_venue_unless_one_that_may_still_take_is_under_way():
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    resting = bench.admit(SELL, "1", "100", OTHERS, state=State.SENT)
    order = bench.order(BUY, "1", "100", kind=MAKER)
    assert bench.risk.check(order)[0] is Refusal.SELF_TRADE  # the sell may come second, and take
    resting.state = State.ACKED
    assert bench.risk.check(order) is None  # it would be the second, and the venue refuses it
    bench.end(resting)
    bench.admit(SELL, "1", "100", OTHERS, MAKER, state=State.SENT)
    assert bench.risk.check(order) is None  # two that never take
    assert bench.risk.check(bench.order(BUY, "1", "100", kind=LIMIT))[0] is Refusal.SELF_TRADE


@pytest.mark.parametrize(
    ("account", "fleet", "refused"),
    [
        (None, None, True),
        ("refuse", "allow", True),
        (None, "refuse", True),
        ("allow", "refuse", False),
        (None, "allow", False),
    ],
)
def test_an_account_says_whether_self_trades_are_refused_or_else_the_fleet(account, fleet, refused):
    bench = Bench(RiskLimits(self_trade=account), RiskLimits(self_trade=fleet))
    bench.risk.admitted(bench.order(SELL, "1", "100", OTHERS))
    assert (bench.risk.check(bench.order(BUY, "1", "100")) is not None) == refused
