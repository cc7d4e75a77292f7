"""The feed's counters of one venue; `hive top` and the report read them from shared memory."""

from hive.shm.counters import Counter, Counters, Histogram


class VenueMetrics:
    """Counters and the latency histogram, all labelled venue=NAME.

    market_connections and instruments are present counts; the others only grow:
        bytes_received  payload bytes of messages and HTTP answers
        messages        market messages read, good or bad
        updates         book versions made visible
        trades          trades made visible
        duplicates      diffs and trades that were known already
        gaps            diffs that did not follow the one before
        crossed         books given up because bid >= ask
        snapshots       snapshots joined; refreshes of live books among them
        resyncs         books that were live, were lost and are live again
        reconnects      market connections lost
        malformed       messages and answers that break the venue's documented shape
        http_429        answers 429 and 418
        book_latency_ns message read to book visible
    """

    def __init__(self, counters: Counters, venue: str) -> None:
        def counter(name: str) -> Counter:
            return counters.counter(name, venue=venue)

        self.market_connections = counter("market_connections")
        self.instruments = counter("instruments")
        self.bytes_received = counter("bytes_received")
        self.messages = counter("messages")
        self.updates = counter("updates")
        self.trades = counter("trades")
        self.duplicates = counter("duplicates")
        self.gaps = counter("gaps")
        self.crossed = counter("crossed")
        self.snapshots = counter("snapshots")
        self.resyncs = counter("resyncs")
        self.reconnects = counter("reconnects")
        self.malformed = counter("malformed")
        self.http_429 = counter("http_429")
        self.book_latency_ns: Histogram = counters.histogram("book_latency_ns", venue=venue)


METRICS_PER_VENUE = 16
