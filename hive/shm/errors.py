"""The errors of shared memory, one tree."""


class ShmError(Exception):
    """Anything that goes wrong with a segment, a queue or a message."""


class SegmentExists(ShmError):
    """A segment of that name is there already; a writer never resumes in place."""


class SegmentMissing(ShmError):
    """No segment of that name, or its creator has not published it yet."""


class LayoutMismatch(ShmError):
    """A segment's bytes are not what this build would read."""


class ShmFull(ShmError):
    """/dev/shm has not the bytes that a segment needs."""


class MemoryNotAllowed(ShmError):
    """Memory was to be locked, or on huge pages, and this machine does not allow it."""


class TableFull(ShmError):
    """A table of fixed capacity (instruments, counters, histograms) has no free record."""


class QueueWedged(ShmError):
    """The process at the other end died inside the queue; it must be replaced by a fresh pair."""


class QueueUnusable(ShmError):
    """The installed faster-fifo is not the one whose layout this build knows."""


class MessageTooLarge(ShmError):
    """A message is larger than its queue or its frame carries."""


class NotRepresentable(ShmError, ValueError):
    """A value cannot cross exactly: a decimal beyond 64-bit mantissa, a text too long or not ASCII."""
