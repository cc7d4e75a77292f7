"""Setting up: the lock, the list of extensions, and what ./compile says when something is missing."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("awk", "basename", "bash", "cat", "dirname", "env", "flock", "grep", "id", "ls", "mkdir", "nproc", "readlink")
MORE_TOOLS = ("rm", "sed", "sh", "sha256sum", "sleep", "sort", "tail", "tar", "uname", "wc", "find", "cp", "cut", "ln")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines) -> dict[str, str]:
    """Return version by name of "name==version" lines; anything else than comments and pins is refused."""
    found = {}
    for line in lines:
        line = line.split("#")[0].strip()
        pin = Requirement(line) if line else None
        if pin and (pin.marker is None or pin.marker.evaluate()):
            (exact,) = pin.specifier
            assert exact.operator == "==", line
            found[plain(pin.name)] = exact.version
    return found


LOCK = pins((ROOT / "constraints.txt").read_text().splitlines())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]


# ---- The lock ----------------------------------------------------------------------------------------------------


def test_the_environment_for_conda_has_the_versions_of_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip[0] == "-c constraints.txt"
    listed = pins(pip[1:])
    assert listed == {name: LOCK[name] for name in listed}
    assert "python=3.12" in environment["dependencies"]


def test_the_environment_for_conda_lists_every_direct_dependency_but_hummingbot():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    direct = {plain(re.match(r"[\w.-]+", dependency).group()) for dependency in DIRECT}
    assert set(pins(pip[1:])) == direct - {"hummingbot"}


def test_every_direct_dependency_is_locked_within_its_own_range():
    for dependency in DIRECT:
        name, ranges = re.match(r"([\w.-]+)(.*)", dependency).groups()
        assert plain(name) in LOCK
        for operator, bound in re.findall(r"(==|>=|<)([\d.]+)", ranges):
            exact, limit = (tuple(int(n) for n in re.findall(r"\d+", v)) for v in (LOCK[plain(name)], bound))
            assert {"==": exact == limit, ">=": exact >= limit, "<": exact < limit}[operator], dependency


def test_what_runs_these_tests_is_what_the_lock_says():
    assert {name: version(name) for name in ("hummingbot", "cython", "numpy", "faster-fifo", "pydantic")} == {
        name: LOCK[name] for name in ("hummingbot", "cython", "numpy", "faster-fifo", "pydantic")
    }


# ---- The build ---------------------------------------------------------------------------------------------------


def assigned(name: str):
    """Return a literal that setup.py assigns at its top level."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise KeyError(name)


def test_every_listed_extension_has_a_source_and_every_source_is_listed():
    listed = sorted(name.replace(".", "/") + ".pyx" for name in assigned("C_MODULES") + assigned("CPP_MODULES"))
    there = sorted(
        path.relative_to(ROOT).as_posix()
        for folder in ("hive", "hummingbot")
        for path in (ROOT / folder).rglob("*.pyx")
    )
    assert listed == there


def test_every_source_of_the_measuring_loops_is_listed():
    listed = {f"{name.replace('.', '/')}.pyx": sorted(files) for name, files in assigned("PERF_MODULES").items()}
    native = ROOT / "perf" / "native"
    assert set(listed) == {path.relative_to(ROOT).as_posix() for path in native.glob("*.pyx")}
    files = sorted(file for files in listed.values() for file in files)
    assert files == sorted(path.name for path in native.glob("*.c"))


def test_every_package_is_listed_and_hummingbots_own_level_is_not():
    packages = sorted(
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for folder in ("hive", "hummingbot")
        for path in (ROOT / folder).rglob("__init__.py")
    )
    assert sorted(assigned("PACKAGES")) == packages
    assert "hummingbot" not in packages


def test_hummingbots_release_is_the_same_everywhere():
    assert assigned("HUMMINGBOT_RELEASE") == LOCK["hummingbot"]
    assert f"RELEASE={LOCK['hummingbot']}\n" in (ROOT / "compile").read_text()
    assert f"hummingbot=={LOCK['hummingbot']}" in PROJECT["dependencies"]


