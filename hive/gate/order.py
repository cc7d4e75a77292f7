"""One order as the gate knows it: what was asked, what the venue said, and what is under way."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum

from hive.gate.venue import Trade
from hive.shm.messages import IntentKind, OrderType, Side, TimeInForce

ZERO = Decimal(0)


class State(IntEnum):
    """What the gate knows of an order."""

    PENDING = 1  # waits for its turn, never sent
    SENT = 2  # written to a connection, no answer yet
    UNKNOWN = 3  # may live or not, the venue is being asked
    ACKED = 4
    FILLED = 5
    CANCELLED = 6
    EXPIRED = 7
    REJECTED = 8


FINAL = frozenset({State.FILLED, State.CANCELLED, State.EXPIRED, State.REJECTED})


@dataclass(slots=True, eq=False)
class Order:
    """One order. `executed` is what the venue says was filled, `filled` what the strategy has been told.

    Attributes:
        origin: the kind of intent that brought it here
        tag: its strategy; worker_epoch: of the worker that sent it, 0 when it was found at the venue
        absent_ns: monotonic; before it "does not exist" may only mean "not there yet"
        closing: what the venue said it ended as, while fills are missing
        cancel_wanted, cancelling: a cancel has been asked for; a cancel is on its way
        amount_before: its amount, when the venue says that it is smaller now, until that has been acted upon
        withheld: code and text of why it is not written, nor tried again, should it not have been yet
        refusal: code and text of a refused cancel, to be reported when the venue says that the order still lives
        suspect: the venue must be asked, whatever the state says
        denials: how often in a row the venue said that it does not exist
        clock_refusals: how often its timestamp was refused
        stream_ns: when the user stream last spoke of it
        queued_ns: when it, or its cancel, began to wait for its turn
        book_epoch: of the feed, in which it was decided
        done, done_ns: its worker has been told how it ended, and has taken that in; when
        guarded: it counts in the account's risk
        journaled: the journal knows it, so it has been sent, or is about to be
        urgent: its cancel is the gate's own wish, and goes before those of strategies
        retell: the next reply comes after all fills, which its worker may not have heard of
        handed: an earlier gate's, and its worker did not place it, so that it does not ask for it and must be told
        waits: it waits for its turn, or for its connection
        paid: its strategy's quota has been charged for it
        entry, cancel_entry: where it, and its cancel, wait for their turn
    """

    client_order_id: str
    pair: str
    symbol: str
    tag: str
    origin: IntentKind
    side: Side
    order_type: OrderType
    tif: TimeInForce
    price: Decimal | None
    amount: Decimal
    worker_epoch: int
    created_ns: int
    state: State = State.PENDING
    exchange_order_id: str = ""
    executed: Decimal = ZERO
    closing: State | None = None
    trades: dict[int, Trade] = field(default_factory=dict)
    filled: Decimal = ZERO
    code: int = 0
    text: str = ""
    sent_ns: int = 0
    absent_ns: int = 0
    heard_ns: int = 0
    final_ns: int = 0
    wall_ns: int = 0
    cancel_wanted: bool = False
    cancelling: bool = False
    amount_before: Decimal | None = None
    withheld: tuple[int, str] | None = None
    refusal: tuple[int, str] | None = None
    suspect: bool = False
    denials: int = 0
    told_unknown: bool = False
    clock_refusals: int = 0
    stream_ns: int = 0
    queued_ns: int = 0
    book_epoch: int = 0
    done: bool = False
    done_ns: int = 0
    guarded: bool = False
    journaled: bool = False
    urgent: bool = False
    retell: bool = False
    handed: bool = False
    waits: bool = False
    paid: bool = False
    entry: object = None
    cancel_entry: object = None

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.state in FINAL

    @property
    def trades_missing(self) -> bool:
        """Whether the venue filled more than the strategy has been told."""
        return self.filled < self.executed

    @property
    def needs_asking(self) -> bool:
        """Whether only the venue can tell how it stands."""
        if self.final:
            return self.trades_missing
        return self.suspect or self.state is State.UNKNOWN or self.trades_missing or self.closing is not None
