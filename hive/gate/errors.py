"""What can go wrong between the gate and a venue.

The classes say what is known about a request, because that decides what may be done next:

    NotSent     nothing was written: it may be sent again, by any way
    Withheld    nothing was written, and it must not be: what allowed it does not hold any more
    Refused     the venue answered and did not execute it: final
    Throttled   the venue answered and did not execute it: it may be sent again later
    Unanswered  it may have been executed: only asking the venue can tell
"""


class GateError(Exception):
    """Root of the gate's errors."""


class BootError(GateError):
    """The gate cannot start with what it was given; a restart would not help."""


class EndpointRefused(BootError):
    """A venue's URL points at something that this version does not trade on."""


class JournalError(GateError):
    """The journal cannot be used; the message names the file and what is wrong with it."""


class VenueError(GateError):
    """A request to a venue had no good answer."""


class NotSent(VenueError):
    """The request was not written to any connection."""


class Withheld(VenueError):
    """The request was not written: by the time of sending it was not allowed any more.

    Args:
        code: one of hive.shm.refusals
        text: why
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Unanswered(VenueError):
    """The request may have reached the venue and its outcome is not known."""


class Refused(VenueError):
    """The venue refused the request and did not execute it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class ClockRefused(Refused):
    """The venue refused the request because of its timestamp."""


class Throttled(VenueError):
    """The venue takes no requests for a while.

    Args:
        wait_s: seconds until it may be asked again
        text: what the venue said
    """

    def __init__(self, wait_s: float, text: str) -> None:
        super().__init__(f"{text} (for {wait_s:.1f} s)")
        self.wait_s = wait_s
        self.text = text
