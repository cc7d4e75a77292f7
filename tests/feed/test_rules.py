"""What a venue's rules, read again, mean for the instruments that are followed."""

from dataclasses import dataclass, replace
from decimal import Decimal

from hive.feed.rules import RulesWatch, changes
from hive.shm.instruments import InstrumentRules

BTC = InstrumentRules("BTC-USDT", "BTCUSDT", "BTC", "USDT", *(5 * [Decimal(1)]))
ETH = replace(BTC, pair="ETH-USDT", symbol="ETHUSDT", base="ETH")


class Instrument:
    def __init__(self):
        self.rules = []

    def set_rules(self, rules):
        self.rules.append(rules)


@dataclass
class Followed:
    rules: InstrumentRules
    instrument: Instrument


class Bench:
    def __init__(self, memory):
        self.metrics = memory.metrics
        self.btc, self.eth = Followed(BTC, Instrument()), Followed(ETH, Instrument())
        self.told = []
        self.watch = RulesWatch([self.btc, self.eth], memory.metrics, lambda level, text: self.told.append(text))

    def update(self, *found, symbols=("BTCUSDT", "ETHUSDT")):
        self.told.clear()
        self.watch.update({rules.symbol: rules for rules in found}, symbols)
        return self.told


def test_the_same_rules_are_nothing_new(memory):
    bench = Bench(memory)
    assert bench.update(BTC, ETH) == []
    assert bench.metrics.halts.value == bench.metrics.rules_changes.value == 0


def test_a_halt_and_its_end_are_told_and_the_halt_is_counted(memory):
    bench = Bench(memory)
    halted = replace(BTC, trading=False)
    assert bench.update(halted, ETH) == ["BTC-USDT halted"]
    assert bench.update(halted, ETH) == []
    assert bench.update(BTC, ETH) == ["BTC-USDT trades again"]
    assert bench.metrics.halts.value == 1
    assert [one.trading for one in bench.btc.instrument.rules] == [False, False, True]


def test_an_instrument_that_is_listed_no_more_is_halted(memory):
    bench = Bench(memory)
    assert bench.update(ETH) == ["BTC-USDT not listed any more"]
    assert not bench.btc.rules.trading
    assert bench.update(ETH) == []
    assert bench.metrics.halts.value == 1


def test_what_was_not_asked_for_is_not_missing(memory):
    bench = Bench(memory)
    assert bench.update(ETH, symbols=("ETHUSDT",)) == []
    assert bench.btc.rules.trading


def test_changed_filters_are_told_with_both_values(memory):
    bench = Bench(memory)
    changed = replace(BTC, tick=Decimal("0.1"), max_qty=None)
    assert bench.update(changed, ETH) == ["BTC-USDT: the rules changed: tick 1 -> 0.1, max_qty 1 -> None"]
    assert bench.metrics.rules_changes.value == 1
    assert bench.btc.instrument.rules == [changed]


def test_changes_name_every_rule_but_what_an_instrument_is():
    assert changes(BTC, replace(BTC, trading=False)) == []
    assert changes(BTC, replace(BTC, step=Decimal(2))) == ["step 1 -> 2"]
