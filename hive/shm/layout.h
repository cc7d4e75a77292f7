/* The structs of shared memory, in C. layout.py has the same in Python; tests/shm/test_layout.py compares them.
 *
 * Every struct is a whole number of 64-byte lines, has no padding that the compiler chooses, and is little-endian.
 */
#ifndef HIVE_LAYOUT_H
#define HIVE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    /* line 0: what this is; written once, magic last */
    uint64_t magic;
    uint32_t layout_version;
    uint32_t header_bytes;
    uint64_t layout_hash;
    uint64_t size;
    uint64_t epoch;
    char kind[24];
    /* line 1: who made it */
    uint32_t creator_pid;
    uint32_t spare0;
    uint64_t creator_start;
    int64_t created_wall_ns;
    uint64_t spare1[5];
    /* line 2: the only line of the header that changes */
    int64_t heartbeat_ns;      /* CLOCK_MONOTONIC, when the writer last beat */
    int64_t heartbeat_boot_ns; /* the same moment in CLOCK_BOOTTIME: by it readers judge freshness */
    int64_t boot_offset_ns;    /* CLOCK_BOOTTIME minus CLOCK_MONOTONIC; grows while the machine is suspended */
    uint64_t spare2[5];
    /* line 3 */
    uint64_t spare3[8];
} segment_header;

typedef struct {
    /* line 0 */
    uint32_t capacity; /* instruments; stored last (release): 0 means not initialised */
    uint32_t depth;    /* levels per side of an instrument without a number of its own */
    uint32_t versions; /* cells of every book, a power of two */
    uint32_t count;    /* records that were ever filled; stored (release) after the record */
    uint64_t directory_offset;
    uint64_t arena_offset; /* from here on lie the books */
    uint64_t arena_bytes;
    uint64_t changes; /* instruments added and removed and rules changed so far; stored (release) after the record */
    uint64_t spare0[2];
    uint64_t spare1[8];
} book_table_header;

typedef struct {
    /* lines 0-2: rules and place, under rules_seq (odd while they are written) */
    char pair[24];
    char symbol[24];
    char base[12];
    char quote[12];
    uint32_t depth;
    uint32_t versions;
    uint64_t offset; /* of the book, from the segment's start */
    int64_t mantissa[6]; /* tick, step, min_qty, max_qty, min_notional, max_notional */
    int32_t exponent[6];
    uint32_t trading; /* 1: the venue says TRADING */
    uint32_t rule_flags; /* bit i: value i of mantissa/exponent is given */
    uint64_t generation; /* of the instrument, from 1, never the same twice in a segment; 0: this slot is free */
    uint32_t room; /* levels per side that the book's place has, >= depth: the stride of its columns */
    uint32_t spare0;
    uint64_t rules_seq;
    /* line 3: changes with the market */
    double last_trade; /* 0: none yet */
    int64_t last_trade_ns;
    uint64_t spare1[6];
} instrument_record;

typedef struct {
    /* line 0: what a reader looks at first */
    uint64_t head; /* number of the newest complete version << 8 | state; one word, so that both are of one moment */
    uint64_t generation; /* of the instrument that has this place; 0: free */
    uint64_t base; /* the place's newest version when it was given to this instrument: that and older are another's */
    int64_t state_ns; /* when the state was last set (monotonic) */
    uint64_t spare0[4];
    /* line 1: nothing, so that the pair of lines that a prefetcher pulls holds no cell */
    uint64_t spare1[8];
} book_header;

typedef struct {
    /* line 0: all that a top-of-book reader touches */
    uint64_t seq; /* 2n+1 while version n is written, 2n+2 when it is done */
    int64_t update_id;
    int64_t exchange_ns;
    int64_t local_ns;
    double bid;
    double bid_qty;
    double ask;
    double ask_qty;
    /* line 1 */
    uint32_t instrument;
    uint32_t flags;
    uint32_t n_bids;
    uint32_t n_asks;
    uint64_t epoch;
    int64_t recv_ns;
    uint64_t spare[4];
    /* then double bid_px[room], bid_qty[room], ask_px[room], ask_qty[room], rounded up to two lines */
} book_version;

typedef struct {
    uint64_t capacity; /* power of two; stored last (release): 0 means not initialised */
    uint64_t spare0[7];
    uint64_t head; /* records published so far */
    uint64_t spare1[7];
} broadcast_header;

typedef struct {
    uint64_t seq; /* 2n+1 while record n is written, 2n+2 when it is done */
    uint32_t instrument;
    uint32_t flags; /* bit 0: the buyer was the maker */
    uint64_t trade_id;
    int64_t exchange_ns;
    int64_t recv_ns;
    double price;
    double qty;
    uint64_t generation; /* of the instrument, 0: not said */
} trade_record;

typedef struct {
    uint64_t seq; /* as in trade_record */
    uint32_t instrument;
    uint32_t generation; /* its low half */
    int64_t update_id;
    int64_t local_ns;
    double bid;
    double bid_qty;
    double ask;
    double ask_qty;
} top_record;

