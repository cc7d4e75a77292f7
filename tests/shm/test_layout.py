"""The same structs in C, in Python and in numpy."""

import numpy as np
import pytest

from hive.shm import layout
from hive.shm.atomics import compiled_layout
from hive.shm.errors import LayoutMismatch
from hive.shm.layout_dtypes import DTYPES
from hive.shm.segment import Segment

COMPILED = compiled_layout()


def test_c_and_python_name_the_same_structs():
    assert set(COMPILED) == {one.name for one in layout.LAYOUTS}


@pytest.mark.parametrize("one", layout.LAYOUTS, ids=lambda one: one.name)
def test_every_field_lies_where_c_puts_it(one):
    python = {field.name: (field.offset, field.size) for field in one.fields if not field.name.startswith("spare")}
    assert {"": (0, one.size), **python} == COMPILED[one.name]


@pytest.mark.parametrize("one", layout.LAYOUTS, ids=lambda one: one.name)
def test_numpy_sees_what_struct_packs(one):
    values = []
    for index, field in enumerate(one.fields):
        if field.type == "text":
            values.append(b"t" * field.count)
        else:
            values.extend(range(index + 1, index + 1 + field.count))
    packed = one.struct.pack(*values)
    row = np.frombuffer(packed, DTYPES[one.name])[0]
    flat = []
    for field in one.fields:
        flat.extend(np.atleast_1d(row[field.name]).tolist())
    assert len(packed) == one.size == DTYPES[one.name].itemsize
    assert flat == values


@pytest.mark.parametrize("one", layout.LAYOUTS, ids=lambda one: one.name)
def test_every_struct_is_whole_lines_and_its_words_are_aligned(one):
    assert one.size % 64 == 0
    for field in one.fields:
        size = field.size // field.count
        assert field.offset % size == 0, field


def test_another_layout_has_another_hash():
    changed = layout._layout("trade_record", "seq:u64 other:u64*7")
    assert layout.layout_hash((*layout.LAYOUTS[:-1], changed)) != layout.LAYOUT_HASH


def test_a_segment_of_another_layout_is_refused_with_both_hashes(create):
    segment = create("old", 4096)
    segment.memory().store(layout.SEGMENT_HEADER.offset("layout_hash"), 0xABCD)
    ours = f"2/{layout.LAYOUT_HASH:016x}"
    with pytest.raises(LayoutMismatch, match=f"has layout 2/000000000000abcd, this build reads {ours}"):
        Segment.open(segment.name)
