"""What a journal's folder says: every order that may be open, the notes, and what cannot be read.

    00000000000000000001.journal  00000000000000081920.journal  00000000000000163840.journal     by the first serial
                                  read as well, when ->         the newest: its snapshot is not whole

The newest file restores everything, for it begins with a snapshot. Where that is not whole, because the machine lost
its power before it was on the disk or because the file was damaged later, the file before is read first, and to each
story only what is not in it is added. A record counts when it stands where its serial says and its CRC is right. What
comes after the last such record is the torn tail of a writer that was killed; one that is missing before it is damage,
which costs that record and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from hive.gate.errors import JournalError
from hive.gate.journal_file import list_files
from hive.gate.journal_format import (
    BODY_AT,
    HEADER_BYTES,
    KIND_AT,
    RECORD_BYTES,
    SCAN,
    SERIAL,
    Header,
    Kind,
    read_header,
    read_id,
    read_note,
    rebuild,
    sent_times,
    when,
)
from hive.gate.order import Order

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
KEEP_DONE_NS = 600_000_000_000
"""For so long an order is kept after its strategy was told everything: a late copy of its intent finds it there."""

# to compare with an enum's member takes 73 ns, with these 26, a million times each
_SENT, _UNSENT, _NOTE = int(Kind.SENT), int(Kind.UNSENT), int(Kind.NOTE)
_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)


@dataclass(slots=True)
class Replayed:
    """What a folder says.

    Attributes:
        stories: the tails of each order that is still needed, by client order id
        notes: the tail of each note, by key
        next_serial: no file has it yet
        ends: where each file that was read ends, when nothing in it is damaged
        torn: bytes after the last record
        damage: what is missing, "" when nothing is
        day, sent: the UTC day now, in days since 1970, and the orders sent on it
    """

    day: int
    stories: dict[str, list[bytes]] = field(default_factory=dict)
    notes: dict[str, bytes] = field(default_factory=dict)
    next_serial: int = 1
    ends: list[tuple[Path, int]] = field(default_factory=list)
    torn: int = 0
    damage: str = ""
    sent: int = 0


@dataclass(slots=True)
class Scan:
    """What one file says: where the records of each order are, in order, and its notes, newest last."""

    path: Path
    data: bytes
    header: Header | None
    first_serial: int
    places: dict[bytes, list[int]] = field(default_factory=dict)
    notes: list[bytes] = field(default_factory=list)
    sent: int = 0  # on the day, after the snapshot
    end: int = HEADER_BYTES
    torn: int = 0
    missing: int = 0
    first_missing: int = 0
    whole: bool = False  # header and snapshot


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal knew when it was opened.

    Attributes:
        orders: those that may be open, whose strategies were not told everything, or were less than ten minutes ago
        notes: values by key
        torn: bytes that a writer left half-written at the end
        damage: what is missing from the middle, "" when nothing is
        sent_wall_ns: when the orders of the last hour were sent, oldest first
        sent_today: orders sent on this UTC day
    """

    orders: list[Order]
    notes: dict[str, str]
    torn: int
    damage: str
    sent_wall_ns: list[int]
    sent_today: int


