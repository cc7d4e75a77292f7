"""RestClient and SnapshotQueue against a small venue on loopback."""

import asyncio
from decimal import Decimal

import aiohttp
import pytest
from aiohttp import web

from hive.feed.binance import BinanceSpot
from hive.feed.budget import WeightBudget
from hive.feed.errors import VenueRefused
from hive.feed.instruments import Instrument
from hive.feed.rest import RestClient
from hive.feed.snapshots import AT_A_TIME, SnapshotQueue
from hive.feed.venue import Request
from hive.shm.book import LIVE
from hive.shm.budget import MINUTE_NS
from hive.shm.instruments import InstrumentRules

DEADLINE_S = 10.0
START_NS = 1_000 * MINUTE_NS + 1_000_000_000
BOOK = {"lastUpdateId": 7, "bids": [["10", "1"]], "asks": [["11", "1"]]}


class Server:
    """Answers GET depth as told: `replies` first, then BOOK; counts how many it serves at a time."""

    def __init__(self):
        self.replies = []
        self.asked = []
        self.present = 0
        self.most = 0

    async def start(self):
        app = web.Application()
        app.router.add_get("/api/v3/depth", self._depth)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async def stop(self):
        await self._runner.cleanup()

    async def _depth(self, request):
        self.asked.append(request.query["symbol"])
        self.present += 1
        self.most = max(self.most, self.present)
        await asyncio.sleep(0.01)
        self.present -= 1
        status, body, headers = self.replies.pop(0) if self.replies else (200, BOOK, {})
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)


class Bench:
    def __init__(self, memory):
        self.memory = memory
        self.server = Server()
        self.wall_ns = START_NS
        self.budget = WeightBudget(6_000)

    async def __aenter__(self):
        await self.server.start()
        self.session = aiohttp.ClientSession()
        self.venue = BinanceSpot(self.server.url)
        self.rest = RestClient(
            self.session, self.budget, self.memory.metrics, self.venue.weight_header, lambda: self.wall_ns
        )
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        await self.server.stop()

    def get(self):
        return self.rest.get(self.venue.snapshot_request("BTCUSDT", 100))


async def test_an_answer_carries_body_status_and_the_venues_count(memory):
    async with Bench(memory) as bench:
        bench.server.replies = [(200, BOOK, {"X-MBX-USED-WEIGHT-1M": "3956"})]
        answer = await bench.get()
        assert (answer.status, answer.used_weight) == (200, 3956)
        assert bench.venue.snapshot(answer, 100).last_id == 7
        assert bench.budget.reserve(5, START_NS) > 0  # 0.66 * 6000 = 3960
        assert memory.metrics.bytes_received.value == len(answer.body)


@pytest.mark.parametrize("status", [429, 418])
async def test_too_many_requests_close_the_budget_for_as_long_as_asked(memory, status):
    async with Bench(memory) as bench:
        bench.server.replies = [(status, {"code": -1003, "msg": "Too many"}, {"Retry-After": "30"})]
        answer = await bench.get()
        assert (answer.status, answer.retry_after_s) == (status, 30.0)
        assert memory.metrics.http_429.value == 1
        assert bench.budget.reserve(1, START_NS + 29_000_000_000) == 1_000_000_000
        assert bench.budget.reserve(1, START_NS + 30_000_000_000) == 0


async def test_a_venue_that_does_not_answer_is_a_refusal_without_status(memory):
    async with Bench(memory) as bench:
        with pytest.raises(VenueRefused, match="no answer") as caught:
            await bench.rest.get(Request("http://127.0.0.1:9/api/v3/depth", 5))
        assert caught.value.status == 0


def instruments(memory, count, want):
    made = []
    for number in range(count):
        rules = InstrumentRules(f"C{number}-USDT", f"C{number}USDT", f"C{number}", "USDT", *(5 * [Decimal(1)]))
        writer = memory.table.writer(memory.table.add(rules))
        made.append(Instrument(rules, memory.table, writer, (100,), memory.metrics, want))
    return made


async def test_snapshots_are_fetched_a_few_at_a_time_and_again_after_every_kind_of_failure(memory):
    async with Bench(memory) as bench:
        bench.server.replies = [
            (200, BOOK, {}),
            (500, "oops", {}),
            (200, "no json", {}),
            (200, {"lastUpdateId": 7, "bids": [["x", "1"]], "asks": []}, {}),
            (400, {"code": -1121, "msg": "Invalid symbol."}, {}),
        ]
        queue = SnapshotQueue(bench.venue, bench.rest, memory.metrics)
        every = instruments(memory, 8, queue.ask)
        for instrument in every:
            instrument.connected()
            instrument.subscribed()
        task = asyncio.create_task(queue.run())
        async with asyncio.timeout(DEADLINE_S):
            while not all(instrument.state == LIVE for instrument in every):
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait([task])
        assert len(bench.server.asked) == 8 + 4
        assert bench.server.most <= AT_A_TIME
        assert memory.metrics.malformed.value == 2
        assert memory.metrics.snapshots.value == 8
