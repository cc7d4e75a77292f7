"""Levels of a message as C arrays, and decimals as float64 (see levels.pyx)."""


cdef struct Levels:
    double *px
    double *qty
    Py_ssize_t count
    Py_ssize_t capacity


cdef int c_grow(double **first, double **second, Py_ssize_t *capacity) noexcept nogil
cdef int c_read(Levels *into, object levels) except -1
cdef bint c_scan(Levels *into, const char *at, const char *end) except -1
cdef double c_decimal(const char *text, Py_ssize_t size) noexcept nogil
