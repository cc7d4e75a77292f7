"""Links: in order, exactly once, through full queues, fresh pairs and resumed processes."""

import random
from contextlib import closing

import pytest

from hive.shm.errors import MessageTooLarge
from hive.shm.link import PAYLOAD_MAX, Link
from hive.shm.order_queue import OrderQueue
from hive.shm.wake import Waker, WakeReceiver


@pytest.fixture
def queues(create_queue):
    """queues(n) -> a fresh pair, as each end holds it: ((inbound, outbound) of one end, of the other)."""
    attached = []

    def make(n: int = 1, capacity_bytes: int = 1 << 16):
        made = [create_queue(f"{way}{n}", capacity_bytes) for way in ("a", "b")]
        ours = [OrderQueue.attach(queue.name) for queue in made]
        attached.extend(ours)
        return (made[0], made[1]), (ours[1], ours[0])

    yield make
    for queue in attached:
        queue.close()


@pytest.fixture
def links(queues):
    one, other = queues()
    return Link(*one, None, 5), Link(*other, None, 5)


def test_messages_cross_and_are_kept_until_they_are_acknowledged(links):
    one, other = links
    assert [one.send(b"a"), one.send(b"b")] == [1, 2]
    assert one.backlog == 2
    assert one.flush()
    assert (one.backlog, one.unacked()) == (0, [b"a", b"b"])
    assert other.poll() == [b"a", b"b"]
    assert one.poll() == []
    assert one.unacked() == [b"a", b"b"]  # returned by poll(), not yet acted upon
    assert other.flush()
    assert one.poll() == []
    assert one.unacked() == []


def test_who_puts_into_several_links_wakes_later_and_once(queues, tmp_path):
    one, other = queues()
    with closing(WakeReceiver(tmp_path / "wake")) as receiver, closing(Waker(receiver.path)) as waker:
        link, theirs = Link(*one, waker, 5), Link(*other, None, 5)
        for payload in (b"a", b"b"):
            link.send(payload)
            assert link.put()
        assert not receiver.drain()
        assert theirs.poll() == [b"a", b"b"]
        link.wake()
        assert receiver.drain()
        link.wake()
        assert not receiver.drain()


def test_an_answer_carries_the_acknowledgement(links):
    one, other = links
    one.send(b"question")
    one.flush()
    assert other.poll() == [b"question"]
    other.send(b"answer")
    other.flush()
    assert one.poll() == [b"answer"]
    assert one.unacked() == []
    assert one.flush()
    assert other.poll() == []
    assert (other.unacked(), other.duplicates, other.gaps) == ([], 0, 0)


def test_nothing_owed_is_nothing_sent(links):
    one, other = links
    assert one.flush()
    assert other._inbound.get_many() == []


def test_a_full_queue_loses_nothing(queues):
    one, other = (Link(*ends, None, 1) for ends in queues(1, 4104))
    messages = [b"%04d" % i + b"x" * 220 for i in range(500)]
    for message in messages:
        one.send(message)
    got = []
    assert not one.flush()
    while len(got) < 500:
        got += other.poll()
        other.flush()
        one.flush()
        one.poll()
    assert got == messages
    other.flush()
    one.poll()
    assert one.unacked() == []


def test_frames_of_another_epoch_are_dropped(queues):
    one, other = queues()
    old, new = Link(*one, None, 1), Link(*other, None, 2)
    old.send(b"from another life")
    old.flush()
    assert new.poll() == []
    assert (new.foreign, new.received) == (1, 0)


def test_a_frame_ahead_of_its_turn_is_dropped_and_counted(queues):
    one, other = queues()
    ahead, link = Link(*one, None, 1, sent=3), Link(*other, None, 1)
    ahead.send(b"fourth")
    ahead.flush()
    assert (link.poll(), link.gaps) == ([], 1)


