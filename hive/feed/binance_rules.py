"""An instrument's rules in Binance's exchangeInfo.

    {"symbol": "ETHBTC", "status": "TRADING", "baseAsset": "ETH", "quoteAsset": "BTC", "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.00000100", ...},
        {"filterType": "LOT_SIZE", "minQty": "0.00100000", "maxQty": "100000.00000000", "stepSize": "0.00100000"},
        {"filterType": "NOTIONAL", "minNotional": "10.00000000", "maxNotional": "9000000.00000000", ...}]}

Older instruments have MIN_NOTIONAL instead of NOTIONAL.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

from hive.shm.instruments import InstrumentRules

PLAIN_EXPONENT = Decimal(1)


def instrument_rules(entry: Any) -> InstrumentRules | None:
    """Return the rules in an entry, None when it cannot be read."""
    try:
        return _read(entry)
    except (KeyError, TypeError, ValueError, InvalidOperation):
        return None


def _read(entry: dict[str, Any]) -> InstrumentRules:
    filters = {one["filterType"]: one for one in entry["filters"]}
    price = filters["PRICE_FILTER"]
    lot = filters["LOT_SIZE"]
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {"minNotional": "0"}
    base = _text(entry, "baseAsset")
    quote_asset = _text(entry, "quoteAsset")
    return InstrumentRules(
        pair=f"{base}-{quote_asset}",
        symbol=_text(entry, "symbol"),
        base=base,
        quote=quote_asset,
        tick=_decimal(price["tickSize"]),
        step=_decimal(lot["stepSize"]),
        min_qty=_decimal(lot["minQty"]),
        max_qty=_decimal(lot["maxQty"]),
        min_notional=_decimal(notional["minNotional"]),
        trading=entry["status"] == "TRADING",
        max_notional=_decimal(notional["maxNotional"]) if "maxNotional" in notional else None,
    )


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry[key]
    if type(value) is not str:
        raise ValueError(f"{key} must be a string, was {value!r:.40}")
    return value


def _decimal(text: str) -> Decimal:
    """Return an exact decimal without trailing zeros: "0.01000000" is 0.01, "9000.00" is 9000."""
    value = Decimal(text)
    if not value.is_finite() or value < 0:
        raise ValueError(f"a rule must be a finite number >= 0, was {text}")
    return value.quantize(PLAIN_EXPONENT) if value == value.to_integral_value() else value.normalize()
