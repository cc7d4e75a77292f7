"""The guards of all accounts together: where capital is, and what is said of loss limits that cannot be judged."""

import logging
from decimal import Decimal
from pathlib import Path

import pytest

from gate.made_orders import BUY, SELL, Desk
from gate.test_settings import BOOT, VENUE
from hive.gate.guards import BLIND_NS, AccountGuards, FleetGuards
from hive.gate.journal import Journal
from hive.gate.settings import GateSettings
from hive.shm.messages import Side
from hive.shm.refusals import Refusal

NOW_NS = 1_795_656_866_000_000_000
DAY_NS = 86_400_000_000_000
TAG = "qqqqq"


class Bench(Desk):
    """The guards of two accounts, without books: no price is known, ever."""

    def __init__(self, folder: Path, **strategy: object) -> None:
        super().__init__()
        venues = [VENUE, {**VENUE, "index": 1, "name": "b"}]
        strategies = [{"id": "s", "tag": TAG, "worker": 1, **strategy}]
        boot = {**BOOT, "venues": venues, "strategies": strategies, "risk": {"loss_window": "day"}}
        settings = GateSettings.from_boot(boot)
        log = logging.getLogger("gate")
        self.fleet = FleetGuards(settings, NOW_NS, log)
        self.journals = [Journal.open(folder / one.name, "fleet", one.name, policy="none") for one in settings.venues]
        self.accounts: list[AccountGuards] = [
            self.fleet.of(venue, None, journal, log)
            for venue, journal in zip(settings.venues, self.journals, strict=True)
        ]
        self.fleet.begin(NOW_NS)

    def trade(self, fee: str = "0", asset: str = "USDT", pair: str = "BTC-USDT", side: Side = BUY) -> None:
        """Fill an order of the strategy at the first account."""
        order = self.order(side, "1", "100", TAG, pair=pair)
        self.accounts[0].filled(order, self.fill(order, "1", "100", fee, asset))

    def look(self, after_ns: int) -> None:
        assert self.fleet.losses(NOW_NS + after_ns, after_ns) == []


@pytest.fixture
def bench_with(tmp_path: Path):
    made: list[Bench] = []

    def make(**strategy: object) -> Bench:
        made.append(Bench(tmp_path, **strategy))
        return made[-1]

    yield make
    for bench in made:
        for journal in bench.journals:
            journal.close()


def said(caplog, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_a_loss_limit_that_cannot_be_judged_is_an_alarm_once_in_a_minute_without_a_price(bench_with, caplog):
    bench = bench_with(risk={"loss_limit": {"USDT": "100"}})
    bench.look(0)
    bench.look(2 * BLIND_NS)  # nothing is held: no price is needed
    bench.trade()
    bench.look(3 * BLIND_NS)
    bench.trade(pair="ETH-USDT")  # one more does not begin it anew
    bench.look(4 * BLIND_NS)
    assert said(caplog, logging.CRITICAL) == []
    bench.look(4 * BLIND_NS + 1)
    bench.look(9 * BLIND_NS)
    (text,) = said(caplog, logging.CRITICAL)
    assert text.startswith("loss_limit of strategy s cannot be judged: there has been no price of ")
    assert text.endswith("-USDT for 60 s")


def test_what_has_been_told_is_told_again_once_it_has_been_away(bench_with, caplog):
    bench = bench_with(risk={"loss_limit": {"USDT": "100"}})
    for turn in range(3):
        bench.trade()
        bench.look(10 * turn * BLIND_NS)
        bench.look((10 * turn + 2) * BLIND_NS)
        bench.trade(side=SELL)  # nothing is held, so that nothing needs a price
        bench.look((10 * turn + 3) * BLIND_NS)
    assert len(said(caplog, logging.CRITICAL)) == 3


def test_fees_that_no_limit_counts_are_told_once_for_each_asset(bench_with, caplog):
    bench = bench_with(risk={"loss_limit": {"USDT": "1000"}})
    bench.trade("0.5", "BNB")
    bench.look(0)
    bench.look(BLIND_NS)
    assert said(caplog, logging.WARNING) == []
    for day in range(3):
        bench.look(2 * BLIND_NS + day * DAY_NS)
        bench.trade("0.5", "BNB")
        bench.look(3 * BLIND_NS + day * DAY_NS)
        bench.look(5 * BLIND_NS + day * DAY_NS)
    rule = "that no loss_limit counts: there is no price of BNB"
    assert said(caplog, logging.WARNING) == [f"strategy s has paid fees of 0.5 BNB {rule}"]


@pytest.mark.parametrize(("venue", "refused"), [("b", [True, False]), ("binance", [False, True]), (None, [False] * 2)])
def test_capital_is_at_one_venue_and_elsewhere_there_is_none(bench_with, venue, refused):
    bench = bench_with(capital={"USDT": "100"}, capital_venue=venue)
    found = [account.check(bench.order(BUY, "1", "100", TAG)) for account in bench.accounts]
    assert [refusal is not None for refusal in found] == refused
    for refusal in filter(None, found):
        assert refusal == (Refusal.CAPITAL, "capital: USDT needed must be <= 0 (free of 0), was 100")
    over = [account.capital.over_given({"USDT": Decimal(99)}) for account in bench.accounts]
    assert over == [{} if none else {"USDT": Decimal(1)} for none in refused]
