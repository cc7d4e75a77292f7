"""The shapes of everything the exchange says about orders, accounts and symbols, as plain dicts.

Key names, their order and the value types are those of the venue's documentation; tests compare them with its
published examples. Market events, which are many, are written as text in `market_messages.py`.
"""
from __future__ import annotations

from typing import Any

from hive.sim.accounts import Account
from hive.sim.candles import Candle, next_open
from hive.sim.decimals import UNIT, format_units
from hive.sim.engine import Commission
from hive.sim.orders import BUY, CANCELED, LIMIT_MAKER, MARKET, NEW, TRADE, Fill, Order, Trade
from hive.sim.symbols import Symbol

ZERO = "0.00000000"


def order_ack(order: Order) -> dict[str, Any]:
    """Return the ACK response to a new order."""
    return {
        "symbol": order.symbol.name,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "transactTime": order.created_ms,
    }


def order_result(order: Order, now_ms: int) -> dict[str, Any]:
    """Return the RESULT response to a new order."""
    return {
        **order_ack(order),
        "transactTime": now_ms,
        **_standing(order),
        "workingTime": order.created_ms,
        "selfTradePreventionMode": "NONE",
    }


def order_full(order: Order, now_ms: int) -> dict[str, Any]:
    """Return the FULL response to a new order: the result with the fills so far."""
    return {
        **order_result(order, now_ms),
        "fills": [
            {
                "price": format_units(fill.trade.price),
                "qty": format_units(fill.trade.quantity),
                "commission": format_units(fill.commission),
                "commissionAsset": fill.commission_asset,
                "tradeId": fill.trade.trade_id,
            }
            for fill in order.fills
        ],
    }


def order_status(order: Order) -> dict[str, Any]:
    """Return an order as the query endpoints show it."""
    return {
        "symbol": order.symbol.name,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": format_units(order.price),
        "origQty": format_units(order.quantity),
        "executedQty": format_units(order.executed),
        "cummulativeQuoteQty": format_units(order.executed_quote),
        "status": order.status,
        "timeInForce": order.tif,
        "type": order.type,
        "side": order.side,
        "stopPrice": ZERO,
        "icebergQty": ZERO,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": True,
        "workingTime": order.created_ms,
        "origQuoteOrderQty": format_units(order.quote_quantity),
        "selfTradePreventionMode": "NONE",
    }


def order_cancelled(order: Order) -> dict[str, Any]:
    """Return the response to a cancel: the first client id is the original one, the cancel has its own."""
    return {
        "symbol": order.symbol.name,
        "origClientOrderId": order.client_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.cancel_id,
        "transactTime": order.updated_ms,
        **_standing(order),
        "selfTradePreventionMode": "NONE",
    }


def _standing(order: Order) -> dict[str, Any]:
    """Return what answers to a new order and to a cancel say of it alike."""
    return {
        "price": format_units(order.price),
        "origQty": format_units(order.quantity),
        "executedQty": format_units(order.executed),
        "origQuoteOrderQty": format_units(order.quote_quantity),
        "cummulativeQuoteQty": format_units(order.executed_quote),
        "status": order.status,
        "timeInForce": order.tif,
        "type": order.type,
        "side": order.side,
    }


def my_trade(fill: Fill) -> dict[str, Any]:
    """Return one of an account's own trades."""
    trade, order = fill.trade, fill.order
    return {
        "symbol": trade.symbol.name,
        "id": trade.trade_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "price": format_units(trade.price),
        "qty": format_units(trade.quantity),
        "quoteQty": format_units(trade.quote),
        "commission": format_units(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": trade.time_ms,
        "isBuyer": order.side == BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def public_trade(trade: Trade) -> dict[str, Any]:
    """Return one of everybody's trades."""
    return {
        "id": trade.trade_id,
        "price": format_units(trade.price),
        "qty": format_units(trade.quantity),
        "quoteQty": format_units(trade.quote),
        "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def execution_report(order: Order, execution: str, fill: Fill | None, execution_id: int, now_ms: int,
                     event_ms: int) -> dict[str, Any]:
    """Return the user stream's event for a change of an order; execution is NEW, TRADE, CANCELED or EXPIRED."""
    cancelled = execution == CANCELED
    executed = fill.executed if fill else order.executed
    report = {
        "e": "executionReport",
        "E": event_ms,
        "s": order.symbol.name,
        "c": order.cancel_id if cancelled else order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.tif,
        "q": format_units(order.quantity),
        "p": format_units(order.price),
        "P": ZERO,
        "F": ZERO,
        "g": -1,
        "C": order.client_id if cancelled else "",
        "x": execution,
        "X": order.status if execution != NEW else NEW,
        "r": "NONE",
        "i": order.order_id,
        "l": format_units(fill.trade.quantity) if fill else ZERO,
        "z": format_units(executed if execution != NEW else 0),
        "L": format_units(fill.trade.price) if fill else ZERO,
        "n": format_units(fill.commission) if fill else "0",
        "N": fill.commission_asset if fill else None,
        "T": now_ms,
        "t": fill.trade.trade_id if fill else -1,
        "I": execution_id,
        "w": order.is_open and order.type != MARKET,
        "m": fill.is_maker if fill else False,
        "M": execution == TRADE,
        "O": order.created_ms,
        "Z": format_units((fill.executed_quote if fill else order.executed_quote) if execution != NEW else 0),
        "Y": format_units(fill.trade.quote) if fill else ZERO,
        "Q": format_units(order.quote_quantity),
        "W": order.created_ms,
        "V": "NONE",
    }
    return report


def account_position(account: Account, assets: tuple[str, ...], event_ms: int) -> dict[str, Any]:
    """Return the user stream's event for balances that may have changed."""
    balances = []
    for asset in assets:
        balance = account.balance(asset)
        balances.append({"a": asset, "f": format_units(balance.free), "l": format_units(balance.locked)})
    return {"e": "outboundAccountPosition", "E": event_ms, "u": account.updated_ms or event_ms, "B": balances}


def account_status(account: Account, commission: Commission, omit_zero: bool) -> dict[str, Any]:
    """Return an account with its balances."""
    maker, taker = commission.maker_ppm, commission.taker_ppm
    return {
        "makerCommission": maker // 100,
        "takerCommission": taker // 100,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": _rate(maker), "taker": _rate(taker), "buyer": ZERO, "seller": ZERO},
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": account.updated_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": format_units(balance.free), "locked": format_units(balance.locked)}
            for asset, balance in sorted(account.balances.items())
            if balance.free or balance.locked or not omit_zero
        ],
        "permissions": ["SPOT"],
        "uid": account.number,
    }


