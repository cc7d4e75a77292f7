"""Make all objects of a process immortal, so that the processes that it forks share them for as long as they live.

CPython counts references inside of each object. A forked worker that only reads an object writes to its page, and the
kernel gives it a copy: of 140 MB of imports each worker came to own 13 MB that way. An object whose count has all of
its lower 32 bits set is immortal (PEP 683): nobody counts it any more, and it is never freed. Only for what lives as
long as the process anyway: a server's heap, once, before its first fork.

What is found: every object that the garbage collector tracks, and what those refer to; of code objects, which have no
references that Python shows, their constants and names. The twin of immortal.pyx, some seconds slower.
"""

import ctypes
import gc
import sys
import types
from collections.abc import Iterable

IMMORTAL = 0xFFFF_FFFF
_IMMORTAL_FROM = 0x8000_0000  # the sign bit of the lower half is what CPython asks for
_AT_A_TIME = 2_000  # objects whose references are listed together: lists of all would leave holes of their size behind

_count_at = ctypes.c_uint32.from_address


def can_immortalize() -> bool:
    """Return whether this interpreter keeps its counts where this module sets them: CPython 3.12 and 3.13, 64 bit."""
    if sys.implementation.name != "cpython" or not (3, 12) <= sys.version_info[:2] <= (3, 13):
        return False
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8 or hasattr(sys, "gettotalrefcount"):
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    probe = object()
    return _count_at(id(probe)).value == sys.getrefcount(probe) - 1


def immortalize() -> int:
    """Make every object immortal that is found now; return how many became so, 0 where that cannot be done."""
    if not can_immortalize():
        return 0
    found = 0
    waiting = gc.get_objects()
    while waiting:
        beyond: list[object] = []
        for start in range(0, len(waiting), _AT_A_TIME):
            some = waiting[start : start + _AT_A_TIME]
            found += _mark(some)
            beyond += _mortal(gc.get_referents(*some))
            beyond += _mortal(_in_code(some))
        waiting = beyond
    return found


def _mark(objects: Iterable[object]) -> int:
    marked = 0
    for one in objects:
        count = _count_at(id(one))
        if count.value < _IMMORTAL_FROM:
            count.value = IMMORTAL
            marked += 1
    return marked


def _mortal(objects: Iterable[object]) -> list[object]:
    return [one for one in objects if _count_at(id(one)).value < _IMMORTAL_FROM]


def _in_code(objects: Iterable[object]) -> list[object]:
    codes = [one for one in objects if type(one) is types.CodeType]
    return [part for code in codes for part in (code.co_consts, code.co_names, code.co_filename, code.co_qualname)]
