"""A fleet under its commands: up, status, top, metrics, down; and a supervisor whose children hang or die."""

import json
import os
import random
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from command import EXAMPLES, FLEET, HIVE, PATIENCE_S, Command
from hive.cli_errors import ERROR, NOT_RUNNING, OK
from hive.config import load_fleet
from hive.descriptors import SPARE, open_files
from hive.metric_texts import TEXTS
from hive.shm.segment import list_segments


@pytest.fixture
def command(tmp_path):
    made = Command(tmp_path)
    yield made
    made.close()


def port_nobody_is_given() -> int:
    """Return a free port below those that the kernel gives to whoever asks for any, as a fleet does."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(end // 2, end), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port below {end} is free")


def segments(run: str) -> list[str]:
    return [info.name for info in list_segments(run)]


def test_a_fleet_for_so_many_seconds_trades_reports_and_leaves_nothing(command):
    command.up("--duration", "8", "--report", str(command.report))
    run = command.wait_for_event("fleet")["run"]
    command.wait_for_event("first_fill")
    assert segments(run)
    assert command.process.wait(60) == OK
    report = json.loads(command.report.read_text())
    assert [one["state"] for one in report["strategies"]] == ["stopped", "stopped"]
    assert all(one["ticks"] > 50 and one["orders"]["acked"] > 0 for one in report["strategies"])
    assert report["totals"]["fills"] > 0
    assert report["totals"]["errors"] == 0
    assert report["venues"][0]["market_connections"] == 1
    assert report["venues"][0]["books"]["total"] == 2
    assert report["stop"] == {"open_orders": 0}
    assert report["first_order_s"] <= report["first_fill_s"] < report["duration_s"]
    roles = {"supervisor", "sim", "feed", "gate", "recorder", "server", "worker"}
    assert {one["role"] for one in report["processes"]} == roles
    assert all((one["pss_mb"] or one["rss_mb"]) > 1 and one["cpu_seconds"] > 0 for one in report["processes"])
    assert segments(run) == []
    assert command.run("status", command.name).returncode == NOT_RUNNING


def test_what_a_running_fleet_shows_and_how_it_is_brought_down(command):
    port = port_nobody_is_given()
    command.file.write_text(command.file.read_text() + f"monitoring: {{metrics_port: {port}}}\n")
    command.up()
    command.wait_for_event("running")
    command.wait_for_event("first_fill")
    status = command.status()
    assert status["state"] == "running"
    assert [one["id"] for one in status["strategies"]] == ["touch-BTC-USDT", "touch-ETH-USDT"]
    assert status["venues"][0]["books"] | {"oldest_ms": 0} == {"live": 2, "total": 2, "oldest_ms": 0}
    screen = command.run("top", "--once", "--sort", "fills", "--interval", "0.5").stdout.splitlines()
    assert screen[0].startswith("hive top  fleet bench  up 0:")
    assert sum(line.startswith("touch-") for line in screen) == 2
    text = command.run("status").stdout
    assert text.startswith("hive status  fleet bench  up 0:")
    assert "touch-ETH-USDT" in text
    needed = open_files(load_fleet(command.file, root=EXAMPLES), [1, 1])
    for one in status["processes"]:
        opened = len(os.listdir(f"/proc/{one['pid']}/fd"))
        assert opened <= needed.get(one["role"], needed["feed"]) - SPARE, one["role"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        metrics = answer.read().decode()
    assert 'hive_up{fleet="bench"} 1.0' in metrics
    found = {one.name.removeprefix("hive_"): one for one in text_string_to_metric_families(metrics)}
    assert {name: one.documentation for name, one in found.items()} == {name: TEXTS[name] for name in found}
    assert TEXTS.keys() - found.keys() == {"capital_drift"}  # nobody has capital here
    assert 'hive_ticks_total{role="worker",strategy="touch-BTC-USDT"}' in metrics
    assert 'hive_tick_lateness_seconds_bucket{le="+Inf",role="worker",strategy="touch-ETH-USDT"}' in metrics
    down = command.run("down", "--timeout", "40")
    assert (down.returncode, down.stdout) == (OK, "fleet bench stopped\n")
    assert command.process.wait(30) == OK


def test_a_metrics_port_in_use_is_a_warning(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = Command(tmp_path, text=FLEET + f"monitoring: {{{{metrics_port: {port}}}}}\n")
        try:
            command.up()
            warning = command.wait_for_event("warning")["text"]
            assert warning == f"warning: no metrics: 127.0.0.1:{port}: Address already in use (monitoring.metrics_port)"
            command.wait_for_event("running")
            assert command.stop() == OK
        finally:
            command.close()


@pytest.mark.parametrize(("role", "number"), [("feed", signal.SIGSTOP), ("worker", signal.SIGSTOP)])
def test_a_process_that_hangs_is_killed_and_replaced(command, role, number):
    command.up()
    command.wait_for_event("first_order")
    before = command.process_of(role)
    os.kill(before["pid"], number)
    after = command.wait_for(lambda: (one := command.process_of(role)) and one["restarts"] and one, f"{role} replaced")
    assert after["pid"] != before["pid"]
    assert any("has no heartbeat for" in line["text"] for line in command.lines() if line["event"] == "error")
    ticks = command.status()["totals"]["ticks"]
    command.wait_for(lambda: command.status()["totals"]["ticks"] > ticks, "ticks go on and never back")
    assert command.stop() == OK


def test_workers_outlive_their_server_and_the_next_one_replaces_them(command):
    command.up()
    command.wait_for_event("running")
    worker = command.process_of("worker", 1)["pid"]
    os.kill(command.process_of("server")["pid"], signal.SIGKILL)
    command.wait_for(lambda: command.process_of("server").get("restarts"), "a new server")
    assert command.process_of("worker", 1)["pid"] == worker
    os.kill(worker, signal.SIGKILL)
    command.wait_for_event("running", 2)
    assert command.process_of("worker", 1)["restarts"] == 1
    assert command.stop() == OK


def test_the_death_of_the_simulated_exchange_ends_the_fleet(command):
    text = command.file.read_text()  # a dead exchange cancels nothing: strategies and gate take all their time
    command.file.write_text(text.replace("hang_after_ms: 1000", "hang_after_ms: 1000, stop_timeout_s: 2"))
    command.up()
    run = command.wait_for_event("fleet")["run"]
    command.wait_for_event("running")
    os.kill(command.process_of("sim")["pid"], signal.SIGKILL)
    assert command.process.wait(90) == ERROR
    assert "the simulated exchange was killed by SIGKILL" in command.lines()[-1]["text"]
    assert segments(run) == []


def test_ctrl_c_during_the_start_leaves_nothing(command):
    command.up()
    run = command.wait_for_event("fleet")["run"]
    command.wait_for_event("ready")
    assert command.stop(signal.SIGINT) == OK
    assert segments(run) == []


def test_a_third_ctrl_c_ends_it_at_once(command):
    command.up()
    run = command.wait_for_event("fleet")["run"]
    command.wait_for_event("running")
    os.kill(command.process_of("worker")["pid"], signal.SIGSTOP)
    for expected in ("stopping", "hurry"):
        command.process.send_signal(signal.SIGINT)
        command.wait_for_event(expected)
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(30) == ERROR
    assert any("orders may still be open at the venue" in line["text"] for line in command.lines())
    assert segments(run) == []


def test_a_gate_that_is_dead_when_the_fleet_stops_is_started_to_cancel(command):
    command.up("--report", str(command.report))
    command.wait_for_event("first_order")
    gate = command.process_of("gate")["pid"]
    for worker in (0, 1):
        os.kill(command.process_of("worker", worker)["pid"], signal.SIGSTOP)  # they cancel nothing themselves
    command.process.send_signal(signal.SIGTERM)
    command.wait_for_event("stopping")
    os.kill(gate, signal.SIGKILL)
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(60) == OK
    assert json.loads(command.report.read_text())["stop"] == {"open_orders": 0}


def test_one_name_is_one_fleet(command, tmp_path):
    command.up()
    command.wait_for_event("running")
    again = command.run("up", "--strategies", str(command.file), "--root", str(tmp_path), "--workers", "1")
    assert again.returncode != OK
    assert command.stop() == OK


def test_a_strategy_that_cannot_start_fails_alone_and_all_of_them_end_the_fleet(tmp_path):
    broken = FLEET.replace("for_each: {{trading_pair: [BTC-USDT, ETH-USDT]}}", "set: {{trading_pair: NO-SUCH}}")
    command = Command(tmp_path, text=broken)
    try:
        command.up()
        code = command.process.wait(60)
    finally:
        command.close()
    assert code == ERROR
    texts = [line["text"] for line in command.lines()]
    assert any(text.startswith("error: strategy touch failed: ") for text in texts)
    assert texts[-1] == "fleet ended: no strategy could be started"


def test_a_fleet_under_nohup_whose_standard_streams_are_closed_runs_to_its_end(command):
    closed = ["sh", "-c", 'trap "" HUP; exec "$@" <&- >&- 2>&-', "sh", HIVE]
    options = ["--strategies", str(command.file), "--root", str(EXAMPLES), "--duration", "1"]
    (command.folder / "output.txt").touch()
    command.process = subprocess.Popen([*closed, "up", *options, "--report", str(command.report)], env=command.env)
    command.wait_for(lambda: command.run("status", command.name).returncode == OK, "the fleet's supervisor")
    command.process.send_signal(signal.SIGHUP)  # the terminal is closed, long before any strategy ticks
    assert command.process.wait(PATIENCE_S) == OK
    report = json.loads(command.report.read_text())
    assert report["stop"] == {"open_orders": 0}
    assert all(one["ticks"] for one in report["strategies"])
