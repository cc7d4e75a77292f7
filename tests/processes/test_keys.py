"""Keys from a file and from Hummingbot's keystore, in a real fleet: the gate trades with them, nobody else has them."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from fleet_run import EXAMPLES, HIVE, FleetRun, wait_until
from hive.state import runs_dir
from keystore_files import write_keystore
from process_memory import holds, read

EXCHANGE = ("--rate", "100")
PASSWORD = "a pass-phrase for the keystore"
TOUCH = {
    "id": "left",
    "script": "touch_maker",
    "config": "touch_maker.yml",
    "set": {"trading_pair": "BTC-USDT", "refresh_seconds": 3},
}


def start(run: FleetRun, *options: str, text: str | None = None, **variables: str) -> None:
    """Start `hive up` as FleetRun.up does, with something to read on its standard input and more variables."""
    environment = {name: value for name, value in run.env.items() if not name.startswith("TRIAL_")} | variables
    command = [*HIVE, "up", "--workers", "1", "--strategies", str(run.file), "--root", str(EXAMPLES)]
    with run.output.open("ab") as output:
        run.process = subprocess.Popen(
            [*command, "--report", str(run.report_file), *options],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    run.process.stdin.write((text or "").encode())
    run.process.stdin.close()


def files_with(secret: bytes, *places: Path) -> list[Path]:
    """Return the files at or below `places` that hold a secret."""
    files = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
    return [path for path in files if path.is_file() and secret in path.read_bytes()]


def sealed_files(pid: int) -> int:
    """Return how many files with keys a process has open."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    return sum(link.startswith("/memfd:hive-keys") for link in links)


@pytest.mark.parametrize("source", ["keys_file", "keystore", "keystore by standard input"])
def test_the_gate_alone_has_the_keys_and_nobody_the_password(tmp_path, exchange, source):
    pair = (exchange.told["api_key"], exchange.told["api_secret"])
    urls = {name: exchange.told[name] for name in ("rest_url", "ws_url", "ws_api_url")}
    options: list[str] = []
    text, variables = None, {}
    if source == "keys_file":
        where = {"keys_file": "keys.yml"}
        file = tmp_path / "keys.yml"
        file.touch(0o600)
        file.write_text(yaml.safe_dump(dict(zip(("api_key", "api_secret"), pair, strict=True))))
        variables = {"HBOT_PASSWORD": PASSWORD}  # of some other program; it goes no further all the same
    else:
        where = {"keystore": str(write_keystore(tmp_path, pair, PASSWORD))}
        if source == "keystore":
            variables = {"HBOT_PASSWORD": PASSWORD}
        else:
            options, text = ["--password-stdin"], f"{PASSWORD}\n"
    run = FleetRun(tmp_path, exchange, [TOUCH], venues={"binance": {"mode": "live", **urls, **where}})
    try:
        start(run, *options, text=text, **variables)
        status = run.wait_running()
        wait_until(lambda: run.exchange.orders(), "an order at the exchange")
        roles = {"supervisor", "feed", "gate", "recorder", "server", "worker"}
        assert {one["role"] for one in status["processes"]} == roles
        for process in status["processes"]:
            place = f"/proc/{process['pid']}"
            for secret in (*pair, PASSWORD):
                assert secret.encode() not in read(f"{place}/environ"), process
                assert secret.encode() not in read(f"{place}/cmdline"), process
                if os.geteuid() == 0 or process["role"] not in ("supervisor", "gate"):  # only root reads these two
                    expected = process["role"] == "gate" and secret != PASSWORD
                    assert holds(process["pid"], secret.encode()) == expected, (process, secret)
                    assert sealed_files(process["pid"]) == (1 if process["role"] == "supervisor" else 0), process
        assert files_with(b"BTC-USDT", runs_dir() / run.name, tmp_path / "state")  # the search does find what is there
        for secret in (*pair, PASSWORD):
            assert files_with(secret.encode(), runs_dir() / run.name) == []  # fleet.json and all beside it
        assert run.stop() == 0, run.text()
        for secret in (*pair, PASSWORD):
            assert files_with(secret.encode(), tmp_path / "state", run.report_file, run.output) == []
    finally:
        run.close()
