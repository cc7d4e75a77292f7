"""One fleet per API key."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from hive.gate.errors import BootError
from hive.gate.key_lock import KeyLock


def test_a_key_is_held_by_one_fleet_and_free_again_afterwards(tmp_path):
    first = KeyLock(tmp_path, "the-key", "one")
    with pytest.raises(BootError, match=f"another fleet is using this API key .pid {os.getpid()}, fleet one."):
        KeyLock(tmp_path, "the-key", "two")
    first.close()
    first.close()
    KeyLock(tmp_path, "the-key", "two").close()


def test_a_lock_that_is_given_back_leaves_no_file_and_whoever_waited_for_it_holds_the_next(tmp_path):
    first = KeyLock(tmp_path, "the-key", "one")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(KeyLock, tmp_path, "the-key", "two")
        first.close()
        second = waiting.result()
    with pytest.raises(BootError, match="fleet two"):
        KeyLock(tmp_path, "the-key", "three")
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_may_not_be_removed_is_free_all_the_same(tmp_path):
    first = KeyLock(tmp_path, "the-key", "one")
    first.path.unlink()
    first.close()
    KeyLock(tmp_path, "the-key", "two").close()


def test_other_keys_are_other_locks_and_no_file_names_a_key(tmp_path):
    locks = [KeyLock(tmp_path, key, "one") for key in ("first-key", "second-key")]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert all(name.startswith("key-") and "first" not in name for name in names)
    for lock in locks:
        lock.close()