typedef struct {
    uint32_t capacity; /* stored last (release): 0 means not initialised */
    uint32_t count;
    uint32_t histogram_capacity;
    uint32_t histogram_count;
    uint64_t histograms_offset; /* from the segment's start */
    uint64_t spare[5];
} counters_header;

typedef struct {
    char name[40];
    char labels[96]; /* key=value,key=value in the order of keys */
    uint32_t kind; /* 1 counter, 2 histogram */
    uint32_t histogram; /* index of the histogram cell */
    int64_t value;
    uint64_t spare[5];
} counter_record;

#define HISTOGRAM_BUCKETS 250
typedef struct {
    uint64_t sum;
    uint64_t max;
    uint64_t spare0[6];
    uint64_t buckets[250]; /* 0: below 64 ns; 1..248: 8 per octave; 249: 2^37 ns and above */
    uint64_t spare1[6];
} histogram_cell;

typedef struct {
    uint64_t capacity_bytes;
    uint64_t object_offset; /* of faster-fifo's queue object, from the segment's start */
    uint64_t object_bytes;
    uint64_t buffer_offset; /* of its circular buffer */
    uint64_t guard; /* how `owner` is taken: 1 compare-and-swap, 2 under a file lock; both ends alike */
    uint64_t spare0[3];
    uint64_t owner; /* pid << 32 | low half of the start ticks of the process inside, 0: nobody */
    uint64_t spare1[7];
} queue_header;

typedef struct {
    /* line 0: the gate writes */
    uint64_t limit; /* request weight per minute; stored last (release): 0 means not initialised */
    uint64_t feed_millionths; /* of the limit that are the feed's */
    int64_t offset_ns; /* the venue's wall clock minus this host's */
    uint64_t unproven; /* 1 + the window that counts as spent until the venue tells its count; 0: none */
    uint64_t spare0[4];
    /* line 1: the gate writes; words are {window 22 bits, carry 21, weight 21} */
    uint64_t gate_used;
    uint64_t gate_foreign; /* counted by the venue beyond both parties, what the feed brought included */
    uint64_t gate_settled; /* the venue's own count */
    uint64_t gate_closed_ns; /* the venue's wall clock until which nothing may be sent */
    uint64_t spare1[4];
    /* line 2: the feed writes */
    uint64_t feed_used;
    uint64_t feed_foreign;
    uint64_t feed_settled;
    uint64_t feed_closed_ns;
    uint64_t feed_brought; /* charged to another budget first */
    uint64_t spare2[3];
} budget_record;

typedef struct {
    /* line 0: which candles these are */
    char pair[24];
    char interval[8];
    int64_t interval_ms; /* of a typical candle: months differ */
    uint32_t capacity; /* candles that a reader gets at most; stored last (release): 0 means not initialised */
    uint32_t lives; /* cells of the newest candle, a power of two */
    uint64_t spare0[2];
    /* line 1: what a reader looks at first */
    uint64_t head; /* number of the newest complete revision, from 1, << 8 | state: one word, of one moment */
    int64_t state_ns; /* when the state was last set (monotonic) */
    uint64_t spare1[6];
} candle_series_header;

typedef struct {
    /* lines 0-1: a candle; the newest one is written again and again, in another cell each time */
    uint64_t seq; /* 2n+1 while candle or revision n is written, 2n+2 when it is done */
    uint64_t index; /* of the candle in its series, from 0 */
    uint64_t first; /* of the newest candle: index of the oldest one that is still part of the series */
    uint64_t closed; /* 1: it will not change any more */
    int64_t open_ms; /* wall clock of the venue */
    int64_t close_ms; /* its last ms */
    int64_t trades;
    double open;
    double high;
    double low;
    double close;
    double volume;
    double quote_volume;
    double taker_base;
    double taker_quote;
    int64_t local_ns; /* when it was written (monotonic) */
} candle_record;

typedef struct {
    const char *record;
    const char *field;
    size_t offset;
    size_t size;
} layout_field;

#define FIELD(record, field) {#record, #field, offsetof(record, field), sizeof(((record *)0)->field)}
#define WHOLE(record) {#record, "", 0, sizeof(record)}

