"""The protocol of books for Cython; book_protocol.h has it, with its argument."""

from libc.stdint cimport uint32_t, uint64_t

from hive.shm.layout cimport book_header, book_version


cdef extern from "book_protocol.h" nogil:
    enum:
        BOOK_OK
        BOOK_NOTHING_YET
        BOOK_NOT_WHOLE
        BOOK_TOO_SHALLOW
        BOOK_GONE
        BOOK_READ_TRIES
        BOOK_TOP_WORDS
        BOOK_HEAD_WORDS

    ctypedef struct book_place:
        book_header *book
        char *cells
        uint64_t cell_bytes
        uint64_t mask
        uint64_t generation
        uint64_t base
        uint32_t room
        uint32_t depth

    ctypedef struct book_columns:
        double *bid_px
        double *bid_qty
        double *ask_px
        double *ask_qty

    char *book_cell(const book_place *place, uint64_t n) noexcept
    const book_version *book_newest(const book_place *place, uint64_t *head, int *status) noexcept
    bint book_still(const book_version *cell, uint64_t n) noexcept
    int book_read_head(const book_place *place, void *into, size_t words, uint64_t *head) noexcept
    int book_read(const book_place *place, book_version *top, const book_columns *into, uint64_t *head) noexcept
    uint64_t book_publish(
        const book_place *place, uint64_t head, const book_version *top,
        const double *bid_px, const double *bid_qty, const double *ask_px, const double *ask_qty,
    ) noexcept
    void book_own_next(const book_place *place, uint64_t head, uint32_t n_bids, uint32_t n_asks) noexcept
