"""The bytes that the journal makes most often: the tail of an order that is sent, and records out of tails.

    pack_order   an Order -> its tail;   records   tails, or stories of them -> a file's bytes

An order that is about to be sent waits for both. The layout is in journal_format.py.
"""

from zlib import crc32

from hive.gate.journal_format import PRICE_GIVEN, TAIL_BYTES, Kind, unfit
from hive.gate.order import State
from hive.shm.decimals import to_mantissa
from hive.shm.errors import NotRepresentable

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum:
    BODY = 180  # of a tail, behind its CRC
    TAIL = 184
    SERIAL = 8

cdef int SENT = Kind.SENT
cdef int STATE_SENT = State.SENT
cdef int GIVEN = PRICE_GIVEN

if TAIL_BYTES != TAIL:
    raise ImportError(f"a tail must be {TAIL} bytes, was {TAIL_BYTES}: journal_pack.pyx has another layout")


cdef struct Head:  # of a body
    uint8_t kind
    uint8_t given
    int8_t price_exp
    int8_t amount_exp
    int8_t executed_exp
    uint8_t state


def pack_order(kind, order, age_ns, wall_ns):
    """Return the tail of SENT or ADOPTED; `age_ns` is how long ago the order was created.

    Raises:
        NotRepresentable: what cannot be recorded exactly.
    """
    cdef char body[BODY]
    cdef Head head
    cdef int64_t when, created, price = 0, amount, executed = 0
    cdef uint32_t worker_epoch, book_epoch, crc
    cdef uint8_t ends[4]
    cdef bytes tail
    cdef char *at
    limit = order.price
    memset(body, 0, BODY)
    memset(&head, 0, sizeof(Head))
    try:
        head.kind = kind
        if limit is not None:
            head.given = GIVEN
            price, head.price_exp = to_mantissa(limit)
        amount, head.amount_exp = to_mantissa(order.amount)
        executed, head.executed_exp = to_mantissa(order.executed)
        head.state = STATE_SENT if head.kind == SENT else order.state
        when, created = wall_ns, wall_ns - age_ns
        worker_epoch, book_epoch = order.worker_epoch, order.book_epoch
        ends[0], ends[1], ends[2], ends[3] = order.side, order.order_type, order.tif, order.origin
    except OverflowError as error:
        raise unfit(error) from error
    memcpy(body, &head, sizeof(Head))
    memcpy(body + 10, &when, 8)
    put_text(body + 18, "client_order_id", order.client_order_id, 36)
    put_text(body + 54, "pair", order.pair, 24)
    put_text(body + 78, "symbol", order.symbol, 24)
    put_text(body + 102, "tag", order.tag, 5)
    put_text(body + 107, "exchange_order_id", order.exchange_order_id, 24)
    memcpy(body + 131, &price, 8)
    memcpy(body + 139, &amount, 8)
    memcpy(body + 147, &executed, 8)
    memcpy(body + 155, &created, 8)
    memcpy(body + 163, &worker_epoch, 4)
    memcpy(body + 167, &book_epoch, 4)
    memcpy(body + 171, ends, 4)
    crc = crc32(PyBytes_FromStringAndSize(body, BODY))
    tail = PyBytes_FromStringAndSize(NULL, TAIL)
    at = PyBytes_AS_STRING(tail)
    memcpy(at, &crc, 4)
    memcpy(at + 4, body, BODY)
    return tail


def records(uint64_t first_serial, list tails not None):
    """Return the bytes of records with serials from `first_serial` on; each item is a tail, or several in a row."""
    cdef Py_ssize_t length, total = 0
    cdef uint64_t serial = first_serial
    cdef bytes run, data
    cdef const char *source
    cdef char *at
    for run in tails:
        length = PyBytes_GET_SIZE(run)
        if length % TAIL:
            raise ValueError(f"tails must be of {TAIL} bytes, were {length} bytes")
        total += length // TAIL
    data = PyBytes_FromStringAndSize(NULL, total * (SERIAL + TAIL))
    at = PyBytes_AS_STRING(data)
    for run in tails:
        source = PyBytes_AS_STRING(run)
        for _ in range(PyBytes_GET_SIZE(run) // TAIL):
            memcpy(at, &serial, SERIAL)
            memcpy(at + SERIAL, source, TAIL)
            serial += 1
            source += TAIL
            at += SERIAL + TAIL
    return data


cdef int put_text(char *at, str field, str text, Py_ssize_t size) except -1:
    cdef Py_ssize_t length = 0
    cdef const char *source
    cdef bytes data
    if text.isascii():
        source = PyUnicode_AsUTF8AndSize(text, &length)
    else:
        data = text.encode("utf-8", "surrogateescape")
        source, length = PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
    if length > size or memchr(source, 0, length) is not NULL:
        raise NotRepresentable(f"{field} must be at most {size} bytes without NUL, was {text!r}")
    memcpy(at, source, length)
    return 0
