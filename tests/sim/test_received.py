"""What the exchange remembers of the requests to place and cancel orders: when each was read, and its answer."""
from __future__ import annotations

import asyncio
import time

from hive.sim.arrival import Arrival, read_ns
from hive.sim.history import History
from sim.sim_process import Client, SimProcess

STALL_S = 0.5


def test_a_history_keeps_the_latest_records_and_counts_those_that_are_forgotten():
    history = History()
    history.append("before anybody asked")
    assert not history.is_on
    history.keep(2)
    for name in ("one", "two", "three"):
        history.append(name)
    assert history.since(0) == {"next": 4, "missed": 2, "records": [[2, "two"], [3, "three"]]}
    assert history.since(3) == {"next": 4, "missed": 0, "records": [[3, "three"]]}
    history.keep(0)
    assert history.since(0)["records"] == []


async def test_the_time_is_that_of_the_read_and_not_of_the_handling():
    seen = []

    class Inner(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            seen.append((data, self.transport, time.monotonic_ns()))

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Arrival(Inner()), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    sent_ns = time.monotonic_ns()
    writer.write(b"hello")
    while not seen:
        await asyncio.sleep(0.001)
    data, transport, handled_ns = seen[0]
    assert data == b"hello"
    assert sent_ns <= read_ns(transport) <= handled_ns
    writer.close()
    while not transport.is_closing():
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)
    assert read_ns(transport) == read_ns(None) == 0
    server.close()


async def test_each_request_to_place_or_cancel_is_remembered_with_its_time_and_its_answer(quiet: SimProcess):
    async with Client(quiet.info) as client, client.api() as socket:
        await client.order(quantity="0.001", price="60000", newClientOrderId="unseen")
        await client.control("received", keep=10)
        before_ns = time.monotonic_ns()
        await client.order(quantity="0.001", price="60000", newClientOrderId="rest-1")
        await client.ask(socket, client.api_request(
            "order.place", 1, symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price="60000",
            quantity="0.001", newClientOrderId="ws-1"))
        await client.ask(socket, client.api_request(
            "order.cancel", 2, symbol="BTCUSDT", origClientOrderId="ws-1"))
        await client.order(quantity="30", price="60000", newClientOrderId="poor")
        await client.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="nobody")
        found = await client.control("received")
        after_ns = time.monotonic_ns()
        await client.signed("DELETE", "openOrders", symbol="BTCUSDT")
        await client.control("received", keep=0)
    assert [record[1:3] + record[4:] for record in found["records"]] == [
        ["place", "rest-1", 200, 0], ["place", "ws-1", 200, 0], ["cancel", "ws-1", 200, 0],
        ["place", "poor", 400, -2010], ["cancel", "nobody", 400, -2011],
    ]
    times = [record[3] for record in found["records"]]
    assert times == sorted(times)
    assert before_ns < times[0] <= times[-1] < after_ns
    assert found["missed"] == 0


async def test_an_order_that_is_answered_late_was_still_read_early(quiet: SimProcess):
    async with Client(quiet.info) as client:
        await client.control("received", keep=10)
        await client.control("fault", name="stall", channel="rest", seconds=STALL_S)
        before_ns = time.monotonic_ns()
        await client.order(quantity="0.001", price="60000", newClientOrderId="held")
        answered_ns = time.monotonic_ns()
        record = (await client.control("received"))["records"][-1]
        await client.signed("DELETE", "openOrders", symbol="BTCUSDT")
        await client.control("received", keep=0)
    assert answered_ns - before_ns > STALL_S * 0.9e9
    assert before_ns < record[3] < answered_ns - STALL_S * 0.5e9
