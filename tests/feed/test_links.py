"""Which connection carries which stream in a recording, and what their readers are told."""

from hive.feed.links import Links


class Sink:
    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda: self.told.append(name)


def linked():
    heard = []
    links = Links(lambda event, read_ns: heard.append(event), lambda streams: None)
    sink = Sink()
    links.carry(("a",), sink)
    return links, sink, heard


def test_a_stream_that_nobody_wants_any_more_ends():
    links, sink, _ = linked()
    links.up(1)
    links.subscribed(1, ["a"])
    links.unsubscribed(1, ["a"])
    links.down(1)
    links.up(1)
    assert sink.told == ["connected", "subscribed", "disconnected"]


def test_a_stream_that_moves_to_another_connection_begins_anew():
    links, sink, heard = linked()
    links.up(1)
    links.subscribed(1, ["a"])
    links.up(2)
    links.subscribed(2, ["b"])
    links.down(1)
    links.event(2, "between", 0)
    links.subscribed(2, ["a"])
    links.event(2, "after", 0)
    assert sink.told == ["connected", "subscribed", "disconnected", "connected", "subscribed"]
    assert heard == ["between", "after"]


def test_a_replacement_that_fails_changes_nothing():
    links, sink, heard = linked()
    links.up(1)
    links.subscribed(1, ["a"])
    links.up(2)
    links.event(2, "early", 0)
    links.subscribed(2, ["a"])
    links.event(2, "held", 0)
    links.down(2)
    links.event(1, "old", 0)
    assert sink.told == ["connected", "subscribed"]
    assert heard == ["old"]
    links.close()
    assert sink.told[-1] == "disconnected"
