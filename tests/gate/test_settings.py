"""The boot message."""

import pytest

from hive.gate.errors import BootError
from hive.gate.settings import GateSettings

VENUE = {
    "index": 0,
    "name": "binance",
    "rest_url": "http://127.0.0.1:1",
    "ws_api_url": "ws://127.0.0.1:1",
    "api_key": "key",
    "api_secret": "very-secret",
}
BOOT = {
    "type": "boot",
    "run": "0123abcd",
    "fleet": "f",
    "fleet_id": "abcde",
    "epoch": 2,
    "run_dir": "/tmp/hive/f",
    "venues": [VENUE],
    "strategies": [{"id": "s", "tag": "qqqqq", "worker": 1, "quota": {"max_orders_per_second": 3}}],
    "rate_limiting": {"global_orders_per_second": 10, "per_strategy_orders_per_second": 1},
}


def test_a_boot_message_is_read_with_its_defaults():
    settings = GateSettings.from_boot(BOOT)
    assert settings.venues[0].recv_window_ms == 5000
    assert settings.max_order_age_s is None  # the gate derives it
    assert settings.on_worker_death == "cancel"
    assert settings.strategies[0].quota.max_orders_per_second == 3
    assert (settings.orders_per_second, settings.orders_per_second_each) == (10, 1)


def test_the_settings_show_no_key():
    assert "very-secret" not in repr(GateSettings.from_boot(BOOT))
    assert "'key'" not in repr(GateSettings.from_boot(BOOT))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"on_worker_death": "pray"}, "on_worker_death must be cancel or keep, was 'pray'"),
        ({"rate_limiting": {"global_orders_per_second": 0}}, "global_orders_per_second must be > 0, was 0"),
        ({"venues": [{**VENUE, "api_secret": ""}]}, "venue binance: api_secret must be ASCII and not empty"),
    ],
)
def test_what_is_wrong_is_named(change, text):
    with pytest.raises(BootError, match=text):
        GateSettings.from_boot({**BOOT, **change})


def test_what_is_missing_is_named():
    boot = dict(BOOT)
    del boot["venues"]
    with pytest.raises(BootError, match="lacks 'venues'"):
        GateSettings.from_boot(boot)
