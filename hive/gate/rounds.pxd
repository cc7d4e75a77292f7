"""Fields and C methods of the rounds (see rounds.pyx)."""

from cpython.ref cimport PyObject


cdef struct Node:
    double key
    long long sequence
    PyObject *flow  # borrowed: a round keeps every flow that it has seen


cdef class Flow:
    cdef readonly str name
    cdef Entry head          # the first that waits, None when none does
    cdef Entry last
    cdef Py_ssize_t depth    # how many wait
    cdef double weight
    cdef double start        # S: where its turn begins, or the next one would
    cdef double finish       # F, while something waits
    cdef double deficit      # V - S, kept while it is parked
    cdef long long sequence  # when it began to wait for this turn
    cdef long long before    # the same of the turn before
    cdef bint counted        # whether PHI contains its weight
    cdef Heap heap           # where it is, None when nothing waits and nothing is owed
    cdef Py_ssize_t at       # its position there

    cdef void append(self, Entry entry) noexcept
    cdef void prepend(self, Entry entry) noexcept
    cdef void unlink(self, Entry entry) noexcept
    cdef list items(self)


cdef class Entry:
    cdef readonly object item
    cdef readonly str flow
    cdef readonly int rank
    cdef double cost
    cdef Flow owner   # None as soon as it does not wait any more
    cdef Entry ahead  # its neighbours in the flow's queue
    cdef Entry behind


cdef class Heap:
    cdef Node *nodes
    cdef Py_ssize_t used
    cdef Py_ssize_t room

    cdef int add(self, Flow flow, double key) except -1
    cdef void remove(self, Flow flow) noexcept
    cdef Flow top(self)
    cdef void shift(self, double by) noexcept
    cdef void _put(self, Py_ssize_t at, Node node) noexcept
    cdef void _up(self, Py_ssize_t at, Node node) noexcept
    cdef void _down(self, Py_ssize_t at, Node node) noexcept


cdef class Round:
    cdef readonly dict flows
    cdef readonly Py_ssize_t length
    cdef double clock    # V
    cdef double weights  # PHI
    cdef long long sequence
    cdef Heap ready
    cdef Heap ahead
    cdef Heap parked
    cdef Heap leaving

    cpdef Flow flow(self, str name, double weight)
    cpdef int push(self, Flow flow, Entry entry) except -1
    cpdef int push_first(self, Flow flow, Entry entry) except -1
    cpdef object pop(self, long long now_ns, object wait)
    cpdef int remove(self, Entry entry) except -1
    cpdef int set_weight(self, Flow flow, double weight) except -1
    cpdef long long wait_ns(self, long long now_ns)
    cpdef int unpark(self, Flow flow=*) except -1
    cdef int _detach(self, Flow flow) except -1
    cdef int _attach(self, Flow flow) except -1
    cdef int _settle(self, Flow flow) except -1
    cdef Flow _next(self)
    cdef int _advance(self, double cost) except -1
    cdef int _move_to(self, double clock) except -1
    cdef void _count(self, Flow flow, bint counted) noexcept
