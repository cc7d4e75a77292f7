"""A venue's request weight per minute, shared by two parties that never wait for each other: the gate and the feed.

    gate ──creates, charges──▶ ┌ limit, shares, clock ┐ ◀──charges── feed
                               │ gate's words         │
         ◀──reads feed's────── └ feed's words         ┘ ──reads gate's──▶

The venue counts per IP address, in minutes aligned to its clock. Each party has a share of the limit and never takes
the other's; what the venue counts beyond both (another program at the same address) is charged to both. Each word has
one writer, so no update is ever lost, there is nothing to lock, and a party that is killed leaves all of it usable:
what it had charged stays charged for the rest of that minute.

A word {window, carry, used} is one aligned 64-bit store, so a reader never meets the minute of one and the weight of
another. No word is published by means of another: the order in which they become visible does not matter.

Edges. A request that leaves within EDGE_NS of the turn of a minute may be counted on either side. So windows turn
EDGE_NS late, and what is charged within EDGE_NS of the venue's turn must fit the old window and is carried into the
new one: while clocks and the way there are off by less than that, the venue never counts more than was granted.

A window of which nothing is known (the gate has just started) counts as spent until an answer of the venue tells its
count; one request of each party passes before that, to bring the answer. A venue that never tells blocks one minute.

Times are `wall_ns`: the venue's wall clock, which is this host's plus `offset_ns`, as the gate measures it.
"""

from hive.shm.atomics import Memory
from hive.shm.errors import LayoutMismatch, ShmError
from hive.shm.layout import BUDGET_RECORD
from hive.shm.segment import PAYLOAD_OFFSET, Segment

BUDGET_BYTES = PAYLOAD_OFFSET + BUDGET_RECORD.size
MINUTE_NS = 60_000_000_000
EDGE_NS = 200_000_000
_EDGE_AT_NS = MINUTE_NS - 2 * EDGE_NS  # into a window: from there on the venue's may turn
ASK_AGAIN_NS = 20_000_000  # while the answer is on its way that tells the count of an unknown window
MOST_WEIGHT = 1 << 20  # a limit; a word holds twice as much
PARTIES = ("gate", "feed")

_BITS = 21
_MASK = (1 << _BITS) - 1
_WINDOWS = 1 << (64 - 2 * _BITS)  # windows are kept modulo this: 8 years
_MILLIONTHS = 1_000_000
_SIGN = 1 << 63
_WEIGHTS = (1 << 2 * _BITS) - 1  # carry and used of a word
_AT = {field.name: PAYLOAD_OFFSET + field.offset for field in BUDGET_RECORD.fields}
_FOREIGN_AT = tuple(_AT[f"{party}_foreign"] for party in PARTIES)
_SETTLED_AT = tuple(_AT[f"{party}_settled"] for party in PARTIES)
_BROUGHT_AT = _AT["feed_brought"]
_LIMIT_AT, _MILLIONTHS_AT, _UNPROVEN_AT = (_AT[name] for name in ("limit", "feed_millionths", "unproven"))


