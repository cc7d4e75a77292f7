"""Halts stand until each is lifted itself."""

from hive.gate.halts import Halts


def test_a_halt_of_one_strategy_is_nobody_elses():
    halts = Halts()
    halts.halt("aaaaa", "", "loss")
    assert (halts.reason("aaaaa"), halts.reason("bbbbb"), halts.all) == ("loss", "", "")


def test_lifting_the_fleets_halt_leaves_those_of_the_venue_and_of_a_strategy():
    halts = Halts()
    halts.halt(None, "", "everything")
    halts.halt(None, "binance", "this venue")
    halts.halt("aaaaa", "", "this one")
    halts.resume(None, "")
    assert (halts.reason("bbbbb"), halts.all) == ("this venue", "this venue")
    halts.resume(None, "binance")
    assert (halts.reason("aaaaa"), halts.reason("bbbbb")) == ("this one", "")
    halts.resume("aaaaa", "")
    assert halts.reason("aaaaa") == ""


def test_the_first_reason_stays():
    halts = Halts()
    halts.halt(None, "", "first")
    halts.halt(None, "", "second")
    assert halts.all == "first"
    halts.resume("aaaaa", "")  # lifts nothing that was not there
    assert halts.all == "first"
