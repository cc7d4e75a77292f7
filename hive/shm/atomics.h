/* Atomic loads, stores and fences over shared memory: GCC/Clang builtins with the C11 memory model.
 *
 * Every use names its partner. copy_bytes() is a memcpy that the compiler may neither move across the fences around
 * it nor split into re-reads: between two "memory" clobbers it is opaque, and a value torn by a concurrent writer is
 * thrown away by the sequence check that follows. Formally it races (C11 has no atomic memcpy); word-by-word relaxed
 * copies would not, and cost four times as much for a book of 50 levels, because no compiler vectorizes them.
 * glibc's memcpy uses non-temporal stores only above hundreds of kB, and ends those with a fence.
 */
#ifndef HIVE_ATOMICS_H
#define HIVE_ATOMICS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "hive.shm needs lock-free, aligned 64-bit atomics: x86-64 or aarch64"
#endif

static inline uint64_t load_relaxed(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline uint64_t load_acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void store_relaxed(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
static inline void store_release(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

static inline uint32_t load_relaxed_u32(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline uint32_t load_acquire_u32(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void store_relaxed_u32(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
static inline void store_release_u32(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

static inline int64_t load_relaxed_i64(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void store_relaxed_i64(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }

static inline double load_relaxed_f64(const double *p) {
    double v;
    __atomic_load(p, &v, __ATOMIC_RELAXED);
    return v;
}
static inline void store_relaxed_f64(double *p, double v) { __atomic_store(p, &v, __ATOMIC_RELAXED); }

static inline void fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
static inline void fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
static inline void compiler_barrier(void) { __asm__ volatile("" ::: "memory"); }

/* Return what was there; it was replaced when that equals `expected`. Acquire on success. */
static inline uint64_t compare_exchange(uint64_t *p, uint64_t expected, uint64_t desired) {
    __atomic_compare_exchange_n(p, &expected, desired, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    return expected;
}

/* Ask for a line as a store would. Without an option for it compilers only ask for reading, which does not help. */
static inline void prefetch_to_write(const void *p) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" ::"m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

static inline void copy_bytes(void *to, const void *from, size_t n) {
    compiler_barrier();
    memcpy(to, from, n);
    compiler_barrier();
}

/* Copy whole words with relaxed atomics: for a cache line or two, where memcpy gains nothing. */
static inline void copy_words(uint64_t *to, const uint64_t *from, size_t n) {
    for (size_t i = 0; i < n; i++) store_relaxed(to + i, load_relaxed(from + i));
}

/* The same with one side private (the reader's copy, the writer's original), which may hold doubles. */
typedef uint64_t __attribute__((may_alias)) any_word;
static inline void read_words(void *to, const uint64_t *shared, size_t n) {
    for (size_t i = 0; i < n; i++) ((any_word *)to)[i] = load_relaxed(shared + i);
}
static inline void write_words(uint64_t *shared, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++) store_relaxed(shared + i, ((const any_word *)from)[i]);
}

static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static inline int64_t monotonic_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Counts while the machine is suspended, too. */
static inline int64_t c_boottime_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
