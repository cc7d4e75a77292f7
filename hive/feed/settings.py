"""One venue of the feed as the boot message describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hive.feed.errors import BootError

KINDS = ("binance",)
_ABOVE_ZERO = ("silence_s", "ping_interval_s", "pong_within_s", "lost_after_s", "rotate_after_s", "rules_interval_s")


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """Where a venue is, and how it is followed; times in seconds.

    kind is its protocol. streams_per_connection: at most so many; 0: as many as the venue allows. silence_s: how long a
    subscribed connection may bring nothing before it counts as lost. ping_interval_s, pong_within_s, lost_after_s: see
    pulse.py. rotate_after_s: the age at which a connection is replaced; venues close them after 24 h. rules_interval_s:
    how often the exchange rules are read again; a halt is noticed so late at most. audit_interval_s: how often each
    book is compared with a fresh snapshot, 0 never. linger_s: how long an instrument is followed after the last one who
    wanted it left. depths: levels per side of pairs that have another number than the feed's. ca_file: who may have
    signed the venue's certificate, "" for the system's authorities. feed_share: the part of the venue's request weight
    that is the feed's. record: a file to record to, "" for none; pairs: what the file says that is wanted. mode
    "replay": `file` is played instead of the venue, `speed` times as fast as it was recorded, 0: as fast as possible.
    """

    index: int
    name: str
    kind: str
    rest_url: str
    ws_url: str
    max_connections: int = 1
    streams_per_connection: int = 0
    silence_s: float = 10.0
    ping_interval_s: float = 1.0
    pong_within_s: float = 1.0
    lost_after_s: float = 5.0
    rotate_after_s: float = 84_600.0
    rules_interval_s: float = 600.0
    audit_interval_s: float = 300.0
    linger_s: float = 10.0
    depths: Mapping[str, int] = field(default_factory=dict)
    ca_file: str = ""
    feed_share: float = 0.4
    mode: str = "live"
    record: str = ""
    pairs: tuple[str, ...] = ()
    file: str = ""
    speed: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BootError(f"venue {self.name}: kind must be one of {sorted(KINDS)}, was {self.kind!r}")
        if self.max_connections < 1:
            raise BootError(f"venue {self.name}: max_connections must be >= 1, was {self.max_connections}")
        for name in _ABOVE_ZERO:
            if getattr(self, name) <= 0:
                raise BootError(f"venue {self.name}: {name} must be > 0, was {getattr(self, name)}")
        for name in ("streams_per_connection", "audit_interval_s", "linger_s", "speed"):
            if getattr(self, name) < 0:
                raise BootError(f"venue {self.name}: {name} must be >= 0, was {getattr(self, name)}")
        for pair, depth in self.depths.items():
            if not 1 <= depth <= 5000:
                raise BootError(f"venue {self.name}: depths of {pair} must be 1..5000, was {depth}")
