"""The command line without a fleet: exit codes, messages, and what is refused before anything starts."""

import json
import os
import subprocess

import pytest

from command import EXAMPLES, HIVE, Command
from hive.cli_errors import CONFIG, ERROR, NOT_FOUND, NOT_RUNNING, OK
from hive.config import load_fleet
from hive.installation import spot_connectors
from hive.plan import shm_bytes
from hive.shm.segment import free_bytes

ROOT = ("--root", str(EXAMPLES))


@pytest.fixture
def command(tmp_path):
    return Command(tmp_path)


def test_a_good_fleet_is_ok_and_shown(command):
    result = command.run("check", str(command.file), *ROOT)
    assert result.returncode == OK, result.stderr
    assert "touch-BTC-USDT  touch_maker  BTC-USDT" in result.stdout
    assert result.stdout.endswith("fleet.yml: ok, 2 strategies\n")


def test_every_error_of_a_bad_fleet_is_a_line_and_the_code_says_config(command):
    command.file.write_text("venues: {binance: {mode: sim}}\nstrategies: [{shre: 1}]\nruntime: {tick_interval_ms: 1}\n")
    for arguments in (["check", str(command.file)], ["up", "--strategies", str(command.file)]):
        result = command.run(*arguments, *ROOT)
        assert result.returncode == CONFIG
        assert result.stderr.splitlines() == [
            "fleet.yml: runtime.tick_interval_ms: Input should be greater than or equal to 10, was 1",
            "fleet.yml: strategies.0.shre: Extra inputs are not permitted",
        ]


def test_a_fleet_file_that_is_not_there_is_a_config_error(command):
    result = command.run("check", str(command.folder / "none.yml"))
    assert result.returncode == CONFIG
    assert "none.yml: No such file or directory" in result.stderr


def test_too_few_workers_are_a_config_error_that_says_how_many_are_needed(command):
    command.file.write_text(command.file.read_text().replace("ETH-USDT]}", "ETH-USDT]}, count: 30"))
    result = command.run("check", str(command.file), *ROOT, "--workers", "1")
    assert result.returncode == CONFIG
    assert "60 strategies need at least 2 workers of up to 50 each" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        *(["status"], ["down"], ["top", "--once"], ["halt"], ["resume"], ["flat", "--cancel-all"], ["gate"]),
        ["resume", "nobody"],  # a fleet's name, or a strategy's
    ],
)
def test_without_a_fleet_nothing_is_running(command, words):
    result = command.run(*words)
    assert result.returncode == NOT_RUNNING
    assert result.stderr == "error: no fleet is running; `hive up --strategies FILE` starts one\n"


@pytest.mark.parametrize("words", [[one, "nobody"] for one in ("status", "down", "top", "halt", "gate")])
def test_a_fleet_that_never_was_is_not_found(command, words):
    result = command.run(*words)
    assert result.returncode == NOT_FOUND
    assert "there is no fleet nobody" in result.stderr


def test_a_wrong_option_is_an_ordinary_error(command):
    assert command.run("status", "--shre").returncode == ERROR
    assert command.run("up").returncode == ERROR
    unsaid = command.run("flat")
    assert unsaid.returncode == ERROR
    assert "say --cancel-all" in unsaid.stderr


@pytest.mark.parametrize("words", [("down", "--timeout"), ("up", "--strategies", "x.yml", "--duration")])
@pytest.mark.parametrize(
    ("seconds", "rule"),
    [
        ("nan", "must be a finite number of seconds, was nan"),
        ("inf", "inf is not in the range"),
        ("1e30", "1e+30 is not in the range"),
    ],
)
def test_what_is_no_number_of_seconds_is_refused(command, words, seconds, rule):
    result = command.run(*words, seconds)
    assert result.returncode == ERROR
    assert rule in result.stderr


