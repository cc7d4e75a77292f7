/* One reader of perf/torn_reads.py, compiled twice: as it is, and with HIVE_WITHOUT_RECHECK. NAME is its function.
 *
 * Version n of the book carries n in its times and in all of its numbers, so that a mixture of two versions shows.
 */
#include <math.h>

#include "book_protocol.h"
#include "torn.h"

static inline int is_whole(const book_version *top, const book_columns *columns, uint64_t n) {
    double x = (double)n;
    int same = top->update_id == (int64_t)n && top->exchange_ns == (int64_t)n && top->local_ns == (int64_t)n &&
               top->recv_ns == (int64_t)n && top->bid == x && top->bid_qty == x && top->ask == x && top->ask_qty == x;
    for (uint32_t i = 0; i < top->n_bids; i++) same &= columns->bid_px[i] == x && columns->bid_qty[i] == x;
    for (uint32_t i = 0; i < top->n_asks; i++) same &= columns->ask_px[i] == x && columns->ask_qty[i] == x;
    return same && top->n_bids == 1 + n % place_levels && top->n_asks == 1 + (n + 1) % place_levels;
}

void NAME(const book_place *place, torn_counts *counts, const uint64_t *stop, uint64_t reads) {
    double levels[4 * place_levels];
    book_columns columns = {levels, levels + place_levels, levels + 2 * place_levels, levels + 3 * place_levels};
    book_version top;
    uint64_t head, last = 0;
    for (uint64_t i = 0; i < reads && !load_relaxed(stop); i++) {
        int status = book_read(place, &top, &columns, &head);
        uint64_t n = head >> 8, now;
        counts->reads++;
        if (status != BOOK_OK) {
            counts->refused++;
            continue;
        }
        now = load_acquire(&place->book->head) >> 8; /* pairs with store_release(&head) in book_publish() */
        if (!is_whole(&top, &columns, n)) {
            counts->torn++;
        } else if (n != last) {
            counts->distinct++;
            counts->overlapping += now != n; /* a version was finished between this read's first load and now */
        }
        last = n;
    }
}
