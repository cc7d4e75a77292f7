"""How much of a stated limit is used, when a venue allows less than it states.

    stated  ├───────────────────────────────────────┤
    usable  ├──────────────────────────┤ +1 % a minute ▸       after a breach: what the venue had let pass
    proven  ├──────────────────────┤ a few at a time ▸         the most that passed lately without a breach

Beyond what is proven, requests go only while FEW of them have no answer: the first breach of a venue that secretly
allows less costs so many rejects, not what fits between the two limits. Half of what is stated is taken as proven until
a breach shows otherwise, so a burst of a fleet that is mostly idle does not wait for answers. A breach sets the usable
limit to what had passed in that window, at most by half (one odd answer must not stop a fleet), and after it no more
than FEW requests may be without an answer at first, one more with each answer: what waited does not leave at once. Then
the limit climbs by a step each minute without another breach, and each step is tried by as few requests.

Additive increase and multiplicative decrease: Chiu and Jain 1989, doi.org/10.1016/0169-7552(89)90019-6.
"""

from hive.gate.bucket import ANSWER_NS, AlignedWindow

FEW = 5
STEP_NS = 60_000_000_000
STEPS = 100  # of the stated limit
LATELY_NS = 600_000_000_000


class Throttle:
    """Steers one window of a venue; times are monotonic unless they say venue.

    Args:
        window: of the stated limit; its `usable` and `held` belong to this object
    """

    def __init__(self, window: AlignedWindow) -> None:
        self.usable = window.limit
        self.breaches = 0
        self._window = window
        self._step = max(1, window.limit // STEPS)
        self._in_flight = 0
        self._most_in_flight = window.limit + FEW  # no request beyond it: none is granted that many
        self._passed = [0, 0]  # the most that passed in this and in the last span of LATELY_NS
        self._span_ns = -1
        self._taken_as_proven = window.limit // 2
        self._climbed_ns = 0
        self._breached_ns = -1
        self._usable_before = window.limit

    @property
    def proven(self) -> int:
        """The most that passed lately, and at least 1."""
        passed, passed_before = self._passed
        return max(1, min(self.usable, max(passed, passed_before, self._taken_as_proven)))

    def sent(self, now_ns: int) -> None:
        """Count a request that was charged to the window."""
        self._in_flight += 1
        if self._in_flight >= FEW or self.usable < self._window.limit:
            self._climb(now_ns)

    def answered(self, count: int, sent_ns: int, venue_ns: int, now_ns: int) -> None:
        """Count an answer that is no breach.

        Args:
            count: what the venue says is used; -1: it does not say
            sent_ns: when the request left
        """
        if now_ns - self._span_ns >= LATELY_NS:
            self._passed = [0, self._passed[0] if now_ns - self._span_ns < 2 * LATELY_NS else 0]
            self._span_ns = now_ns
        passed = count if count >= 0 else self._window.counted(venue_ns, venue_ns)
        if sent_ns <= self._breached_ns:  # it had passed when the breach was answered: more passed than was known then
            self.usable = max(self.usable, min(passed, self._usable_before - 1))
        else:
            self._most_in_flight += 1
        if passed > self._passed[0]:
            self._passed[0] = min(passed, self.usable)
        self.dropped(now_ns)

    def dropped(self, now_ns: int) -> None:
        """Count a request that was not sent, or has no answer and will have none."""
        self._in_flight -= 1
        if self._in_flight >= FEW - 1 or self.usable < self._window.limit:
            self._climb(now_ns)

    def breached(self, charged_venue_ns: int, sent_ns: int, venue_ns: int, now_ns: int) -> None:
        """Take it that the venue refused a request for this limit; it has been `dropped`, and its charge taken back.

        What was sent before an earlier breach was known is a part of that one.
        """
        if sent_ns > self._breached_ns:
            self.breaches += 1
            self._breached_ns = now_ns
            self._usable_before = self.usable
            if not self._window.doubtful(venue_ns):
                window = self._window
                before_ns = charged_venue_ns - window.guard_ns  # near a window's start it may be that one which is full
                passed = max(window.counted(at_ns, venue_ns) for at_ns in (charged_venue_ns, before_ns))
                self.usable = max(1, self.usable // 2, min(passed, self.usable - 1))
            self._taken_as_proven = 0
            self._passed = [min(passed, self.usable) for passed in self._passed]
            self._climbed_ns = now_ns
            self._most_in_flight = FEW
        self._climb(now_ns)

    def start_slowly(self, now_ns: int) -> None:
        """Let only a few requests be without an answer at first: the venue was closed."""
        self._most_in_flight = FEW
        self._climb(now_ns)

    def wait_ns(self, cost: int, venue_ns: int, now_ns: int) -> int:
        """Return when to try again what the window did not take; 0 when it fits now."""
        self._climb(now_ns)
        wait_ns = self._window.wait_ns(cost, venue_ns)
        waits_for_answers = self._window.held or self._window.usable < self.usable
        return min(wait_ns, ANSWER_NS) if wait_ns > 0 and waits_for_answers else wait_ns

    def _climb(self, now_ns: int) -> None:
        if self.usable < self._window.limit:
            steps = (now_ns - self._climbed_ns) // STEP_NS
            if steps > 0:
                self.usable = min(self._window.limit, self.usable + steps * self._step)
                self._climbed_ns += steps * STEP_NS
                if self.usable == self._window.limit:
                    self._taken_as_proven = self._window.limit // 2
        window, in_flight = self._window, self._in_flight
        window.held = in_flight >= self._most_in_flight
        window.usable = self.usable if in_flight < FEW else self.proven
