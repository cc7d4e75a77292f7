"""Loads, stores and fences for Cython over shared memory, and Memory, which keeps a mapping alive."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "atomics.h" nogil:
    uint64_t load_relaxed(const uint64_t *p) noexcept
    uint64_t load_acquire(const uint64_t *p) noexcept
    void store_relaxed(uint64_t *p, uint64_t v) noexcept
    void store_release(uint64_t *p, uint64_t v) noexcept
    uint32_t load_relaxed_u32(const uint32_t *p) noexcept
    uint32_t load_acquire_u32(const uint32_t *p) noexcept
    void store_relaxed_u32(uint32_t *p, uint32_t v) noexcept
    void store_release_u32(uint32_t *p, uint32_t v) noexcept
    int64_t load_relaxed_i64(const int64_t *p) noexcept
    void store_relaxed_i64(int64_t *p, int64_t v) noexcept
    double load_relaxed_f64(const double *p) noexcept
    void store_relaxed_f64(double *p, double v) noexcept
    void fence_acquire() noexcept
    void fence_release() noexcept
    void compiler_barrier() noexcept
    uint64_t compare_exchange(uint64_t *p, uint64_t expected, uint64_t desired) noexcept
    void copy_bytes(void *to, const void *from_, size_t n) noexcept
    void copy_words(uint64_t *to, const uint64_t *from_, size_t n) noexcept
    void cpu_relax() noexcept
    int64_t monotonic_clock_ns() noexcept
    int64_t c_boottime_ns() noexcept


cdef class Memory:
    cdef Py_buffer _view
    cdef char *base
    cdef readonly Py_ssize_t size
    cdef readonly bint writable

    cdef char *at(self, Py_ssize_t offset, Py_ssize_t size) except NULL
    cdef uint64_t *_writable_word(self, Py_ssize_t offset) except NULL


cdef class OwnerWord:
    cdef Memory _memory
    cdef uint64_t *_word