def test_keys_that_are_not_set_are_named(command):
    live = "{mode: live, rest_url: 'http://127.0.0.1:1', ws_url: 'ws://127.0.0.1:1', ws_api_url: 'ws://127.0.0.1:1', "
    live += "api_key_env: NO_KEY, api_secret_env: NO_SECRET}"
    command.file.write_text(
        f"venues: {{binance: {live}}}\nstrategies: [{{script: touch_maker, config: touch_maker.yml}}]"
    )
    result = command.run("up", "--strategies", str(command.file), *ROOT)
    assert result.returncode == CONFIG
    assert result.stderr.splitlines() == [
        "fleet.yml: venues.binance.api_key_env: the variable NO_KEY is not set",
        "fleet.yml: venues.binance.api_secret_env: the variable NO_SECRET is not set",
    ]


@pytest.mark.alone  # it sweeps what dead processes of any fleet left
def test_a_fleet_too_large_for_shared_memory_is_refused_before_the_start(command):
    large = "feed: {instruments: 4096, depth: 1000, versions: 64}\n"
    command.file.write_text(command.file.read_text() + large)
    one = shm_bytes(load_fleet(command.file, root=EXAMPLES).feed, 1, 1, 1)
    names = sorted(spot_connectors())[: free_bytes() // one + 2]
    venues = ", ".join(f"{name}: {{mode: sim, kind: binance}}" for name in names)
    text = command.file.read_text().replace("venues: {binance: {mode: sim, seed: 5}}", f"venues: {{{venues}}}")
    command.file.write_text(text)
    result = command.run("up", "--strategies", str(command.file), *ROOT)
    assert result.returncode == ERROR
    assert "/dev/shm has" in result.stderr
    assert "this fleet needs" in result.stderr


def test_a_report_that_cannot_be_written_is_refused_before_the_start(command):
    result = command.run("up", "--strategies", str(command.file), *ROOT, "--report", "/none/r.json")
    assert result.returncode == ERROR
    assert "there is no folder /none" in result.stderr


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "XDG_RUNTIME_DIR"])
def test_a_folder_that_cannot_be_made_is_named_before_the_start(command, variable):
    command.env[variable] = str(command.file)
    result = command.run("up", "--strategies", str(command.file), *ROOT)
    assert result.returncode == ERROR
    (said,) = result.stderr.splitlines()
    assert said.startswith(f"error: {command.file}/hive")
    assert said.endswith(": Not a directory")


def test_the_simulated_exchange_is_a_command_too(command):
    result = command.run("sim", "--help")
    assert result.returncode == OK
    assert "simulated exchange" in result.stdout


def test_an_output_without_room_is_an_error_in_one_line(command):
    with open("/dev/full", "w") as full:
        words = [HIVE, "check", str(command.file), *ROOT]
        result = subprocess.run(words, env=command.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == ERROR
    assert result.stderr == "error: what was to be written finds no room: No space left on device\n"


@pytest.mark.alone  # it sweeps what dead processes of any fleet left
def test_too_few_files_for_a_fleet_are_said_before_the_start(command):
    words = [HIVE, "up", "--strategies", str(command.file), *ROOT]
    shell = ["bash", "-c", 'ulimit -n 100; exec "$@"', "bash", *words]
    result = subprocess.run(shell, env=command.env, capture_output=True, text=True, check=False)
    assert result.returncode == ERROR
    assert result.stderr.startswith("error: open files: a process may have 100, this fleet's ")
    assert "raise the hard limit" in result.stderr


def test_clean_removes_locks_of_keys_that_no_gate_holds(command):
    folder = os.path.join(command.env["XDG_RUNTIME_DIR"], "hive")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    left = os.path.join(folder, "key-0123456789abcdef.lock")
    with open(left, "w") as file:
        file.write("pid 1, fleet killed\n")
    result = command.run("clean")
    assert result.returncode == OK
    assert "removed key-0123456789abcdef.lock\n" in result.stdout
    assert not os.path.exists(left)


def test_clean_removes_the_folders_of_dead_fleets(command):
    folder = os.path.join(command.env["XDG_RUNTIME_DIR"], "hive", "dead")
    os.makedirs(folder, mode=0o700)
    for name, text in (("lock", ""), ("fleet.json", json.dumps({"schema": 1}))):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    result = command.run("clean")
    assert result.returncode == OK
    assert "removed the run folder of fleet dead; its logs and data stay\n" in result.stdout
    assert not os.path.exists(folder)
