"""Auditor against a venue that answers what the test tells it."""

import asyncio
from decimal import Decimal

import aiohttp
import pytest
from aiohttp import web

from hive.feed import audit
from hive.feed.audit import Auditor, Outcome
from hive.feed.binance import BinanceSpot
from hive.feed.budget import WeightBudget
from hive.feed.instruments import Instrument
from hive.feed.rest import RestClient
from hive.feed.venue import DepthSnapshot, Diff
from hive.shm.book import LIVE, RESYNCING
from hive.shm.instruments import InstrumentRules
from market_server import until

RULES = InstrumentRules("BTC-USDT", "BTCUSDT", "BTC", "USDT", *(5 * [Decimal(1)]))
BIDS, ASKS = [["10", "1"], ["9", "2"]], [["11", "1"], ["12", "2"]]


class Bench:
    """One live book at update 100, an auditor, and the venue's answers: called when they are asked for."""

    def __init__(self, memory, interval_s=0.01):
        self.metrics = memory.metrics
        self.told = []
        self.answers = []
        self.asked = 0
        self.interval_s = interval_s
        writer = memory.table.writer(memory.table.add(RULES))
        self.instrument = Instrument(RULES, memory.table, writer, (100,), memory.metrics, lambda one: None)
        self.instrument.connected()
        self.instrument.subscribed()
        self.snapshot(DepthSnapshot(100, 100, BIDS, ASKS))

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/api/v3/depth", self._depth)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        venue = BinanceSpot(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}")
        self._session = aiohttp.ClientSession()
        rest = RestClient(self._session, WeightBudget(6_000), self.metrics, venue.weight_header)
        self.auditor = Auditor(
            venue, rest, self.metrics, lambda: [self.instrument], self.interval_s, lambda *told: self.told.append(told)
        )
        return self

    async def __aexit__(self, *_):
        await self._session.close()
        await self._runner.cleanup()

    async def _depth(self, request):
        self.asked += 1
        answer = self.answers.pop(0)()
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    def snapshot(self, snapshot):
        self.instrument.on_snapshot(self.instrument.sync.request(0), snapshot, 0)

    def diff(self, first, last, bids=(), asks=()):
        self.instrument.on_diff(Diff("BTCUSDT", first, last, -1, 7, list(bids), list(asks)), 0)

    async def audit(self, *answers):
        self.answers = list(answers)
        return await self.auditor.audit(self.instrument)


def book(update_id, bids=BIDS, asks=ASKS):
    return {"lastUpdateId": update_id, "bids": bids, "asks": asks}


async def test_an_equal_book_is_counted_and_nothing_is_told(memory):
    async with Bench(memory) as bench:
        assert await bench.audit(lambda: book(100)) is Outcome.EQUAL
        assert (bench.metrics.audits.value, bench.metrics.audit_differences.value) == (1, 0)
        assert bench.told == []
        assert bench.instrument.applied is None


async def test_a_book_that_moved_on_is_compared_at_one_and_the_same_update(memory):
    async with Bench(memory) as bench:

        def later():
            bench.diff(101, 102, [["10.5", "1"]])
            bench.diff(103, 104, [["10.5", "0"]], [["10.9", "3"]])
            return book(102, [["10.5", "1"], *BIDS])

        assert await bench.audit(later) is Outcome.EQUAL
        assert bench.instrument.state == LIVE


async def test_a_snapshot_ahead_of_the_book_is_waited_for(memory):
    async with Bench(memory) as bench:

        def ahead():
            asyncio.get_running_loop().call_later(0.05, bench.diff, 101, 103, [["10.5", "1"]])
            return book(103, [["10.5", "1"], *BIDS])

        assert await bench.audit(ahead) is Outcome.EQUAL


@pytest.mark.parametrize(
    ("bids", "asks", "wrong"),
    [
        ([["10", "2"], ["9", "2"]], ASKS, 1),
        (BIDS, [["12", "2"]], 1),
        ([["10.5", "1"], *BIDS], [["11", "1"], ["12.5", "2"]], 3),
    ],
)
async def test_a_book_that_differs_is_counted_told_and_resynced(memory, bids, asks, wrong):
    async with Bench(memory) as bench:
        assert await bench.audit(lambda: book(100, bids, asks)) is Outcome.DIFFERENT
        assert bench.metrics.audit_differences.value == wrong
        assert bench.instrument.state == RESYNCING
        assert bench.instrument.sync.snapshot_due_ns is not None
        ((level, text),) = bench.told
        assert (level, text) == ("warning", f"audit of BTC-USDT at 100: {wrong} levels differ")


async def test_what_lies_behind_a_horizon_is_not_compared(memory):
    async with Bench(memory) as bench:
        bench.snapshot(DepthSnapshot(100, 2, BIDS, ASKS))  # asked for two levels: nothing is known behind them
        deeper = book(100, [*BIDS, ["8", "1"]], [*ASKS, ["13", "1"]])
        assert await bench.audit(lambda: deeper) is Outcome.EQUAL


async def test_an_old_snapshot_is_asked_for_again(memory):
    async with Bench(memory) as bench:
        assert await bench.audit(lambda: book(99, []), lambda: book(98, []), lambda: book(100)) is Outcome.EQUAL
        assert bench.asked == 3


async def test_a_venue_that_only_has_old_snapshots_ends_the_audit(memory):
    async with Bench(memory) as bench:
        assert await bench.audit(*[lambda: book(99, [])] * audit.TRIES) is Outcome.RETRY
        assert (bench.metrics.audits.value, bench.instrument.state) == (0, LIVE)


@pytest.mark.parametrize(
    ("status", "text"),
    [(503, ""), (200, "no json"), (200, '{"lastUpdateId":100,"bids":[["x","1"]],"asks":[]}')],
)
async def test_an_answer_without_a_book_ends_the_audit(memory, status, text):
    async with Bench(memory) as bench:
        assert await bench.audit(lambda: web.Response(status=status, text=text)) is Outcome.GIVEN_UP
        assert bench.instrument.state == LIVE
        assert bench.metrics.audits.value == 0


async def test_a_book_that_is_lost_meanwhile_is_not_judged(memory):
    async with Bench(memory) as bench:

        def gap():
            bench.diff(105, 106)
            return book(100, [])

        assert await bench.audit(gap) is Outcome.GIVEN_UP
        assert bench.metrics.audit_differences.value == 0


async def test_books_are_audited_again_and_again_and_only_live_ones(memory):
    async with Bench(memory) as bench:
        bench.instrument.lagging()
        bench.answers = [lambda: book(100)] * 1_000
        task = asyncio.create_task(bench.auditor.run())
        bench.instrument.proven()
        await until(lambda: bench.metrics.audits.value >= 2)
        task.cancel()
        await asyncio.wait([task])
        assert bench.metrics.audit_differences.value == 0


async def test_an_interval_of_zero_means_never(memory):
    async with Bench(memory, interval_s=0) as bench:
        await bench.auditor.run()
        assert bench.asked == 0

