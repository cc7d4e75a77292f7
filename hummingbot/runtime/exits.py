"""Orders that close a position, and wait while they cannot be sent instead of failing.

An executor counts each failed exit and gives its position up after ten: half a minute without a live book, or a gate
that is started again, would leave the position to nobody. So an exit waits until orders may be sent again, however long
that takes, and is then sent once. Every other order is refused at once: what it was decided on is out of date.
"""

import asyncio
import logging
from collections.abc import Callable

POLL_S = 0.1

log = logging.getLogger(__name__)


class WaitingExits:
    """The exits of one connector that wait.

    Args:
        obstacle: why no order on a pair may be sent now, "" when it may.
    """

    def __init__(self, obstacle: Callable[[str], str]) -> None:
        self._obstacle = obstacle
        self._waiting: dict[str, bool] = {}  # client order id -> whether it is still wanted

    async def wait(self, order_id: str, pair: str) -> bool:
        """Return True once an order on `pair` may be sent, False when it is not wanted any more."""
        obstacle = self._obstacle(pair)
        if not obstacle:
            return True
        log.warning("%s closes a position and waits to be sent: %s", order_id, obstacle)
        self._waiting[order_id] = True
        try:
            while self._waiting[order_id] and self._obstacle(pair):
                await asyncio.sleep(POLL_S)
            return self._waiting[order_id]
        finally:
            del self._waiting[order_id]

    def cancel(self, order_id: str) -> bool:
        """Send an order that waits no more; returns whether it was waiting."""
        if order_id not in self._waiting:
            return False
        self._waiting[order_id] = False
        return True
