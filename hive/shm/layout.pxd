"""The structs of shared memory for Cython; layout.h is their only definition."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "layout.h" nogil:
    enum:
        HISTOGRAM_BUCKETS

    ctypedef struct segment_header:
        uint64_t epoch
        int64_t heartbeat_ns
        int64_t heartbeat_boot_ns
        int64_t boot_offset_ns

    ctypedef struct book_table_header:
        uint32_t capacity
        uint32_t depth
        uint32_t versions
        uint32_t count
        uint64_t directory_offset
        uint64_t arena_offset
        uint64_t arena_bytes
        uint64_t changes

    ctypedef struct instrument_record:
        char pair[24]
        uint32_t depth
        uint32_t versions
        uint64_t offset
        uint64_t generation
        uint32_t room
        uint64_t rules_seq
        double last_trade
        int64_t last_trade_ns

    ctypedef struct book_header:
        uint64_t head
        uint64_t generation
        uint64_t base
        int64_t state_ns

    ctypedef struct book_version:
        uint64_t seq
        int64_t update_id
        int64_t exchange_ns
        int64_t local_ns
        double bid
        double bid_qty
        double ask
        double ask_qty
        uint32_t instrument
        uint32_t flags
        uint32_t n_bids
        uint32_t n_asks
        uint64_t epoch
        int64_t recv_ns

    ctypedef struct broadcast_header:
        uint64_t capacity
        uint64_t head

    ctypedef struct trade_record:
        uint64_t seq
        uint32_t instrument
        uint32_t flags
        uint64_t trade_id
        int64_t exchange_ns
        int64_t recv_ns
        double price
        double qty
        uint64_t generation

    ctypedef struct top_record:
        uint64_t seq
        uint32_t instrument
        uint32_t generation
        int64_t update_id
        int64_t local_ns
        double bid
        double bid_qty
        double ask
        double ask_qty

    ctypedef struct counters_header:
        uint32_t capacity
        uint32_t count
        uint32_t histogram_capacity
        uint32_t histogram_count
        uint64_t histograms_offset

    ctypedef struct counter_record:
        char name[40]
        char labels[96]
        uint32_t kind
        uint32_t histogram
        int64_t value

    ctypedef struct histogram_cell:
        uint64_t sum
        uint64_t max
        uint64_t buckets[250]

    ctypedef struct candle_series_header:
        char pair[24]
        char interval[8]
        int64_t interval_ms
        uint32_t capacity
        uint32_t lives
        uint64_t head
        int64_t state_ns

    ctypedef struct candle_record:
        uint64_t seq
        uint64_t index
        uint64_t first
        uint64_t closed
        int64_t open_ms
        int64_t close_ms
        int64_t trades
        double open
        double high
        double low
        double close
        double volume
        double quote_volume
        double taker_base
        double taker_quote
        int64_t local_ns

    ctypedef struct layout_field:
        const char *record
        const char *field
        size_t offset
        size_t size

    const layout_field *LAYOUT_FIELDS
