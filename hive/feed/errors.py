"""What can go wrong between a venue's market data and shared memory."""


class FeedError(Exception):
    """Base of every error that the feed raises itself."""


class BootError(FeedError):
    """The boot message cannot be followed; starting again would not help."""


class MalformedMessage(FeedError, ValueError):
    """A message that breaks the venue's documented shape; it is counted and skipped."""


class VenueRefused(FeedError):
    """The venue answered an HTTP request with something else than the data.

    `status` is the HTTP status (0: no usable answer at all), `code` the venue's own error code (0: none),
    `retry_after_s` what the venue asks to wait (0: it did not say).
    """

    def __init__(self, message: str, status: int, code: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
