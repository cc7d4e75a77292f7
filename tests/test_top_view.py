"""The screen of `hive top`: every size of terminal, every key, and what it says of a fleet that is gone."""

from dataclasses import replace

import pytest

import synthetic
from hive.gate_view import draw_page
from hive.report import build
from hive.top_help import GATE_HELP, HELP
from hive.top_view import SORT_KEYS, Frame, Look, Style, draw, draw_all, ms, rate, si, span


def frame(strategies: int = 3, **options) -> Frame:
    now = synthetic.sample(strategies, ticks=120, **options)
    before = synthetic.sample(strategies, ticks=100, at_s=58)
    return Frame(build(now), build(now.since(before)), 2.0, took_ns=1_200_000, late_ns=300_000)


def texts(screen) -> list[str]:
    return [line.text for line in screen.lines]


def ids_in_order(screen) -> list[str]:
    return [text.split()[0] for text in texts(screen) if text.startswith("pmm-")]


@pytest.mark.parametrize("look", [Look(), Look(help=True), Look(filter="pmm"), Look(offset=99), Look(typing=True)])
def test_every_size_of_terminal_is_filled_and_never_exceeded(look):
    now = frame(40)
    for width in (1, 2, 7, 20, 40, 80, 132, 250):
        for height in (1, 2, 5, 24, 60):
            screen = draw(now, look, width, height)
            assert len(screen.lines) == height
            assert max(len(line.text) for line in screen.lines) <= width


def test_a_wide_terminal_shows_all_columns():
    lines = texts(draw(frame(), Look(), 160, 40))
    (head,) = [line for line in lines if line.startswith("STRATEGY")]
    heads = "wkr state ticks late50 late99 max took50 took99 max over orders unkn fills err"
    assert " ".join(head.split()[1:]) == heads
    (row,) = [line for line in lines if line.startswith("pmm-2")]
    assert row.split()[:4] == ["pmm-2", "0", "running", "122"]
    assert row.split()[-4:] == ["10", "0", "4", "0"]


def test_a_narrow_terminal_keeps_id_orders_fills_and_errors():
    lines = texts(draw(frame(), Look(), 32, 40))
    (head,) = [line for line in lines if line.startswith("STRATEGY")]
    assert head.split() == ["STRATEGY", "orders", "fills", "err"]


def test_a_terminal_of_80_columns_cuts_no_word_short():
    lines = texts(draw(frame(), Look(), 80, 24))
    assert lines[1].split("  ")[4:] == ["unknown 0", "errors 0", "refused 0"]
    assert lines[-1].endswith("ms late]")
    assert all(len(text) <= 80 for text in HELP)


def test_a_process_shows_what_part_of_the_interval_it_had_no_cpu_for():
    worker = ("worker", 0)
    now, before = synthetic.sample(ticks=120), synthetic.sample(ticks=100, at_s=58)
    facts = {worker: replace(now.facts[worker], cpu_ns=2_500_000_000, waited_ns=4_000_000_000)}
    now = replace(now, facts={**now.facts, **facts})
    before = replace(before, facts={**before.facts, worker: replace(before.facts[worker], waited_ns=3_000_000_000)})
    lines = texts(draw(Frame(build(now), build(now.since(before)), 2.0), Look(), 160, 40))
    (head,) = [line for line in lines if line.startswith("PROCESS")]
    (row,) = [line for line in lines if line.startswith("worker 0")]
    at = head.index("wait%") + len("wait%")
    assert row[:at].split()[-2:] == ["25.0", "50.0"]


def test_rates_are_of_the_last_interval():
    summary = texts(draw(frame(), Look(), 160, 40))[1]
    assert "ticks/s 30.0" in summary  # 3 strategies, 20 ticks each, in 2 seconds
    assert "orders 30" in summary
    assert "fills 6" in summary


def test_all_sort_keys_order_the_strategies():
    now = frame(5)
    orders = {key: ids_in_order(draw(now, Look(sort=key), 160, 60)) for key in SORT_KEYS}
    assert orders["id"] == ["pmm-0", "pmm-1", "pmm-2", "pmm-3", "pmm-4"]
    assert orders["worker"] == ["pmm-0", "pmm-2", "pmm-4", "pmm-1", "pmm-3"]
    assert orders["fills"] == ["pmm-4", "pmm-3", "pmm-2", "pmm-1", "pmm-0"]
    assert all(sorted(order) == orders["id"] for order in orders.values())
    turned = ids_in_order(draw(now, Look(sort="id", reverse=True), 160, 60))
    assert turned == orders["id"][::-1]


