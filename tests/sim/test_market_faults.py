"""Faults of market data: bad messages, lagging snapshots, symbols that change, connections that end; and the truth."""
from __future__ import annotations

import asyncio
import json
import struct
import time
from typing import Any
from zlib import crc32

import aiohttp
import pytest

from hive.sim.faults import Faults, parse_fault
from hive.sim.garbage import KINDS, garble
from hive.sim.tops import checksum
from sim.sim_process import Client, SimProcess

DIFF = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":10,"u":12,"b":[["1.0","2.0"]],"a":[["1.1","3.0"]]}'


@pytest.fixture(scope="module")
def lively():
    """An exchange with one quick pair and two that stand still."""
    process = SimProcess("--seed", "3", "--rate", "200", "--active", "1", "--symbols", "3")
    yield process
    assert process.stop() == 0


@pytest.fixture
async def client(lively: SimProcess):
    async with Client(lively.info) as client:
        await client.control("clear")
        yield client
        await client.control("clear")


async def follow(client: Client, socket: Any, symbol: str = "btcusdt") -> dict[str, Any]:
    """Subscribe to a pair's diffs and return the first."""
    await socket.send_json({"method": "SUBSCRIBE", "params": [f"{symbol}@depth@100ms"], "id": 1})
    assert (await socket.receive_json(timeout=10))["id"] == 1
    return await socket.receive_json(timeout=10)


async def rest_depth(client: Client, symbol: str = "BTCUSDT") -> tuple[int, Any]:
    return await client.get("depth", symbol=symbol, limit=100)


