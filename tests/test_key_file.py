"""A file with keys: what it may look like, who may read it, and that no error shows what stands in it."""

import json
import os
from pathlib import Path

import pytest

from hive.key_file import SIZE_MAX, KeyFileError, read_key_file

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP"
PAIR = ("vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv", SECRET)


def written(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "keys.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(KeyFileError) as caught:
        read_key_file(path)
    assert caught.value.__cause__ is None
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_yaml_of_this_user_alone_is_read(tmp_path, mode):
    assert read_key_file(written(tmp_path, f"api_key: {PAIR[0]}\napi_secret: {PAIR[1]}\n", mode)) == PAIR


def test_json_is_read_too(tmp_path):
    text = json.dumps({"api_key": PAIR[0], "api_secret": PAIR[1]}, indent=1)
    assert read_key_file(written(tmp_path, text)) == PAIR


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o700, 0o666])
def test_a_file_that_others_may_open_is_refused_with_the_remedy(tmp_path, mode):
    path = written(tmp_path, f"api_key: {PAIR[0]}\napi_secret: {PAIR[1]}\n", mode)
    assert refusal(path) == f"{path} must have mode 0600 or stricter, has {mode:04o}: chmod 600 {path}"


def test_a_symbolic_link_is_refused_even_to_a_good_file(tmp_path):
    good = written(tmp_path, f"api_key: {PAIR[0]}\napi_secret: {PAIR[1]}\n")
    link = tmp_path / "link.yml"
    link.symlink_to(good)
    assert refusal(link) == f"{link} must be a file, not a symbolic link"


def test_what_is_no_regular_file_is_refused_and_waited_for_by_nobody(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    assert refusal(fifo) == f"{fifo} must be a regular file"
    assert refusal(tmp_path) == f"{tmp_path} must be a regular file"


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.yml"
    assert refusal(path) == f"{path} must be a file that can be read: No such file or directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_another_users_file_is_refused(tmp_path):
    path = written(tmp_path, f"api_key: {PAIR[0]}\napi_secret: {PAIR[1]}\n")
    os.chown(path, 65534, 65534)
    assert refusal(path) == f"{path} must belong to the user who starts the fleet, belongs to uid 65534"


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"api_secret: {SECRET}\n",
        f"api_key: k\napi_secret: {SECRET}\nmore: {SECRET}\n",
        f"api_key: k\napi_secret: [{SECRET}]\n",
        "api_key: k\napi_secret: 1234567890\n",
        f"api_key: k\napi_secret: *{SECRET}\n",  # the parser's own words would show an alias, a tag, a key
        f"api_key: k\napi_secret: !{SECRET} x\n",
        f"{SECRET}: 1\n{SECRET}: 2\n",
        f"api_key: k\napi_secret: %{SECRET}\n",
        f"api_key: k\napi_secret: '{SECRET}\n",
        f"api_key: k\napi_secret: {'9' * 5000}\n",
    ],
)
def test_anything_else_in_it_is_refused_without_showing_it(tmp_path, text):
    path = written(tmp_path, text)
    rule = "must be YAML or JSON with the texts api_key and api_secret, and nothing else"
    assert refusal(path) == f"{path} {rule}"


def test_a_file_that_is_no_text_or_too_long_is_refused(tmp_path):
    assert refusal(written(tmp_path, b"api_key: \xff")) == f"{tmp_path / 'keys.yml'} must be UTF-8 text"
    long = written(tmp_path, "#" * (SIZE_MAX + 1))
    assert refusal(long) == f"{long} must be at most {SIZE_MAX} bytes"
