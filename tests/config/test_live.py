"""Live venues in the fleet file: where their keys are, and what it takes to trade real money."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hive.config import ConfigError, load_fleet, users_in
from hive.fleet import EnvironmentKeys, FileKeys, KeystoreKeys, LiveVenue

LOOPBACK = {"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1/ws", "ws_api_url": "ws://127.0.0.1:1/api"}
PRODUCTION = {
    "rest_url": "https://api.binance.com",
    "ws_url": "wss://stream.binance.com:9443/ws",
    "ws_api_url": "wss://ws-api.binance.com:443/ws-api/v3",
}
VARIABLES = {"api_key_env": "KEY", "api_secret_env": "SECRET"}
RISK = {"max_order_notional": 500, "loss_limit": {"USDT": 100}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "quoter.py").touch()
    return tmp_path


def live_of(root: Path, venue: dict[str, Any], **sections: Any) -> LiveVenue:
    file = root / "fleet.yml"
    venues = {"binance": {"mode": "live", **venue}}
    file.write_text(yaml.safe_dump({"venues": venues, "strategies": [{"script": "quoter"}], **sections}))
    return load_fleet(file).venues[0]


def problems_of(root: Path, venue: dict[str, Any], **sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        live_of(root, venue, **sections)
    return caught.value.problems


@pytest.mark.parametrize(
    ("option", "source"),
    [
        (VARIABLES, lambda root: EnvironmentKeys("KEY", "SECRET")),
        ({"keys_file": "secret/keys.yml"}, lambda root: FileKeys(root / "secret/keys.yml")),
        ({"keys_file": "/etc/hive/keys.yml"}, lambda root: FileKeys(Path("/etc/hive/keys.yml"))),
        ({"keystore": True}, lambda root: KeystoreKeys(root / "conf/connectors/binance.yml")),
        ({"keystore": "conf/connectors/mine.yml"}, lambda root: KeystoreKeys(root / "conf/connectors/mine.yml")),
    ],
)
def test_keys_come_from_variables_a_file_or_a_keystore(root, option, source):
    assert live_of(root, {**LOOPBACK, **option}).keys == source(root)


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ({}, "must say where its keys are: api_key_env with api_secret_env, keys_file or keystore"),
        ({"api_secret_env": "S"}, "must name both api_key_env and api_secret_env, names api_secret_env"),
        ({"keys_file": "k", "keystore": True}, "must have its keys from one place, names keys_file, keystore"),
        (
            {"api_key_env": "K", "keys_file": "k"},
            "must have its keys from one place, names api_key_env, keys_file",
        ),
    ],
)
def test_keys_come_from_one_place(root, option, rule):
    assert problems_of(root, {**LOOPBACK, **option}) == [f"fleet.yml: venues.binance: {rule}"]


def test_a_key_in_the_fleet_file_itself_is_refused_and_not_shown(root):
    (problem,) = problems_of(root, {**LOOPBACK, **VARIABLES, "api_secret": "NhqPtmdSJYdK"})
    assert problem == "fleet.yml: venues.binance.api_secret: Extra inputs are not permitted"


@pytest.mark.parametrize("secret", ["a+b/c==", 12345])
def test_a_key_where_the_name_of_its_variable_belongs_is_not_shown(root, secret):
    (problem,) = problems_of(root, {**LOOPBACK, "api_key_env": "KEY", "api_secret_env": secret})
    assert problem.startswith("fleet.yml: venues.binance.api_secret_env: ")
    assert str(secret) not in problem


def test_production_hosts_are_taken_when_the_venue_says_so_and_the_risk_is_limited(root):
    venue = {**PRODUCTION, **VARIABLES, "production": True}
    assert live_of(root, {**venue, "risk": RISK}).production
    assert live_of(root, venue, risk=RISK).production
    mixed = live_of(root, {**venue, "risk": {"loss_limit": {"USDT": 5}}}, risk={"max_order_notional": 10})
    assert mixed.production


@pytest.mark.parametrize(
    ("risk", "missing"),
    [
        ({}, "no risk.max_order_notional and no risk.loss_limit"),
        ({"max_order_notional": 500}, "no risk.loss_limit"),
        ({"max_order_notional": 500, "loss_limit": {}}, "no risk.loss_limit"),
        ({"loss_limit": {"USDT": 100}}, "no risk.max_order_notional"),
    ],
)
def test_real_money_needs_a_limit_of_orders_and_of_losses(root, risk, missing):
    rule = "needs risk.max_order_notional and risk.loss_limit, at the venue or for the fleet"
    expected = [f"fleet.yml: venues.binance.production: {rule}; there is {missing}"]
    venue = {**PRODUCTION, **VARIABLES, "production": True}
    assert problems_of(root, {**venue, "risk": risk}) == expected
    assert problems_of(root, venue, risk=risk) == expected


def test_production_hosts_are_refused_unless_the_venue_says_so(root):
    (problem, *_) = problems = problems_of(root, {**PRODUCTION, **VARIABLES, "risk": RISK})
    assert len(problems) == 3
    assert problem == (
        "fleet.yml: venues.binance.rest_url: api.binance.com is not a loopback, testnet or demo host; where money is "
        "real, the venue must say `production: true`"
    )


def test_no_venue_has_one_foot_in_production(root):
    venue = {**PRODUCTION, "ws_url": "wss://stream.testnet.binance.vision/ws", **VARIABLES}
    (problem,) = problems_of(root, {**venue, "production": True, "risk": RISK})
    place = "fleet.yml: venues.binance.ws_url"
    assert problem.startswith(f"{place}: stream.testnet.binance.vision is not a production host of Binance's")


@pytest.mark.parametrize("key", ["user", "gate_user"])
def test_a_user_for_the_gate_needs_one_for_the_strategies(root, key):
    expected = ["fleet.yml: gate_user: must be named together with user, whom strategies run as"]
    assert problems_of(root, {**LOOPBACK, **VARIABLES}, **{key: "hive"}) == expected
    live_of(root, {**LOOPBACK, **VARIABLES}, user="hive", gate_user="hive-gate")
    assert users_in(root / "fleet.yml", None) == ("hive", "hive-gate")


def test_users_may_stand_in_the_second_file_and_are_nobody_where_nothing_can_be_read(root):
    (root / "fleet.yml").write_text("user: hive\n")
    (root / "more.yml").write_text("gate_user: hive-gate\n")
    assert users_in(root / "fleet.yml", root / "more.yml") == ("hive", "hive-gate")
    (root / "more.yml").write_text("gate_user: [\n")
    assert users_in(root / "fleet.yml", root / "more.yml") == ("hive", None)
    assert users_in(root / "none.yml", None) == (None, None)
