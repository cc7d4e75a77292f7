"""Each fault does what it says, and ends."""
from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from hive.sim.faults import Faults, parse_fault
from sim.sim_process import Client, SimProcess

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def lively():
    """An exchange with one quick pair and one that stands still."""
    process = SimProcess("--seed", "3", "--rate", "200", "--active", "1", "--symbols", "3", "--orders-10s", "1000")
    yield process
    assert process.stop() == 0


@pytest.fixture
async def client(lively: SimProcess):
    async with Client(lively.info) as client:
        await client.control("clear")
        yield client
        await client.control("clear")
        await client.signed("DELETE", "openOrders", symbol="ETHUSDT")


async def depth_socket(client: Client, socket: Any) -> tuple[int, int]:
    """Subscribe to the quick pair's diffs and return (U, u) of the first."""
    await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1})
    assert (await socket.receive_json(timeout=10))["id"] == 1
    return (await diffs(socket, 1))[0]


async def diffs(socket: Any, count: int) -> list[tuple[int, int]]:
    """Return (U, u) of the next diffs."""
    found = []
    for _ in range(count):
        event = await socket.receive_json(timeout=10)
        found.append((event["U"], event["u"]))
    return found


async def until_silent(socket: Any, seconds: float) -> int:
    """Read until nothing comes for a while; return how much came before."""
    count = 0
    while True:
        try:
            await socket.receive(timeout=seconds)
        except TimeoutError:
            return count
        count += 1


def test_a_fault_begins_strikes_and_ends_by_time_and_count():
    faults = Faults()
    faults.add("gap", {"symbol": "BTC-USDT", "count": "2", "after": "1"}, 0)
    assert faults.take("gap", 0, symbol="BTCUSDT") is None
    assert faults.take("gap", SECOND, symbol="ETHUSDT") is None
    assert faults.take("gap", SECOND, symbol="BTCUSDT")
    assert faults.take("gap", SECOND, symbol="BTCUSDT")
    assert faults.take("gap", SECOND, symbol="BTCUSDT") is None
    faults.add("mute", {"channel": "user", "seconds": "2"}, 0)
    assert faults.until_ns("mute", SECOND, "user") == 2 * SECOND
    assert faults.until_ns("mute", SECOND, "market") == 0
    assert faults.until_ns("mute", 2 * SECOND, "user") == 0
    _, ended = faults.turn(2 * SECOND)
    assert [fault.name for fault in ended] == ["mute"]
    assert faults.describe() == []


