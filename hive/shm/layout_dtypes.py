"""The structs of shared memory as numpy dtypes, for readers that want arrays (tests, perf, notebooks).

`np.frombuffer(segment.buffer, DTYPES["trade_record"], count, offset)` is a view, not a copy, and has no barriers: use
it on memory that nobody writes, or judge a record by its sequence as broadcast.pyx does.
"""

import numpy as np

from hive.shm.layout import LAYOUTS, Layout

_FORMATS = {"u32": "<u4", "i32": "<i4", "u64": "<u8", "i64": "<i8", "f64": "<f8"}


def dtype_of(layout: Layout) -> np.dtype:
    """Return the numpy dtype with the fields, offsets and size of `layout`."""
    formats = []
    for field in layout.fields:
        if field.type == "text":
            formats.append(f"S{field.count}")
        elif field.count == 1:
            formats.append(_FORMATS[field.type])
        else:
            formats.append((_FORMATS[field.type], (field.count,)))
    return np.dtype(
        {
            "names": [field.name for field in layout.fields],
            "formats": formats,
            "offsets": [field.offset for field in layout.fields],
            "itemsize": layout.size,
        }
    )


DTYPES = {layout.name: dtype_of(layout) for layout in LAYOUTS}
