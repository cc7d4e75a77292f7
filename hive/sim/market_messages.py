"""Market stream events as encoded text, built once however many connections receive them."""
from __future__ import annotations

from hive.sim.candles import Candle, next_open
from hive.sim.decimals import UNIT, format_units
from hive.sim.orders import Trade


def levels_text(levels: list[tuple[int, int]]) -> str:
    """Return (price, quantity) pairs as a JSON list of string pairs."""
    return ",".join([
        f'["{price // UNIT}.{price % UNIT:08d}","{quantity // UNIT}.{quantity % UNIT:08d}"]'
        for price, quantity in levels
    ])


def depth_update(name: str, first_id: int, last_id: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]],
                 now_ms: int) -> bytes:
    """Return a depthUpdate event: the changes first_id..last_id as absolute quantities, 0 for a level that is gone."""
    return (
        f'{{"e":"depthUpdate","E":{now_ms},"s":"{name}","U":{first_id},"u":{last_id},'
        f'"b":[{levels_text(bids)}],"a":[{levels_text(asks)}]}}'
    ).encode()


def depth_levels(update_id: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> bytes:
    """Return the answer to a depth request: (price, quantity) of each side, best first."""
    return (
        f'{{"lastUpdateId":{update_id},"bids":[{levels_text(bids)}],"asks":[{levels_text(asks)}]}}'
    ).encode()


def trade_event(trade: Trade, now_ms: int) -> bytes:
    """Return a trade event."""
    return (
        f'{{"e":"trade","E":{now_ms},"s":"{trade.symbol.name}","t":{trade.trade_id},'
        f'"p":"{format_units(trade.price)}","q":"{format_units(trade.quantity)}",'
        f'"T":{trade.time_ms},"m":{"true" if trade.buyer_is_maker else "false"},"M":true}}'
    ).encode()


def aggregate_trade(name: str, aggregate_id: int, trades: list[Trade], now_ms: int) -> bytes:
    """Return an aggTrade event for the trades of one taker at one price, oldest first."""
    first, last = trades[0], trades[-1]
    quantity = sum(trade.quantity for trade in trades)
    return (
        f'{{"e":"aggTrade","E":{now_ms},"s":"{name}","a":{aggregate_id},"p":"{format_units(first.price)}",'
        f'"q":"{format_units(quantity)}","f":{first.trade_id},"l":{last.trade_id},"T":{first.time_ms},'
        f'"m":{"true" if first.buyer_is_maker else "false"},"M":true}}'
    ).encode()


def book_ticker(name: str, update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> bytes:
    """Return a bookTicker event; bid and ask are (price, quantity)."""
    return (
        f'{{"u":{update_id},"s":"{name}","b":"{format_units(bid[0])}","B":"{format_units(bid[1])}",'
        f'"a":"{format_units(ask[0])}","A":"{format_units(ask[1])}"}}'
    ).encode()


def kline_event(name: str, interval: str, candle: Candle, now_ms: int) -> bytes:
    """Return a kline event; one whose time is over says that it is closed."""
    close_ms = next_open(interval, candle.open_ms) - 1
    return (
        f'{{"e":"kline","E":{now_ms},"s":"{name}","k":{{"t":{candle.open_ms},"T":{close_ms},"s":"{name}",'
        f'"i":"{interval}","f":{candle.first_id},"L":{candle.last_id},"o":"{format_units(candle.open)}",'
        f'"c":"{format_units(candle.close)}","h":"{format_units(candle.high)}","l":"{format_units(candle.low)}",'
        f'"v":"{format_units(candle.volume)}","n":{candle.trades},"x":{"true" if now_ms > close_ms else "false"},'
        f'"q":"{format_units(candle.quote)}","V":"{format_units(candle.taker_volume)}",'
        f'"Q":"{format_units(candle.taker_quote)}","B":"0"}}}}'
    ).encode()