@pytest.mark.parametrize(("text", "message"), [
    ("garbage", "garbage: kind must be given"),
    ("garbage:kind=soup", "garbage: kind must be one of truncated, text"),
    ("http_5xx:status=404", "http_5xx: status must be from 500 to 599, was 404"),
    ("lifetime", "lifetime: age must be given"),
    ("http_429:operation=swim", "http_429: operation must be one of place"),
])
def test_a_market_fault_that_makes_no_sense_is_refused(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        Faults().add(*parse_fault(text), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_garbage_is_something_else_than_the_diff(kind: str):
    bad = garble(kind, DIFF, 5000)
    assert bad != DIFF
    try:
        event = json.loads(bad)
    except (ValueError, RecursionError):
        assert kind in ("truncated", "text", "empty", "binary", "deep")
        return
    assert event != json.loads(DIFF)
    if kind == "huge":
        assert 4500 < len(bad) < 5500
        assert all(quantity == "0.00000000" for _, quantity in event["b"][1:])


async def test_garbage_comes_beside_a_diff_or_in_its_place(client: Client):
    async with client.market() as socket:
        await follow(client, socket)
        await client.control("fault", name="garbage", kind="text", symbol="BTCUSDT")
        texts, last = [], None
        while not texts or last is None:
            frame = (await socket.receive(timeout=10)).data
            if frame.startswith("{"):
                event = json.loads(frame)
                assert last is None or event["U"] == last + 1
                last = event["u"]
            else:
                texts.append(frame)
        await client.control("fault", name="garbage", kind="keys", instead=1, symbol="BTCUSDT")
        jumped = False
        while not jumped:
            event = await socket.receive_json(timeout=10)
            if "u" in event:
                jumped = event["U"] != last + 1
                last = event["u"]
        await client.control("fault", name="garbage", kind="binary", symbol="BTCUSDT")
        while (await socket.receive(timeout=10)).type is not aiohttp.WSMsgType.BINARY:
            pass


async def test_a_crossed_diff_has_a_bid_above_the_best_ask(client: Client):
    async with client.market() as socket:
        await follow(client, socket)
        await client.control("fault", name="crossed", symbol="BTCUSDT")
        for _ in range(50):
            event = await socket.receive_json(timeout=10)
            _, book = await rest_depth(client)
            if event["b"] and float(event["b"][0][0]) > float(book["bids"][0][0]) * 1.00001:
                break
        best_bid = float(event["b"][0][0])
        truth = (await client.control(f"tops?symbol=BTCUSDT&update_id={event['u']}"))["record"]
        assert truth is None or best_bid > truth[7]
        assert (await client.control("state"))["faults"] == []


async def test_a_lagging_snapshot_is_the_book_of_before(client: Client):
    await client.control("fault", name="lag", symbol="BTCUSDT", count=2)
    before = (await client.control("book?symbol=BTCUSDT"))["update_id"]
    answers = []
    for _ in range(3):
        await asyncio.sleep(0.1)
        answers.append((await rest_depth(client))[1])
    assert answers[0] == answers[1]
    assert answers[0]["lastUpdateId"] <= before < answers[2]["lastUpdateId"]


async def test_5xx_429_and_delay_hit_snapshots_when_they_are_named(client: Client):
    await client.control("fault", name="http_5xx", count=1)
    assert (await rest_depth(client))[0] == 200  # `any` means what is signed
    await client.control("clear")
    await client.control("fault", name="http_5xx", operation="snapshot", status=502, count=2)
    assert (await client.get("exchangeInfo", symbol="BTCUSDT"))[0] == 200
    assert [(await rest_depth(client))[0] for _ in range(3)] == [502, 502, 200]
    await client.control("fault", name="http_429", operation="snapshot", retry_after=3)
    assert (await client.get("exchangeInfo", symbol="BTCUSDT"))[0] == 200
    assert (await rest_depth(client))[0] == 429
    assert client.headers["Retry-After"] == "3"
    await client.control("fault", name="delay", operation="snapshot", ms=400, count=1)
    began = time.monotonic()
    assert (await rest_depth(client))[0] == 200
    assert time.monotonic() - began > 0.35


async def test_a_ban_answers_418_and_refuses_connections_until_it_ends(client: Client):
    await client.control("fault", name="ban", seconds=60)
    status, answer = await rest_depth(client)
    assert (status, answer["code"]) == (418, -1003)
    assert 55 <= int(client.headers["Retry-After"]) <= 60
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.market()
    assert refused.value.status == 418
    await client.control("clear")
    assert (await rest_depth(client))[0] == 200


async def test_maintenance_refuses_what_is_new_and_leaves_what_is_open(client: Client):
    async with client.market() as socket:
        await follow(client, socket)
        await client.control("fault", name="maintenance")
        assert (await rest_depth(client))[0] == 503
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.market()
        assert refused.value.status == 503
        assert (await socket.receive_json(timeout=10))["e"] == "depthUpdate"
        await client.control("clear")
        assert (await rest_depth(client))[0] == 200


async def test_a_shutdown_is_announced_before_the_connection_closes(client: Client):
    async with client.market() as socket:
        await follow(client, socket)
        await client.control("fault", name="shutdown", ms=300)
        kinds = []
        while (frame := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            kinds.append(json.loads(frame.data)["e"])
        assert "serverShutdown" in kinds
        assert kinds[-1] == "depthUpdate"
        assert frame.type is aiohttp.WSMsgType.CLOSE or socket.closed


async def test_connections_end_at_their_age(client: Client):
    async with client.market() as socket:
        await follow(client, socket)
        await client.control("fault", name="lifetime", age=0.6)
        began = time.monotonic()
        while (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert time.monotonic() - began < 5
        async with client.market() as again:
            await follow(client, again)


async def test_a_delisted_symbol_is_unknown_until_it_is_back(client: Client):
    await client.order("ETHUSDT", quantity="0.01", price="3000", newClientOrderId="resting")
    await client.control("fault", name="delist", symbol="ETHUSDT")
    assert (await client.get("exchangeInfo", symbol="ETHUSDT"))[1]["code"] == -1121
    assert (await rest_depth(client, "ETHUSDT"))[1]["code"] == -1121
    listed = (await client.get("exchangeInfo"))[1]["symbols"]
    assert [entry["symbol"] for entry in listed] == ["BTCUSDT", "SOLUSDT"]
    assert (await client.order("ETHUSDT", quantity="0.01", price="3000"))[1]["code"] == -1121
    async with client.session.post(
        f"{client.info['rest_url']}/sim/fault", json={"name": "delist", "symbol": "ETHUSDT"}
    ) as again:
        assert again.status == 400
    await client.control("clear")
    assert (await rest_depth(client, "ETHUSDT"))[0] == 200
    gone = await client.signed("GET", "order", symbol="ETHUSDT", origClientOrderId="resting")
    assert gone[1]["status"] == "CANCELED"


async def test_filters_change_at_run_time_and_come_back(client: Client):
    await client.order("ETHUSDT", quantity="0.0101", price="3000.01", newClientOrderId="older")
    await client.control("fault", name="filters", symbol="ETHUSDT", tick="0.1", step="0.001", min_notional="10")
    entry = (await client.get("exchangeInfo", symbol="ETHUSDT"))[1]["symbols"][0]
    filters = {one["filterType"]: one for one in entry["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00100000"
    assert filters["NOTIONAL"]["minNotional"] == "10.00000000"
    refused = await client.order("ETHUSDT", quantity="0.01", price="3000.01")
    assert refused[1] == {"code": -1013, "msg": "Filter failure: PRICE_FILTER"}
    assert (await client.signed("DELETE", "order", symbol="ETHUSDT", origClientOrderId="older"))[0] == 200
    async with client.session.post(
        f"{client.info['rest_url']}/sim/fault",
        json={"name": "filters", "symbol": "ETHUSDT", "tick": "0.00000003", "step": "0.001"},
    ) as wrong:
        assert wrong.status == 400
    await client.control("clear")
    status, placed = await client.order("ETHUSDT", quantity="0.01", price="3000.01", newClientOrderId="newer")
    assert (status, placed["status"]) == (200, "NEW")
    await client.signed("DELETE", "openOrders", symbol="ETHUSDT")


async def test_the_flow_quotes_by_the_new_tick(client: Client):
    await client.control("fault", name="filters", symbol="BTCUSDT", tick="1")
    for _ in range(100):
        await asyncio.sleep(0.05)
        book = await client.control("book?symbol=BTCUSDT")
        if all(float(price).is_integer() for price, _ in book["bids"] + book["asks"]):
            return
    pytest.fail("the book never moved to the new tick")


def test_a_checksum_covers_every_level_in_its_order():
    bids, asks = [(2.5, 1.0), (2.0, 3.0)], [(3.0, 0.5)]
    assert checksum(bids, asks) == crc32(struct.pack("<6d", 2.5, 1.0, 2.0, 3.0, 3.0, 0.5))
    assert checksum(bids, asks) != checksum(asks, bids)
    assert checksum(bids, asks) != checksum(bids, [(3.0, 0.5000001)])


async def test_what_a_client_builds_from_snapshot_and_diffs_is_what_the_exchange_remembers(client: Client):
    await client.control("tops", symbols=["BTCUSDT"], levels=20, keep=1000)
    async with client.market() as socket:
        first = await follow(client, socket)
        _, snapshot = await client.get("depth", symbol="BTCUSDT", limit=5000)
        sides = [{float(price): float(quantity) for price, quantity in snapshot[side]} for side in ("bids", "asks")]
        compared, event = 0, first
        while compared < 10:
            if event["u"] > snapshot["lastUpdateId"]:
                for side, key in zip(sides, "ba", strict=True):
                    for price, quantity in event[key]:
                        side[float(price)] = float(quantity)
                        if not float(quantity):
                            del side[float(price)]
                bids = sorted(sides[0].items(), reverse=True)[:20]
                asks = sorted(sides[1].items())[:20]
                truth = (await client.control(f"tops?symbol=BTCUSDT&update_id={event['u']}"))["record"]
                assert truth[5:9] == [*bids[0], *asks[0]]
                assert truth[4] == 1
                assert truth[9:] == [len(bids), len(asks), checksum(bids, asks)]
                compared += 1
            event = await socket.receive_json(timeout=10)
    found = await client.control("tops?after=0")
    ids = [record[2] for record in found["records"] if record[4]]
    assert ids == sorted(set(ids))
    assert found["missed"] == 0
    later = await client.control(f"tops?after={found['next']}")
    assert all(record[0] >= found["next"] for record in later["records"])
    assert later["next"] >= found["next"]
    assert (await client.control("tops?symbol=BTCUSDT&update_id=7"))["record"] is None


async def test_the_history_is_bounded_and_says_what_it_forgot(client: Client):
    await client.control("tops", symbols="*", levels=5, keep=4)
    await asyncio.sleep(1.0)
    found = await client.control("tops?after=0")
    assert len(found["records"]) == 4
    assert found["missed"] == found["next"] - 4 > 0
    await client.control("tops", symbols="*", keep=0)
    assert (await client.control("tops?after=0"))["records"] == []
