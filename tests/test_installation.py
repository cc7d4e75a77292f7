"""What a fleet file is told about the files of its strategies before anything starts."""

import pytest

from hive.installation import Installation, spot_connectors
from hummingbot.runtime.environment import venue_setting

CONTROLLERS = {
    "plain.yml": {"controller_name": "maker", "controller_type": "generic", "trading_pair": "BTC-USDT"},
    "dotted.yml": {"controller_name": "examples.maker", "controller_type": "generic", "trading_pair": "ETH-USDT"},
    "package.yml": {"controller_name": "big", "controller_type": "generic", "trading_pair": "SOL-USDT"},
    "missing.yml": {"controller_name": "examples.none", "controller_type": "generic", "trading_pair": "SOL-USDT"},
}


@pytest.fixture
def installation(tmp_path):
    folder = tmp_path / "controllers" / "generic"
    for file in ("maker.py", "examples/maker.py", "big/__init__.py"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    for name in CONTROLLERS:
        file = tmp_path / "conf" / "controllers" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return Installation(tmp_path, lambda path: CONTROLLERS[path.name], ["binance", "kucoin"])


def problems(check, config):
    found = []

    def report(place, rule):
        found.append(f"{place}: {rule}")

    check(config, report if check.__name__ == "controllers" else "entry: ", report)
    return found


@pytest.mark.parametrize("name", ["plain.yml", "dotted.yml", "package.yml"])
def test_a_controller_may_be_a_module_a_package_or_lie_in_a_folder(installation, name):
    assert problems(installation.controllers, {"controllers_config": [name]}) == []


def test_a_controller_without_code_is_refused_by_the_file_that_is_missing(installation):
    found = problems(installation.controllers, {"controllers_config": ["missing.yml"]})
    expected = "conf/controllers/missing.yml: controller_name: there is no controllers/generic/examples/none.py"
    assert [line.startswith(expected) for line in found] == [True]


@pytest.mark.parametrize("key", ["exchange", "maker_market", "taker_market", "connector_2", "price_source_exchange"])
def test_an_exchange_that_the_fleet_lacks_is_named_wherever_a_strategy_says_it(installation, key):
    assert problems(installation.check_venues, {key: "kucoin"}) == []
    expected = f"entry: {key}: must be one of the fleet's venues (binance, kucoin), was 'okx'"
    assert problems(installation.check_venues, {key: "okx"}) == [expected]


def test_a_strategy_on_two_exchanges_names_both_as_its_venues(installation):
    config = {"maker_market": "binance", "taker_market": "kucoin", "maker_market_trading_pair": "BTC-USDT"}
    assert installation.venues_in(config) == ("binance", "kucoin")


def test_an_exchange_is_named_by_its_place_at_any_depth(installation):
    config = {
        "exchange_pair_1": {"connector_name": "binnance", "trading_pair": "BTC-USDT"},
        "candles_config": [{"connector": "binance"}, {"connector": "okx", "trading_pair": "BTC-USDT"}],
        "candles_connector": "",
        "connector": None,
    }
    rule = "must be one of the fleet's venues (binance, kucoin), was"
    assert problems(installation.check_venues, config) == [
        f"entry: exchange_pair_1.connector_name: {rule} 'binnance'",
        f"entry: candles_config.1.connector: {rule} 'okx'",
    ]


def test_spot_connectors_are_those_of_the_installed_hummingbot():
    known = spot_connectors()
    assert {"binance", "kucoin", "gate_io"} <= known
    assert not {"paper_trade", "binance_perpetual", "__init__"} & known
    assert all(venue_setting(name).name == name for name in ("binance", "coinbase_advanced_trade"))
