"""Limits: aligned windows, 429, 418, order counts and their headers."""
from __future__ import annotations

import pytest

from hive.sim.errors import VenueError
from hive.sim.limits import FIRST_BAN_MS, LONGEST_BAN_MS, Limits, LimitSettings, Window
from sim.sim_process import Client, SimProcess

MINUTE = 60_000


def test_a_window_starts_from_zero_at_multiples_of_its_length():
    window = Window(10, MINUTE)
    assert window.add(7, 3 * MINUTE + 59_999) == 7
    assert window.count(4 * MINUTE) == 0
    assert window.end_ms(4 * MINUTE + 1) == 5 * MINUTE
    assert window.add(-5, 4 * MINUTE) == 0


def test_weight_over_the_limit_is_refused_until_the_minute_ends():
    limits = Limits(LimitSettings(weight=100))
    assert limits.charge("ip", 60, 1000) == 60
    with pytest.raises(VenueError) as refused:
        limits.charge("ip", 60, 2000)
    assert (refused.value.status, refused.value.code, refused.value.retry_at_ms) == (429, -1003, MINUTE)
    assert refused.value.message.startswith(
        "Too much request weight used; current limit is 100 request weight per 1 MINUTE.")
    assert limits.charge("other ip", 60, 2000) == 60
    assert limits.charge("ip", 60, MINUTE) == 60


def test_who_keeps_asking_is_banned_and_longer_each_time():
    limits = Limits(LimitSettings(weight=1, ban_after=3))
    now = 0
    for expected in (FIRST_BAN_MS, 2 * FIRST_BAN_MS, 4 * FIRST_BAN_MS):
        limits.charge("ip", 1, now)
        for _ in range(3):
            with pytest.raises(VenueError) as refused:
                limits.charge("ip", 1, now)
            assert refused.value.status == 429
        for _ in range(2):
            with pytest.raises(VenueError) as refused:
                limits.charge("ip", 1, now)
            assert (refused.value.status, refused.value.retry_at_ms) == (418, now + expected)
        assert not limits.connect("ip", now)
        now = refused.value.retry_at_ms
        now += MINUTE - now % MINUTE
    assert FIRST_BAN_MS << 12 > LONGEST_BAN_MS


def test_orders_are_counted_per_account_and_given_back_when_filled():
    limits = Limits(LimitSettings(orders_10s=2, orders_day=3))
    for expected in ((1, 1), (2, 2)):
        limits.check_order("ann", 500)
        assert limits.add_order("ann", 500) == expected
    with pytest.raises(VenueError) as refused:
        limits.check_order("ann", 500)
    assert (refused.value.status, refused.value.code) == (429, -1015)
    assert refused.value.message == "Too many new orders; current limit is 2 orders per 10 SECOND."
    limits.check_order("bob", 500)
    limits.drop_order("ann", 500)
    limits.check_order("ann", 500)
    limits.add_order("ann", 500)
    limits.add_order("ann", 10_000)
    with pytest.raises(VenueError, match="3 orders per 1 DAY"):
        limits.check_order("ann", 20_000)
    limits.check_order("ann", 86_400_000)


def test_a_venue_that_secretly_allows_less_refuses_earlier_and_still_counts_what_it_took():
    limits = Limits(LimitSettings(orders_10s=100, weight=100))
    limits.allow_secretly(orders_10s=2, weight=5)
    for expected in ((1, 1), (2, 2)):
        limits.check_order("ann", 500)
        assert limits.add_order("ann", 500) == expected
    with pytest.raises(VenueError, match="current limit is 100 orders per 10 SECOND"):
        limits.check_order("ann", 500)
    assert limits.order_counts("ann", 500) == (2, 2)
    assert limits.describe()[1]["limit"] == 100
    assert limits.charge("ip", 5, 500) == 5
    with pytest.raises(VenueError, match="current limit is 100 request weight"):
        limits.charge("ip", 1, 500)
    limits.allow_secretly()
    limits.check_order("ann", 500)
    assert limits.charge("ip", 1, 500) == 7


def test_a_limit_must_be_positive():
    with pytest.raises(ValueError, match="weight must be >= 1, was 0"):
        LimitSettings(weight=0)


@pytest.fixture(scope="module")
def tight():
    process = SimProcess(
        "--rate", "0", "--weight-limit", "60", "--orders-10s", "3", "--ban-after", "4", "--connection-limit", "1000"
    )
    yield process
    assert process.stop() == 0


async def test_too_much_weight_is_answered_429_with_retry_after_and_then_418(tight: SimProcess):
    async with Client(tight.info) as client:
        await client.control("clear")
        statuses = []
        for _ in range(40):
            status, answer = await client.get("exchangeInfo", symbol="BTCUSDT")
            statuses.append(status)
            if status == 429:
                assert answer["code"] == -1003
                assert 1 <= int(client.headers["Retry-After"]) <= 60
            if status == 418:
                break
        assert statuses.index(429) >= 3
        assert statuses[-5:] == [429, 429, 429, 429, 418]
        assert answer["msg"].startswith("Way too much request weight used; IP banned until ")
        assert 100 <= int(client.headers["Retry-After"]) <= 120
        assert (await client.get("ping"))[0] == 418
        await client.control("clear")
        assert (await client.get("ping"))[0] == 200


async def test_too_many_orders_are_answered_429_with_retry_after(tight: SimProcess):
    async with Client(tight.info) as client:
        await client.control("clear")
        placed = []
        for _ in range(10):
            status, answer = await client.order(quantity="0.001", price="60000")
            if status != 200:
                break
            placed.append(int(client.headers["X-MBX-ORDER-COUNT-10S"]))
        assert (status, answer["code"]) == (429, -1015)
        assert answer["msg"] == "Too many new orders; current limit is 3 orders per 10 SECOND."
        assert 1 <= int(client.headers["Retry-After"]) <= 10
        assert placed[-3:] == [1, 2, 3]


async def test_the_websocket_api_shows_the_same_limits(tight: SimProcess):
    async with Client(tight.info) as client:
        await client.control("clear")
        async with client.api() as socket:
            answer = await client.ask(socket, {"id": 1, "method": "time"})
            assert [limit["rateLimitType"] for limit in answer["rateLimits"]] == ["REQUEST_WEIGHT"]
            quiet = await client.ask(socket, {"id": 2, "method": "time", "params": {"returnRateLimits": False}})
            assert "rateLimits" not in quiet
            for number in range(3, 70):
                answer = await client.ask(socket, {"id": number, "method": "ping"})
                if answer["status"] != 200:
                    break
            assert answer["status"] == 429
            assert answer["error"]["code"] == -1003
            assert answer["error"]["data"]["retryAfter"] > answer["error"]["data"]["serverTime"]
        await client.control("clear")


async def test_more_open_orders_than_a_pair_takes_are_refused():
    process = SimProcess("--rate", "0", "--open-orders", "2")
    async with Client(process.info) as client:
        _, info = await client.get("exchangeInfo", symbol="BTCUSDT")
        assert info["symbols"][0]["filters"][-1] == {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 2}
        answers = [(await client.order(quantity="0.001", price="60000"))[0] for _ in range(3)]
        assert answers == [200, 200, 400]
        assert (await client.order(symbol="ETHUSDT", quantity="0.01", price="3000"))[0] == 200
    assert process.stop() == 0
