"""A small installation, and fleet files over it."""

from pathlib import Path

import pytest

from hive.config import ConfigError, load_fleet

VENUES = "venues: {binance: {mode: sim}}\n"
ONE = "strategies: [{script: quoter, config: quoter.yml}]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small installation with one V1 configuration, two scripts and a controller."""
    files = {
        "conf/strategies/pmm.yml": (
            "template_version: 24\nstrategy: pure_market_making\nexchange: binance\nmarket: BTC-USDT\n"
            "bid_spread: 0.5\nask_spread: 0.5\norder_refresh_time: 10.0\norder_amount: 0.01\n"
        ),
        "conf/scripts/quoter.yml": "script_file_name: quoter.py\nexchange: binance\ntrading_pair: ETH-USDT\n",
        "conf/scripts/many.yml": "script_file_name: many.py\ncontrollers_config: [grid.yml]\n",
        "conf/controllers/grid.yml": (
            "controller_type: generic\ncontroller_name: grid\nconnector_name: binance\ntrading_pair: SOL-USDT\n"
        ),
        "scripts/quoter.py": "",
        "scripts/many.py": "",
        "controllers/generic/grid.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def fleet_of(root: Path, text: str, **options):
    path = root / "fleet.yml"
    path.write_text(text)
    return load_fleet(path, **options)


def problems_of(root: Path, text: str, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        fleet_of(root, text, **options)
    return caught.value.problems