def test_a_fresh_pair_gets_everything_unacknowledged_again_and_nothing_arrives_twice(links, queues):
    one, other = links
    for i in range(4):
        one.send(b"%d" % i)
    one.flush()
    assert other.poll() == [b"0", b"1", b"2", b"3"]
    other.send(b"reply")
    one_ends, other_ends = queues(2)
    one.relink(*one_ends)  # before other's ack and reply were put
    other.relink(*other_ends)
    one.send(b"4")
    assert one.flush()
    assert other.poll() == [b"4"]
    assert other.duplicates == 4
    assert other.flush()
    assert one.poll() == [b"reply"]
    assert one.unacked() == []


def test_the_ack_crosses_the_fresh_pair_even_when_all_else_is_old(links, queues):
    one, other = links
    one.send(b"x")
    one.flush()
    other.poll()
    one_ends, other_ends = queues(2)
    other.relink(*other_ends)
    one.relink(*one_ends)
    assert other.flush()
    assert one.poll() == []
    assert one.unacked() == []
    one.flush()
    assert (other.poll(), other.duplicates) == ([], 0)


def test_a_duplicate_is_acknowledged_again(links, queues):
    one, other = links
    one.send(b"x")
    one.flush()
    other.poll()
    other.flush()
    one.relink(*queues(2)[0])  # the ack stayed in the old pair
    one._outbound, one._inbound = other._inbound, other._outbound
    one.flush()
    assert (other.poll(), other.duplicates) == ([], 1)
    other.flush()
    assert other._outbound.get_many()


def test_a_successor_resumes_where_its_journal_ends(queues):
    one_ends, other_ends = queues()
    one, other = Link(*one_ends, None, 1), Link(*other_ends, None, 1)
    for i in range(5):
        one.send(b"%d" % i)
    one.flush()
    assert len(other.poll()) == 5  # and dies before it acknowledged, having journalled 3
    one_ends, other_ends = queues(2)
    one.relink(*one_ends)
    successor = Link(*other_ends, None, 1, received=3)
    one.flush()
    assert successor.poll() == [b"3", b"4"]
    assert successor.received == 5


def test_the_other_end_is_woken_for_messages_and_not_for_acks(queues, tmp_path):
    receiver = WakeReceiver(tmp_path / "wake")
    one_ends, other_ends = queues()
    one, other = Link(*one_ends, Waker(receiver.path), 1), Link(*other_ends, Waker(receiver.path), 1)
    one.send(b"x")
    assert not receiver.drain()
    one.flush()
    assert receiver.drain()
    other.poll()
    other.flush()
    assert not receiver.drain()
    for link in (one, other):
        link._wake.close()
    receiver.close()


def test_a_payload_that_does_not_fit_is_refused(links):
    with pytest.raises(MessageTooLarge, match="at most 224 bytes, was 225"):
        links[0].send(b"x" * (PAYLOAD_MAX + 1))


def test_random_traffic_with_fresh_pairs_against_two_lists(links, queues):
    rng = random.Random(6)
    sent, got = ([], []), ([], [])
    pairs = 1
    for step in range(4000):
        me = rng.randrange(2)
        for _ in range(rng.randint(0, 3)):
            message = b"%d:%d" % (me, step) + rng.randbytes(rng.randint(0, 50))
            links[me].send(message)
            sent[me].append(message)
        if rng.random() < 0.7:
            links[me].flush()
        if rng.random() < 0.7:
            got[1 - me].extend(links[me].poll())
        if rng.random() < 0.01:
            pairs += 1
            for link, ends in zip(links, queues(pairs), strict=True):
                link.relink(*ends)  # what was in the old pair is lost
    for _ in range(20):
        for me in (0, 1):
            links[me].flush()
            got[1 - me].extend(links[me].poll())
    assert got == sent
    assert [link.unacked() for link in links] == [[], []]
    assert pairs > 20
    assert sum(link.duplicates for link in links) > 0
    assert sum(link.gaps + link.foreign for link in links) == 0
