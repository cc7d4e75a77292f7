"""Where a book stands between its venue and its readers."""

from enum import IntEnum


class Phase(IntEnum):
    """See hive/feed/sync.py."""

    DOWN = 0
    BUFFERING = 1
    LIVE = 2
