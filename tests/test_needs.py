"""What a fleet needs of memory, connections and orders, and what is said when there is too little."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from hive import memory
from hive.costs import ESTIMATED, MEASURED, WEIGHT, Costs
from hive.fleet import FeedConfig, MultiplexerConfig, Quota, RateLimitingConfig, ReplayVenue, SimVenue
from hive.needs import Machine, Needs, as_json, needs_of
from hive.plan import place
from hive.plan_view import draw_plan
from made_fleets import fleet, strategy

ROOMY = Machine(cpus=8.0, memory=10_000_000_000, shm=1_000_000_000)


def needs(made, *, machine: Machine = ROOMY, cost: dict[str, float] | None = None, workers: int = 2, cpus=(0, 1)):
    costs = costs_for(made, cost)
    placement = place(made.strategies, workers=workers, cpus=cpus, limit=100, costs=costs.values)
    return needs_of(made, placement, costs, {"feed": 30e6, "workers (own)": 70e6}, {"books": 5_000_000}, machine)


def costs_for(made, cost: dict[str, float] | None) -> Costs:
    values = cost or {one.id: one.weight for one in made.strategies}
    return Costs(values, dict.fromkeys(values, MEASURED if cost else WEIGHT), in_cpus=cost is not None)


def traders(count: int, **values):
    return [strategy(f"s{index}", **values) for index in range(count)]


def test_what_fits_has_no_problem():
    found = needs(fleet(*traders(2, capital={"USDT": Decimal(5)})))
    assert (found.problems, found.warnings) == ((), ())


def test_too_little_memory_and_shared_memory_are_problems_with_both_figures():
    found = needs(fleet(*traders(1)), machine=Machine(8.0, 99_000_000, 4_900_000))
    assert found.problems == (
        "memory: 99 MB are free, this fleet needs 100 MB",
        "/dev/shm has 4.9 MB free, this fleet needs 5.0 MB: make it larger (docker: --shm-size), "
        "or lower feed.instruments, feed.depth or feed.versions",
    )
    assert needs(fleet(*traders(1)), machine=Machine(8.0, None, 5_000_000)).problems == ()


def test_more_pairs_than_there_is_room_for_are_a_problem():
    made = fleet(*(strategy(f"s{n}", pairs=(f"A{n}-USDT",)) for n in range(3)), feed=FeedConfig(instruments=2))
    assert needs(made).problems == ("binance: 3 pairs, there is room for 2 (feed.instruments)",)


def test_market_connections_are_counted_by_streams_and_may_be_too_many():
    pairs = tuple(f"A{number}-USDT" for number in range(513))
    room = FeedConfig(instruments=1000)
    made = fleet(strategy("s", pairs=pairs), feed=room)
    assert (needs(made).venues[0].market, needs(made).venues[0].user) == (2, 2)
    few = replace(made, multiplexer=MultiplexerConfig(max_connections_per_exchange=1))
    assert needs(few).problems == (
        "binance: needs 2 market connections, may have 1 (multiplexer.max_connections_per_exchange)",
    )
    assert needs(replace(made, strategies=(strategy("s", pairs=pairs[:512]),))).venues[0].market == 1


def test_each_venue_counts_the_strategies_that_name_it(tmp_path):
    venues = (SimVenue("binance", "binance"), SimVenue("b", "binance"), ReplayVenue("old", "binance", tmp_path))
    made = fleet(
        strategy("both", venues=("binance", "b"), pairs=("BTC-USDT", "ETH-USDT")),
        strategy("one", venues=("b",), pairs=("SOL-USDT",)),
        strategy("any", pairs=()),
        venues=venues,
    )
    first, second, replay = needs(made).venues
    assert ([one.id for one in first.shares], first.pairs) == (["both", "any"], 2)
    assert ([one.id for one in second.shares], second.pairs) == (["both", "one", "any"], 3)
    assert (replay.shares, replay.user, replay.market, replay.orders_per_s) == ((), 0, 0, 0)


def test_the_budget_is_the_tightest_of_the_venue_and_the_fleet():
    found = needs(fleet(*traders(4))).venues[0]
    assert (found.orders_per_s, found.weight_per_min, found.order_weight) == (10, 3600, 2)
    assert found.a_day_per_s == pytest.approx(200_000 / 86_400)
    assert [(one.part, one.orders_per_s, one.weight_per_min) for one in found.shares] == [(0.25, 2.5, 900)] * 4
    limited = fleet(*traders(4), rate_limiting=RateLimitingConfig(2.0, 0.1, feed_share=0.5))
    found = needs(limited).venues[0]
    assert (found.orders_per_s, found.weight_per_min) == (2, 3000)
    assert {(one.orders_per_s, one.orders_cap) for one in found.shares} == {(0.1, 0.1)}


def test_shares_follow_weight_and_priority_and_a_quota_caps_them():
    found = needs(
        fleet(
            strategy("a", quota=Quota(weight=2.0)),
            strategy("b", quota=Quota(priority_level=1, max_orders_per_second=0.5, max_api_weight_per_minute=60)),
            strategy("c"),
        )
    ).venues[0]
    assert [one.part for one in found.shares] == pytest.approx([0.4, 0.4, 0.2])
    assert [one.orders_per_s for one in found.shares] == pytest.approx([4.0, 0.5, 2.0])
    assert [one.weight_per_min for one in found.shares] == pytest.approx([1440, 60, 720])
    assert sum(one.part for one in found.shares) == pytest.approx(1)


def test_a_quota_that_the_account_does_not_have_is_a_warning():
    greedy = Quota(max_orders_per_second=50.0, max_api_weight_per_minute=5000)
    assert needs(fleet(strategy("a", quota=greedy))).warnings == (
        "binance: a may send 50 orders/s, the whole account 10",
        "binance: a may use 5000 weight/min, the gate has 3600",
    )


def test_strategies_without_capital_that_share_an_account_are_a_warning():
    rich = {"USDT": Decimal(1000)}
    assert needs(fleet(*traders(5))).warnings == (
        "binance: 5 of 5 strategies have no `capital` and may plan with the same money of the account: s0, s1, s2, ...",
    )
    assert needs(fleet(strategy("a", capital=rich), strategy("b"))).warnings == (
        "binance: 1 of 2 strategies has no `capital` and may plan with the same money of the account: b",
    )
    assert needs(fleet(strategy("alone"))).warnings == ()


def test_a_worker_that_needs_more_than_one_cpu_will_not_fit_and_one_that_nearly_does_is_warned_of():
    made = fleet(*traders(3, capital={"USDT": Decimal(5)}))
    found = needs(made, cost={"s0": 1.3, "s1": 0.5, "s2": 0.4})
    assert found.problems == (
        "worker 0 needs 1.30 of a CPU and can have one: a longer tick_interval_ms for s0",
    )
    assert found.warnings == ("worker 1 will use 0.90 of a CPU: its ticks will often be late",)
    assert found.cpus == pytest.approx(2.2)
    crowded = needs(made, cost={"s0": 0.7, "s1": 0.5, "s2": 0.4}, workers=1)
    assert crowded.problems == (
        "worker 0 needs 1.60 of a CPU and can have one: more --workers, or a longer tick_interval_ms",
    )


def test_workers_that_share_a_cpu_and_all_of_them_together_are_looked_at_too():
    made = fleet(*traders(3, capital={"USDT": Decimal(5)}))
    found = needs(made, cost={"s0": 0.6, "s1": 0.5, "s2": 0.4}, workers=3, cpus=(0,), machine=replace(ROOMY, cpus=1.0))
    assert found.problems == (
        "CPU 0: workers 0, 1, 2 need 1.50 of it together",
        "the strategies need 1.50 CPUs, 1 may be used",
    )


# memory


def processes(workers: int, rss: float, pss: float) -> list[dict]:
    single = [{"role": role, "rss_mb": 50.0, "pss_mb": 30.0} for role in ("supervisor", "sim", "feed", "gate")]
    return single + [{"role": "worker", "rss_mb": rss, "pss_mb": pss}] * workers


def results(folder, report: dict, marginal_kb: float | None = None):
    (folder / memory.SINGLE).write_text(json.dumps({"details": {"report": report}}))
    if marginal_kb is not None:
        goals = {"goals": [{"name": "fleet.marginal_kb", "measured": marginal_kb}]}
        (folder / memory.MANY).write_text(json.dumps(goals))
    return memory.read_figures(folder)


def test_what_workers_share_is_told_from_what_each_has_for_itself(tmp_path):
    report = {"processes": processes(2, 180.0, 105.0), "strategies": [{}] * 10}
    figures = results(tmp_path, report)
    assert (figures.shared, figures.worker, figures.strategies) == (150e6, 30e6, 5)
    assert figures.strategy == 6e6  # at most: all that a worker has, split over its strategies
    assert figures.sources == ("perf/results/end_to_end.json (what one strategy more takes: at most)",)
    parts = memory.needed(figures, [5, 5], sims=0)
    assert parts == {"supervisor": 30e6, "feed": 30e6, "gate": 30e6, "workers (shared)": 150e6, "workers (own)": 60e6}
    assert memory.needed(figures, [5, 5], sims=2)["sim"] == 60e6
    assert sum(parts.values()) == sum(one["pss_mb"] * 1e6 for one in report["processes"] if one["role"] != "sim")


def test_a_measured_cost_of_one_strategy_more_is_used(tmp_path):
    figures = results(tmp_path, {"processes": processes(2, 180.0, 105.0), "strategies": [{}] * 10}, 200.0)
    assert figures.of_worker(5) == 30e6
    assert figures.of_worker(55) == 30e6 + 50 * 200e3
    assert figures.sources == ("perf/results/end_to_end.json", "perf/results/fleet.json")


def test_without_results_nothing_is_known_of_memory(tmp_path):
    assert memory.read_figures(tmp_path) is None
    assert results(tmp_path, {"processes": processes(1, 180.0, 105.0), "strategies": [{}]}) is None


def test_the_committed_results_can_be_read():
    figures = memory.read_figures()
    assert figures is not None
    assert {"supervisor", "feed", "gate"} <= figures.singles.keys()
    assert 0 < figures.strategy <= figures.worker < figures.shared


# what is shown


def drawn(made, found: Needs, width: int, cost: dict[str, float] | None = None) -> list[str]:
    costs = costs_for(made, cost)
    if cost is not None:
        costs = replace(costs, sources={**costs.sources, "s0": ESTIMATED})
    placement = place(made.strategies, workers=2, cpus=(0, 1), limit=100, costs=costs.values)
    return draw_plan(made, placement, costs, found, ROOMY, ("perf/results/x.json",), width)


def test_no_line_is_wider_than_the_screen_and_no_strategy_is_left_out():
    made = fleet(*(strategy(f"pure-market-making-{number:03}") for number in range(100)))
    for width in (40, 80, 200):
        lines = drawn(made, needs(made), width)
        assert max(map(len, lines)) <= width
        text = " ".join(lines)
        assert all(one.id in text for one in made.strategies)


def test_the_last_lines_say_whether_it_fits():
    made = fleet(*traders(1))
    assert drawn(made, needs(made), 80)[-1] == "it fits, as far as is known: no cost was measured yet"
    cost = {"s0": 0.1}
    assert drawn(made, needs(made, cost=cost), 80, cost)[-1] == "it fits"
    lines = drawn(made, needs(made, machine=Machine(8.0, 1_000_000, 10**9)), 80)
    assert lines[-1] == "will not fit: memory: 1 MB are free, this fleet needs 100 MB"


def test_it_is_shown_which_costs_are_only_estimated():
    made = fleet(*traders(2))
    cost = {"s0": 0.25, "s1": 0.125}
    text = "\n".join(drawn(made, needs(made, cost=cost), 80, cost))
    assert "worker 0    0  0.2500  s0 0.2500~\n" in text
    assert "worker 1    1  0.1250  s1 0.1250\n" in text


def test_the_plan_as_json_has_every_figure():
    found = as_json(needs(fleet(*traders(2))))
    assert json.loads(json.dumps(found)) == found
    assert found["venues"][0]["shares"][0]["orders_per_s"] == 5
    assert found["shm_bytes"] == {"books": 5_000_000}
    assert found["memory_bytes"] == {"feed": 30_000_000, "workers (own)": 70_000_000}
