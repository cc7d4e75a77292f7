"""The command line of the simulated exchange: `hive sim` and `python -m hive.sim`.

When it listens it prints one line of JSON: rest_url, ws_url, ws_api_url, api_key, api_secret, accounts, pid.
"""
from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

import click

from hive.sim.accounts import Accounts, new_key_pair
from hive.sim.engine import Commission
from hive.sim.exchange import Exchange, ExchangeSettings
from hive.sim.faults import NAMES, parse_fault
from hive.sim.limits import LimitSettings
from hive.sim.server import Server
from hive.sim.symbols import list_symbols

DEFAULT_QUOTE_BALANCE = "1000000"
_BASE_VALUE_IN_QUOTE = 500_000
_QUOTES = ("USDT", "USDC", "FDUSD")


def default_balances(symbol_count: int) -> dict[str, str]:
    """Return starting balances of every listed asset: a million of each dollar, half a million's worth of the rest."""
    balances = dict.fromkeys(_QUOTES, DEFAULT_QUOTE_BALANCE)
    for symbol in list_symbols(symbol_count).values():
        if symbol.quote in _QUOTES and symbol.base not in balances:
            balances[symbol.base] = str(max(1, _BASE_VALUE_IN_QUOTE * 10**8 // symbol.start_price))
    return balances


@click.command("sim")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: the kernel chooses.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the background flow.")
@click.option("--rate", type=float, default=200.0, show_default=True, help="Flow steps per second, over all pairs.")
@click.option("--symbols", type=int, default=30, show_default=True, help="How many pairs are listed.")
@click.option("--active", type=int, default=None, help="How many of them trade.  [default: 20, or all if fewer]")
@click.option("--balance", "balances", multiple=True, metavar="ASSET=AMOUNT", help="Starting balance; repeatable.")
@click.option("--maker-ppm", type=int, default=1000, show_default=True, help="Maker commission, millionths.")
@click.option("--taker-ppm", type=int, default=1000, show_default=True, help="Taker commission, millionths.")
@click.option("--weight-limit", type=int, default=6000, show_default=True, help="Request weight per minute and IP.")
@click.option("--orders-10s", type=int, default=100, show_default=True, help="Orders per 10 s and account.")
@click.option("--orders-day", type=int, default=200_000, show_default=True, help="Orders per day and account.")
@click.option("--ban-after", type=int, default=20, show_default=True, help="Answers 429 in a minute before a ban.")
@click.option("--message-limit", type=int, default=5, show_default=True, help="Messages per second on a market socket.")
@click.option("--connection-limit", type=int, default=300, show_default=True, help="Connections per 5 min and IP.")
@click.option("--open-orders", type=int, default=200, show_default=True, help="Open orders per pair and account.")
@click.option("--keep-orders", type=int, default=200_000, show_default=True, help="Closed orders kept per account.")
@click.option("--fault", "faults", multiple=True, metavar="NAME[:KEY=VALUE,...]",
              help=f"Begin with a fault; repeatable. Names: {', '.join(NAMES)}.")
@click.option("--keys-from-stdin", is_flag=True,
              help='First line of stdin: [{"api_key", "api_secret", "balances": {ASSET: AMOUNT}}].')
@click.option("--keys-file", type=click.Path(exists=True, dir_okay=False), help="The same, from a file.")
@click.option("--exit-on-eof", is_flag=True, help="End when stdin reaches its end.")
def sim(port: int, seed: int, rate: float, symbols: int, active: int | None, balances: tuple[str, ...],
        maker_ppm: int, taker_ppm: int, weight_limit: int, orders_10s: int, orders_day: int, ban_after: int,
        message_limit: int, connection_limit: int, open_orders: int, keep_orders: int, faults: tuple[str, ...],
        keys_from_stdin: bool, keys_file: str | None, exit_on_eof: bool) -> None:
    """Run a simulated exchange on 127.0.0.1 that speaks the Binance spot protocol."""
    try:
        settings = ExchangeSettings(
            seed=seed, rate=rate, symbols=symbols, active=min(20, symbols) if active is None else active,
            commission=Commission(maker_ppm, taker_ppm),
            limits=LimitSettings(
                weight=weight_limit, orders_10s=orders_10s, orders_day=orders_day, ban_after=ban_after,
                messages=message_limit, connections=connection_limit,
            ),
            keep_orders=keep_orders, open_orders=open_orders,
        )
        keys = _read_keys(keys_from_stdin, keys_file)
        accounts = _open_accounts(keys, _starting_balances(symbols, balances))
        exchange = Exchange(settings, accounts, time.time_ns() // 1_000_000)
        for text in faults:
            exchange.add_fault(*parse_fault(text))
    except (ValueError, OverflowError) as error:
        raise click.UsageError(str(error)) from None
    try:
        asyncio.run(_run(exchange, port, exit_on_eof))
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror}") from None


async def _run(exchange: Exchange, port: int, exit_on_eof: bool) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = Server(exchange, port)
    endpoints = await server.start()
    first = next(iter(exchange.accounts.users()))
    announcement = {
        "rest_url": endpoints.rest_url, "ws_url": endpoints.ws_url, "ws_api_url": endpoints.ws_api_url,
        "api_key": first.api_key, "api_secret": first.api_secret.decode(),
        "accounts": [
            {"api_key": account.api_key, "api_secret": account.api_secret.decode()}
            for account in exchange.accounts.users()
        ],
        "pid": os.getpid(),
    }
    if exit_on_eof:
        _watch_stdin(loop, ended)
    print(json.dumps(announcement), flush=True)
    waits = [asyncio.create_task(ended.wait()), asyncio.create_task(server.join())]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in waits:
            task.cancel()
        await server.stop()


def _watch_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    def readable() -> None:
        if not os.read(0, 65536):
            loop.remove_reader(0)
            ended.set()
    try:
        loop.add_reader(0, readable)
    except PermissionError:
        # epoll refuses regular files and /dev/null, which are at their end at once.
        ended.set()


def _read_keys(from_stdin: bool, path: str | None) -> list[dict[str, Any]]:
    if from_stdin and path:
        raise ValueError("--keys-from-stdin and --keys-file exclude each other")
    if from_stdin:
        text = _first_line()
    elif path:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    else:
        return []
    try:
        keys = json.loads(text)
    except ValueError as error:
        raise ValueError(f"keys must be a JSON list: {error}") from None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError('keys must be a JSON list like [{"api_key": ..., "api_secret": ..., "balances": {...}}]')
    return keys


def _first_line() -> str:
    # Unbuffered, so that nothing of what follows is swallowed before --exit-on-eof looks.
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line.decode()


def _starting_balances(symbol_count: int, given: tuple[str, ...]) -> dict[str, str]:
    if not given:
        return default_balances(symbol_count)
    balances = {}
    for text in given:
        asset, equals, amount = text.partition("=")
        if not equals or not asset:
            raise ValueError(f"--balance must be ASSET=AMOUNT, was {text!r}")
        balances[asset.upper()] = amount
    return balances


def _open_accounts(keys: list[dict[str, Any]], balances: dict[str, str]) -> Accounts:
    accounts = Accounts()
    for key in keys:
        try:
            accounts.open(key["api_key"], key["api_secret"], key.get("balances") or balances)
        except KeyError as error:
            raise ValueError(f"keys: {error.args[0]} is missing") from None
    if not keys:
        accounts.open(*new_key_pair(), balances)
    return accounts


def main() -> None:
    """Run the command by itself."""
    sim.main(prog_name="hive sim", args=sys.argv[1:])
