"""Fair queues in which everything waits already, and what leaves them."""

from hive.gate.fairness import FairQueue

SECOND = 1_000_000_000
NEW = 3


def go(item: object) -> int:
    return 0


def backlog(weights: dict[str, float], each: int) -> FairQueue:
    """Return a queue in which every flow has so many items waiting."""
    queue = FairQueue(each)
    for flow, weight in weights.items():
        queue.set_weight(flow, weight)
        for number in range(each):
            assert queue.push(NEW, flow, (flow, number))
    return queue


def pops(queue: FairQueue, count: int) -> list:
    return [queue.pop(NEW, 0, go) for _ in range(count)]
