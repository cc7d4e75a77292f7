"""What `hive gate` shows: figures of the gate's counters, in order of need, and "-" for what nobody has counted."""

import json
from dataclasses import replace

import pytest

import synthetic
from hive import gate_sample, totals
from hive.gate_view import as_json, draw_gate, draw_page, notices
from hive.report import build
from hive.top_view import Frame, Look, Style, draw, draw_all

HALT = {"venue": None, "strategy": "pmm-2", "reason": "lost 101 USDT", "by": "gate", "wall_ns": 0}
ALARM = {"venue": "binance", "text": "IP banned", "wall_ns": 3_661 * synthetic.SECOND, "count": 3}


def frame(*, strategies: int = 3, **facts) -> Frame:
    """Return two seconds of a fleet whose strategies sent 100 orders before and 120 now."""
    after = synthetic.with_gate(synthetic.sample(strategies), sent=120, waits_ns=(1_000_000,) * 101 + (80_000_000,))
    after = replace(after, fleet={**after.fleet, **facts})
    before = synthetic.with_gate(synthetic.sample(strategies, at_s=58), waits_ns=(1_000_000,) * 100)
    return Frame(build(after), build(after.since(before)), 2.0, took_ns=1_000_000)


def texts(lines) -> list[str]:
    return [" ".join(line.text.split()) for line in lines]


def row(lines, start: str) -> list[str]:
    (found,) = [line.text for line in lines if line.text.startswith(start)]
    return found.removeprefix(start).split()


def test_limits_show_what_is_used_what_the_venue_says_what_is_used_at_most_and_the_drift():
    lines = draw_gate(frame(), 160)
    assert row(lines, "LIMIT") == ["used", "limit", "now", "used%", "drift"]
    assert row(lines, "binance weight") == ["339", "6000", "-", "6", "0"]
    assert row(lines, "binance orders") == ["60", "100", "70", "86", "6"]
    assert [line.style for line in lines if line.text.startswith("binance orders")] == [Style.BAD]


def test_queues_show_the_wait_since_the_start_and_in_the_last_interval():
    lines = draw_gate(frame(), 160)
    assert row(lines, "QUEUE")[-2:] == ["now50", "now99"]
    new = row(lines, "binance new")
    assert new[:2] == ["17", "102"]
    assert abs(float(new[2]) - 1) < 1 / 8
    assert float(new[4]) == 80.0
    assert abs(float(new[5]) - 1) < 1 / 8  # one more short wait and one long one in the interval
    assert abs(float(new[6]) - 80) < 80 / 8
    assert row(lines, "binance query") == ["0", "0", "-", "-", "-", "-", "-"]


def test_the_venue_shows_its_state_journal_and_refusals_the_most_frequent_first():
    venue = row(draw_gate(frame(), 160), "binance (sim)")
    assert venue[:4] == ["open", "1.5", "2.5", "0"]
    assert venue[6:9] == ["ok", "100", "0"]  # 200 records more in 2 seconds
    assert venue[9:] == ["capital", "12", "stale_book", "3"]


def test_what_is_wrong_with_a_venue_stands_out():
    now = frame()
    gate = now.total["venues"][0]["gate"]
    gate |= {"halted": 1, "breaker_open": 1, "journal": {"records": 1, "backlog": 9, "failing": 1}}
    (line,) = [line for line in draw_gate(now, 160) if line.text.startswith("binance (sim)")]
    assert "halted, breaker open" in line.text
    assert "FAILING" in line.text
    assert line.style == Style.BAD


def test_strategies_come_by_wait_and_then_by_what_they_spend():
    lines = draw_gate(frame(), 160)
    shown = [line for line in lines if line.text.startswith("pmm-")]
    assert [line.text.split()[0] for line in shown] == ["pmm-0", "pmm-1", "pmm-2"]
    assert shown[0].text.split()[1:4] == ["0", "0.90", "10.0"]  # queue, wait, 20 orders in 2 seconds
    assert [line.style for line in shown] == [Style.PLAIN, Style.PLAIN, Style.BAD]
    assert shown[2].text.split()[-6:] == ["5", "2.5", "2", "-2", "0.0", "yes"]


def test_halts_and_the_latest_alarms_stand_at_the_top():
    alarms = [{**ALARM, "text": f"old {number}", "count": 1} for number in range(5)] + [ALARM]
    lines = draw_gate(frame(halts=[HALT], alarms=alarms), 160)
    assert texts(lines)[1:5] == [
        "HALTED strategy pmm-2: lost 101 USDT (since 00:00:00 UTC)",
        "ALARM 01:01:01 UTC binance: old 3",
        "ALARM 01:01:01 UTC binance: old 4",
        "ALARM 01:01:01 UTC binance: IP banned (3 times)",
    ]
    assert {line.style for line in lines[1:5]} == {Style.BAD}


def test_what_no_gate_has_counted_is_a_dash():
    sample = synthetic.sample()
    report = build(sample)
    assert gate_sample.strategy(sample.counters["gate"], "pmm-0", "binance") is None
    assert report["strategies"][0]["gate"] == {}
    assert report["totals"]["starved_s"] is None
    lines = draw_gate(Frame(report, report, 1.0), 160)
    assert "starved -" in lines[0].text
    assert row(lines, "binance orders") == ["-"] * 5
    assert row(lines, "pmm-1") == ["-"] * 12
    assert "starved -" in draw(Frame(report, report, 1.0), Look(), 160, 40).lines[1].text


