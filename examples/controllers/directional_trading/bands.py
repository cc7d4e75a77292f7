"""A directional controller on candles: buys below the lower Bollinger band, sells above the upper one."""

from hummingbot.data_feed.candles_feed.data_types import CandlesConfig
from hummingbot.strategy_v2.controllers.directional_trading_controller_base import (
    DirectionalTradingControllerBase,
    DirectionalTradingControllerConfigBase,
)
from pydantic import Field

HISTORY = 100  # candles to look at


class BandsConfig(DirectionalTradingControllerConfigBase):
    """The base configuration and the bands: over `length` candles, `width` standard deviations off their mean."""

    controller_name: str = "bands"
    interval: str = "1m"
    length: int = Field(default=20, ge=2, le=HISTORY, json_schema_extra={"is_updatable": True})
    width: float = Field(default=2.0, gt=0, json_schema_extra={"is_updatable": True})


class Bands(DirectionalTradingControllerBase):
    """Bets that the price comes back; each bet is a position with the configured barriers."""

    def get_candles_config(self) -> list[CandlesConfig]:
        """Return the candles of the pair that is traded."""
        config = self.config
        return [
            CandlesConfig(
                connector=config.connector_name,
                trading_pair=config.trading_pair,
                interval=config.interval,
                max_records=HISTORY,
            )
        ]

    async def update_processed_data(self) -> None:
        """Compute where the newest price is between the bands, and the signal from that."""
        config = self.config
        features = self.market_data_provider.get_candles_df(
            config.connector_name, config.trading_pair, config.interval, HISTORY
        )
        closes = features["close"].rolling(config.length)
        reach = config.width * closes.std(ddof=0)
        features["place"] = ((features["close"] - closes.mean()) / reach).where(reach > 0, 0.0)  # -1 and 1: the bands
        features["signal"] = (features["place"] < -1).astype(int) - (features["place"] > 1).astype(int)
        self.processed_data = {"signal": int(features["signal"].iloc[-1]), "features": features}
