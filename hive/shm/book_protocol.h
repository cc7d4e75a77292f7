/* How a version of a book is written and read: the stores and loads, in the order that the promise rests on.
 *
 * In C, so that what the classes run, what the tests look at in the generated code, and what perf/torn_reads.py
 * compiles once more without the re-check are one source. book.pyx has the layout and the argument in words.
 */
#ifndef HIVE_BOOK_PROTOCOL_H
#define HIVE_BOOK_PROTOCOL_H

#include "atomics.h"
#include "layout.h"

enum { BOOK_OK = 1, BOOK_NOTHING_YET = 0, BOOK_NOT_WHOLE = -1, BOOK_TOO_SHALLOW = -2, BOOK_GONE = -3 };

/* A read fails only when the writer laps all versions during it, or died there: then more tries do not help. */
enum { BOOK_READ_TRIES = 64 };

enum { BOOK_TOP_WORDS = 7, BOOK_HEAD_WORDS = 11 }; /* of a book_version after seq: line 0; what has a meaning */

typedef struct {
    book_header *book;
    char *cells;
    uint64_t cell_bytes;
    uint64_t mask; /* cells - 1 */
    uint64_t generation;
    uint64_t base;
    uint32_t room;
    uint32_t depth;
} book_place;

typedef struct {
    double *bid_px, *bid_qty, *ask_px, *ask_qty;
} book_columns;

