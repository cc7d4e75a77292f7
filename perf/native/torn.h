/* What a reader of perf/torn_reads.py counts. */
#ifndef HIVE_PERF_TORN_H
#define HIVE_PERF_TORN_H

#include <stdint.h>

#include "book_protocol.h"

enum { place_levels = 8 };

typedef struct {
    uint64_t reads;
    uint64_t refused;     /* no whole version in all tries */
    uint64_t torn;        /* accepted and wrong */
    uint64_t distinct;    /* accepted, right, and another version than the read before */
    uint64_t overlapping; /* of those, during which the writer finished a version */
} torn_counts;

void torn_read_checked(const book_place *place, torn_counts *counts, const uint64_t *stop, uint64_t reads);
void torn_read_unchecked(const book_place *place, torn_counts *counts, const uint64_t *stop, uint64_t reads);

#endif
