"""Which endpoints this version trades on."""

import pytest

from hive.gate.errors import EndpointRefused
from hive.gate.venue import PRODUCTION_HOSTS, check_endpoint

ELSEWHERE = [
    "https://api.binance.us",
    "https://testnet.binance.vision@api.example.com",
    "https://api.binance.com.example.com",
    "https://api.binance.com@example.com",
    "https://xapi.binance.com",
    "https://binance.com",
    "https://fapi.binance.com",
    "https://data-api.binance.vision",
    "https://nottestnet.example.com",
    "https://testnet.example.com",
    "https://nottestnet.binance.vision",
    "http://10.0.0.1",
    "http://128.0.0.1",
    "http://localhost.example.com",
]
PLAY = [
    "http://127.0.0.1:8080",
    "ws://127.0.0.1:1/ws-api/v3",
    "http://127.8.9.10",
    "http://localhost:99",
    "http://[::1]:99",
    "https://testnet.binance.vision",
    "https://api1.testnet.binance.vision",
    "wss://ws-api.testnet.binance.vision/ws-api/v3",
    "wss://stream.testnet.binance.vision/ws",
    "https://demo-api.binance.com",
    "wss://demo-ws-api.binance.com/ws-api/v3",
]
PRODUCTION = [
    "https://api.binance.com",
    "https://api-gcp.binance.com",
    *(f"https://api{number}.binance.com" for number in range(1, 5)),
    "wss://ws-api.binance.com:443/ws-api/v3",
    "wss://ws-api.binance.com:9443/ws-api/v3",
    "wss://stream.binance.com:9443/ws",
    "wss://data-stream.binance.vision/ws",
]


@pytest.mark.parametrize("url", PLAY)
def test_loopback_testnet_and_demo_hosts_are_accepted(url):
    check_endpoint(url)


@pytest.mark.parametrize("url", [*ELSEWHERE, *PRODUCTION, "https://api.binance.com/testnet"])
def test_every_other_host_is_refused_with_the_reason(url):
    with pytest.raises(EndpointRefused, match="is not a loopback, testnet or demo host"):
        check_endpoint(url)


def test_a_production_host_is_refused_with_the_word_that_it_takes():
    with pytest.raises(EndpointRefused, match=r"the venue must say `production: true`$"):
        check_endpoint("https://api.binance.com")
    with pytest.raises(EndpointRefused, match=r"is not a loopback, testnet or demo host$"):
        check_endpoint("https://example.com")


@pytest.mark.parametrize("url", PRODUCTION)
def test_production_hosts_are_accepted_where_money_is_real(url):
    check_endpoint(url, production=True)


@pytest.mark.parametrize("url", [*ELSEWHERE, *PLAY])
def test_no_other_host_is_accepted_where_money_is_real(url):
    with pytest.raises(EndpointRefused, match="is not a production host of Binance's"):
        check_endpoint(url, production=True)


@pytest.mark.parametrize("host", sorted(PRODUCTION_HOSTS))
def test_no_production_host_is_spoken_to_in_clear(host):
    for scheme in ("http", "ws"):
        with pytest.raises(EndpointRefused, match=f"{host} must be reached by https or wss, was {scheme}"):
            check_endpoint(f"{scheme}://{host}", production=True)


@pytest.mark.parametrize("production", [False, True])
@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "file:///api.binance.com"])
def test_what_is_no_url_is_refused(url, production):
    with pytest.raises(EndpointRefused, match="must be http, https, ws or wss with a host"):
        check_endpoint(url, production)
