"""The order of stores and loads in what the compiler makes of books and rings.

x86-64 keeps stores in the order of other stores and loads in that of other loads, so that no stress test on it finds a
missing fence. Here the compiler's own last form before machine code is read (GIMPLE, the same for every machine): which
atomics and fences are left, with which memory order, and where they stand among the copies. On aarch64, or with a cross
compiler for it, the barriers of the machine code are looked for as well.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHM = ROOT / "hive" / "shm"
RELAXED, ACQUIRE, RELEASE = "0", "2", "3"
ORDERS = {RELAXED: "relaxed", ACQUIRE: "acquire", RELEASE: "release"}
STEP = re.compile(r"__atomic_(load|store)_\d+ \(.*?(\d)\);|__atomic_thread_fence \((\d)\)|\b(memcpy) \(")
PROTOCOL = """
#include "book_protocol.h"
int the_read(const book_place *p, book_version *top, const book_columns *into, uint64_t *head) {
    return book_read(p, top, into, head);
}
int the_top(const book_place *p, void *into, uint64_t *head) {
    return book_read_head(p, into, BOOK_TOP_WORDS, head);
}
uint64_t the_publish(const book_place *p, uint64_t head, const book_version *top, const double *a, const double *b,
                     const double *c, const double *d) {
    return book_publish(p, head, top, a, b, c, d);
}
"""
CC = shutil.which((sysconfig.get_config_var("CC") or "gcc").split()[0]) or shutil.which("gcc")
CROSS = shutil.which("aarch64-linux-gnu-gcc")

pytestmark = pytest.mark.skipif(
    CC is None or "Free Software" not in subprocess.run([CC, "--version"], capture_output=True, text=True).stdout,
    reason="needs gcc, whose dumps these are",
)


def compiled(source: Path, *options: str, compiler: str | None = None) -> subprocess.CompletedProcess:
    """Compile as setup.py does, with `options`."""
    include = [f"-I{SHM}", f"-I{sysconfig.get_paths()['include']}"]
    command = [compiler or CC, "-O3", "-std=gnu11", "-w", *include, "-c", str(source), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=source.parent)


def steps_of(source: Path, *options: str) -> dict[str, list[str]]:
    """Return the atomics, fences and copies of every function, in the order in which they stand."""
    dump = source.with_suffix(".gimple")
    compiled(source, "-o", str(source.with_suffix(".o")), f"-fdump-tree-optimized={dump}", *options)
    found: dict[str, list[str]] = {}
    for line in dump.read_text().splitlines():
        if line.startswith(";; Function"):
            steps = found.setdefault(line.split()[2], [])
        elif match := STEP.search(line):
            what, order, fence, copy = match.groups()
            if copy:
                steps.append("copy")
            else:
                steps.append(f"fence {ORDERS[fence]}" if fence else f"{what} {ORDERS[order]}")
    return found


@pytest.fixture(scope="module")
def protocol(tmp_path_factory) -> dict[str, list[str]]:
    source = tmp_path_factory.mktemp("protocol") / "protocol.c"
    source.write_text(PROTOCOL)
    return steps_of(source)


@pytest.fixture(scope="module")
def ring(tmp_path_factory) -> dict[str, list[str]]:
    """What becomes of broadcast.pyx, as Cython translates it."""
    source = tmp_path_factory.mktemp("ring") / "broadcast.c"
    command = [sys.executable, "-m", "cython", "-3", "-I", str(ROOT), str(SHM / "broadcast.pyx"), "-o", str(source)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return {name: steps for name, steps in steps_of(source).items() if "_c_" in name or "rejoin" in name}


def function(steps: dict[str, list[str]], *words: str) -> list[str]:
    (name,) = [name for name in steps if all(word in name for word in words)]
    return steps[name]


# A version's payload may become visible only between the two stores of its seq, and the head after both.
PUBLISHED = ["store relaxed", "fence release", *["store relaxed"] * 13, *["copy"] * 4, "store release", "store release"]
# The head, then whose place it is, then the cell's seq; the copies; and seq again, not before they are done.
LOOKED_UP = ["load acquire", "load relaxed", "load acquire"]
CHECKED_AGAIN = ["fence acquire", "load relaxed"]


def test_a_version_is_written_between_its_two_seqs_and_shown_last(protocol):
    assert protocol["the_publish"] == PUBLISHED


def test_a_book_is_copied_between_two_looks_at_its_seq(protocol):
    assert protocol["the_read"] == [*LOOKED_UP, *["copy"] * 5, *CHECKED_AGAIN]


def test_a_top_is_copied_between_two_looks_at_the_seq(protocol):
    assert protocol["the_top"] == [*LOOKED_UP, "copy", *CHECKED_AGAIN]


def test_a_reader_without_the_recheck_would_be_seen_here(tmp_path):
    source = tmp_path / "protocol.c"
    source.write_text(PROTOCOL)
    assert steps_of(source, "-DHIVE_WITHOUT_RECHECK")["the_read"] == [*LOOKED_UP, *["copy"] * 5]


def test_a_fence_that_is_left_out_would_be_seen_here(tmp_path):
    source = tmp_path / "protocol.c"
    without = (SHM / "book_protocol.h").read_text().replace("fence_release();", "")
    source.write_text(PROTOCOL.replace('#include "book_protocol.h"', without))
    steps = steps_of(source)["the_publish"]
    assert steps == [step for step in PUBLISHED if step != "fence release"]


def test_a_record_of_a_ring_is_written_between_its_two_seqs(ring):
    steps = function(ring, "RingWriter_c_push")
    assert steps[:2] == ["store relaxed", "fence release"]
    assert set(steps[2:-2]) == {"load relaxed", "store relaxed"}  # the words, in a loop
    assert steps[-2:] == ["store release", "store release"]


def test_a_record_of_a_ring_is_copied_between_two_looks_at_its_seq(ring):
    steps = function(ring, "RingReader_c_take")
    first, last = steps.index("load acquire"), steps.index("fence acquire")
    assert first < last
    assert set(steps[first + 1 : last]) == {"load relaxed", "store relaxed"}
    assert steps[last + 1] == "load relaxed"


def test_a_lapped_reader_rejoins_at_a_head_that_it_acquired(ring):
    assert "load acquire" in function(ring, "rejoin")


@pytest.mark.skipif(CROSS is None and "aarch64" not in sysconfig.get_platform(), reason="no compiler for aarch64 here")
def test_on_aarch64_the_barriers_are_instructions(tmp_path):
    source = tmp_path / "protocol.c"
    source.write_text(PROTOCOL)
    compiled(source, "-S", "-o", str(tmp_path / "protocol.s"), compiler=CROSS)
    text = (tmp_path / "protocol.s").read_text()
    publish = text[text.index("the_publish:") :]
    read = text[text.index("the_read:") : text.index("the_top:")]
    assert re.search(r"dmb\s+ish\b", publish)
    assert len(re.findall(r"\bstlr\b", publish)) == 2
    assert re.search(r"dmb\s+ishld\b", read)
    assert len(re.findall(r"\bldar\b", read)) == 2


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
@pytest.mark.skipif("x86_64" not in sysconfig.get_platform(), reason="looks for x86-64 stores")
def test_on_x86_64_the_head_is_the_last_store_of_a_publication(tmp_path):
    source = tmp_path / "protocol.c"
    source.write_text(PROTOCOL)
    compiled(source, "-o", str(tmp_path / "protocol.o"))
    command = ["objdump", "-dr", "--no-show-raw-insn", str(tmp_path / "protocol.o")]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    publish = text[text.index("<the_publish>:") :].split("\n\n")[0].splitlines()
    copies = [at for at, line in enumerate(publish) if "memcpy" in line]
    shared = [at for at, line in enumerate(publish) if re.search(r"mov[a-z]*\s+%\w+,(0x\w+)?\(%r(?!sp|bp)", line)]
    assert len(copies) == 4
    before = [at for at in shared if at < copies[0]]
    after = [at for at in shared if at > copies[-1]]
    assert len(before) >= 14  # seq, and the fields
    assert len(after) == 2  # seq, then head
