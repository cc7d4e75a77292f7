"""A small configuration of pure_market_making: one order on each side, one percent away."""

PMM = {
    "strategy": "pure_market_making",
    "exchange": "binance",
    "market": "BTC-USDT",
    "bid_spread": 1,
    "ask_spread": 1,
    "order_amount": 0.1,
    "order_refresh_time": 5.0,
    "filled_order_delay": 1.0,
}