@pytest.mark.parametrize(("text", "message"), [
    ("fire", "fault must be one of drop, stall"),
    ("gap:speed=1", "gap: unknown argument 'speed'"),
    ("halt", "halt: symbol must be given"),
    ("delay:ms=soon", "delay: ms must be a number, was 'soon'"),
    ("mute:channel=pipe", "mute: channel must be one of market, user"),
    ("stall:seconds=-1", "stall: seconds must be from 0"),
    ("http_5xx:operation=dance", "http_5xx: operation must be one of place"),
    ("gap:count", "fault arguments must be KEY=VALUE"),
    ("limit", "limit: orders_10s or weight must be given"),
    ("limit:weight=-1", "limit: weight must be from 0"),
    ("slow_fate", "slow_fate: hidden must be given"),
    ("slow_fate:hidden=1,status=404", "slow_fate: status must be from 500 to 599"),
])
def test_a_fault_that_makes_no_sense_is_refused(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        Faults().add(*parse_fault(text), 0)


async def test_drop_ends_the_connections_of_a_channel(client: Client):
    async with client.market() as market, client.api() as api:
        await depth_socket(client, market)
        assert len((await client.control("connections"))["market"]) == 1
        await client.control("fault", name="drop", channel="market")
        while not (await market.receive(timeout=10)).type.name.startswith("CLOS"):
            pass
        assert (await client.ask(api, {"id": 1, "method": "ping"}))["status"] == 200
        await client.ask(api, client.api_request("userDataStream.subscribe.signature"))
        await client.control("fault", name="drop", channel="user", abort=1)
        assert (await api.receive(timeout=10)).type.name in ("CLOSED", "CLOSE", "ERROR")
        for _ in range(100):
            shown = await client.control("connections")
            if not shown["market"] + shown["ws_api"] + shown["user"]:
                break
            await asyncio.sleep(0.02)
        assert not shown["market"] + shown["ws_api"] + shown["user"]
        assert shown["opened"]["market"] >= 1


async def test_gap_leaves_a_diff_out(client: Client):
    async with client.market() as socket:
        first = await depth_socket(client, socket)
        await client.control("fault", name="gap", symbol="BTCUSDT")
        found = [first, *await diffs(socket, 12)]
        jumps = [after[0] - before[1] for before, after in pairwise(found)]
        assert min(jumps) == 1
        assert sum(jump != 1 for jump in jumps) == 1


async def test_duplicate_sends_a_diff_twice(client: Client):
    async with client.market() as socket:
        await depth_socket(client, socket)
        await client.control("fault", name="duplicate", symbol="BTCUSDT")
        found = await diffs(socket, 12)
        assert len(found) - len(set(found)) == 1


async def test_reorder_swaps_two_diffs(client: Client):
    async with client.market() as socket:
        await depth_socket(client, socket)
        await client.control("fault", name="reorder", symbol="BTCUSDT")
        found = await diffs(socket, 12)
        assert found != sorted(found)
        ordered = sorted(found)
        assert all(after[0] == before[1] + 1 for before, after in pairwise(ordered))
        assert sum(here != there for here, there in zip(found, ordered, strict=True)) == 2


async def test_mute_keeps_the_connection_and_sends_no_data(client: Client):
    async with client.market() as socket:
        await depth_socket(client, socket)
        await client.control("fault", name="mute", channel="market")
        assert await until_silent(socket, 0.5) < 10
        assert not socket.closed
        await client.control("clear", name="mute")
        assert (await socket.receive_json(timeout=10))["e"] == "depthUpdate"


async def test_mute_of_the_user_stream_leaves_answers_alone(client: Client):
    async with client.api() as socket:
        await client.ask(socket, client.api_request("userDataStream.subscribe.signature"))
        await client.control("fault", name="mute", channel="user")
        await socket.send_json(client.api_request(
            "order.place", 5, symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price="3000",
            quantity="0.01"))
        assert (await socket.receive_json(timeout=10))["id"] == 5


async def test_stall_answers_nothing_and_then_everything(client: Client):
    async with client.api() as socket:
        await client.control("fault", name="stall", channel="all", seconds=0.8)
        began = time.monotonic()
        await socket.send_json({"id": 1, "method": "ping"})
        rest = asyncio.create_task(client.get("ping"))
        assert (await socket.receive_json(timeout=10))["status"] == 200
        assert (await rest)[0] == 200
        assert time.monotonic() - began > 0.6


async def test_5xx_is_answered_after_the_order_was_executed(client: Client):
    await client.control("fault", name="http_5xx", operation="place")
    status, answer = await client.order("ETHUSDT", quantity="0.01", price="3000", newClientOrderId="unknown-1")
    assert (status, answer) == (
        503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."})
    assert (await client.signed("GET", "order", symbol="ETHUSDT", origClientOrderId="unknown-1"))[1]["status"] == "NEW"
    async with client.api() as socket:
        await client.control("fault", name="http_5xx", operation="cancel")
        lost = await client.ask(socket, client.api_request(
            "order.cancel", 1, symbol="ETHUSDT", origClientOrderId="unknown-1"))
        assert lost["status"] == 503
    seen = await client.signed("GET", "order", symbol="ETHUSDT", origClientOrderId="unknown-1")
    assert seen[1]["status"] == "CANCELED"


async def test_5xx_can_also_mean_that_nothing_was_executed(client: Client):
    await client.control("fault", name="http_5xx", operation="place", executed=0)
    assert (await client.order("ETHUSDT", quantity="0.01", price="3000", newClientOrderId="lost"))[0] == 503
    assert (await client.signed("GET", "order", symbol="ETHUSDT", origClientOrderId="lost"))[1]["code"] == -2013


async def test_429_comes_with_retry_after_and_executes_nothing(client: Client):
    await client.control("fault", name="http_429", channel="rest", retry_after=7, count=2)
    for _ in range(2):
        status, answer = await client.order("ETHUSDT", quantity="0.01", price="3000")
        assert (status, answer["code"], client.headers["Retry-After"]) == (429, -1003, "7")
    assert (await client.signed("GET", "openOrders"))[1] == []


async def test_halt_stops_a_symbol_and_its_flow(client: Client):
    await client.control("fault", name="halt", symbol="BTC-USDT", seconds=2)
    _, info = await client.get("exchangeInfo", symbol="BTCUSDT")
    assert info["symbols"][0]["status"] == "HALT"
    assert await client.order(quantity="0.001", price="60000") == (400, {"code": -1013, "msg": "Market is closed."})
    first, second = [(await client.get("depth", symbol="BTCUSDT"))[1]["lastUpdateId"] for _ in range(2)]
    assert first == second
    deadline = time.monotonic() + 10
    while (await client.get("exchangeInfo", symbol="BTCUSDT"))[1]["symbols"][0]["status"] != "TRADING":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_skew_moves_the_clock_and_makes_timestamps_wrong(client: Client):
    await client.control("fault", name="skew", ms=-30_000)
    _, answer = await client.get("time")
    assert 29_000 < time.time() * 1000 - answer["serverTime"] < 31_000
    _, refused = await client.signed("GET", "account")
    assert refused == {"code": -1021, "msg": "Timestamp for this request was 1000ms ahead of the server's time."}
    assert (await client.signed("GET", "account", timestamp=answer["serverTime"]))[0] == 200
    await client.control("clear", name="skew")
    assert (await client.signed("GET", "account"))[0] == 200


async def test_reject_refuses_orders_until_it_ends(client: Client):
    await client.control("fault", name="reject", count=3)
    for _ in range(3):
        status, answer = await client.order("ETHUSDT", quantity="0.01", price="3000")
        assert (status, answer["code"]) == (400, -2010)
    assert (await client.order("ETHUSDT", quantity="0.01", price="3000"))[0] == 200


async def test_delay_holds_answers_back_but_not_the_order(client: Client):
    await client.control("fault", name="delay", operation="place", ms=1500)
    async with client.api() as socket:
        began = time.monotonic()
        await socket.send_json(client.api_request(
            "order.place", "late", symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price="3000",
            quantity="0.01", newClientOrderId="slow"))
        seen = await client.ask(socket, client.api_request(
            "order.status", "now", symbol="ETHUSDT", origClientOrderId="slow"))
        assert seen["result"]["status"] == "NEW"
        assert (await socket.receive_json(timeout=10))["id"] == "late"
        assert time.monotonic() - began >= 1.45


async def test_revoke_refuses_every_signed_request_until_it_ends(client: Client):
    await client.control("fault", name="revoke")
    for method, path in (("GET", "account"), ("DELETE", "openOrders")):
        status, answer = await client.signed(method, path, symbol="ETHUSDT")
        assert (status, answer["code"]) == (401, -2015)
    assert (await client.get("time"))[0] == 200
    await client.control("clear", name="revoke")
    assert (await client.signed("GET", "account"))[0] == 200


async def test_limit_allows_less_than_is_stated_and_says_nothing_of_it(client: Client):
    placed = []
    await client.control("fault", name="limit", orders_10s=3)
    while True:
        status, answer = await client.order("ETHUSDT", quantity="0.01", price="3000")
        if status != 200:
            break
        placed.append(int(client.headers["X-MBX-ORDER-COUNT-10S"]))
    assert (status, answer["code"]) == (429, -1015)
    assert answer["msg"] == "Too many new orders; current limit is 1000 orders per 10 SECOND."
    assert 1 <= int(client.headers["Retry-After"]) <= 10
    assert all(count <= 3 for count in placed)
    _, info = await client.get("exchangeInfo", symbol="ETHUSDT")
    assert info["rateLimits"][1]["limit"] == 1000
    await client.control("clear", name="limit")
    assert (await client.order("ETHUSDT", quantity="0.01", price="3000"))[0] == 200


async def test_slow_fate_shows_an_order_only_after_a_while(client: Client):
    await client.control("fault", name="slow_fate", hidden=2.0)
    began = time.monotonic()
    status, answer = await client.order("ETHUSDT", quantity="0.01", price="3000", newClientOrderId="late-1")
    assert (status, answer["code"]) == (503, -1000)
    assert (await client.signed("GET", "order", symbol="ETHUSDT", origClientOrderId="late-1"))[1]["code"] == -2013
    assert (await client.signed("GET", "openOrders"))[1] == []
    while (await client.signed("GET", "order", symbol="ETHUSDT", origClientOrderId="late-1"))[0] != 200:
        assert time.monotonic() - began < 10
        await asyncio.sleep(0.05)
    assert time.monotonic() - began >= 2.0
    assert [order["clientOrderId"] for order in (await client.signed("GET", "openOrders"))[1]] == ["late-1"]


async def test_slow_fate_can_also_mean_that_the_order_never_comes(client: Client):
    await client.control("fault", name="slow_fate", hidden=0.1, executed=0)
    assert (await client.order("ETHUSDT", quantity="0.01", price="3000", newClientOrderId="never"))[0] == 503
    await asyncio.sleep(0.3)
    assert (await client.signed("GET", "order", symbol="ETHUSDT", origClientOrderId="never"))[1]["code"] == -2013


async def test_expire_ends_an_order_that_rests_too_long(client: Client):
    await client.control("fault", name="expire", age=0.3)
    async with client.api() as socket:
        await client.ask(socket, client.api_request("userDataStream.subscribe.signature"))
        await client.order("ETHUSDT", quantity="0.01", price="3000", newClientOrderId="short")
        reports = []
        while not reports or reports[-1]["X"] != "CANCELED":
            event = (await socket.receive_json(timeout=10))["event"]
            if event["e"] == "executionReport":
                reports.append(event)
    assert [report["X"] for report in reports] == ["NEW", "CANCELED"]
    assert reports[1]["T"] - reports[0]["T"] >= 299


async def test_a_stalled_venue_takes_connections_and_requests_and_says_nothing(client: Client):
    await client.control("fault", name="stall", channel="all", seconds=3600)
    async with client.api() as socket, client.market() as market:
        await socket.send_json({"id": 1, "method": "ping"})
        await socket.ping()
        await market.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1})
        rest = asyncio.create_task(client.get("ping"))
        assert await until_silent(socket, 0.3) == 0
        assert await until_silent(market, 0.3) == 0
        assert not rest.done()
        await client.control("clear", name="stall")
        assert (await socket.receive_json(timeout=10))["status"] == 200
        assert (await rest)[0] == 200


async def test_a_fault_can_be_given_at_the_start(tmp_path):
    process = SimProcess("--rate", "0", "--symbols", "2", "--fault", "halt:symbol=ETHUSDT", "--fault", "skew:ms=5000")
    async with Client(process.info) as client:
        state = await client.control("state")
        assert [fault["name"] for fault in state["faults"]] == ["halt", "skew"]
        assert state["skew_ms"] == 5000
    assert process.stop() == 0


async def test_a_refused_fault_says_why(client: Client):
    url = f"{client.info['rest_url']}/sim/fault"
    async with client.session.post(url, json={"name": "halt", "symbol": "NOPE"}) as response:
        assert (response.status, await response.json()) == (
            400, {"error": "halt: symbol must be a listed one, was NOPE"})
