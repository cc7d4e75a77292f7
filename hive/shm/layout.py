"""The structs of shared memory as Python sees them; layout.h has the same for C, and a test compares the two.

Every struct is little-endian, a whole number of 64-byte lines and free of compiler padding. A change of any of them
changes LAYOUT_HASH, and a segment with another hash is refused. numpy's view of them is in layout_dtypes.py: the
processes that hold no arrays need not import numpy.
"""

import hashlib
import struct
from dataclasses import dataclass

MAGIC = int.from_bytes(b"HIVEshm\x01", "little")
LAYOUT_VERSION = 2
LINE = 64

_CODES = {"u32": ("I", 4), "i32": ("i", 4), "u64": ("Q", 8), "i64": ("q", 8), "f64": ("d", 8), "text": ("s", 1)}


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name, its type (a key of _CODES), how many, and its offset in bytes."""

    name: str
    type: str
    count: int
    offset: int

    @property
    def size(self) -> int:
        """Bytes."""
        return _CODES[self.type][1] * self.count


@dataclass(frozen=True, slots=True)
class Layout:
    """A struct: its name, its size in bytes and its fields in order."""

    name: str
    size: int
    fields: tuple[Field, ...]
    struct: struct.Struct

    def offset(self, name: str) -> int:
        """Return the offset of the field `name` in bytes; KeyError when there is none."""
        for field in self.fields:
            if field.name == name:
                return field.offset
        raise KeyError(name)

    def describe(self) -> str:
        """Return the canonical text that the hash is made of."""
        fields = ",".join(f"{f.name}:{f.type}*{f.count}@{f.offset}" for f in self.fields)
        return f"{self.name}[{self.size}]{{{fields}}}"


def _layout(name: str, declaration: str) -> Layout:
    fields = []
    codes = "<"
    offset = 0
    for word in declaration.split():
        field_name, _, rest = word.partition(":")
        type_, _, count_text = rest.partition("*")
        field = Field(field_name, type_, int(count_text or 1), offset)
        fields.append(field)
        codes += f"{field.count}{_CODES[type_][0]}"
        offset += field.size
    if offset % LINE:
        raise AssertionError(f"{name} must be a whole number of {LINE}-byte lines, was {offset} bytes")
    return Layout(name, offset, tuple(fields), struct.Struct(codes))


SEGMENT_HEADER = _layout(
    "segment_header",
    """magic:u64 layout_version:u32 header_bytes:u32 layout_hash:u64 size:u64 epoch:u64 kind:text*24
    creator_pid:u32 spare0:u32 creator_start:u64 created_wall_ns:i64 spare1:u64*5
    heartbeat_ns:i64 heartbeat_boot_ns:i64 boot_offset_ns:i64 spare2:u64*5 spare3:u64*8""",
)
BOOK_TABLE_HEADER = _layout(
    "book_table_header",
    """capacity:u32 depth:u32 versions:u32 count:u32 directory_offset:u64 arena_offset:u64 arena_bytes:u64
    changes:u64 spare0:u64*2 spare1:u64*8""",
)
INSTRUMENT_RECORD = _layout(
    "instrument_record",
    """pair:text*24 symbol:text*24 base:text*12 quote:text*12 depth:u32 versions:u32 offset:u64 mantissa:i64*6
    exponent:i32*6 trading:u32 rule_flags:u32 generation:u64 room:u32 spare0:u32 rules_seq:u64
    last_trade:f64 last_trade_ns:i64 spare1:u64*6""",
)
BOOK_HEADER = _layout(
    "book_header", "head:u64 generation:u64 base:u64 state_ns:i64 spare0:u64*4 spare1:u64*8"
)
BOOK_VERSION = _layout(
    "book_version",
    """seq:u64 update_id:i64 exchange_ns:i64 local_ns:i64 bid:f64 bid_qty:f64 ask:f64 ask_qty:f64
    instrument:u32 flags:u32 n_bids:u32 n_asks:u32 epoch:u64 recv_ns:i64 spare:u64*4""",
)
BROADCAST_HEADER = _layout("broadcast_header", "capacity:u64 spare0:u64*7 head:u64 spare1:u64*7")
TRADE_RECORD = _layout(
    "trade_record",
    "seq:u64 instrument:u32 flags:u32 trade_id:u64 exchange_ns:i64 recv_ns:i64 price:f64 qty:f64 generation:u64",
)
TOP_RECORD = _layout(
    "top_record",
    "seq:u64 instrument:u32 generation:u32 update_id:i64 local_ns:i64 bid:f64 bid_qty:f64 ask:f64 ask_qty:f64",
)
COUNTERS_HEADER = _layout(
    "counters_header",
    "capacity:u32 count:u32 histogram_capacity:u32 histogram_count:u32 histograms_offset:u64 spare:u64*5",
)
COUNTER_RECORD = _layout("counter_record", "name:text*40 labels:text*96 kind:u32 histogram:u32 value:i64 spare:u64*5")
HISTOGRAM_CELL = _layout("histogram_cell", "sum:u64 max:u64 spare0:u64*6 buckets:u64*250 spare1:u64*6")
QUEUE_HEADER = _layout(
    "queue_header",
    """capacity_bytes:u64 object_offset:u64 object_bytes:u64 buffer_offset:u64 guard:u64 spare0:u64*3
    owner:u64 spare1:u64*7""",
)
CANDLE_SERIES_HEADER = _layout(
    "candle_series_header",
    """pair:text*24 interval:text*8 interval_ms:i64 capacity:u32 lives:u32 spare0:u64*2
    head:u64 state_ns:i64 spare1:u64*6""",
)
CANDLE_RECORD = _layout(
    "candle_record",
    """seq:u64 index:u64 first:u64 closed:u64 open_ms:i64 close_ms:i64 trades:i64 open:f64 high:f64 low:f64 close:f64
    volume:f64 quote_volume:f64 taker_base:f64 taker_quote:f64 local_ns:i64""",
)
BUDGET_RECORD = _layout(
    "budget_record",
    """limit:u64 feed_millionths:u64 offset_ns:i64 unproven:u64 spare0:u64*4
    gate_used:u64 gate_foreign:u64 gate_settled:u64 gate_closed_ns:u64 spare1:u64*4
    feed_used:u64 feed_foreign:u64 feed_settled:u64 feed_closed_ns:u64 feed_brought:u64 spare2:u64*3""",
)

LAYOUTS = (
    SEGMENT_HEADER,
    BOOK_TABLE_HEADER,
    INSTRUMENT_RECORD,
    BOOK_HEADER,
    BOOK_VERSION,
    BROADCAST_HEADER,
    TRADE_RECORD,
    TOP_RECORD,
    COUNTERS_HEADER,
    COUNTER_RECORD,
    HISTOGRAM_CELL,
    QUEUE_HEADER,
    BUDGET_RECORD,
    CANDLE_SERIES_HEADER,
    CANDLE_RECORD,
)


def layout_hash(layouts: tuple[Layout, ...] = LAYOUTS) -> int:
    """Return 64 bits that name the layout of all structs."""
    text = ";".join(layout.describe() for layout in layouts)
    return int.from_bytes(hashlib.blake2s(text.encode(), digest_size=8).digest(), "little")


LAYOUT_HASH = layout_hash()


def round_up(size: int, to: int = LINE) -> int:
    """Return `size` in bytes rounded up to a multiple of `to`."""
    return -(-size // to) * to