def replay(folder: Path, fleet_id: str, venue: str, now_wall_ns: int) -> Replayed:
    """Read a journal.

    Raises:
        JournalError: it is another version's, fleet's or venue's.
        OSError: a file cannot be read.
    """
    result = Replayed(day=now_wall_ns // DAY_NS)
    scans: list[Scan] = []
    for path in reversed(list_files(folder)):
        scans.insert(0, _scan(path, fleet_id, venue, result.day))
        if scans[0].whole:
            break
    damage = []
    for scan in scans:
        _add(scan, result, now_wall_ns)
        damage += _damage(scan, oldest=scan is scans[0])
    if scans:
        newest = scans[-1]
        result.torn = newest.torn
        slots = len(newest.data) if newest.missing else newest.end
        result.next_serial = newest.first_serial + max(0, slots - HEADER_BYTES) // RECORD_BYTES
    result.notes = {key: tail for key, tail in result.notes.items() if read_note(tail)[1]}
    result.damage = "; ".join(damage)
    return result


def recover(replayed: Replayed, wall_ns: int, now_ns: int) -> tuple[Recovered, dict[str, int]]:
    """Make the orders of what was replayed, and take out stories that tell of none.

    Args:
        wall_ns, now_ns: the same moment, by the wall's clock and the monotonic one

    Returns:
        What was recovered, and when (monotonic) the orders that are done became so, oldest first.
    """

    def monotonic(then_wall_ns: int) -> int:
        return now_ns - max(0, wall_ns - then_wall_ns)  # a clock that was set back makes it young

    orders, sent_wall_ns, done = [], [], []
    damage = [replayed.damage] if replayed.damage else []
    for client_order_id, story in list(replayed.stories.items()):
        order = rebuild(story, monotonic)
        if order is None:
            damage.append(f"order {client_order_id}: its beginning is missing")
            del replayed.stories[client_order_id]
            continue
        orders.append(order)
        sent_wall_ns += [sent for sent in sent_times(story) if sent > wall_ns - HOUR_NS]
        if order.done:
            done.append((monotonic(when(story[-1])), client_order_id))
    notes = dict(map(read_note, replayed.notes.values()))
    recovered = Recovered(orders, notes, replayed.torn, "; ".join(damage), sorted(sent_wall_ns), replayed.sent)
    return recovered, {client_order_id: done_ns for done_ns, client_order_id in sorted(done)}


def _scan(path: Path, fleet_id: str, venue: str, day: int) -> Scan:
    data = path.read_bytes()
    header = read_header(data, str(path))
    if header is not None and (header.fleet_id, header.venue) != (fleet_id, venue):
        raise JournalError(
            f"{path}: a journal must be of fleet {fleet_id} and venue {venue}, "
            f"was of fleet {header.fleet_id} and venue {header.venue}"
        )
    scan = Scan(path, data, header, int(path.name[:20]))
    snapshot = 0 if header is None else header.snapshot
    used = _used(data)
    places = scan.places
    expected = missing = first_missing = 0
    for index, kind, wall_ns, name in _records(data, used, scan.first_serial):
        if index != expected:
            first_missing = first_missing if missing else expected
            missing += index - expected
        expected = index + 1
        place = HEADER_BYTES + index * RECORD_BYTES
        if kind == _NOTE:
            scan.notes.append(data[place + SERIAL.size : place + RECORD_BYTES])
            continue
        if kind == _SENT:
            scan.sent += index >= snapshot and wall_ns // DAY_NS == day
        elif kind == _UNSENT:
            scan.sent -= index >= snapshot and wall_ns // DAY_NS == day
        try:
            places[name].append(place)
        except KeyError:
            places[name] = [place]
    scan.end = HEADER_BYTES + expected * RECORD_BYTES
    scan.torn = max(0, used - scan.end)
    scan.missing, scan.first_missing = missing, scan.first_serial + first_missing
    scan.whole = header is not None and snapshot <= (first_missing if missing else expected)
    return scan


def _used(data: bytes) -> int:
    """Return how many bytes there are before the zeros at the end."""
    end = len(data)
    while end >= _CHUNK and data[end - _CHUNK : end] == _ZEROS:
        end -= _CHUNK
    return max(0, end - _CHUNK) + len(data[max(0, end - _CHUNK) : end].rstrip(b"\0"))


def _records(data: bytes, used: int, first_serial: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield place, kind, time and id of each record that is right."""
    slots = min(-(-(used - HEADER_BYTES) // RECORD_BYTES), (len(data) - HEADER_BYTES) // RECORD_BYTES)
    if slots <= 0:
        return
    view = memoryview(data)
    body = HEADER_BYTES + BODY_AT - RECORD_BYTES
    end = body + RECORD_BYTES - BODY_AT
    rows = SCAN.iter_unpack(view[HEADER_BYTES : HEADER_BYTES + slots * RECORD_BYTES])
    for index, (serial, crc, kind, wall_ns, name) in enumerate(rows):
        body += RECORD_BYTES
        end += RECORD_BYTES
        if serial == first_serial + index and crc == crc32(view[body:end]):
            yield index, kind, wall_ns, name


def _add(scan: Scan, result: Replayed, now_wall_ns: int) -> None:
    for tail in scan.notes:
        result.notes[read_note(tail)[0]] = tail
    data = scan.data
    for name, places in scan.places.items():
        last = data[places[-1] + SERIAL.size : places[-1] + RECORD_BYTES]
        if last[KIND_AT] == Kind.DONE and now_wall_ns - when(last) > KEEP_DONE_NS:
            if result.stories:
                result.stories.pop(read_id(name), None)
            continue
        client_order_id = read_id(name)
        tails = [data[place + SERIAL.size : place + RECORD_BYTES] for place in places]
        told = result.stories.get(client_order_id, [])  # by the file before, which the snapshot sums up
        result.stories[client_order_id] = [*told, *(tail for tail in tails if tail not in told)] if told else tails
    if scan.header is not None:  # it counts all that was sent before
        result.sent = scan.header.sent if scan.header.day == result.day else 0
    result.sent += scan.sent
    if not scan.missing and scan.header is not None:
        result.ends.append((scan.path, scan.end))


def _damage(scan: Scan, oldest: bool) -> list[str]:
    name, found = scan.path.name, []
    if scan.header is None and (scan.end > HEADER_BYTES or (oldest and scan.data.strip(b"\0"))):
        found.append(f"{name}: its header cannot be read")
    if scan.missing:
        found.append(f"{name}: {scan.missing} records before its last cannot be read, from serial {scan.first_missing}")
    if oldest and not scan.whole:
        found.append(f"{name}: its snapshot is not whole, and there is no older file")
    return found