def test_a_gate_that_died_leaves_its_counts_and_takes_its_gauges():
    gate = totals.without_gauges(synthetic.with_gate(synthetic.sample()).counters["gate"])
    strategy, venue = gate_sample.strategy(gate, "pmm-2", "binance"), gate_sample.venue(gate, "binance")
    assert {name for name, value in strategy.items() if value is not None} == {
        "sent",
        "rejected",
        "refused",
        "starved_s",
        "starvation_events",
    }
    assert venue["journal"] == {"records": 1000, "backlog": None, "failing": None}
    assert venue["limits"]["orders"] == dict.fromkeys(("used", "limit", "effective", "drift"))
    assert (venue["halted"], venue["closed_s"], venue["starved_s"]) == (None, 1.5, 2.5)


def test_the_totals_of_the_report_are_those_of_all_venues():
    sums = frame().total["totals"]
    assert sums["refusals"] == {"capital": 12, "stale_book": 3}
    assert (sums["starved_s"], sums["starvation_events"]) == (2.5, 2)


def test_no_line_is_wider_than_the_terminal_nor_the_screen_higher():
    now = frame(halts=[HALT], alarms=[ALARM])
    for width in (1, 10, 40, 80, 200):
        assert all(len(line.text) <= width for line in draw_gate(now, width))
        for height in (1, 2, 5, 24, 60):
            assert len(draw_gate(now, width, height)) <= height
            screen = draw_page(now, Look(gate=True), width, height)
            assert len(screen.lines) == height
            assert all(len(line.text) <= width for line in screen.lines)


def test_a_narrow_terminal_keeps_queue_and_wait():
    assert row(draw_gate(frame(), 30), "STRATEGY")[:2] == ["queue", "wait"]


def test_a_low_page_of_hive_top_leaves_out_the_classes_that_never_had_a_request():
    now = frame()
    high, low = (draw_page(now, Look(), 120, height).lines for height in (40, 16))
    for name, shown in (("binance emergency", False), ("binance cancel", True), ("binance new", True)):
        assert any(line.text.startswith(name) for line in high)
        assert any(line.text.startswith(name) for line in low) == shown


def test_a_strategy_is_shown_at_the_venues_where_it_trades():
    now = frame()
    pmm_0, pmm_1 = now.total["strategies"][:2]
    for one in (pmm_0, pmm_1):
        nothing = {key: 0 if isinstance(value, int | float) else value for key, value in one["gate"]["binance"].items()}
        one["gate"]["kucoin"] = {**nothing, "halted": False}
    pmm_1["gate"] = {"binance": pmm_1["gate"]["kucoin"], "kucoin": pmm_1["gate"]["kucoin"]}
    for recent, total in zip(now.recent["strategies"], now.total["strategies"], strict=True):
        recent["gate"] = total["gate"]
    ids = shown_ids(draw_gate(now, 160))
    assert sorted(ids) == ["pmm-0", "pmm-1", "pmm-1", "pmm-2"]  # pmm-1 has done nothing anywhere
    assert len(as_json(now)["strategies"]) == 5


def test_the_page_of_hive_top_filters_and_scrolls():
    now = frame()
    assert shown_ids(draw_page(now, Look(filter="PMM-1"), 120, 40).lines) == ["pmm-1"]
    above = [line for line in draw_gate(now, 120) if not line.text.startswith(("pmm-", "STRATEGY"))]
    unused = ("binance emergency", "binance amend", "binance query")
    above = [line for line in above if not line.text.startswith(unused)]
    low = draw_page(now, Look(offset=9), 120, len(above) + 3)  # the table's head, one strategy, the last line
    assert low.last_offset == 2
    assert shown_ids(low.lines) == ["pmm-2"]


def shown_ids(lines) -> list[str]:
    return [line.text.split()[0] for line in lines if line.text.startswith("pmm-")]


def test_json_has_the_same_figures():
    shown = json.loads(json.dumps(as_json(frame(halts=[HALT]))))
    assert shown["alive"]
    assert shown["halts"] == [HALT]
    assert shown["refusals"] == {"capital": 12, "stale_book": 3}
    (venue,) = shown["venues"]
    assert venue["limits"]["orders"] == {"used": 60, "limit": 100, "effective": 70, "drift": 6}
    assert venue["classes"]["new"]["queue"] == 17
    assert venue["recent_wait_us"]["new"]["count"] == 2
    first = shown["strategies"][0]
    assert (first["id"], first["venue"], first["head_wait_ms"], first["sent_per_s"]) == ("pmm-0", "binance", 900, 10)
    assert "bad" not in first


def test_hive_top_and_status_say_who_is_halted():
    now = frame(halts=[HALT, {**HALT, "strategy": None, "venue": "binance"}])
    halted = "HALTED: strategy pmm-2, venue binance: no new orders until `hive resume`"
    assert draw(now, Look(), 120, 40).lines[2].text == halted
    assert halted in draw_all(now, Look(), 120)
    assert "refused 15  starved 2.5 s" in draw(now, Look(), 160, 40).lines[1].text


@pytest.mark.parametrize("key", ["halts", "alarms"])
def test_a_fleet_json_of_an_older_supervisor_has_neither_halts_nor_alarms(key):
    assert build(synthetic.sample())[key] == []
    assert notices(build(synthetic.sample())) == []
