"""Shell completion, by the protocol that the shells' scripts speak."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from command import HIVE, Command
from hive.cli_errors import ERROR, OK
from hive.shm.segment import process_start_ticks


@pytest.fixture
def command(tmp_path):
    """A home in which two fleets run, as far as fleet.json says: this process is their supervisor."""
    made = Command(tmp_path)
    made.env["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    for name, ids in (("alpha", ("pmm-btc", "pmm-eth", "touch")), ("beta", ("ladder",))):
        folder = tmp_path / "run" / "hive" / name
        folder.mkdir(mode=0o700, parents=True)
        (folder / "lock").touch()
        document = {
            "schema": 1,
            "fleet": name,
            "pid": os.getpid(),
            "start_ticks": process_start_ticks(os.getpid()),
            "state_dir": str(tmp_path / "state" / "hive" / name),
            "strategies": [{"id": one} for one in ids],
            "processes": [{"role": "worker", "index": index} for index in range(len(ids))],
            "venues": [{"name": f"binance_{name}"}],
        }
        (folder / "fleet.json").write_text(json.dumps(document))
        (tmp_path / "state" / "hive" / name / "logs").mkdir(parents=True)
    (tmp_path / "state" / "hive" / "alpha" / "logs" / "gate.log").touch()
    (tmp_path / "state" / "hive" / "ended" / "logs").mkdir(parents=True)
    return made


def offered(command: Command, *words: str) -> list[str]:
    """Return what bash is told after the last of these words."""
    line = " ".join(["hive", *words])
    variables = {"_HIVE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [HIVE], env={**command.env, **variables}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return [entry.partition(",")[2] for entry in done.stdout.splitlines() if entry]


def test_commands_and_options_are_offered(command):
    assert {"plan", "logs", "completion"} <= set(offered(command, ""))
    assert offered(command, "lo") == ["logs"]
    assert "--follow" in offered(command, "logs", "--f")


def test_fleets_are_offered_where_a_fleet_is_meant(command):
    for word in ("status", "down", "top", "gate", "halt"):
        assert offered(command, word, "") == ["alpha", "beta"]
    assert offered(command, "books", "--fleet", "b") == ["beta"]
    assert offered(command, "logs", "--fleet", "") == ["alpha", "beta", "ended"]


def test_strategies_and_venues_are_offered_of_the_fleet_that_was_named_and_else_of_all(command):
    assert offered(command, "halt", "--strategy", "") == ["ladder", "pmm-btc", "pmm-eth", "touch"]
    assert offered(command, "halt", "--strategy", "pmm-b") == ["pmm-btc"]
    assert offered(command, "halt", "--venue", "") == ["binance_alpha", "binance_beta"]
    assert offered(command, "books", "--fleet", "beta", "--venue", "") == ["binance_beta"]
    assert offered(command, "pause", "--fleet", "beta", "") == ["ladder"]
    assert offered(command, "move", "touch", "") == ["0", "1", "2", "new"]
    assert offered(command, "resume", "") == ["alpha", "beta", "ladder", "pmm-btc", "pmm-eth", "touch"]


def test_logs_are_offered_of_processes_and_strategies(command):
    assert offered(command, "logs", "--fleet", "alpha", "") == ["gate", "pmm-btc", "pmm-eth", "touch"]
    assert offered(command, "logs", "") == []  # which of the two fleets is not said


def test_nothing_is_offered_where_nothing_runs(command):
    shutil.rmtree(Path(command.env["XDG_RUNTIME_DIR"]))
    assert offered(command, "status", "") == []
    assert offered(command, "halt", "--strategy", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_calls_hive_with_its_variable(command, shell):
    done = command.run("completion", shell)
    assert done.returncode == OK
    assert f"_HIVE_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_bash_itself_completes_with_the_script(command):
    script = command.run("completion", "bash").stdout
    asked = f"{script}\nCOMP_WORDS=(hive halt --strategy pmm)\nCOMP_CWORD=3\n_hive_completion hive\n"
    path = f"{Path(HIVE).parent}:{command.env['PATH']}"
    shell = [shutil.which("bash"), "--norc", "-c", asked + 'echo "${COMPREPLY[*]}"']
    done = subprocess.run(shell, env={**command.env, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.stdout == "pmm-btc pmm-eth\n", done.stderr


def test_another_shell_is_an_ordinary_error_that_names_those_there_are(command):
    done = command.run("completion", "csh")
    assert done.returncode == ERROR
    assert "'bash', 'zsh', 'fish'" in done.stderr
