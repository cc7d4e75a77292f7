"""A Hummingbot V2 script that buys, far below the market, whenever a pacer says so. Used by `order_latency.py`."""

from decimal import Decimal

from hummingbot.core.data_type.common import MarketDict, OrderType, PriceType
from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase
from scripts.paced_buyer import PacedBuyer


class LatencyScriptConfig(StrategyV2ConfigBase):
    """What is bought, and where the pacer is."""

    script_file_name: str = "latency_script.py"
    exchange: str = "binance"
    trading_pair: str = "BTC-USDT"
    amount: Decimal = Decimal("0.001")
    fifo: str = ""
    log: str = ""

    def update_markets(self, markets: MarketDict) -> MarketDict:
        """Add the script's only market."""
        return markets.add_or_update(self.exchange, self.trading_pair)


class LatencyScript(StrategyV2Base):
    """Does nothing at its ticks once it listens to the pacer."""

    def __init__(self, connectors, config: LatencyScriptConfig):
        super().__init__(connectors, config)
        self.buyer = None
        self.price = Decimal("NaN")

    def on_tick(self):
        """Begin to listen."""
        if self.buyer is None:
            connector = self.connectors[self.config.exchange]
            mid = connector.get_price_by_type(self.config.trading_pair, PriceType.MidPrice)
            self.price = connector.quantize_order_price(self.config.trading_pair, mid / 2)
            self.buyer = PacedBuyer(self.config.fifo, self.config.log, self.buy_one)

    def buy_one(self) -> str:
        """Buy once; return the client order id."""
        config = self.config
        return self.buy(config.exchange, config.trading_pair, config.amount, OrderType.LIMIT, self.price)
