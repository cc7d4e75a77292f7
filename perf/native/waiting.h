/* What the timed loops of both sides use. Spinning ends: who waits for another process gives up after some seconds, for the other may have died. */
#ifndef HIVE_PERF_WAITING_H
#define HIVE_PERF_WAITING_H

#include <time.h>

enum { GIVE_UP_S = 10, LOOK_EVERY = 1 << 16 };

static inline void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

/* Inlined or not, every byte was read: a loop that uses one number must not be spared the others. */
static inline void deliver(const void *p) { __asm__ volatile("" ::"r"(p) : "memory"); }

/* Wait until other CPUs can see what this one has stored. */
static inline void drain_stores(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

static inline time_t seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* Return -1 from the function around when the condition does not come true in time. */
#define WAIT_UNTIL(condition)                                      \
    do {                                                           \
        time_t begun_ = 0;                                         \
        for (long spins_ = 1; !(condition); spins_++) {            \
            pause_cpu();                                           \
            if (spins_ % LOOK_EVERY) continue;                     \
            if (!begun_) begun_ = seconds_now();                   \
            else if (seconds_now() - begun_ > GIVE_UP_S) return -1; \
        }                                                          \
    } while (0)

#endif