def test_a_filter_shows_only_what_holds_its_text():
    screen = draw(frame(12), Look(filter="PMM-1"), 160, 60)
    assert ids_in_order(screen) == ["pmm-1", "pmm-10", "pmm-11"]
    assert "only 'PMM-1'" in screen.lines[-1].text


def test_strategies_scroll_and_stop_at_the_end():
    now = frame(50)
    first = draw(now, Look(), 120, 24)
    shown = len(ids_in_order(first))
    assert first.last_offset == 50 - shown
    assert ids_in_order(draw(now, Look(offset=3), 120, 24))[0] == sorted(f"pmm-{i}" for i in range(50))[3]
    assert len(ids_in_order(draw(now, Look(offset=10_000), 120, 24))) == shown


def test_a_fleet_that_is_gone_says_so():
    screen = draw(frame(alive=False), Look(), 100, 30)
    assert screen.lines[1].text == "the fleet is gone: these are its last figures"
    assert screen.lines[1].style == Style.BAD


def test_pause_and_own_cost_are_shown():
    screen = draw(frame(), Look(paused=True), 120, 30)
    assert "PAUSED" in screen.lines[0].text
    assert "[took 1.2 ms, 0.3 ms late]" in screen.lines[-1].text


def test_the_last_line_says_which_strategies_are_seen_and_drops_what_does_not_fit():
    screen = draw(frame(50), Look(offset=7), 80, 24)
    shown = [line.text.split()[0] for line in screen.lines if line.text.startswith("pmm-")]
    assert f"8-{7 + len(shown)} of 50" in screen.lines[-1].text
    assert screen.lines[-1].text.endswith("by id")  # the tool's own cost has no room
    assert " of " not in draw(frame(3), Look(), 80, 24).lines[-1].text


def test_a_filter_that_finds_nothing_says_how_to_leave_it():
    shown = texts(draw(frame(3), Look(filter="zzz"), 80, 24))
    assert "no strategy has 'zzz': Esc shows all" in shown
    assert "only 'zzz'" in shown[-1]


@pytest.mark.parametrize(("page", "words"), [(draw, HELP), (draw_page, GATE_HELP)])
def test_each_page_has_its_help_whole_on_a_small_terminal(page, words):
    shown = texts(page(frame(3), Look(help=True, gate=page is draw_page), 80, 24))
    start = shown.index(words[0])
    assert shown[start : start + len(words)] == list(words)
    assert start + len(words) < 24


def test_what_needs_attention_stands_out():
    now = frame()
    now.total["strategies"][1]["state"] = "failed"
    bad = [line.text.split()[0] for line in draw(now, Look(), 160, 40).lines if line.style == Style.BAD]
    assert bad == ["binance", "pmm-1"]  # one of five books is not live


def test_a_hung_process_stands_out():
    late = replace(synthetic.sample(), beats={("gate", 0): 57 * synthetic.SECOND})
    report = build(late)
    lines = draw(Frame(report, report, 1.0), Look(), 120, 40).lines
    assert [line.text.split()[0] for line in lines if line.style == Style.BAD][1:] == ["gate"]


def test_once_prints_every_strategy_whatever_the_terminals_height():
    lines = draw_all(frame(80), Look(), 120)
    assert sum(line.startswith("pmm-") for line in lines) == 80
    assert not any("q leave" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (99_999, "99999"), (123_456, "123.5k"), (12_345_678, "12.3M"), (5 * 10**9, "5.0G")]
)
def test_counts_are_short(value, text):
    assert si(value) == text
    assert len(text) <= 6


def test_numbers_and_durations_are_readable():
    assert (ms(None), ms(1234), ms(150_000)) == ("-", "1.23", "150")
    assert (rate(20, 2), rate(1000, 2)) == ("10.0", "500")
    assert (span(59), span(3723)) == ("0:59", "1:02:03")
