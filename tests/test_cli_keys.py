"""From the fleet file to a live venue's keys: every place, every error, and no secret in any of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from command import HIVE, Command
from hive.cli_errors import CONFIG, Failure
from hive.cli_keys import notices, read_keys, secret_variables, without_secrets
from hive.config import load_fleet
from hive.fleet import FleetConfig
from keystore_files import write_keystore
from terminal import Terminal

URLS = {"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1/ws", "ws_api_url": "ws://127.0.0.1:1/api"}
PAIR = ("vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP")
PASSWORD = "correct horse"
VARIABLES = {"api_key_env": "A_KEY", "api_secret_env": "A_SECRET"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "quoter.py").touch()
    return tmp_path


def fleet_of(root: Path, **venues: dict[str, Any]) -> FleetConfig:
    file = root / "fleet.yml"
    described = {name: {"mode": "live", "kind": "binance", **URLS, **source} for name, source in venues.items()}
    file.write_text(yaml.safe_dump({"venues": described, "strategies": [{"script": "quoter"}]}))
    return load_fleet(file)


def key_file(root: Path, mode: int = 0o600) -> Path:
    path = root / "keys.yml"
    path.write_text(yaml.safe_dump(dict(zip(("api_key", "api_secret"), PAIR, strict=True))))
    path.chmod(mode)
    return path


def failure(fleet: FleetConfig, environment: dict[str, str], ask: Any = None) -> list[str]:
    with pytest.raises(Failure) as caught:
        read_keys(fleet, environment, ask)
    assert caught.value.exit_code == CONFIG
    assert PASSWORD not in caught.value.message
    assert PAIR[1] not in caught.value.message
    return caught.value.message.splitlines()


def test_each_venue_has_its_keys_from_its_own_place(root):
    write_keystore(root, PAIR, PASSWORD)
    key_file(root)
    fleet = fleet_of(root, binance={"keystore": True}, bitget=VARIABLES, okx={"keys_file": "keys.yml"})
    environment = {"A_KEY": "k", "A_SECRET": "s", "HBOT_PASSWORD": PASSWORD}
    assert read_keys(fleet, environment) == {"binance": PAIR, "bitget": ("k", "s"), "okx": PAIR}


def test_every_problem_of_every_venue_is_named_at_once(root):
    key_file(root, 0o644)
    fleet = fleet_of(root, bitget=VARIABLES, okx={"keys_file": "keys.yml"}, kraken={"keystore": "conf/none.yml"})
    lines = failure(fleet, {"A_KEY": "k", "HBOT_PASSWORD": PASSWORD})
    assert lines == [
        "fleet.yml: venues.bitget.api_secret_env: the variable A_SECRET is not set",
        f"fleet.yml: venues.kraken.keystore: {root}/conf/none.yml must be a connector's file of Hummingbot: "
        "No such file or directory",
        f"fleet.yml: venues.okx.keys_file: {root}/keys.yml must have mode 0600 or stricter, has 0644: "
        f"chmod 600 {root}/keys.yml",
    ]


@pytest.mark.parametrize("bad", ["two words", "line\n", "umlaut-ä", "tab\t", "\x00"])
def test_what_no_venue_takes_as_a_key_is_refused_and_not_shown(root, bad):
    lines = failure(fleet_of(root, bitget=VARIABLES), {"A_KEY": "k", "A_SECRET": bad})
    rule = "must be ASCII without blanks or line ends, and not empty"
    assert lines == [f"fleet.yml: venues.bitget.api_secret_env: {rule}"]


def test_a_wrong_password_is_one_error_however_many_venues(root):
    write_keystore(root, PAIR, PASSWORD)
    write_keystore(root, PAIR, PASSWORD, "kucoin")
    fleet = fleet_of(root, binance={"keystore": True}, kucoin={"keystore": True})
    (line,) = failure(fleet, {"HBOT_PASSWORD": "wrong"})
    assert line == f"{root}/conf/.password_verification: the password does not open it"
    (root / "conf" / ".password_verification").unlink()
    (line,) = failure(fleet, {"HBOT_PASSWORD": "wrong"})
    assert line == f"{root}/conf/connectors/binance.yml: binance_api_key: the password does not open it"


def test_the_password_given_on_standard_input_goes_before_the_variable(root):
    write_keystore(root, PAIR, PASSWORD)
    fleet = fleet_of(root, binance={"keystore": True})
    assert read_keys(fleet, {"HBOT_PASSWORD": "wrong"}, lambda: PASSWORD) == {"binance": PAIR}


def test_a_keystore_without_a_password_says_what_is_needed(root):
    write_keystore(root, PAIR, PASSWORD)
    fleet = fleet_of(root, binance={"keystore": True})
    (line,) = failure(fleet, {})
    assert line.startswith("fleet.yml: venues.binance.keystore: needs its password: in the variable HBOT_PASSWORD")
    assert line.endswith("; HBOT_PASSWORD is not set")
    (line,) = failure(fleet, {"HBOT_PASSWORD": PASSWORD}, lambda: "")
    assert line.endswith("; standard input has none")


def test_a_password_that_nobody_needs_is_an_error(root):
    (line,) = failure(fleet_of(root, bitget=VARIABLES), {"A_KEY": "k", "A_SECRET": "s"}, lambda: PASSWORD)
    assert line == "--password-stdin: no venue of fleet.yml has a keystore"


def test_children_find_no_variable_that_may_hold_a_secret(root):
    fleet = fleet_of(root, bitget=VARIABLES, binance={"keystore": True})
    assert secret_variables(fleet) == {"A_KEY", "A_SECRET", "HBOT_PASSWORD"}
    environment = {"A_KEY": "k", "A_SECRET": "s", "HBOT_PASSWORD": PASSWORD, "HOME": "/h"}
    assert without_secrets(fleet, environment) == {"HOME": "/h"}


def test_check_says_what_up_would_not_find(root):
    fleet = fleet_of(root, bitget=VARIABLES, okx={"keys_file": "keys.yml"}, binance={"keystore": True})
    assert notices(fleet, {"A_KEY": "k"}) == [
        f"venues.binance: there is no {root}/conf/connectors/binance.yml here; `hive up` needs it",
        "venues.bitget: the variable A_SECRET is not set here; `hive up` needs it",
        f"venues.okx: there is no {root}/keys.yml here; `hive up` needs it",
    ]


def test_check_says_that_others_may_read_a_key_file(root):
    fleet = fleet_of(root, okx={"keys_file": "keys.yml"})
    file = root / "keys.yml"
    file.touch()
    told = f"venues.okx: `hive up` wants mode 0600: chmod 600 {file}"
    for mode, lines in ((0o600, []), (0o400, []), (0o640, [told])):
        file.chmod(mode)
        assert notices(fleet, {}) == lines


# ---- The command itself ------------------------------------------------------------------------------------------


@pytest.fixture
def command(root) -> Command:
    write_keystore(root, PAIR, PASSWORD)
    fleet_of(root, binance={"keystore": True})
    return Command(root, text=(root / "fleet.yml").read_text().replace("{", "{{").replace("}", "}}"))


def up(command: Command, *options: str, text: str | None = None, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [HIVE, "up", "--strategies", str(command.file), *options],
        env={**command.env, **variables},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("options", "text", "variables"),
    [((), "", {"HBOT_PASSWORD": "wr0ng-pass"}), (("--password-stdin",), "wr0ng-pass\nmore\n", {})],
)
def test_up_with_a_wrong_password_ends_with_code_4_and_one_line(command, options, text, variables):
    result = up(command, *options, text=text, **variables)
    assert result.returncode == CONFIG
    assert result.stdout == ""
    assert result.stderr == f"error: {command.folder}/conf/.password_verification: the password does not open it\n"


def test_a_password_typed_at_a_terminal_is_not_shown(command):
    words = [HIVE, "up", "--strategies", str(command.file), "--password-stdin"]
    with Terminal(words, command.env) as terminal:
        terminal.wait_for("password of Hummingbot's keystore: ")
        terminal.type("wr0ng-pass\n")
        terminal.wait_for("the password does not open it")
        assert terminal.ended() == CONFIG
        assert b"wr0ng-pass" not in terminal._shown


def test_the_password_is_no_argument(command):
    assert up(command, "--password", "x").returncode == 1
    assert up(command, "--password-stdin=x").returncode == 1


def test_the_line_is_all_that_is_taken_from_standard_input():
    code = "import os; from hive.cli_keys import read_password; print(repr(read_password()), os.read(0, 99))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=b" pass word \r\nrest", capture_output=True, timeout=60)
    assert done.stdout.decode().strip() == "' pass word ' b'rest'"
