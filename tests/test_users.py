"""Who may run a fleet of two users, and what is refused before anything is started."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from hive.users import UsersError, find_users


def installed_by_root() -> bool:
    """Return whether the program itself is as it must be, so that a refusal is of what the test made."""
    try:
        find_users("daemon", "nobody", [])
    except UsersError:
        return False
    return True


def refusal(user: str, gate_user: str, *files: Path) -> str:
    with pytest.raises(UsersError) as caught:
        find_users(user, gate_user, files)
    return str(caught.value)


def test_both_must_exist_be_two_and_not_root():
    assert refusal("no-such-user", "nobody") == "user: must be a user of this host, was 'no-such-user'"
    assert refusal("daemon", "no-such-user") == "gate_user: must be a user of this host, was 'no-such-user'"
    assert refusal("root", "nobody") == "user: must not be root, was 'root'"
    assert refusal("daemon", "root") == "gate_user: must not be root, was 'root'"
    assert refusal("daemon", "daemon") == "gate_user: must be another user than 'daemon', was 'daemon'"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_only_root_can_start_it():
    assert refusal("daemon", "nobody").startswith("gate_user: only root can start a gate as 'nobody', was started by")


@pytest.mark.skipif(not installed_by_root(), reason="needs root, and an installation that is root's alone")
def test_what_says_so_must_be_roots_alone_with_every_folder_above_and_behind_a_link(tmp_path):
    file = tmp_path / "fleet.yml"
    file.touch(0o644)
    users = find_users("daemon", "nobody", [file])
    assert (users.user.pw_name, users.gate.pw_name) == ("daemon", "nobody")
    rule = "must be root's and writable by nobody else: the gate depends on it"
    file.chmod(0o664)
    assert refusal("daemon", "nobody", file) == f"gate_user: {file} {rule}"
    file.chmod(0o644)
    os.chown(file, 1, 0)
    assert refusal("daemon", "nobody", file) == f"gate_user: {file} {rule}"
    os.chown(file, 0, 0)
    tmp_path.chmod(0o777)
    assert refusal("daemon", "nobody", file) == f"gate_user: {tmp_path} {rule}"
    tmp_path.chmod(0o1777)
    find_users("daemon", "nobody", [file])
    link = tmp_path / "link.yml"
    link.symlink_to(tmp_path / "open" / "fleet.yml")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "fleet.yml").touch()
    assert refusal("daemon", "nobody", link) == f"gate_user: {tmp_path / 'open'} {rule}"


BECOME = """
import json, os, pwd, subprocess
from hive.users import Users, become_user, files_of, passing_on

def status():
    text = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith(("Uid", "Gid", "Cap"))}

def readable(path):
    try:
        return bool(open(path).read())
    except OSError:
        return False

users = Users(pwd.getpwnam("daemon"), pwd.getpwnam("nobody"))
with files_of(users.user):
    while_reading = readable("/etc/shadow")
after_reading = readable("/etc/shadow")
environment = {"HOME": "/root", "XDG_RUNTIME_DIR": "/", "XDG_STATE_HOME": "/none", "PATH": os.environ["PATH"]}
become_user(users, environment)
with passing_on():
    inside = status()
told = {"while": while_reading, "after": after_reading, "as user": readable("/etc/shadow"), "inside": inside,
        "outside": status(), "environment": environment}
print(json.dumps(told))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_right_to_change_users_is_kept_and_passed_to_the_gate_alone():
    done = subprocess.run([sys.executable, "-c", BECOME], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["while"], told["after"], told["as user"]) == (False, True, False)
    user = str(pwd.getpwnam("daemon").pw_uid)
    assert told["inside"]["Uid:"] == told["outside"]["Uid:"] == [user] * 4
    passed = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID
    for name in ("CapPrm:", "CapEff:", "CapAmb:"):
        assert int(told["inside"][name][0], 16) == passed, name
        assert int(told["outside"][name][0], 16) == 0, name
    kept = {**told["environment"], "PATH": ""}
    home = pwd.getpwnam("daemon").pw_dir
    assert kept == {"HOME": home, "USER": "daemon", "LOGNAME": "daemon", "PYTHONNOUSERSITE": "1", "PATH": ""}
