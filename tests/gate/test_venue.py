"""Which endpoints this version trades on."""

import pytest

from hive.gate.errors import EndpointRefused
from hive.gate.venue import check_endpoint


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "ws://127.0.0.1:1/ws-api/v3",
        "http://127.8.9.10",
        "http://localhost:99",
        "http://[::1]:99",
        "https://testnet.binance.vision",
        "wss://ws-api.testnet.binance.vision/ws-api/v3",
        "wss://stream.testnet.binance.vision/ws",
        "https://demo-api.binance.com",
        "wss://demo-ws-api.binance.com/ws-api/v3",
    ],
)
def test_loopback_testnet_and_demo_hosts_are_accepted(url):
    check_endpoint(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.binance.com",
        "wss://ws-api.binance.com:443/ws-api/v3",
        "https://api1.binance.com",
        "https://api.binance.us",
        "https://testnet.binance.vision@api.binance.com",
        "https://api.binance.com/testnet",
        "https://nottestnet.example.com",
        "http://10.0.0.1",
        "http://128.0.0.1",
        "http://localhost.example.com",
    ],
)
def test_production_hosts_are_refused_with_the_reason(url):
    with pytest.raises(EndpointRefused, match="is not a loopback, testnet or demo host"):
        check_endpoint(url)


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://127.0.0.1", "http://"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(EndpointRefused, match="must be http, https, ws or wss with a host"):
        check_endpoint(url)
