"""The judge of perf/chaos.py finds each fault in a story that has it, and none in one that has not."""

from decimal import Decimal
from types import SimpleNamespace

import pytest

from chaos_diary import Diary, DiaryReader, Story, Told
from chaos_judge import judge
from chaos_leaks import MEMORY_PER_KILL, MEMORY_SLACK, Leaks, Series, allowed
from hive.shm.ids import order_prefix, strategy_tag
from hive.shm.messages import Reply, ReplyKind

FLEET = "chaos"
NAMES = ("left", "right")
TAGS = {name: strategy_tag(name) for name in NAMES}
FIRST, SECOND = 1_000, 9_000  # two lives of each strategy


def order_id(number=1, owner="left"):
    return f"{order_prefix(FLEET, TAGS[owner])}{number}"


def told(*words, life=FIRST):
    """Return replies of a life: KIND, or FILL:trade:amount."""
    replies = []
    for number, word in enumerate(words):
        kind, *fill = word.split(":")
        trade, amount = (int(fill[0]), Decimal(fill[1])) if fill else (0, Decimal(1))
        replies.append(Told(life + 10 + number, life, kind, "77", trade, amount))
    return replies


def story(*words, number=1, owner="left", life=FIRST, later=()):
    replies = told(*words) + told(*later, life=SECOND)
    return Story(order_id(number, owner), life, life and life + 1, told=replies)


def recorded(status="CANCELED", fills=(), number=1, owner="left", exchange=77):
    made = [{"id": trade, "qty": qty} for trade, qty in fills]
    return {"clientOrderId": order_id(number, owner), "orderId": exchange, "status": status, "fills": made}


def verdict(orders, stories=(), at="left", lives=(FIRST,)):
    diaries = {
        name: SimpleNamespace(stories={one.order: one for one in stories} if name == at else {}, lives=list(lives))
        for name in NAMES
    }
    return judge(orders, diaries, TAGS, FLEET)


def counts(found):
    return len(found.lost), len(found.doubled), len(found.misattributed)


FILLS = ((5, "0.30000000"), (6, "0.70000000"))
GOOD = [
    (recorded(), story("ACKED", "CANCELLED")),
    (recorded("FILLED", FILLS), story("ACKED", "FILL:5:0.3", "FILL:6:0.7", "FILLED")),
    (recorded("CANCELED", FILLS[:1]), story("UNKNOWN", "ACKED", "FILL:5:0.3", "CANCELLED")),
    (recorded("EXPIRED"), story("ACKED", "EXPIRED")),
    (recorded("CANCELED"), story("ACKED", "CANCEL_FAILED", "CANCELLED")),
    (recorded(), story("REJECTED", "ACKED", "CANCELLED")),  # first denied, then shown to live
]


@pytest.mark.parametrize(("order", "known"), GOOD)
def test_a_story_that_agrees_with_the_exchange_has_no_fault(order, known):
    found = verdict([order], [known])
    assert counts(found) == (0, 0, 0), found
    assert found.clean
    assert (found.orders, found.fills) == (1, len(order["fills"]))


@pytest.mark.parametrize(
    "known",
    [
        story(),
        story("ACKED"),
        story("ACKED", "REJECTED"),
        story("ACKED", "FILL:5:0.3", "FILLED"),
        story("ACKED", "FILL:5:0.3", "FILL:6:0.7"),
        story("ACKED", "FILL:5:0.3", "FILL:6:0.7", "CANCELLED"),
        story("ACKED", "FILL:5:0.3", "FILL:6:0.7", "FILLED", "CANCELLED"),
    ],
)
def test_what_the_exchange_has_and_the_strategy_was_not_told_is_lost(known):
    found = verdict([recorded("FILLED", FILLS)], [known])
    assert found.lost
    assert not found.doubled
    assert not found.misattributed


@pytest.mark.parametrize("status", ["NEW", "PARTIALLY_FILLED"])
def test_an_order_that_stays_open_is_lost(status):
    assert counts(verdict([recorded(status)], [story("ACKED")])) == (1, 0, 0)


def test_a_fill_that_was_told_in_a_later_life_is_not_lost():
    known = story("ACKED", later=("FILL:5:0.3", "FILL:6:0.7", "FILLED"))
    found = verdict([recorded("FILLED", FILLS)], [known], lives=(FIRST, SECOND))
    assert counts(found) == (0, 0, 0)
    assert found.again == 0


def test_a_fill_that_comes_again_is_doubled_in_the_life_that_placed_it_and_counted_apart_in_a_later_one():
    twice = story("ACKED", "FILL:5:0.3", "FILL:5:0.3", "CANCELLED")
    assert counts(verdict([recorded("CANCELED", FILLS[:1])], [twice])) == (0, 1, 0)
    again = story("ACKED", "FILL:5:0.3", later=("FILL:5:0.3", "CANCELLED"))
    found = verdict([recorded("CANCELED", FILLS[:1])], [again], lives=(FIRST, SECOND))
    assert counts(found) == (0, 0, 0)
    assert found.again == 1


@pytest.mark.parametrize("fill", ["FILL:7:0.3", "FILL:5:0.4", "FILL:0:0.3"])
def test_a_fill_that_the_exchange_does_not_have_is_doubled(fill):
    found = verdict([recorded("CANCELED", FILLS[:1])], [story("ACKED", "FILL:5:0.3", fill, "CANCELLED")])
    assert found.doubled
    assert not found.lost


