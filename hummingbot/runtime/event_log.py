"""A connector's log of its own events, kept short.

Every connector keeps the last 50,000 of its events, and 50,000 fills beside them: some 50 MB for each strategy that has
run for long, a hundred times on one host. The release reads that log nowhere; a strategy that does
(`connector.event_logs`) finds the latest events.
"""

from hummingbot.connector.connector_base import ConnectorBase
from hummingbot.core.event.event_logger import EventLogger
from hummingbot.core.event.events import MarketEvent

REPLIES = 128  # of the gate between two clearings; each makes up to three events


class ShortEventLog:
    """Clears the log of a new connector now and then."""

    def __init__(self, connector: ConnectorBase):
        self._logs = [one for one in connector.get_listeners(MarketEvent.OrderFilled) if isinstance(one, EventLogger)]
        self._replies = 0

    def note_reply(self) -> None:
        """Note that a reply is about to make events."""
        self._replies += 1
        if self._replies >= REPLIES:
            self._replies = 0
            for log in self._logs:
                log.clear()
