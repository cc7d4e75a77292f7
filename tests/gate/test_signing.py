"""Signatures against the examples that Binance publishes with its API documents."""

import hmac

import pytest

from hive.gate.signing import Signer

API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
API_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"


def test_a_websocket_request_is_signed_as_in_the_documents():
    params = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "newOrderRespType": "ACK",
        "recvWindow": 100,
        "timestamp": 1645423376532,
    }
    signed = Signer(API_KEY, API_SECRET).params(params)
    assert signed["signature"] == "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a"
    assert signed["apiKey"] == API_KEY
    assert "signature" not in params


def test_a_rest_request_is_signed_as_in_the_documents():
    params = {
        "symbol": "LTCBTC",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": 1,
        "price": "0.1",
        "recvWindow": 5000,
        "timestamp": 1499827319559,
    }
    query = Signer(API_KEY, API_SECRET).query(params)
    assert query.endswith("&signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71")


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_a_secret_of_any_length_signs_as_hmac_does(length):
    secret = "s" * length
    expected = hmac.new(secret.encode(), b"symbol=BTCUSDT", "sha256").hexdigest()
    assert Signer(API_KEY, secret).sign("symbol=BTCUSDT") == expected


def test_a_signer_shows_nothing_of_its_keys():
    assert API_SECRET not in repr(Signer(API_KEY, API_SECRET))
    assert API_KEY not in repr(Signer(API_KEY, API_SECRET))