def test_the_runtime_and_the_published_package_are_importable_from_anywhere(tmp_path):
    code = "import hive, hummingbot.runtime, hummingbot.core.clock; print(hive.__file__); print(hummingbot.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    ours, published = done.stdout.split()
    assert Path(ours).parent.parent == ROOT
    assert "site-packages" in published


def unbuilt(tmp_path, record: str | None) -> str:
    """Import a copy of the bare package with this build record, and return what the import says."""
    (tmp_path / "hive").mkdir()
    for name in ("__init__.py", "pure.py"):
        shutil.copy(ROOT / "hive" / name, tmp_path / "hive")
    if record is not None:
        (tmp_path / "hive" / "_build_info.py").write_text(record)
    command = [sys.executable, "-S", "-c", "import hive"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stderr


def test_importing_an_unbuilt_tree_says_what_to_run(tmp_path):
    assert f"ImportError: Hive is not built: run ./compile in {tmp_path}" in unbuilt(tmp_path, None)


def test_importing_with_another_python_than_it_was_built_for_says_what_to_run(tmp_path):
    said = unbuilt(tmp_path, 'PYTHON = "cpython-311"\nPURE = False\n')
    assert "ImportError: Hive was built for cpython-311" in said
    assert "run ./compile with this Python" in said


# ---- ./compile ---------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path):
    """A tree with ./compile alone, and an empty PATH of its own: tree, bin."""
    tree, tools = tmp_path / "tree", tmp_path / "bin"
    tree.mkdir()
    tools.mkdir()
    shutil.copy(ROOT / "compile", tree)
    for name in TOOLS + MORE_TOOLS:
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    return tree, tools


def compile_(clone, *options, **variables):
    """Run ./compile with nothing of this session's environment but what is given."""
    tree, tools = clone
    env = {"PATH": str(tools), "HOME": str(tree), "LC_ALL": "C", **variables}
    return subprocess.run([str(tree / "compile"), *options], env=env, capture_output=True, text=True, check=False)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def base_python() -> str:
    return os.path.realpath(sys.executable)


def test_a_python_that_fails_is_skipped_and_the_next_one_is_found(clone):
    _, tools = clone
    program(tools / "python3.12", "#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n")
    good = program(tools / "python3.13", f'#!/bin/sh\nexec "{base_python()}" "$@"\n')
    done = compile_(clone, "--find-python")
    assert done.stdout == f"{good}\n"
    assert f"skipped: {tools}/python3.12 does not run" in done.stderr
    assert done.returncode == 0


def test_pyenvs_versions_are_searched_when_its_shims_fail(clone):
    tree, tools = clone
    program(tools / "python3.12", "#!/bin/sh\nexit 127\n")
    program(tree / ".pyenv/versions/3.12.9/bin/python", "#!/bin/sh\nexit 1\n")
    good = program(tree / ".pyenv/versions/3.12.1/bin/python", f'#!/bin/sh\nexec "{base_python()}" "$@"\n')
    done = compile_(clone, "--find-python")
    assert done.stdout == f"{good}\n"
    assert "3.12.9/bin/python does not run" in done.stderr


def test_an_active_environment_comes_first_and_then_the_python_variable(clone):
    tree, tools = clone
    wrapper = f'#!/bin/sh\nexec "{base_python()}" "$@"\n'
    program(tools / "python3.12", wrapper)
    named = program(tree / "named", wrapper)
    active = program(tree / "env/bin/python", wrapper)
    found = compile_(clone, "--find-python", PYTHON=str(named), VIRTUAL_ENV=str(tree / "env"))
    assert found.stdout == f"{active}\n"
    assert compile_(clone, "--find-python", PYTHON=str(named)).stdout == f"{named}\n"


def test_condas_base_is_not_taken_for_an_environment(clone):
    tree, tools = clone
    program(tree / "conda/bin/python", f'#!/bin/sh\nexec "{base_python()}" "$@"\n')
    other = program(tools / "python3.12", f'#!/bin/sh\nexec "{base_python()}" "$@"\n')
    conda = {"CONDA_PREFIX": str(tree / "conda")}
    assert compile_(clone, "--find-python", CONDA_DEFAULT_ENV="base", **conda).stdout == f"{other}\n"
    named = compile_(clone, "--find-python", CONDA_DEFAULT_ENV="hive", **conda)
    assert named.stdout == f"{tree}/conda/bin/python\n"


def test_no_python_at_all_says_how_to_get_one(clone):
    done = compile_(clone)
    assert done.returncode == 1
    assert "compile: no usable Python 3.12 or 3.13 was found." in done.stderr
    assert "apt-get install python3.12" in done.stderr


def test_an_old_python_is_refused_with_its_version(clone):
    _, tools = clone
    program(tools / "python3", "#!/bin/sh\necho 'is Python 3.11; 3.12 or 3.13 is needed'\n")
    done = compile_(clone)
    assert f"skipped: {tools}/python3 is Python 3.11; 3.12 or 3.13 is needed" in done.stderr
    assert done.returncode == 1


@pytest.fixture
def environment(clone):
    """The clone with an active environment, which is this test run's own Python."""
    tree, _ = clone
    program(tree / "env/bin/python", f'#!/bin/sh\nexec "{base_python()}" "$@"\n')
    return {"VIRTUAL_ENV": str(tree / "env")}


@pytest.mark.parametrize(("variable", "language"), [("CC", "C"), ("CXX", "C++")])
def test_a_missing_compiler_names_the_package_to_install(clone, environment, variable, language):
    _, tools = clone
    program(tools / "apt-get", "#!/bin/sh\nexit 1\n")
    here = {"CC": shutil.which("gcc") or "gcc", "CXX": shutil.which("g++") or "g++"}
    ld = {"PATH": f"{tools}:/nonexistent", "COMPILER_PATH": "/usr/bin"}
    done = compile_(clone, **(here | ld | environment | {variable: "no-such-compiler"}))
    assert done.returncode == 1
    assert f"compile: there is no {language} compiler (no-such-compiler is not on PATH)." in done.stderr
    assert "apt-get install build-essential" in done.stderr
    assert "Traceback" not in done.stderr


def test_pure_python_needs_no_compiler(clone, environment):
    done = compile_(clone, CC="no-such-compiler", CXX="no-such-compiler", HIVE_PURE_PYTHON="1", **environment)
    assert "none needed for Hive itself (HIVE_PURE_PYTHON)" in done.stdout
    assert "[3/6] Packages of constraints.txt" in done.stdout  # where this clone, which has none, ends
    assert "compiler" not in done.stderr


def test_pure_python_on_another_machine_is_refused(clone, environment):
    _, tools = clone
    (tools / "uname").unlink()
    program(tools / "uname", '#!/bin/sh\n[ "$1" = -m ] && echo aarch64 || echo Linux\n')
    done = compile_(clone, HIVE_PURE_PYTHON="1", **environment)
    assert done.returncode == 1
    assert "compile: HIVE_PURE_PYTHON needs an x86-64 machine, this is aarch64." in done.stderr


def test_a_compiler_that_does_not_work_is_told_from_one_that_is_not_there(clone, environment):
    _, tools = clone
    program(tools / "broken-cc", "#!/bin/sh\necho 'cannot execute cc1' >&2\nexit 1\n")
    done = compile_(clone, CC="broken-cc", **environment)
    assert "compile: the C compiler broken-cc does not work:" in done.stderr
    assert "cannot execute cc1" in done.stderr


def test_with_an_active_environment_dot_venv_leads_there(clone, environment):
    tree, _ = clone
    compile_(clone, CC="no-such-compiler", **environment)
    assert (tree / ".venv").readlink() == tree / "env"


def test_help_is_printed_and_an_unknown_option_is_refused(clone):
    assert "usage: ./compile" in compile_(clone, "--help").stdout
    assert compile_(clone, "--no-such-option").returncode == 2


def functions(tree: Path, body: str, **variables):
    """Run a line of shell with ./compile's functions, and return what it prints."""
    text = (tree / "compile").read_text().replace('main "$@"\n', body + "\n")
    program(tree / "functions", text)
    env = {"PATH": os.environ["PATH"], "HOME": str(tree), "LC_ALL": "C", **variables}
    return subprocess.run([str(tree / "functions")], env=env, capture_output=True, text=True, check=False)


def test_an_unreachable_registry_is_said_in_a_sentence(clone):
    tree, _ = clone
    log = tree / "build/logs/packages.log"
    log.parent.mkdir(parents=True)
    log.write_text("WARNING: Retrying after connection broken by 'NewConnectionError(...)': /simple/aiohttp/\n")
    done = functions(tree, 'failed packages "the packages could not be installed."')
    assert "compile: pip cannot reach the package registry." in done.stderr
    assert done.returncode == 1


def test_a_failing_step_shows_the_end_of_its_log_and_where_it_is(clone):
    tree, _ = clone
    done = functions(tree, 'run step no_progress sh -c "echo first; echo last; exit 3" || failed step "it failed."')
    assert "| last" in done.stderr
    assert "compile: it failed." in done.stderr
    assert f"The whole output is in {tree}/build/logs/step.log" in done.stderr
    assert done.returncode == 1


def test_an_interrupted_step_ends_its_command_too(clone):
    tree, _ = clone
    body = 'run step no_progress sh -c "echo \\$\\$; exec sleep 600"'
    text = (tree / "compile").read_text().replace('main "$@"\n', body + "\n")
    with subprocess.Popen([program(tree / "functions", text)]) as running:
        log = tree / "build/logs/step.log"
        wait_until(lambda: log.exists() and log.read_text().strip())
        command = int(log.read_text())
        running.terminate()
        assert running.wait(10) == 130
    wait_until(lambda: not Path(f"/proc/{command}").exists())


def wait_until(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def link(clone, ours="env"):
    """Run the linking step with ~/.local/bin on PATH, and return what it prints."""
    tree, tools = clone
    program(tree / ours / "bin/hive", "#!/bin/sh\nfrom hive.cli import main\n")
    path = f"{tree}/.local/bin:{tools}"
    return functions(tree, f'PREFIX="{tree}/{ours}"; link_command', PATH=path).stdout


def test_a_foreign_hive_is_left_alone(clone):
    tree, _ = clone
    foreign = program(tree / ".local/bin/hive", "#!/bin/sh\necho apache\n")
    said = link(clone)
    assert foreign.read_text() == "#!/bin/sh\necho apache\n"
    assert f"{foreign} is another program and was left alone." in said
    assert f'export PATH="{tree}/env/bin:$PATH"' in said


def test_the_command_is_linked_into_a_directory_on_path(clone):
    tree, _ = clone
    said = link(clone)
    assert (tree / ".local/bin/hive").readlink() == tree / "env/bin/hive"
    assert "export PATH" not in said


def test_the_link_of_another_hive_tree_follows_the_latest_compile(clone):
    tree, _ = clone
    said = link(clone, "older")
    assert said == f"      {tree}/.local/bin/hive -> {tree}/older/bin/hive\n"
    said = link(clone, "newer")
    assert (tree / ".local/bin/hive").readlink() == tree / "newer/bin/hive"
    assert f"/.local/bin/hive led to {tree}/older/bin/hive and now leads to {tree}/newer/bin/hive: " in said
    assert len(said.splitlines()) == 1
    assert len(link(clone, "newer").splitlines()) == 1  # which says where it is


def test_a_link_that_leads_nowhere_is_replaced(clone):
    tree, _ = clone
    (tree / ".local/bin").mkdir(parents=True)
    (tree / ".local/bin/hive").symlink_to(tree / "gone")
    link(clone)
    assert (tree / ".local/bin/hive").readlink() == tree / "env/bin/hive"
