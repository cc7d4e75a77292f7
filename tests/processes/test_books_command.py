"""`hive books` at a running fleet: list, ladder, watching, a feed that dies, and what is refused."""

import json
import os
import signal
import subprocess

import pytest

from command import HIVE, Command
from hive.cli_errors import NOT_FOUND, NOT_RUNNING, OK
from hive.shm.views import Books
from terminal import Terminal

PAIRS = ["BTC-USDT", "ETH-USDT"]


@pytest.fixture
def command(tmp_path):
    made = Command(tmp_path)
    yield made
    made.close()


@pytest.fixture
def running(command):
    command.up()
    command.wait_for_event("running")
    command.wait_for(lambda: states(command) == dict.fromkeys(PAIRS, "LIVE"), "both books live")
    return command


def shown(command, *arguments):
    result = command.run("books", "--json", "--interval", "0.1", *arguments)
    assert result.returncode == OK, result.stderr
    return json.loads(result.stdout)


def states(command):
    return {book["pair"]: book["state"] for book in shown(command)["books"]}


def test_the_list_the_ladder_and_what_is_refused(running):
    lines = running.run("books").stdout.splitlines()
    assert lines[0] == "hive books  fleet bench  2 instruments: 2 LIVE"
    assert [line.split()[0] for line in lines[2:]] == PAIRS
    found = shown(running, "BTC-USDT", "--depth", "3", "--fleet", "bench")
    (book,) = found["books"]
    assert found["alive"]
    assert found["heartbeat_age_ms"]["binance"] < 5000
    assert len(book["bids"]) == len(book["asks"]) == 3
    assert book["bids"][0] == [book["bid"], book["bid_qty"]]
    assert book["bids"][0][0] < book["asks"][0][0]
    assert book["spread"] > 0
    assert book["updates_per_s"] >= 0
    assert (book["used_by"], book["venue"]) == (1, "binance")
    ladder = running.run("books", "eth-usdt", "--depth", "4").stdout.splitlines()
    assert ladder[0] == "ETH-USDT  binance  LIVE"
    assert [line.split()[0] for line in ladder[3:]] == ["1", "2", "3", "4"]
    assert running.run("books", "NOPE-USDT").returncode == NOT_FOUND
    assert "these are: BTC-USDT, ETH-USDT" in running.run("books", "NOPE-USDT").stderr
    assert running.run("books", "--venue", "kraken").returncode == NOT_FOUND
    assert running.run("books", "--fleet", "other").returncode == NOT_FOUND
    assert running.stop() == OK
    assert running.run("books").returncode == NOT_RUNNING
    assert running.run("books", "--fleet", "bench").returncode == NOT_RUNNING


def test_watching_redraws_until_q_and_shows_a_dead_feed_and_the_next_one(running):
    feed = running.process_of("feed")["pid"]
    with Terminal([HIVE, "books", "--watch", "--interval", "0.1"], running.env) as terminal:
        terminal.wait_for("2 instruments: 2 LIVE")
        os.kill(feed, signal.SIGSTOP)
        terminal.wait_for("2 WRITER_DEAD")
        os.kill(feed, signal.SIGKILL)
        running.wait_for(lambda: running.process_of("feed").get("restarts"), "a new feed")
        terminal.type(" ")  # only what is drawn from now on counts
        terminal.wait_for("2 instruments: 2 LIVE")
        terminal.resize(10, 60)
        terminal.type("q")
        assert terminal.ended() == OK
    with Terminal([HIVE, "books", "BTC-USDT", "--watch"], running.env) as terminal:
        terminal.wait_for("BTC-USDT  binance  LIVE")
        terminal.type("\x1b")
        assert terminal.ended() == OK


def test_a_pipe_gets_a_line_of_json_for_each_screen_until_the_fleet_ends(running):
    watching = [HIVE, "books", "--json", "--watch", "--interval", "0.2"]
    with subprocess.Popen(watching, env=running.env, stdout=subprocess.PIPE, text=True) as process:
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert first["books"][0]["updates_per_s"] is None
        assert second["books"][0]["updates_per_s"] is not None
        assert running.stop() == OK
        rest = [json.loads(line) for line in process.stdout]
    assert process.returncode == OK
    assert not rest[-1]["alive"]


def test_numpy_views_find_the_feed_of_a_running_fleet(running):
    run = running.wait_for_event("fleet")["run"]
    with Books.find(run) as books:
        assert sorted(books) == PAIRS
        bids, asks = books["BTC-USDT"].sides()
        assert bids[0, 0] < asks[0, 0]
        assert bids.shape[1] == asks.shape[1] == 2
        assert (bids[1:, 0] < bids[:-1, 0]).all()
        running.wait_for(lambda: books.trades(5), "trades")
