"""What the frames of a market WebSocket pass first: a whole message goes to its reader, anything else to be looked at.

    WebSocket -> Frames.take -> on_message(payload, read_ns)
                     +--------> otherwise(frame)

One after the other, they cost by how much cold code they touch, so the usual frame is told from the others here, in C.
"""

from libc.stdint cimport int64_t


cdef class Frames:
    """The frames of one connection, in order.

    `read_ns` is when the loop woke up for what is being read, `last_tail` how many bytes of it are left for other
    turns: a frame with fewer behind it waits. Whoever looks at frames sets `busy` while one to come cannot be usual,
    and `over` when nothing is to be heard any more.

    Args:
        on_message: gets the payload of a usual frame, a whole message of the kind `text` in a read that is not too
            long for one turn, and `read_ns`.
        otherwise: gets any other frame.
        woke_ns: tells when the loop woke up; asked once for all frames that were read together.
        largest: bytes of a frame; with a longer one it is over.
        per_turn: bytes that are taken in one turn.
    """

    cdef public bint busy
    cdef public bint over
    cdef readonly int64_t read_ns
    cdef readonly Py_ssize_t last_tail
    cdef object _on_message
    cdef object _otherwise
    cdef object _woke_ns
    cdef object _text
    cdef Py_ssize_t _largest
    cdef Py_ssize_t _per_turn
    cdef bint _begins  # the next frame is the first of a read

    def __init__(self, on_message, otherwise, woke_ns, text, *, Py_ssize_t largest, Py_ssize_t per_turn):
        self.busy = False
        self.over = False
        self.read_ns = 0
        self.last_tail = 0
        self._on_message = on_message
        self._otherwise = otherwise
        self._woke_ns = woke_ns
        self._text = text
        self._largest = largest
        self._per_turn = per_turn
        self._begins = True

    def take(self, transport, frame) -> None:
        """Take the next frame."""
        if self.over:
            return
        if self._begins:
            self.read_ns = self._woke_ns()
            self.last_tail = <Py_ssize_t>frame.tail_size - self._per_turn
            if <Py_ssize_t>frame.payload_size > self._largest:  # the parser has given up for it, yet reads it
                self.over = True
                return
        self._begins = frame.last_in_buffer
        if not self.busy and self.last_tail <= 0 and frame.msg_type is self._text and frame.fin and not frame.rsv1:
            self._on_message(frame.get_payload_as_bytes(), self.read_ns)
        else:
            self._otherwise(frame)

    def end(self) -> None:
        """Hear nothing any more, and keep nobody alive."""
        self.over = True
        self._on_message = self._otherwise = self._woke_ns = None