static const layout_field LAYOUT_FIELDS[] = {
    WHOLE(segment_header),
    FIELD(segment_header, magic), FIELD(segment_header, layout_version), FIELD(segment_header, header_bytes),
    FIELD(segment_header, layout_hash), FIELD(segment_header, size), FIELD(segment_header, epoch),
    FIELD(segment_header, kind), FIELD(segment_header, creator_pid), FIELD(segment_header, creator_start),
    FIELD(segment_header, created_wall_ns), FIELD(segment_header, heartbeat_ns),
    FIELD(segment_header, heartbeat_boot_ns), FIELD(segment_header, boot_offset_ns),
    WHOLE(book_table_header),
    FIELD(book_table_header, capacity), FIELD(book_table_header, depth), FIELD(book_table_header, versions),
    FIELD(book_table_header, count), FIELD(book_table_header, directory_offset),
    FIELD(book_table_header, arena_offset), FIELD(book_table_header, arena_bytes),
    FIELD(book_table_header, changes),
    WHOLE(instrument_record),
    FIELD(instrument_record, pair), FIELD(instrument_record, symbol), FIELD(instrument_record, base),
    FIELD(instrument_record, quote), FIELD(instrument_record, depth), FIELD(instrument_record, versions),
    FIELD(instrument_record, offset), FIELD(instrument_record, mantissa), FIELD(instrument_record, exponent),
    FIELD(instrument_record, trading), FIELD(instrument_record, rule_flags), FIELD(instrument_record, generation),
    FIELD(instrument_record, room), FIELD(instrument_record, rules_seq), FIELD(instrument_record, last_trade),
    FIELD(instrument_record, last_trade_ns),
    WHOLE(book_header), FIELD(book_header, head), FIELD(book_header, generation), FIELD(book_header, base),
    FIELD(book_header, state_ns),
    WHOLE(book_version),
    FIELD(book_version, seq), FIELD(book_version, update_id), FIELD(book_version, exchange_ns),
    FIELD(book_version, local_ns), FIELD(book_version, bid), FIELD(book_version, bid_qty), FIELD(book_version, ask),
    FIELD(book_version, ask_qty), FIELD(book_version, instrument), FIELD(book_version, flags),
    FIELD(book_version, n_bids), FIELD(book_version, n_asks), FIELD(book_version, epoch),
    FIELD(book_version, recv_ns),
    WHOLE(broadcast_header), FIELD(broadcast_header, capacity), FIELD(broadcast_header, head),
    WHOLE(trade_record),
    FIELD(trade_record, seq), FIELD(trade_record, instrument), FIELD(trade_record, flags),
    FIELD(trade_record, trade_id), FIELD(trade_record, exchange_ns), FIELD(trade_record, recv_ns),
    FIELD(trade_record, price), FIELD(trade_record, qty), FIELD(trade_record, generation),
    WHOLE(top_record),
    FIELD(top_record, seq), FIELD(top_record, instrument), FIELD(top_record, generation),
    FIELD(top_record, update_id), FIELD(top_record, local_ns), FIELD(top_record, bid), FIELD(top_record, bid_qty),
    FIELD(top_record, ask), FIELD(top_record, ask_qty),
    WHOLE(counters_header),
    FIELD(counters_header, capacity), FIELD(counters_header, count), FIELD(counters_header, histogram_capacity),
    FIELD(counters_header, histogram_count), FIELD(counters_header, histograms_offset),
    WHOLE(counter_record),
    FIELD(counter_record, name), FIELD(counter_record, labels), FIELD(counter_record, kind),
    FIELD(counter_record, histogram), FIELD(counter_record, value),
    WHOLE(histogram_cell),
    FIELD(histogram_cell, sum), FIELD(histogram_cell, max), FIELD(histogram_cell, buckets),
    WHOLE(queue_header),
    FIELD(queue_header, capacity_bytes), FIELD(queue_header, object_offset), FIELD(queue_header, object_bytes),
    FIELD(queue_header, buffer_offset), FIELD(queue_header, guard), FIELD(queue_header, owner),
    WHOLE(candle_series_header),
    FIELD(candle_series_header, pair), FIELD(candle_series_header, interval),
    FIELD(candle_series_header, interval_ms), FIELD(candle_series_header, capacity),
    FIELD(candle_series_header, lives), FIELD(candle_series_header, head), FIELD(candle_series_header, state_ns),
    WHOLE(candle_record),
    FIELD(candle_record, seq), FIELD(candle_record, index), FIELD(candle_record, first), FIELD(candle_record, closed),
    FIELD(candle_record, open_ms), FIELD(candle_record, close_ms), FIELD(candle_record, trades),
    FIELD(candle_record, open), FIELD(candle_record, high), FIELD(candle_record, low), FIELD(candle_record, close),
    FIELD(candle_record, volume), FIELD(candle_record, quote_volume), FIELD(candle_record, taker_base),
    FIELD(candle_record, taker_quote), FIELD(candle_record, local_ns),
    WHOLE(budget_record),
    FIELD(budget_record, limit), FIELD(budget_record, feed_millionths), FIELD(budget_record, offset_ns),
    FIELD(budget_record, unproven), FIELD(budget_record, gate_used), FIELD(budget_record, gate_foreign),
    FIELD(budget_record, gate_settled), FIELD(budget_record, gate_closed_ns), FIELD(budget_record, feed_used),
    FIELD(budget_record, feed_foreign), FIELD(budget_record, feed_settled), FIELD(budget_record, feed_closed_ns),
    FIELD(budget_record, feed_brought),
    {NULL, NULL, 0, 0},
};

#endif
