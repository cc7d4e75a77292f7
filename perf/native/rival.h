/* The rival: a book of the same bytes under the same protocol in plain C, without Hive's code, states of instruments
 * that come and go, and bounds that are checked. What it costs is what the hardware costs.
 *
 *     head line | nothing | cells: seq, 7 words of top of book | 3 words, nothing | bid_px, bid_qty, ask_px, ask_qty
 */
#ifndef HIVE_PERF_RIVAL_H
#define HIVE_PERF_RIVAL_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t update_id, exchange_ns, local_ns;
    double bid, bid_qty, ask, ask_qty;
} rival_top;

typedef struct {
    rival_top top;
    uint32_t instrument, flags, n_bids, n_asks;
    uint64_t epoch;
    int64_t recv_ns;
} rival_heading; /* what follows seq in a cell */

typedef struct {
    uint64_t *head;
    char *cells;
    size_t cell_bytes;
    uint64_t mask;
    size_t room;
    uint64_t sent; /* the writer's own count */
} rival_book;

typedef struct {
    rival_heading heading;
    double *bid_px, *bid_qty, *ask_px, *ask_qty;
} rival_copy;

int rival_read_top(const rival_book *book, rival_top *into);
int rival_read_copy(const rival_book *book, rival_copy *into);
void rival_publish(rival_book *book, const rival_heading *heading, const double *bid_px, const double *bid_qty,
                   const double *ask_px, const double *ask_qty);

/* Loops that are timed from outside; each returns something that was read, so that nothing can be left out. */
double rival_top_loop(const rival_book *book, long n);
double rival_copy_loop(const rival_book *book, rival_copy *into, long n);
void rival_publish_loop(rival_book *book, rival_heading *heading, const double *columns, long n);

/* The smallest message: one word each way, each alone on its line. Returns 0, or -1 when the other did not answer. */
int rival_word_ping(uint64_t *out, const uint64_t *in, uint64_t first, long rounds);
int rival_word_pong(uint64_t *out, const uint64_t *in, uint64_t first, long rounds);

/* Send a book of 20 levels and wait for the answer, `rounds` times; whole: read all levels, else the top alone. */
int rival_ping(rival_book *out, const rival_book *in, const double *columns, rival_copy *copy, int64_t first,
               long rounds, int whole);
int rival_pong(rival_book *out, const rival_book *in, const double *columns, rival_copy *copy, int64_t first,
               long rounds, int whole);

#endif
