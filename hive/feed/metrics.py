"""The feed's counters of one venue; `hive top` and the report read them from shared memory."""

from hive.shm.counters import Counter, Counters, Histogram


class VenueMetrics:
    """Counters and histograms, all labelled venue=NAME.

    market_connections, instruments and candle_series are present counts; the others only grow:
        bytes_received  payload bytes of messages and HTTP answers
        messages        market messages read, good or bad
        updates         book versions made visible
        trades          trades made visible
        duplicates      diffs, trades and candles that were known already
        gaps            diffs that did not follow the one before
        crossed         books given up because bid >= ask
        snapshots       snapshots joined; refreshes of live books among them
        resyncs         books that were live, were lost and are live again
        reconnects      market connections lost
        malformed       messages and answers that break the venue's documented shape
        http_429        answers 429 and 418, of HTTP requests and of market connections
        checksums       books given up because the venue's checksum was another
        stale_intervals times that a live book became stale or had to be resynced
        stale_ms        how long books were not live after they had been, summed up when each is live again
        audits          live books compared with a fresh snapshot
        audit_differences  levels that were different then
        rotations       connections replaced by a new one without a gap
        lag_events      times that the event loop came too late for its heartbeat, or the machine had been suspended
        halts           instruments that the venue stopped trading, or listed no more
        rules_changes   instruments whose rules changed
        unsubscribed    instruments that nobody wanted any more
        candle_series   present count: series that are followed
        candles         candles made visible, each change of the newest one counted
        candle_gaps     candles that did not follow the one before
        request_weight  charged for requests to the venue
        recorded        records that went to the recording
        recorded_bytes  that went to the recording's file
        record_dropped  records that the recording lost because it could not be written fast enough
        book_latency_ns message read to book visible
        pong_ns         ping sent to pong handled
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
        self.checksums = counter("checksums")
        self.stale_intervals = counter("stale_intervals")
        self.stale_ms = counter("stale_ms")
        self.audits = counter("audits")
        self.audit_differences = counter("audit_differences")
        self.rotations = counter("rotations")
        self.lag_events = counter("lag_events")
        self.halts = counter("halts")
        self.rules_changes = counter("rules_changes")
        self.unsubscribed = counter("unsubscribed")
        self.candle_series = counter("candle_series")
        self.candles = counter("candles")
        self.candle_gaps = counter("candle_gaps")
        self.request_weight = counter("request_weight")
        self.recorded = counter("recorded")
        self.recorded_bytes = counter("recorded_bytes")
        self.record_dropped = counter("record_dropped")
        self.book_latency_ns: Histogram = counters.histogram("book_latency_ns", venue=venue)
        self.pong_ns: Histogram = counters.histogram("pong_ns", venue=venue)

    def set_recording(self, records: int, size: int, dropped: int) -> None:
        """Show how far a recording is."""
        self.recorded.set(records)
        self.recorded_bytes.set(size)
        self.record_dropped.set(dropped)


METRICS_PER_VENUE = 33  # histograms among them
HISTOGRAMS_PER_VENUE = 2