def account_commission(symbol: Symbol, commission: Commission) -> dict[str, Any]:
    """Return an account's commission rates on a symbol."""
    none = {"maker": ZERO, "taker": ZERO, "buyer": ZERO, "seller": ZERO}
    return {
        "symbol": symbol.name,
        "standardCommission": {**none, "maker": _rate(commission.maker_ppm), "taker": _rate(commission.taker_ppm)},
        "specialCommission": none,
        "taxCommission": none,
        "discount": {
            "enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "BNB", "discount": ZERO,
        },
    }


def symbol_info(symbol: Symbol, status: str) -> dict[str, Any]:
    """Return a symbol with its filters as exchangeInfo lists it."""
    return {
        "symbol": symbol.name,
        "status": status,
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", LIMIT_MAKER, MARKET],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": format_units(symbol.min_price),
                "maxPrice": format_units(symbol.max_price),
                "tickSize": format_units(symbol.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": format_units(symbol.min_quantity),
                "maxQty": format_units(symbol.max_quantity),
                "stepSize": format_units(symbol.step),
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": ZERO,
                "maxQty": format_units(symbol.max_market_quantity),
                "stepSize": ZERO,
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": "5",
                "bidMultiplierDown": "0.2",
                "askMultiplierUp": "5",
                "askMultiplierDown": "0.2",
                "avgPriceMins": 0,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": format_units(symbol.min_notional),
                "applyMinToMarket": True,
                "maxNotional": format_units(symbol.max_notional),
                "applyMaxToMarket": False,
                "avgPriceMins": 0,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": symbol.max_orders},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


def kline_row(candle: Candle, interval: str) -> list[Any]:
    """Return a candle as a row of the klines endpoint."""
    return [
        candle.open_ms,
        format_units(candle.open),
        format_units(candle.high),
        format_units(candle.low),
        format_units(candle.close),
        format_units(candle.volume),
        next_open(interval, candle.open_ms) - 1,
        format_units(candle.quote),
        candle.trades,
        format_units(candle.taker_volume),
        format_units(candle.taker_quote),
        "0",
    ]


def day_ticker(symbol: Symbol, day: Candle, last_quantity: int, bid: tuple[int, int], ask: tuple[int, int],
               now_ms: int) -> dict[str, Any]:
    """Return the 24 hour statistics of a symbol; bid and ask are (price, quantity)."""
    change = day.close - day.open
    average = day.quote * UNIT // day.volume if day.volume else day.close
    return {
        "symbol": symbol.name,
        "priceChange": format_units(change),
        "priceChangePercent": f"{100 * change / day.open:.3f}",
        "weightedAvgPrice": format_units(average),
        "prevClosePrice": format_units(day.open),
        "lastPrice": format_units(day.close),
        "lastQty": format_units(last_quantity),
        "bidPrice": format_units(bid[0]),
        "bidQty": format_units(bid[1]),
        "askPrice": format_units(ask[0]),
        "askQty": format_units(ask[1]),
        "openPrice": format_units(day.open),
        "highPrice": format_units(day.high),
        "lowPrice": format_units(day.low),
        "volume": format_units(day.volume),
        "quoteVolume": format_units(day.quote),
        "openTime": now_ms - 86_400_000,
        "closeTime": now_ms,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.trades,
    }


def _rate(ppm: int) -> str:
    return format_units(ppm * 100)