static inline char *book_cell(const book_place *place, uint64_t n) {
    return place->cells + (n & place->mask) * place->cell_bytes;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

/* Return the cell of the newest version, finished when it was looked at; NULL with the reason in *status. */
static inline const book_version *book_newest(const book_place *place, uint64_t *head, int *status) {
    const book_version *cell;
    uint64_t n;
    *head = load_acquire(&place->book->head); /* pairs with store_release(&head) in book_publish() and in book.pyx */
    n = *head >> 8;
    /* After the head: the head of this place's next instrument comes with that one's generation (BookTable._add). */
    if (load_relaxed(&place->book->generation) != place->generation) {
        *status = BOOK_GONE;
        return NULL;
    }
    if (n <= place->base) {
        *status = BOOK_NOTHING_YET;
        return NULL;
    }
    cell = (const book_version *)book_cell(place, n);
    if (load_acquire(&cell->seq) != 2 * n + 2) { /* pairs with store_release(&seq) in book_publish() */
        *status = BOOK_NOT_WHOLE;
        return NULL;
    }
    *status = BOOK_OK;
    return cell;
}

/* Return whether all that was read from the cell until now is of version n. */
static inline int book_still(const book_version *cell, uint64_t n) {
#ifdef HIVE_WITHOUT_RECHECK /* only ever defined by perf/native, to show what it is for */
    (void)cell;
    (void)n;
    return 1;
#else
    fence_acquire(); /* pairs with fence_release() in book_publish() */
    return load_relaxed(&cell->seq) == 2 * n + 2;
#endif
}

/* Copy the first words after seq of the newest version. Returns OK, NOTHING_YET, NOT_WHOLE or GONE. */
static inline int book_read_head(const book_place *place, void *into, size_t words, uint64_t *head) {
    int status;
    for (int turn = 0; turn < BOOK_READ_TRIES; turn++) {
        const book_version *cell = book_newest(place, head, &status);
        if (cell) {
            copy_bytes(into, (const uint64_t *)cell + 1, words * 8);
            if (book_still(cell, *head >> 8)) return BOOK_OK;
        } else if (status != BOOK_NOT_WHOLE) {
            return status;
        }
        cpu_relax();
    }
    return BOOK_NOT_WHOLE;
}

/* Copy the newest version; the columns have room for place->depth levels. Returns as book_read_head(). */
static inline int book_read(const book_place *place, book_version *top, const book_columns *into, uint64_t *head) {
    int status;
    for (int turn = 0; turn < BOOK_READ_TRIES; turn++) {
        const book_version *cell = book_newest(place, head, &status);
        if (cell) {
            copy_bytes((any_word *)top + 1, (const uint64_t *)cell + 1, BOOK_HEAD_WORDS * 8);
            if (top->n_bids <= place->depth && top->n_asks <= place->depth) { /* a torn count leads nowhere */
                const double *levels = (const double *)(cell + 1);
                copy_bytes(into->bid_px, levels, top->n_bids * sizeof(double));
                copy_bytes(into->bid_qty, levels + place->room, top->n_bids * sizeof(double));
                copy_bytes(into->ask_px, levels + 2 * (size_t)place->room, top->n_asks * sizeof(double));
                copy_bytes(into->ask_qty, levels + 3 * (size_t)place->room, top->n_asks * sizeof(double));
                if (book_still(cell, *head >> 8)) return BOOK_OK;
            }
        } else if (status != BOOK_NOT_WHOLE) {
            return status;
        }
        cpu_relax();
    }
    return BOOK_NOT_WHOLE;
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

/* Publish the version after `head`: `top` with its counts (<= place->depth) and the columns. Returns the new head.
 *
 * Only the writer calls this. It keeps the head in memory of its own, because readers wait on the shared one: to load
 * it from there held the writer for 85 ns instead of 25 at one publication in 10 us (see perf/shm_books.py).
 */
static inline uint64_t book_publish(const book_place *place, uint64_t head, const book_version *top,
                                    const double *bid_px, const double *bid_qty, const double *ask_px,
                                    const double *ask_qty) {
    uint64_t n = (head >> 8) + 1;
    book_version *cell = (book_version *)book_cell(place, n);
    double *levels = (double *)(cell + 1);
    size_t bids = top->n_bids * sizeof(double), asks = top->n_asks * sizeof(double);
    store_relaxed(&cell->seq, 2 * n + 1);
    fence_release(); /* pairs with fence_acquire() in book_still(): who saw a byte of what follows sees this seq */
    /* Field by field: a copy of what was just put together would wait for eleven small stores to become large ones. */
    store_relaxed_i64(&cell->update_id, top->update_id);
    store_relaxed_i64(&cell->exchange_ns, top->exchange_ns);
    store_relaxed_i64(&cell->local_ns, top->local_ns);
    store_relaxed_f64(&cell->bid, top->bid);
    store_relaxed_f64(&cell->bid_qty, top->bid_qty);
    store_relaxed_f64(&cell->ask, top->ask);
    store_relaxed_f64(&cell->ask_qty, top->ask_qty);
    store_relaxed_u32(&cell->instrument, top->instrument);
    store_relaxed_u32(&cell->flags, top->flags);
    store_relaxed_u32(&cell->n_bids, top->n_bids);
    store_relaxed_u32(&cell->n_asks, top->n_asks);
    store_relaxed(&cell->epoch, top->epoch);
    store_relaxed_i64(&cell->recv_ns, top->recv_ns);
    copy_bytes(levels, bid_px, bids);
    copy_bytes(levels + place->room, bid_qty, bids);
    copy_bytes(levels + 2 * (size_t)place->room, ask_px, asks);
    copy_bytes(levels + 3 * (size_t)place->room, ask_qty, asks);
    store_release(&cell->seq, 2 * n + 2); /* pairs with load_acquire(&seq) in book_newest() */
    head = n << 8 | (head & 0xFF);
    store_release(&place->book->head, head); /* pairs with load_acquire(&head) in book_newest() */
    return head;
}

/* Take the lines of the version after `head` back from the readers that had its cell's last one.
 *
 * For a writer that has a moment before the next update: its stores then wait for nobody, and a book of 20 levels is
 * with its readers in three quarters of the time.
 */
static inline void book_own_next(const book_place *place, uint64_t head, uint32_t n_bids, uint32_t n_asks) {
    const char *cell = book_cell(place, (head >> 8) + 1);
    size_t column = place->room * sizeof(double);
    const char *at = cell + sizeof(book_version);
    prefetch_to_write(cell);
    prefetch_to_write(cell + 64);
    for (int i = 0; i < 4; i++) {
        const char *from = cell + sizeof(book_version) + i * column;
        const char *end = from + (i < 2 ? n_bids : n_asks) * sizeof(double);
        if (at < from) at = (const char *)((uintptr_t)from & ~(uintptr_t)63);
        for (; at < end; at += 64) prefetch_to_write(at);
    }
}

#endif
