"""Point Hummingbot's process-wide paths and connector settings at one root folder, before the rest of it is imported.

Hummingbot derives its `conf`, `data`, `scripts` and `controllers` folders from where the package lies, and its other
modules copy those values when they are imported. So `prepare()` runs first, and imports as little of it as it can.
"""

import importlib
import os
import sys
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

from hummingbot.client import settings
from hummingbot.core.data_type.trade_fee import TradeFeeSchema

import hummingbot
from hive.workers.context import CURRENT
from hummingbot.runtime.errors import UnknownVenue

PAPER_TRADE = "_paper_trade"  # ends the names under which Hummingbot simulates an exchange
CONNECTOR_FACTORY = ("hummingbot.runtime.connector", "connector_for_current_context")


class VenueSetting(settings.ConnectorSetting):
    """A connector setting whose connector is Hive's, whichever of Hummingbot's factories makes it."""

    __slots__ = ()

    def module_path(self) -> str:
        """Return the module that holds the connector factory."""
        return CONNECTOR_FACTORY[0]

    def class_name(self) -> str:
        """Return the name of the connector factory in that module."""
        return CONNECTOR_FACTORY[1]

    def conn_init_parameters(self, trading_pairs=None, trading_required=False, **ignored: Any) -> dict[str, Any]:
        """Return what the connector factory takes; keys never reach a worker."""
        return {"name": self.name, "trading_pairs": list(trading_pairs or ()), "trading_required": trading_required}


class ControllerConfigs(os.PathLike[str]):
    """The folder of controllers' configurations below the root of the strategy whose code asks, else the fleet's."""

    def __init__(self, fallback: Path) -> None:
        self._fallback = fallback

    def __fspath__(self) -> str:
        context = CURRENT.get(None)
        modules = None if context is None else getattr(context.host_data, "modules", None)
        return os.fspath(self._fallback if modules is None else modules.root / "conf" / "controllers")

    def __truediv__(self, name: str) -> Path:
        return Path(self) / name

    def __str__(self) -> str:
        return os.fspath(self)


def prepare(root: Path, data: Path, venues: list[str]) -> None:
    """Set Hummingbot's folders and its table of connectors for this process.

    Args:
        root: the folder with `conf/`, `scripts/` and `controllers/`, as in a Hummingbot installation.
        data: where databases and other written files go; created when missing.
        venues: names of the connectors that the fleet has venues for, e.g. `["binance"]`.

    Raises:
        UnknownVenue: Hummingbot has no connector of that name.
    """
    sys.dont_write_bytecode = True  # the root is the operator's: nothing is written there
    data.mkdir(parents=True, exist_ok=True)
    hummingbot.set_prefix_path(str(root))
    hummingbot.set_data_path(str(data))
    conf = root / "conf"
    settings.CONF_DIR_PATH = conf
    settings.CLIENT_CONFIG_PATH = conf / "conf_client.yml"
    settings.TRADE_FEES_CONFIG_PATH = conf / "conf_fee_overrides.yml"
    settings.STRATEGIES_CONF_DIR_PATH = conf / "strategies"
    settings.CONNECTORS_CONF_DIR_PATH = conf / "connectors"
    settings.SCRIPT_STRATEGY_CONF_DIR_PATH = conf / "scripts"
    settings.CONTROLLERS_CONF_DIR_PATH = ControllerConfigs(conf / "controllers")
    settings.SCRIPT_STRATEGIES_PATH = root / settings.SCRIPT_STRATEGIES_MODULE
    settings.CONTROLLERS_PATH = root / settings.CONTROLLERS_MODULE
    settings.DEFAULT_LOG_FILE_PATH = data / "logs"
    for module in (settings.SCRIPT_STRATEGIES_MODULE, settings.CONTROLLERS_MODULE):
        _mount(module, root / module)
    settings.AllConnectorSettings.all_connector_settings = {name: venue_setting(name) for name in venues}


def venue_setting(name: str) -> VenueSetting:
    """Return the setting of one connector, with the fee schema and example pair that Hummingbot gives it.

    A paper trade connector has those of the exchange that it simulates, as in Hummingbot.

    Raises:
        UnknownVenue: Hummingbot has no spot connector of that name.
    """
    exchange = name.removesuffix(PAPER_TRADE)
    try:
        utils = importlib.import_module(f"hummingbot.connector.exchange.{exchange}.{exchange}_utils")
    except ModuleNotFoundError as error:
        raise UnknownVenue(f"venues.{name}: Hummingbot has no spot connector of that name") from error
    fees = getattr(utils, "DEFAULT_FEES", None)
    if not isinstance(fees, TradeFeeSchema):
        maker, taker = (Decimal(str(fee)) / 100 for fee in fees)
        fees = TradeFeeSchema(maker_percent_fee_decimal=maker, taker_percent_fee_decimal=taker)
    return VenueSetting(
        name=name,
        type=settings.ConnectorType.Exchange,
        example_pair=getattr(utils, "EXAMPLE_PAIR", "BTC-USDT"),
        centralised=True,
        use_ethereum_wallet=False,
        trade_fee_schema=fees,
        config_keys=None,
        is_sub_domain=False,
        parent_name=None,
        domain_parameter=None,
        use_eth_gas_lookup=False,
    )


def _mount(name: str, folder: Path) -> None:
    # Made by hand instead of through sys.path: a root that is a checkout of Hummingbot would shadow the installed one.
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
