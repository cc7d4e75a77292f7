"""The pages of a segment: present on one node, locked or huge when that is allowed, and an error when it must be."""

import os
import resource
from collections.abc import Callable

import pytest

import forks
from hive.shm.errors import MemoryNotAllowed
from hive.shm.pages import huge_page_bytes, numa_node
from hive.shm.segment import Segment, list_segments, segment_name

NOBODY = 65534


def locked_kb() -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmLck:"))


def resident_kb(name: str) -> int:
    """Return how many kB of a mapped segment the page tables of this process hold."""
    found = False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            if name in line:
                found = True
            elif found and line.startswith("Rss:"):
                return int(line.split()[1])
    raise LookupError(name)


def in_child_without_right_to_lock(action: Callable[[], None]) -> None:
    def child() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
        if os.geteuid() == 0:
            os.setuid(NOBODY)  # loses CAP_IPC_LOCK
        action()

    with forks.Forked(child) as forked:
        assert forked.wait(20) == 0


def create(run: str, size: int = 1 << 20, **wishes: str) -> Segment:
    return Segment.create(segment_name(run, "pages", 1), size, kind="test", epoch=1, **wishes)


def test_every_page_is_there_before_it_is_written_and_lies_on_a_known_node(run):
    made = create(run)
    assert resident_kb(made.name) == 1024
    report = made.memory_report
    assert (report["locked"], report["huge_pages"]) == (False, False)
    assert report["numa_node"] in (*range(os.cpu_count() or 1), None)
    assert "locking is off" in report["why"]
    assert "huge pages are off" in report["why"]
    made.unlink()
    made.close()


def test_what_is_reported_as_locked_is_locked(run):
    before = locked_kb()
    made = create(run, lock="auto")
    assert locked_kb() - before == (1024 if made.memory_report["locked"] else 0)
    made.unlink()
    made.close()
    assert locked_kb() == before


def test_memory_that_may_not_be_locked_is_reported_and_used_anyway(run):
    def use() -> None:
        made = create(run, lock="auto")
        made.unlink()
        assert made.memory_report["locked"] is False
        assert "not locked (Cannot allocate memory: RLIMIT_MEMLOCK is 4096 bytes" in made.memory_report["why"]
        made.beat(7)
        assert made.heartbeat_ns == 7

    in_child_without_right_to_lock(use)


def test_memory_that_must_be_locked_and_may_not_is_an_error_that_leaves_nothing(run):
    def refuse() -> None:
        with pytest.raises(MemoryNotAllowed, match=r"its 1048576 bytes cannot be locked \(.*RLIMIT_MEMLOCK is 4096"):
            create(run, lock="on")

    in_child_without_right_to_lock(refuse)
    assert list_segments(run) == []


def test_a_segment_smaller_than_a_huge_page_is_fine_without(run):
    made = create(run, size=8192, huge="on")
    assert made.memory_report["huge_pages"] is False
    assert "smaller than a huge page" in made.memory_report["why"] or huge_page_bytes() == 0
    made.unlink()
    made.close()


def test_huge_pages_are_used_or_refused_with_what_is_missing(run):
    size = 4 * (huge_page_bytes() or 1 << 21)
    made = create(run, size, huge="auto")
    available = made.memory_report["huge_pages"]
    assert available or "no huge pages (" in made.memory_report["why"]
    made.unlink()
    made.close()
    if available:
        made = create(run, size, huge="on")
        assert made.memory_report["huge_pages"]
        made.unlink()
        made.close()
    else:
        with pytest.raises(MemoryNotAllowed, match=r"no huge pages \(.+\)"):
            create(run, size, huge="on")
    assert list_segments(run) == []


def test_a_wish_that_is_none_is_refused_before_anything_is_made(run):
    for wishes in ({"lock": "yes"}, {"huge": "maybe"}):
        ((what, wish),) = wishes.items()
        with pytest.raises(ValueError, match=f"{what} must be one of auto, on, off, was '{wish}'"):
            create(run, **wishes)
    assert list_segments(run) == []


def test_a_segment_that_is_not_mapped_has_no_known_node(run):
    why: list[str] = []
    assert numa_node(segment_name(run, "none", 1), why) is None
    assert why != []
