"""Make all objects of a process immortal, so that the processes that it forks share them for as long as they live.

CPython counts references inside of each object. A forked worker that only reads an object writes to its page, and the
kernel gives it a copy: of 140 MB of imports each worker came to own 13 MB that way. An object whose count has all of
its lower 32 bits set is immortal (PEP 683): nobody counts it any more, and it is never freed. Only for what lives as
long as the process anyway: a server's heap, once, before its first fork.

What is found: every object that the garbage collector tracks, and what those refer to; of code objects, which have no
references that Python shows, their constants and names.
"""

import ctypes
import gc
import sys
import types

from cpython.object cimport PyObject, Py_TYPE, visitproc
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc

IMMORTAL = 0xFFFF_FFFF

cdef uint32_t ALL_BITS = 0xFFFF_FFFF
cdef uint32_t IMMORTAL_FROM = 0x8000_0000  # the sign bit of the lower half is what CPython asks for

cdef extern from "Python.h":
    bint PyObject_IS_GC(PyObject *one) noexcept  # a type that is not on the heap must not be traversed

cdef struct Waiting:
    PyObject **items
    size_t count
    size_t room
    size_t found
    bint full


def can_immortalize() -> bool:
    """Return whether this interpreter keeps its counts where this module sets them: CPython 3.12 and 3.13, 64 bit."""
    if sys.implementation.name != "cpython" or not (3, 12) <= sys.version_info[:2] <= (3, 13):
        return False
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8 or hasattr(sys, "gettotalrefcount"):
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    probe = object()
    return (<uint32_t *> <PyObject *> probe)[0] == 1


def immortalize() -> int:
    """Make every object immortal that is found now; return how many became so, 0 where that cannot be done."""
    if not can_immortalize():
        return 0
    cdef Waiting waiting = Waiting(NULL, 0, 0, 0, False)
    cdef PyObject *one
    roots = gc.get_objects()
    for root in roots:
        mark(<PyObject *> root, &waiting)
    while waiting.count:
        waiting.count -= 1
        one = waiting.items[waiting.count]
        if PyObject_IS_GC(one) and Py_TYPE(<object> one).tp_traverse != NULL:
            Py_TYPE(<object> one).tp_traverse(one, <visitproc> mark, &waiting)
        elif type(<object> one) is types.CodeType:
            code = <object> one
            for part in (code.co_consts, code.co_names, code.co_filename, code.co_qualname):
                mark(<PyObject *> part, &waiting)
    free(waiting.items)
    if waiting.full:
        raise MemoryError("no memory to remember which objects refer to others")
    return waiting.found


cdef int mark(PyObject *one, void *argument) noexcept:
    """Make an object immortal and remember to look at what it refers to, unless it is immortal already."""
    cdef Waiting *waiting = <Waiting *> argument
    cdef uint32_t *count = <uint32_t *> one  # the lower half of ob_refcnt, an object's first field
    cdef PyObject **larger
    if count[0] >= IMMORTAL_FROM:
        return 0
    count[0] = ALL_BITS
    waiting.found += 1
    if waiting.count == waiting.room:
        larger = <PyObject **> realloc(waiting.items, (2 * waiting.room + 1024) * sizeof(PyObject *))
        if larger == NULL:
            waiting.full = True
            return 0
        waiting.items = larger
        waiting.room = 2 * waiting.room + 1024
    waiting.items[waiting.count] = one
    waiting.count += 1
    return 0
