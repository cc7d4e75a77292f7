#include "rival.h"

#include <string.h>

#include "waiting.h"

enum { LEVELS = 20, TRIES = 64 };

static inline uint64_t acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline uint64_t relaxed(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }

static inline char *cell_of(const rival_book *book, uint64_t n) {
    return book->cells + (n & book->mask) * book->cell_bytes;
}

int rival_read_top(const rival_book *book, rival_top *into) {
    for (int i = 0; i < TRIES; i++) {
        uint64_t n = acquire(book->head) >> 8;
        const char *cell = cell_of(book, n);
        if (n == 0) return 0;
        if (acquire((const uint64_t *)cell) != 2 * n + 2) continue;
        memcpy(into, cell + 8, sizeof *into);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (relaxed((const uint64_t *)cell) == 2 * n + 2) return 1;
    }
    return -1;
}

int rival_read_copy(const rival_book *book, rival_copy *into) {
    for (int i = 0; i < TRIES; i++) {
        uint64_t n = acquire(book->head) >> 8;
        const char *cell = cell_of(book, n);
        const double *levels = (const double *)(cell + 128);
        if (n == 0) return 0;
        if (acquire((const uint64_t *)cell) != 2 * n + 2) continue;
        memcpy(&into->heading, cell + 8, sizeof into->heading);
        if (into->heading.n_bids > book->room || into->heading.n_asks > book->room) continue;
        memcpy(into->bid_px, levels, into->heading.n_bids * 8);
        memcpy(into->bid_qty, levels + book->room, into->heading.n_bids * 8);
        memcpy(into->ask_px, levels + 2 * book->room, into->heading.n_asks * 8);
        memcpy(into->ask_qty, levels + 3 * book->room, into->heading.n_asks * 8);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (relaxed((const uint64_t *)cell) == 2 * n + 2) return 1;
    }
    return -1;
}

void rival_publish(rival_book *book, const rival_heading *heading, const double *bid_px, const double *bid_qty,
                   const double *ask_px, const double *ask_qty) {
    uint64_t n = ++book->sent;
    char *cell = cell_of(book, n);
    double *levels = (double *)(cell + 128);
    __atomic_store_n((uint64_t *)cell, 2 * n + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(cell + 8, heading, sizeof *heading);
    memcpy(levels, bid_px, heading->n_bids * 8);
    memcpy(levels + book->room, bid_qty, heading->n_bids * 8);
    memcpy(levels + 2 * book->room, ask_px, heading->n_asks * 8);
    memcpy(levels + 3 * book->room, ask_qty, heading->n_asks * 8);
    __atomic_store_n((uint64_t *)cell, 2 * n + 2, __ATOMIC_RELEASE);
    __atomic_store_n(book->head, n << 8, __ATOMIC_RELEASE);
}

double rival_top_loop(const rival_book *book, long n) {
    double sum = 0;
    rival_top top;
    for (long i = 0; i < n; i++)
        if (rival_read_top(book, &top) == 1) {
            deliver(&top);
            sum += top.bid;
        }
    return sum;
}

double rival_copy_loop(const rival_book *book, rival_copy *into, long n) {
    double sum = 0;
    for (long i = 0; i < n; i++)
        if (rival_read_copy(book, into) == 1) {
            deliver(into);
            sum += into->ask_qty[LEVELS - 1];
        }
    return sum;
}

void rival_publish_loop(rival_book *book, rival_heading *heading, const double *columns, long n) {
    for (long i = 0; i < n; i++) {
        heading->top.update_id++;
        rival_publish(book, heading, columns, columns + LEVELS, columns + 2 * LEVELS, columns + 3 * LEVELS);
    }
}

int rival_word_ping(uint64_t *out, const uint64_t *in, uint64_t first, long rounds) {
    for (long i = 0; i < rounds; i++) {
        __atomic_store_n(out, first + i, __ATOMIC_RELEASE);
        WAIT_UNTIL(acquire(in) == first + i);
    }
    return 0;
}

int rival_word_pong(uint64_t *out, const uint64_t *in, uint64_t first, long rounds) {
    for (long i = 0; i < rounds; i++) {
        WAIT_UNTIL(acquire(in) == first + i);
        __atomic_store_n(out, first + i, __ATOMIC_RELEASE);
    }
    return 0;
}

static void send(rival_book *out, const double *columns, int64_t id) {
    rival_heading heading = {{id, id, id, columns[0], columns[LEVELS], columns[2 * LEVELS], columns[3 * LEVELS]},
                             0, 0, LEVELS, LEVELS, 0, id};
    rival_publish(out, &heading, columns, columns + LEVELS, columns + 2 * LEVELS, columns + 3 * LEVELS);
}

static int came(const rival_book *in, rival_copy *copy, int64_t id, int whole) {
    if (whole) return rival_read_copy(in, copy) == 1 && copy->heading.top.update_id == id;
    return rival_read_top(in, &copy->heading.top) == 1 && copy->heading.top.update_id == id;
}

int rival_ping(rival_book *out, const rival_book *in, const double *columns, rival_copy *copy, int64_t first,
               long rounds, int whole) {
    for (long i = 0; i < rounds; i++) {
        send(out, columns, first + i);
        WAIT_UNTIL(came(in, copy, first + i, whole));
    }
    return 0;
}

int rival_pong(rival_book *out, const rival_book *in, const double *columns, rival_copy *copy, int64_t first,
               long rounds, int whole) {
    for (long i = 0; i < rounds; i++) {
        WAIT_UNTIL(came(in, copy, first + i, whole));
        send(out, columns, first + i);
    }
    return 0;
}
