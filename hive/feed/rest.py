"""GET requests to a venue, inside the feed's share of its request weight."""

import asyncio
import time
from collections.abc import Callable

import aiohttp

from hive.feed.budget import WeightBudget
from hive.feed.errors import VenueRefused
from hive.feed.metrics import VenueMetrics
from hive.feed.recorder import Tap
from hive.feed.venue import HttpAnswer, Request

TIMEOUT = aiohttp.ClientTimeout(total=10.0)
KEEP_ALIVE_S = 1.0  # for the requests of a start or a resync; an audit every few seconds is worth no open connection
LONGEST_WAIT_S = 1.0  # looks at the budget again at least so often
TOO_MANY, BANNED = 429, 418
WITHOUT_RETRY_AFTER_S = 10.0


class RestClient:
    """One venue's HTTP side.

    `weight_header` is where the venue says what was spent in this minute; `on_banned` is given the seconds for which
    the venue refuses this address. `tap` is given every answer, if not None.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        budget: WeightBudget,
        metrics: VenueMetrics,
        weight_header: str,
        wall_ns: Callable[[], int] = time.time_ns,
        on_banned: Callable[[float], None] | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._session = session
        self.budget = budget
        self._metrics = metrics
        self._weight_header = weight_header
        self._wall_ns = wall_ns
        self._on_banned = on_banned
        self._tap = tap

    async def admit(self, request: Request) -> None:
        """Wait until the budget pays for `request`."""
        while wait_ns := self.budget.reserve(request.weight, self._wall_ns()):
            await asyncio.sleep(min(wait_ns / 1e9, LONGEST_WAIT_S))
        self._metrics.request_weight.inc(request.weight)

    async def fetch(self, request: Request) -> HttpAnswer:
        """Return the venue's answer to an admitted request, whatever its status.

        A 429 or 418 closes the budget for as long as the venue asks. Raises VenueRefused (status 0) when no answer
        came: the connection failed, or 10 s passed.
        """
        asked_ns = self._wall_ns()
        try:
            async with self._session.request(request.method, request.url, timeout=TIMEOUT) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise VenueRefused(f"no answer: {type(error).__name__} {error}".rstrip(), 0) from error
        answer = HttpAnswer(
            status=response.status,
            body=body,
            used_weight=_count(response.headers.get(self._weight_header)),
            retry_after_s=float(max(0, _count(response.headers.get("Retry-After")))),
        )
        self._metrics.bytes_received.inc(len(body))
        wall_ns = self._wall_ns()
        self.budget.settle(answer.used_weight, wall_ns, asked_ns)
        if self._tap is not None:
            self._tap.on_answer(request, answer)
        if answer.status in (TOO_MANY, BANNED):
            seconds = answer.retry_after_s or WITHOUT_RETRY_AFTER_S
            self._metrics.http_429.inc()
            self.budget.close(seconds, wall_ns)
            if answer.status == BANNED and self._on_banned is not None:
                self._on_banned(seconds)
        return answer

    async def get(self, request: Request) -> HttpAnswer:
        """Admit and fetch."""
        await self.admit(request)
        return await self.fetch(request)


def _count(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else -1
