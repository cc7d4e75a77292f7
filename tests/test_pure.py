"""The twins in pure Python: one for each extension, of the same names, over the same bytes, passing the same tests."""

import ast
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import lanes
from hive import pure

ROOT = Path(__file__).resolve().parent.parent
PEER = [sys.executable, str(Path(__file__).with_name("pure_peer.py"))]
KINDS = {"compiled": "0", "pure python": "1"}
PAIRS = [("compiled", "pure python"), ("pure python", "compiled"), ("pure python", "pure python")]
FOLDER_WITHIN_S = 1200
READ_S = 2.0
INSIDE = {  # nobody else names them
    "hummingbot.runtime.order_book Entries",
    "hive.shm.book_writer Accounts",
    "hive.gate.rounds Flow.name",
    "hive.gate.rounds Round.flows",
    "hive.gate.rounds Round.length",
}


def environment(kind: str) -> dict[str, str]:
    return {**os.environ, pure.VARIABLE: KINDS[kind]}


def peer(kind: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*PEER, *arguments], env=environment(kind), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen) -> str:
    line = process.stdout.readline()
    assert line, f"{process.args} ended with {process.wait(10)}"
    return line.strip()


def end(process: subprocess.Popen) -> None:
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


def extensions() -> set[str]:
    """Return the names of all extensions that setup.py builds, but for the helpers of perf/."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    lists = [node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id.endswith("_MODULES")]
    return {name for node in lists for name in ast.literal_eval(node.value) if not name.startswith("perf.")}


# ---- The choice ------------------------------------------------------------------------------------------------------


def test_every_extension_has_its_twin_beside_it():
    assert extensions() == pure.TWINS
    for name in pure.TWINS:
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".pyx").is_file()
        assert path.with_suffix(".py").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_all_modules_are_of_the_kind_that_was_asked_for(kind):
    code = "import importlib, sys; from hive import pure; "
    code += "print(pure.implementation(), *(importlib.import_module(name).__file__ for name in pure.TWINS), sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment(kind), capture_output=True, text=True, timeout=60, check=True
    )
    told, *files = result.stdout.splitlines()
    assert told == kind
    ends = (".py",) if kind == "pure python" else tuple(EXTENSION_SUFFIXES)
    assert len(files) == len(pure.TWINS)
    assert all(file.endswith(ends) for file in files), files


def test_the_variable_decides_and_without_it_how_the_tree_was_set_up():
    for built_pure in (False, True):
        assert pure.wanted({pure.VARIABLE: "1"}, built_pure)
        assert not pure.wanted({pure.VARIABLE: "0"}, built_pure)
        assert pure.wanted({pure.VARIABLE: ""}, built_pure) is built_pure
        assert pure.wanted({}, built_pure) is built_pure


def test_a_module_that_is_not_compiled_is_never_its_twin_by_accident(tmp_path):
    (tmp_path / "book.py").write_text("raise AssertionError('imported by accident')\n")
    with pytest.raises(
        ImportError, match=r"hive\.shm\.book is not compiled: run \./compile, or set HIVE_PURE_PYTHON=1"
    ):
        pure.TwinFinder(pure=False).find_spec("hive.shm.book", [str(tmp_path)])
    assert pure.TwinFinder(pure=True).find_spec("hive.shm.book", [str(tmp_path)]).origin == str(tmp_path / "book.py")
    with pytest.raises(ImportError, match=r"hive\.shm\.counters has no twin in pure Python"):
        pure.TwinFinder(pure=True).find_spec("hive.shm.counters", [str(tmp_path)])
    assert pure.TwinFinder(pure=True).find_spec("hive.shm.segment", [str(tmp_path)]) is None


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "ppc64le", "riscv64", "i686"])
def test_other_machines_are_refused_with_the_reason(machine):
    with pytest.raises(ImportError, match=f"needs an x86-64 machine, this is {machine}: .* barriers"):
        pure.check_machine(machine)
    pure.check_machine("x86_64")


@pytest.mark.skipif(shutil.which("setarch") is None, reason="no setarch here to look like another machine with")
def test_a_process_on_another_machine_does_not_start():
    command = ["setarch", "i686", sys.executable, "-c", "import hive.shm.book"]
    result = subprocess.run(command, env=environment("pure python"), capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "ImportError: HIVE_PURE_PYTHON needs an x86-64 machine, this is i686" in result.stderr
    compiled = subprocess.run(command, env=environment("compiled"), capture_output=True, timeout=60)
    assert compiled.returncode == 0


# ---- The same names, bytes and behaviour -----------------------------------------------------------------------------


def test_twins_offer_what_the_compiled_modules_do():
    offered = {}
    for kind in KINDS:
        process = peer(kind, "names")
        offered[kind] = json.loads(said(process))
        end(process)
    wrong = []
    for module, names in offered["compiled"].items():
        twin = offered["pure python"][module]
        for name, arguments in names.items():
            if f"{module} {name}" in INSIDE:
                continue
            if name not in twin:
                wrong.append(f"{module} has no {name}")
            elif None not in (arguments, twin[name]) and arguments != twin[name]:
                wrong.append(f"{module}: {name} takes {arguments}, its twin {twin[name]}")
    assert wrong == []


def look_at(writer: str, reader: str) -> dict:
    """Let one kind publish and another one look; return what that found."""
    run = secrets.token_hex(4)
    publishing = peer(writer, "publish", run)
    assert said(publishing) == "ready to be followed"
    # The rings are made before anything is in them, so that a reader can follow from the start.
    looking = peer(reader, "look", run)
    assert said(looking) == "following"
    print(file=publishing.stdin, flush=True)
    assert said(publishing) == "ready"
    print(file=looking.stdin, flush=True)
    found = json.loads(said(looking))
    end(looking)
    end(publishing)
    return found


def test_what_one_kind_writes_the_other_reads():
    expected = look_at("compiled", "compiled")
    assert expected["pairs"] == ["BTC-USDT", "ETH-USDT"]
    assert expected["states"] == {"BTC-USDT": [1, 1], "ETH-USDT": [2, 2]}
    assert expected["dead_later"] == 6
    assert expected["candles"][0] == 8
    assert expected["trades"].count("Trade(") == expected["top_events"].count("TopEvent(") == 5
    for writer, reader in PAIRS:
        found = look_at(writer, reader)
        assert found.pop("implementation") == reader
        assert found == {key: value for key, value in expected.items() if key != "implementation"}, (writer, reader)


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_no_read_is_torn_while_the_other_kind_writes(writer, reader):
    run = secrets.token_hex(4)
    writing = peer(writer, "write", run, str(READ_S + 1))
    assert said(writing) == "ready"
    reading = peer(reader, "read", run, str(READ_S))
    found = json.loads(said(reading))
    end(reading)
    published = json.loads(said(writing))
    end(writing)
    assert (published["implementation"], found["implementation"]) == (writer, reader)
    assert found["torn"] == 0, found
    assert found["distinct"] > 100, (found, published)  # they did run against each other
    assert published["published"] > found["distinct"]


@pytest.mark.parametrize(("maker", "other"), PAIRS[:2])
def test_both_ends_of_a_queue_must_be_of_one_kind(maker, other):
    run = secrets.token_hex(4)
    making = peer(maker, "queue", run)
    assert said(making) == "ready"
    code = "import sys; from hive.shm.order_queue import OrderQueue; print(OrderQueue.attach(sys.argv[1]).get_many())"
    name = f"/hive.{run}.queue.1"
    answers = {
        kind: subprocess.run(
            [sys.executable, "-c", code, name], env=environment(kind), capture_output=True, text=True, timeout=60
        )
        for kind in (other, maker)
    }
    end(making)
    assert answers[maker].stdout.strip() == "[b'hello']"
    assert answers[other].returncode == 1
    words = {"compiled": "compiled modules", "pure python": "pure Python"}
    told = f"{name} was made by {words[maker]}, this end runs {words[other]}: both ends of a queue must run the same"
    assert told in answers[other].stderr


# ---- The same tests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["gate", "workers", "runtime", "feed", "shm"])
def test_the_twins_pass_the_tests_of_the_compiled_modules(turns, folder):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{folder}"]
    env = environment("pure python")
    if turns.folder is not None:
        env[lanes.FOLDER] = turns.folder
    signal.alarm(FOLDER_WITHIN_S)  # each test of theirs has a deadline of its own
    with turns.given_up():
        result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-6000:]
