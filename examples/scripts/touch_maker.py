"""Quote one buy and one sell order around the mid price and renew them at an interval; a plain Hummingbot V2 script."""

from decimal import Decimal

from hummingbot.core.data_type.common import MarketDict, OrderType, PriceType, TradeType
from hummingbot.core.data_type.order_candidate import OrderCandidate
from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase
from pydantic import Field


class TouchMakerConfig(StrategyV2ConfigBase):
    """What the script trades, and how closely."""

    script_file_name: str = "touch_maker.py"
    exchange: str = "binance"
    trading_pair: str = "BTC-USDT"
    order_amount_quote: Decimal = Field(default=Decimal(60), gt=0)
    spread: Decimal = Field(default=Decimal("0.0003"), ge=0)
    refresh_seconds: float = Field(default=6, gt=0)

    def update_markets(self, markets: MarketDict) -> MarketDict:
        """Add the script's only market."""
        return markets.add_or_update(self.exchange, self.trading_pair)


class TouchMaker(StrategyV2Base):
    """Keeps at most one order per side."""

    def __init__(self, connectors, config: TouchMakerConfig):
        super().__init__(connectors, config)
        self.renew_at = 0.0

    def on_tick(self):
        """Cancel what is left when it is time, and quote both sides anew once nothing is left."""
        if self.current_timestamp < self.renew_at:
            return
        resting = self.get_active_orders(self.config.exchange)
        if resting:
            for order in resting:
                self.cancel(self.config.exchange, order.trading_pair, order.client_order_id)
            return
        self.renew_at = self.current_timestamp + self.config.refresh_seconds
        connector = self.connectors[self.config.exchange]
        mid = connector.get_price_by_type(self.config.trading_pair, PriceType.MidPrice)
        amount = self.config.order_amount_quote / mid
        quotes = [
            OrderCandidate(
                trading_pair=self.config.trading_pair,
                is_maker=True,
                order_type=OrderType.LIMIT,
                order_side=side,
                amount=amount,
                price=mid * (1 + sign * self.config.spread),
            )
            for side, sign in ((TradeType.BUY, -1), (TradeType.SELL, 1))
        ]
        for quote in connector.budget_checker.adjust_candidates(quotes, all_or_none=True):
            if quote.amount > 0:
                trade = self.buy if quote.order_side is TradeType.BUY else self.sell
                trade(self.config.exchange, quote.trading_pair, quote.amount, quote.order_type, quote.price)
