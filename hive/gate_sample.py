"""What the gate's counters say: of each venue account its limits, queues and journal, of each strategy its queue.

    venue(counters, "binance")            -> limits, classes, journal, refusals, starvation
    strategy(counters, "pmm-1", "binance") -> queue, waits, what it sent, what it was refused

Pure; the report holds both. A figure that no gate has counted is None.
"""

from typing import Any

from hive.shm.snapshots import CountersSnapshot
from hive.totals import micros

CLASSES = ("emergency", "cancel", "amend", "new", "query")


def venue(gate: CountersSnapshot, name: str) -> dict[str, Any]:
    """Return the figures of a venue account."""

    def value(counter: str) -> int | None:
        return _value(gate, counter, venue=name)

    starved_ms, events = (_sum(gate, counter, name) for counter in ("starved_ms_total", "starvation_events_total"))
    return {
        "limits": {
            "weight": _limit(value("weight_used"), value("weight_limit"), None, value("drift_weight")),
            "orders": _limit(
                value("orders_used"), value("orders_limit"), value("effective_limit"), value("drift_orders")
            ),
        },
        "classes": {
            one: {
                "queue": _value(gate, "queue_depth_class", **{"class": one, "venue": name}),
                "wait_us": micros(gate.histogram("wait_ns", **{"class": one, "venue": name})),
            }
            for one in CLASSES
        },
        "journal": {what: value(f"journal_{what}") for what in ("records", "backlog", "failing")},
        "refusals": _refusals(gate, name),
        "starved_s": _seconds(starved_ms),
        "starvation_events": events,
        "closed_s": _seconds(value("closed_ms_total")),
        "foreign_orders": value("foreign_orders"),
        "halted": value("halted"),
        "breaker_open": value("breaker_open"),
    }


def strategy(gate: CountersSnapshot, name: str, at: str) -> dict[str, Any] | None:
    """Return a strategy's figures at a venue; None when no gate has counted for it there."""

    def value(counter: str) -> int | None:
        return _value(gate, counter, strategy=name, venue=at)

    figures = {
        "queue": value("strategy_queue"),
        "sent": value("strategy_sent"),
        "rejected": value("strategy_rejected"),
        "refused": value("strategy_refused"),
        "starved_s": _seconds(value("starved_ms_total")),
        "starvation_events": value("starvation_events_total"),
        "head_wait_ms": value("head_wait_ms"),
        "deficit": value("service_deficit"),
        "orders_per_s": _thousandth(value("order_rate_milli")),
        "weight_per_s": _thousandth(value("weight_rate_milli")),
        "halted": value("halted_strategy"),
        "backoff_ms": value("backoff_ms"),
    }
    return figures if any(figure is not None for figure in figures.values()) else None


def total(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return refusals by reason and starvation of several venues together."""
    refusals: dict[str, int] = {}
    for part in parts:
        for reason, count in part["refusals"].items():
            refusals[reason] = refusals.get(reason, 0) + count
    return {
        "refusals": refusals,
        "starved_s": _plus(part["starved_s"] for part in parts),
        "starvation_events": _plus(part["starvation_events"] for part in parts),
    }


def _limit(used: int | None, limit: int | None, effective: int | None, drift: int | None) -> dict[str, int | None]:
    return {"used": used, "limit": limit, "effective": effective, "drift": drift}


def _refusals(gate: CountersSnapshot, name: str) -> dict[str, int]:
    found = {}
    for (counter, labels), count in gate.values.items():
        if counter == "orders_refused" and count:
            by_name = dict(labels)
            if by_name.get("venue") == name:
                found[by_name.get("reason", "")] = count
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _sum(gate: CountersSnapshot, counter: str, name: str) -> int | None:
    label = ("venue", name)
    return _plus(value for (one, labels), value in gate.values.items() if one == counter and label in labels)


def _plus(values: Any) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _value(gate: CountersSnapshot, counter: str, **labels: str) -> int | None:
    return gate.values.get((counter, tuple(sorted(labels.items()))))


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1e3