class Budget:
    """One party's view; from create(), open() or private()."""

    def __init__(self, memory: Memory, party: str) -> None:
        if party not in PARTIES:
            raise ValueError(f"party must be gate or feed, was {party!r}")
        other = PARTIES[1 - PARTIES.index(party)]
        self.party = party
        self.spent = 0  # by this view, in all minutes
        self._share_of = (0, 0)  # a limit, and this party's share of it
        self._memory = memory
        self._used_at = _AT[f"{party}_used"]
        self._others_used_at = _AT[f"{other}_used"]
        self._foreign_at = _AT[f"{party}_foreign"]
        self._settled_at = _AT[f"{party}_settled"]
        self._closed_at = _AT[f"{party}_closed_ns"]
        self._others_closed_at = _AT[f"{other}_closed_ns"]

    @classmethod
    def create(
        cls,
        segment: Segment,
        limit_per_minute: int,
        feed_share: float,
        wall_ns: int,
        before: "Budget | None" = None,
    ) -> "Budget":
        """Lay out a fresh segment of BUDGET_BYTES and kind "budget"; return the gate's view.

        Args:
            limit_per_minute: the venue's, 1 to MOST_WEIGHT, as far as is known without `before`.
            feed_share: the feed's part of it, above 0 and below 1.
            before: of an earlier gate. Its limit stays, and the current minute goes on as that one left it, except for
                what the feed has charged: it brings that itself. Without it the current minute counts as spent, see
                the module.
        """
        memory = segment.memory()
        if memory.load(_AT["limit"]):
            raise ShmError(f"{segment.name} is in use: a gate makes a segment of the next epoch")
        budget = cls._laid_out(memory, "gate", limit_per_minute, feed_share, before, wall_ns)
        return budget

    @classmethod
    def open(cls, segment: Segment, party: str = "feed") -> "Budget":
        """Return a party's view of a segment that was mapped for writing."""
        memory = segment.memory()
        if segment.size < BUDGET_BYTES or not memory.load(_AT["limit"]):  # acquire, pairs with _laid_out()
            raise LayoutMismatch(f"{segment.name} holds no budget yet")
        return cls(memory, party)

    @classmethod
    def private(cls, limit_per_minute: int, feed_share: float) -> "Budget":
        """Return a budget in ordinary memory for a feed that no gate has told of another one yet."""
        memory = Memory(bytearray(BUDGET_BYTES), True)
        return cls._laid_out(memory, "feed", limit_per_minute, feed_share, None, None)

    @classmethod
    def _laid_out(
        cls,
        memory: Memory,
        party: str,
        limit: int,
        feed_share: float,
        before: "Budget | None",
        wall_ns: int | None,
    ) -> "Budget":
        if not 0.0 < feed_share < 1.0:
            raise ValueError(f"feed_share must be above 0 and below 1, was {feed_share}")
        budget = cls(memory, party)
        memory.store(_AT["feed_millionths"], max(1, min(_MILLIONTHS - 1, round(feed_share * _MILLIONTHS))))
        if before is not None:
            for name in ("offset_ns", "gate_used", "gate_foreign", "gate_settled", "gate_closed_ns", "unproven"):
                memory.store(_AT[name], before._memory.load(_AT[name]))
            budget._push(_AT["gate_closed_ns"], before._closed_until_ns())
            limit = before._memory.load(_LIMIT_AT)
        elif wall_ns is not None:
            memory.store(_AT["unproven"], _window(wall_ns) + 1)
        budget.set_limit(limit)
        return budget

    # --- what the gate tells

    def set_limit(self, limit_per_minute: int) -> None:
        """Take over the venue's limit; only the gate calls this."""
        if not 1 < limit_per_minute <= MOST_WEIGHT:
            raise ValueError(f"a venue's limit per minute must be 2..{MOST_WEIGHT}, was {limit_per_minute}")
        self._memory.store(_AT["limit"], limit_per_minute)  # release: who sees a limit sees the shares

    @property
    def offset_ns(self) -> int:
        """How far the venue's wall clock is ahead of this host's."""
        return _signed(self._memory.load(_AT["offset_ns"]))

    @offset_ns.setter
    def offset_ns(self, ns: int) -> None:
        self._memory.store(_AT["offset_ns"], _unsigned(ns))

    # --- spending

    @property
    def share(self) -> int:
        """The most that this party may spend in a minute."""
        limit = self._memory.load(_LIMIT_AT)
        known, share = self._share_of
        if known != limit:  # acquire, pairs with set_limit(): the millionths were there before any limit
            feed = min(limit - 1, max(1, limit * self._memory.load(_MILLIONTHS_AT) // _MILLIONTHS))
            share = feed if self.party == "feed" else limit - feed
            self._share_of = limit, share
        return share

    def reserve(self, weight: int, wall_ns: int) -> int:
        """Charge `weight` and return 0, or charge nothing and return how many ns to wait before asking again.

        A request heavier than the whole share passes alone, as the first of a window.
        """
        wait_ns = self.wait_ns(weight, wall_ns)
        if not wait_ns:
            self.charge(weight, wall_ns)
        return wait_ns

    def wait_ns(self, weight: int, wall_ns: int) -> int:
        """Return when to ask again, in ns from now; 0 when `weight` may be spent now. Charges nothing."""
        load = self._memory.load
        if load(self._closed_at) > wall_ns or load(self._others_closed_at) > wall_ns:
            return self._closed_until_ns() - wall_ns
        window, carry, used = self._mine(wall_ns)
        share = self.share
        at_edge = (wall_ns - EDGE_NS) % MINUTE_NS >= _EDGE_AT_NS
        if weight > share:
            fits = not used and not (at_edge and carry)
        else:
            spent = used + self._foreign(window)
            fits = spent + weight <= share and not (at_edge and carry + weight > share)
        unproven = used and load(_UNPROVEN_AT) == window + 1 and not self._settled_in(window)
        if fits and not unproven:
            return 0
        turn_ns = max(1, (window + 1) * MINUTE_NS + EDGE_NS - wall_ns)
        return min(ASK_AGAIN_NS, turn_ns) if fits else turn_ns

    def charge(self, weight: int, wall_ns: int) -> None:
        """Charge a request that leaves now, whether it fits or not."""
        self.spent += weight
        window, carry, used = self._mine(wall_ns)
        if _at_edge(wall_ns):
            carry += weight
        self._memory.store(self._used_at, _packed(window, carry, used + weight))

    # --- what the venue says

    def settle(self, count: int, wall_ns: int, asked_ns: int | None = None) -> None:
        """Take the venue's own count of this minute from an answer; -1 (it did not say) changes nothing.

        Args:
            asked_ns: when the request left: a count that may be of the window before is no use.
        """
        window, _, used = self._mine(wall_ns)
        if count < 0 or _at_edge(wall_ns) or (asked_ns is not None and _window(asked_ns) != window):
            return
        self._keep_most(self._settled_at, window, count)
        # What the feed brought from elsewhere may have been counted before it was told of here: see bring().
        known = used + self._used_of(self._others_used_at, window) - self._used_of(_AT["feed_brought"], window)
        self._keep_most(self._foreign_at, window, count - known)

    def close(self, seconds: float, wall_ns: int) -> None:
        """Grant neither party anything for `seconds`: the venue said so. A close is never made shorter."""
        self._push(self._closed_at, wall_ns + int(seconds * 1e9))

    def bring(self, other: "Budget", wall_ns: int) -> None:
        """Charge here what the feed has charged to another budget in this minute; only the feed calls this.

        An answer may have told the gate of that weight before it is known here whose it was: then it had been taken
        for somebody else's, and is no longer.
        """
        window, carry, used = self._mine(wall_ns)
        theirs, their_carry, spent = other._mine(wall_ns)
        if theirs == window and (spent or their_carry):
            self._memory.store(self._used_at, _packed(window, carry + their_carry, used + spent))
            brought = self._used_of(_AT["feed_brought"], window) + spent
            self._memory.store(_AT["feed_brought"], _packed(window, 0, brought))
        settled = other._used_of(other._settled_at, window)
        if settled:
            self._keep_most(self._settled_at, window, settled)
        self._push(self._closed_at, other._closed_until_ns())

    # --- looking

    def used(self, wall_ns: int) -> tuple[int, int, int]:
        """Return what gate and feed have charged in this minute, and the limit."""
        mine = self._mine(wall_ns)
        others = self._used_of(self._others_used_at, mine[0])
        pair = (mine[2], others) if self.party == "gate" else (others, mine[2])
        return *pair, self._memory.load(_AT["limit"])

    def closed_ns(self, wall_ns: int) -> int:
        """Return how much longer nothing is granted to either party, see close(); 0 when it is."""
        return max(0, self._closed_until_ns() - wall_ns)

    def foreign(self, wall_ns: int) -> int:
        """Return what the venue has counted in this minute beyond both parties."""
        return self._foreign(self._mine(wall_ns)[0])

    def settled(self, wall_ns: int) -> int:
        """Return the venue's own highest count of this minute, 0 when it told none."""
        window = self._mine(wall_ns)[0]
        return max(self._used_of(_AT[f"{party}_settled"], window) for party in PARTIES)

    # --- words

    def _mine(self, wall_ns: int) -> tuple[int, int, int]:
        """Return the window that counts now, and this party's carry and use in it."""
        window = (wall_ns - EDGE_NS) // MINUTE_NS
        word = self._memory.load(self._used_at)
        carry, used = word >> _BITS & _MASK, word & _MASK
        ahead = (window - (word >> 2 * _BITS)) % _WINDOWS
        if ahead == 0 or not word:
            return window, carry, used
        if ahead == 1:
            return window, 0, carry
        if ahead == _WINDOWS - 1:
            return window + 1, carry, used  # a clock that was set back stays in the window that it had reached
        if ahead > _WINDOWS // 2:
            return window, carry, used  # set back by more: nobody may wait for it to catch up
        return window, 0, 0

    def _used_of(self, at: int, window: int) -> int:
        """Return the weight in a word, 0 when it is of another window."""
        word = self._memory.load(at)
        if word >> 2 * _BITS == window % _WINDOWS:
            return word & _MASK
        turned = word >> 2 * _BITS == (window - 1) % _WINDOWS
        return word >> _BITS & _MASK if turned else 0

    def _foreign(self, window: int) -> int:
        load = self._memory.load
        if not (load(_FOREIGN_AT[0]) | load(_FOREIGN_AT[1])) & _WEIGHTS:
            return 0  # of no window
        found = max(self._used_of(_FOREIGN_AT[0], window), self._used_of(_FOREIGN_AT[1], window))
        return max(0, found - self._used_of(_BROUGHT_AT, window))

    def _settled_in(self, window: int) -> bool:
        return self._of_window(_SETTLED_AT[0], window) or self._of_window(_SETTLED_AT[1], window)

    def _of_window(self, at: int, window: int) -> bool:
        word = self._memory.load(at)
        return word != 0 and word >> 2 * _BITS == window % _WINDOWS

    def _keep_most(self, at: int, window: int, weight: int) -> None:
        if weight > self._used_of(at, window) or not self._of_window(at, window):
            self._memory.store(at, _packed(window, 0, max(0, weight)))

    def _closed_until_ns(self) -> int:
        load = self._memory.load
        ours_ns, others_ns = load(self._closed_at), load(self._others_closed_at)
        return ours_ns if ours_ns > others_ns else others_ns

    def _push(self, at: int, until_ns: int) -> None:
        if until_ns > self._memory.load(at):
            self._memory.store(at, until_ns)


def _window(wall_ns: int) -> int:
    return (wall_ns - EDGE_NS) // MINUTE_NS


def _at_edge(wall_ns: int) -> bool:
    return (wall_ns - EDGE_NS) % MINUTE_NS >= _EDGE_AT_NS


def _packed(window: int, carry: int, used: int) -> int:
    return (window % _WINDOWS) << 2 * _BITS | min(carry, _MASK) << _BITS | min(used, _MASK)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= _SIGN else word


def _unsigned(value: int) -> int:
    return value % (1 << 64)
