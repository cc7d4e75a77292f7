"""`venues:` of a fleet file: what is taken, and what is refused before anything is sent to it."""

import pytest

from config.conftest import ONE, fleet_of, problems_of
from hive.fleet import LiveVenue


def test_names_that_no_counter_could_carry_are_refused(root):
    venues = "venues: {%s: {mode: sim, kind: binance}}\n"
    assert problems_of(root, venues % "'a,b'" + "strategies: [{script: quoter}]\n") == [
        "fleet.yml: venues.a,b: must be 1 to 32 of A-Z, a-z, 0-9, '_', '.', '-', was 'a,b'"
    ]
    name = "coinbase_advanced_trade"
    long = venues % name + f"strategies: [{{script: quoter, id: {'s' * 58}}}]\n"
    assert problems_of(root, long) == [
        f"fleet.yml: venues.{name}: its name and the longest id of a strategy must be at most 80 characters "
        "together, were 81"
    ]


def test_production_hosts_are_refused_with_the_reason(root):
    live = "{mode: live, rest_url: 'https://api.binance.com', ws_url: 'ws://127.0.0.1:1/ws', "
    live += "ws_api_url: 'ws://127.0.0.1:1/ws-api', api_key_env: KEY, api_secret_env: SECRET}"
    problems = problems_of(root, f"venues: {{binance: {live}}}\n" + ONE)
    assert len(problems) == 1
    assert problems[0].startswith("fleet.yml: venues.binance.rest_url: api.binance.com is not a loopback")


def test_a_live_venue_on_loopback_is_taken(root):
    live = "{mode: live, rest_url: 'http://127.0.0.1:1', ws_url: 'ws://127.0.0.1:1/ws', "
    live += "ws_api_url: 'ws://127.0.0.1:1/ws-api', api_key_env: KEY, api_secret_env: SECRET}"
    (venue,) = fleet_of(root, f"venues: {{binance: {live}}}\n" + ONE).venues
    assert isinstance(venue, LiveVenue)
    assert (venue.rest_url, venue.keys.api_secret_env) == ("http://127.0.0.1:1", "SECRET")


def test_an_address_that_is_none_is_refused(root):
    live = "{mode: live, rest_url: 'http://[', ws_url: 'ws://127.0.0.1:1', "
    live += "ws_api_url: 'ws://127.0.0.1:1', keys_file: x}"
    (problem,) = problems_of(root, f"venues: {{binance: {live}}}\n" + ONE)
    assert problem.startswith("fleet.yml: venues.binance.rest_url: must be an address, was 'http://[': ")


def test_a_paper_trade_venue_speaks_its_exchanges_protocol_and_is_never_live(root):
    strategies = "strategies: [{script: quoter, set: {exchange: binance_paper_trade}}]\n"
    (venue,) = fleet_of(root, "venues: {binance_paper_trade: {mode: sim}}\n" + strategies).venues
    assert (venue.name, venue.kind) == ("binance_paper_trade", "binance")
    live = "{mode: live, rest_url: 'http://127.0.0.1:1', ws_url: 'ws://127.0.0.1:1/ws', "
    live += "ws_api_url: 'ws://127.0.0.1:1/ws-api', api_key_env: KEY, api_secret_env: SECRET}"
    problems = problems_of(root, f"venues: {{binance_paper_trade: {live}}}\n" + strategies)
    assert problems == [
        "fleet.yml: venues.binance_paper_trade.mode: must be sim or replay where the name says paper trade, was live"
    ]


def test_a_venue_of_another_protocol_is_refused(root):
    problems = problems_of(root, "venues: {kraken: {mode: sim}}\nstrategies: [{script: quoter}]\n")
    called = "must be called binance, or have `kind: binance`"
    assert problems == [f"fleet.yml: venues.kraken: {called}: Hive speaks no other venue's protocol yet"]


@pytest.mark.parametrize("name", ["binnance", "binance_perpetual", "paper_trade", "Binance"])
def test_a_venue_that_hummingbot_has_no_connector_for_is_refused(root, name):
    venues = f"venues: {{{name}: {{mode: sim, kind: binance}}}}\n"
    (problem,) = problems_of(root, venues + "strategies: [{script: quoter}]\n")
    rule = f"fleet.yml: venues.{name}: must be called as one of Hummingbot's spot connectors ("
    assert problem.startswith(rule)
    assert problem.endswith(f", okx, xrpl), was {name!r}")


@pytest.mark.parametrize(
    ("venue", "rule"),
    [
        ("{seed: 1}", "must have a `mode`: sim, live or replay"),
        ("{mode: paper}", "mode: must be sim, live or replay, was 'paper'"),
        ("sim", "must be a mapping, was 'sim'"),
        ("", "must be a mapping, was nothing"),
    ],
)
def test_a_venue_has_one_of_three_modes(root, venue, rule):
    problems = problems_of(root, f"venues: {{binance: {venue}}}\n" + ONE)
    assert problems == [f"fleet.yml: venues.binance: {rule}"]


def test_a_fault_of_the_simulated_exchange_is_checked(root):
    problems = problems_of(root, "venues: {binance: {mode: sim, faults: [nonsense]}}\n" + ONE)
    assert len(problems) == 1
    assert problems[0].startswith("fleet.yml: venues.binance.faults.0: fault must be one of drop, stall,")
