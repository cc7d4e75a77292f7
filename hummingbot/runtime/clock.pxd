from hummingbot.core.clock cimport Clock


cdef class ContextClock(Clock):
    pass
