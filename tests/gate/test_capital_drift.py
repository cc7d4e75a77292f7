"""Drift: what moves an account beside its strategies is shown, from the first look on and over restarts."""

from decimal import Decimal

from hive.gate.capital_drift import CapitalDrift


def amounts(**by_asset: str) -> dict[str, Decimal]:
    return {asset: Decimal(amount) for asset, amount in by_asset.items()}


def test_what_was_never_given_out_is_no_drift_and_a_deposit_is():
    drift = CapitalDrift(["USDT"], {}, anew=False)
    drift.look(amounts(USDT="9000", DUST="1"))
    assert drift.by_asset == amounts(USDT="0")
    drift.look(amounts(USDT="9250.5"))
    assert drift.by_asset == amounts(USDT="250.5")


def test_it_goes_on_after_a_restart():
    first = CapitalDrift(["USDT", "BTC"], {}, anew=False)
    notes = first.look(amounts(USDT="100"))
    assert first.look(amounts(USDT="90")) == {}
    second = CapitalDrift(["USDT", "BTC"], notes, anew=False)
    assert second.look(amounts(USDT="80", BTC="-0.5")) == {}
    assert second.by_asset == amounts(USDT="-20", BTC="-0.5")


def test_other_amounts_in_the_configuration_begin_it_anew():
    notes = CapitalDrift(["USDT"], {}, anew=False).look(amounts(USDT="100"))
    drift = CapitalDrift(["USDT"], notes, anew=True)
    assert drift.look(amounts(USDT="70")) == {"drift/USDT": "70"}
    assert drift.by_asset == amounts(USDT="0")
