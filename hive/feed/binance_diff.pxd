"""Binance's shortcut (see binance_diff.pyx)."""

from hive.feed.inlet cimport Shortcut


cdef class BinanceShortcut(Shortcut):
    cdef dict _books
    cdef dict _tapes
