"""The process: how it starts, what it says, how it ends."""
from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hive.sim.cli import sim
from sim.sim_process import Client, SimProcess


def visible(pid: int) -> bytes:
    """Return what other processes can read of a process's arguments and environment."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


def test_it_announces_itself_in_one_line_and_ends_with_its_stdin():
    process = SimProcess("--rate", "0")
    assert set(process.info) >= {"rest_url", "ws_url", "ws_api_url", "api_key", "api_secret", "pid"}
    assert process.info["pid"] == process.process.pid
    assert process.info["ws_url"].endswith("/ws")
    assert process.info["ws_api_url"].endswith("/ws-api/v3")
    assert process.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_well_even_with_connections_open(number: signal.Signals):
    process = SimProcess("--rate", "100", "--active", "2")
    async with Client(process.info) as client, client.market() as market, client.api() as api:
        await market.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
        await market.receive_json(timeout=10)
        assert (await client.ask(api, {"id": 1, "method": "ping"}))["status"] == 200
        process.process.send_signal(number)
        while not (await market.receive(timeout=10)).type.name.startswith("CLOS"):
            pass
        assert process.process.wait(10) == 0
    process.stop()


async def test_keys_come_by_stdin_and_never_show():
    keys = [{"api_key": "k" * 64, "api_secret": "very-secret", "balances": {"USDT": "12.5"}},
            {"api_key": "second", "api_secret": "other-secret"}]
    process = SimProcess("--rate", "0", keys=keys)
    assert b"very-secret" not in visible(process.info["pid"])
    async with Client(process.info, 0) as client:
        _, account = await client.signed("GET", "account")
        assert account["balances"] == [{"asset": "USDT", "free": "12.50000000", "locked": "0.00000000"}]
    async with Client(process.info, 1) as client:
        _, account = await client.signed("GET", "account", omitZeroBalances="true")
        assert len(account["balances"]) > 20
    assert process.stop() == 0


async def test_keys_come_from_a_file_too(tmp_path: Path):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps([{"api_key": "filed", "api_secret": "s", "balances": {"BTC": "1"}}]))
    process = SimProcess("--rate", "0", "--keys-file", str(file))
    assert process.info["api_key"] == "filed"
    assert process.stop() == 0


def test_a_taken_port_is_said():
    first = SimProcess("--rate", "0")
    port = first.info["rest_url"].rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "hive.sim", "--port", port], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )
    assert (second.returncode, second.stdout) == (1, "")
    assert f"cannot listen on port {port}" in second.stderr
    assert first.stop() == 0


@pytest.mark.parametrize(("options", "message"), [
    (["--symbols", "0"], "symbols must be from 1 to 4000, was 0"),
    (["--active", "50", "--symbols", "10"], "active must be from 1 to symbols (10), was 50"),
    (["--rate", "-1"], "rate must be from 0 to 10000, was -1.0"),
    (["--rate", "nan"], "rate must be from 0 to 10000, was nan"),
    (["--rate", "1e300"], "rate must be from 0 to 10000, was 1e+300"),
    (["--fault", "halt:symbol=BTCUSDT,after=1e300"], "halt: after must be from 0 to 1e+09, was '1e300'"),
    (["--fault", "garbage:kind=huge,bytes=1e9"], "garbage: bytes must be from 0 to 1e+08, was '1e9'"),
    (["--weight-limit", "0"], "weight must be >= 1, was 0"),
    (["--fault", "fire"], "fault must be one of"),
    (["--balance", "BTC"], "--balance must be ASSET=AMOUNT"),
    (["--maker-ppm", "1000000"], "maker_ppm must be >= 0 and < 1000000"),
])
def test_options_that_make_no_sense_are_refused(options: list[str], message: str):
    result = CliRunner().invoke(sim, options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


async def test_fifteen_hundred_symbols_can_be_listed():
    process = SimProcess("--rate", "50", "--symbols", "1500", "--active", "3")
    async with Client(process.info) as client:
        _, info = await client.get("exchangeInfo")
        assert len(info["symbols"]) == 1500
        state = await client.control("state")
        assert len(state["active"]) == 3
    assert process.stop() == 0


async def test_the_ledger_has_every_order_with_its_fills():
    process = SimProcess("--rate", "0", "--balance", "BTC=5", "--balance", "USDT=500000")
    async with Client(process.info) as client:
        await client.order(side="SELL", quantity="0.5", price="64400", newClientOrderId="rests")
        taken = await client.control("trade", symbol="BTC-USDT", side="BUY", quantity="4", price="64400")
        assert float(taken["executed"]) > 0.5
        ledger = await client.control("ledger")
        order, = ledger["accounts"][0]["orders"]
        assert (order["clientOrderId"], order["status"], len(order["fills"])) == ("rests", "FILLED", 1)
        fill = order["fills"][0]
        assert (fill["qty"], fill["price"], fill["isMaker"]) == ("0.50000000", "64400.00000000", True)
        assert fill["commission"] == "32.20000000"
        assert ledger["fees"] == {"USDT": "32.20000000"}
        assert ledger["accounts"][0]["balances"]["USDT"] == {"free": "532167.80000000", "locked": "0.00000000"}
    assert process.stop() == 0