def test_one_id_twice_at_the_exchange_is_doubled():
    orders = [recorded(), recorded(exchange=78)]
    assert counts(verdict(orders, [story("ACKED", "CANCELLED")])) == (0, 1, 0)


def test_an_order_that_nobody_wanted_is_doubled():
    assert counts(verdict([recorded(number=2)], [story(number=1, life=FIRST)], lives=(FIRST, SECOND))) == (0, 1, 0)


def test_an_order_that_its_worker_had_refused_is_doubled():
    known = story("ACKED", "CANCELLED")
    known.refused = True
    assert counts(verdict([recorded()], [known])) == (0, 1, 0)


@pytest.mark.parametrize("tag", ["hvchaosabcde-1", "hvothersabcde-1", "web_123"])
def test_an_order_of_no_strategy_is_misattributed(tag):
    assert counts(verdict([{**recorded(), "clientOrderId": tag}])) == (0, 0, 1)


def test_a_reply_at_another_strategy_is_misattributed():
    known = story("ACKED", "CANCELLED")
    astray = story("ACKED", owner="right", life=0)
    found = verdict([recorded()], [known, astray])
    assert counts(found) == (0, 0, 1)
    assert "told to left" in found.misattributed[0]


@pytest.mark.parametrize("words", [("REJECTED",), ("CANCELLED",), ("UNKNOWN", "REJECTED")])
def test_an_order_that_never_reached_the_exchange_may_be_rejected_or_withdrawn(words):
    found = verdict([], [story(*words)])
    assert counts(found) == (0, 0, 0)
    assert found.never_sent == 1


def test_an_order_that_died_with_its_worker_needs_no_word():
    assert counts(verdict([], [story("UNKNOWN")], lives=(FIRST, SECOND))) == (0, 0, 0)
    assert counts(verdict([], [story("UNKNOWN")], lives=(FIRST,))) == (1, 0, 0)
    refused = story()
    refused.refused = True
    assert counts(verdict([], [refused])) == (0, 0, 0)


@pytest.mark.parametrize("words", [("ACKED",), ("ACKED", "FILLED"), ("ACKED", "EXPIRED")])
def test_an_order_that_was_said_to_live_and_is_not_at_the_exchange_is_lost(words):
    assert counts(verdict([], [story(*words)], lives=(FIRST, SECOND))) == (1, 0, 0)


def test_a_filled_order_that_is_not_at_the_exchange_is_doubled():
    assert counts(verdict([], [story("ACKED", "FILL:5:1", "FILLED")])) == (0, 1, 0)


def test_a_diary_is_read_as_it_grows_and_over_a_line_that_a_death_cut_short(tmp_path):
    path = tmp_path / "left"
    reader = DiaryReader(path)
    reader.read()
    assert reader.lives == []
    diary = Diary(path, FIRST)
    diary.place(FIRST + 1, order_id(1))
    diary.told(FIRST + 2, Reply(ReplyKind.ACKED, 0, order_id(1), "77"))
    reader.read()
    assert reader.traded_ns == FIRST + 1
    diary.told(FIRST + 3, Reply(ReplyKind.FILL, 0, order_id(1), "77", amount=Decimal("0.3"), trade_id=5))
    with path.open("ab") as file:
        file.write(b'["place", 1')
    reader.read()
    later = Diary(path, SECOND)
    later.refused(SECOND + 1, order_id(2), "gate is restarting")
    later.cancel(SECOND + 2, order_id(1))
    reader.read()
    assert reader.lives == [FIRST, SECOND]
    one = reader.stories[order_id(1)]
    assert (one.life, one.placed_ns) == (FIRST, FIRST + 1)
    assert [(each.kind, each.trade_id, each.life) for each in one.told] == [("ACKED", 0, FIRST), ("FILL", 5, FIRST)]
    assert one.told[1].amount == Decimal("0.3")
    assert reader.stories[order_id(2)].refused


def test_a_line_that_is_cut_inside_a_life_is_an_error(tmp_path):
    path = tmp_path / "left"
    Diary(path, FIRST)
    with path.open("ab") as file:
        file.write(b'["place", 1\n["place", 2, "x"]\n')
    with pytest.raises(ValueError, match="delimiter"):
        DiaryReader(path).read()


def series(values, per_look=10):
    made = Series()
    for look, value in enumerate(values):
        made.add(look * per_look, value)
    return made


def leaked(what, values):
    leaks = Leaks()
    leaks.series[what, 1] = series(values)
    return leaks.leaked()


def test_a_count_that_grows_has_leaked_and_one_that_wavers_has_not():
    assert leaked("descriptors of the supervisor", [20, 21, 20, 20, 21, 20, 20, 20, 21]) == []
    assert leaked("descriptors of the supervisor", [20, 20, 20, 21, 21, 21, 22, 22, 22]) != []
    assert leaked("segments", [9, 9, 9, 9, 9, 9, 10, 10, 10]) != []
    assert leaked("segments", [9, 10, 11]) == []  # too short to say


def test_memory_may_grow_by_its_slope_and_no_more():
    steep = [50_000_000 + 10 * look * (MEMORY_PER_KILL + MEMORY_SLACK // 100) for look in range(12)]
    assert leaked("memory of the supervisor", steep) == []
    steeper = [50_000_000 + 10 * look * (MEMORY_PER_KILL + MEMORY_SLACK // 60) for look in range(12)]
    assert leaked("memory of the supervisor", steeper) != []
    assert allowed("memory of the gate", 1000) < allowed("memory of the supervisor", 1000)
