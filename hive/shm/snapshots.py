"""What CountersReader.read() returns: values and histograms of one moment, and their arithmetic."""

from dataclasses import dataclass
from typing import Any

_FIRST_NS = 64
_LAST = 249

Labels = tuple[tuple[str, str], ...]
"""Sorted (key, value) pairs."""


def counter_key(parts: dict[bytes, Any], name: bytes, labels: bytes) -> tuple[str, Labels]:
    """Return a counter's key of what its record holds, padded with zeros.

    Thousands of keys have the same few names and labels: each is made once, and kept in `parts`.
    """
    if name not in parts:
        parts[name] = name.rstrip(b"\0").decode("ascii")
    if labels not in parts:
        text = labels.rstrip(b"\0").decode("ascii")
        parts[labels] = tuple(tuple(item.split("=", 1)) for item in text.split(",")) if text else ()
    return parts[name], parts[labels]


def bucket_bounds(index: int) -> tuple[int, int]:
    """Return (lower, upper) of a bucket in ns, upper exclusive; the last bucket's upper is twice its lower."""
    if index == 0:
        return 0, _FIRST_NS
    octave, eighth = divmod(index - 1, 8)
    width = _FIRST_NS << octave >> 3
    lower = (_FIRST_NS << octave) + eighth * width
    return (lower, 2 * lower) if index == _LAST else (lower, lower + width)


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """A histogram of durations in ns. `max` is exact over the writer's life; `buckets` has 250 counts."""

    sum: int = 0
    max: int = 0
    buckets: tuple[int, ...] = (0,) * (_LAST + 1)

    @property
    def count(self) -> int:
        """How many durations."""
        return sum(self.buckets)

    @property
    def mean(self) -> float:
        """Arithmetic mean in ns, 0.0 when empty."""
        return self.sum / self.count if self.count else 0.0

    def percentile(self, p: float) -> int:
        """Return the p-th percentile (0 to 100) in ns, at most 1/16 off above 64 ns; 0 when empty."""
        if not 0 <= p <= 100:
            raise ValueError(f"p must be within 0..100, was {p}")
        rank = max(1, -(-p * self.count // 100))
        seen = 0
        for index, n in enumerate(self.buckets):
            seen += n
            if n and seen >= rank:
                lower, upper = bucket_bounds(index)
                return min((lower + upper) // 2, self.max)
        return 0

    def merge(self, other: "HistogramSnapshot") -> "HistogramSnapshot":
        """Return both together."""
        buckets = tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True))
        return HistogramSnapshot(self.sum + other.sum, max(self.max, other.max), buckets)

    def minus(self, earlier: "HistogramSnapshot") -> "HistogramSnapshot":
        """Return what came after `earlier`; its max is the end of the highest bucket that grew, up to 1/8 too high.

        A reading in between two stores of the writer, or of a restarted writer, never gives a negative count.
        """
        buckets = tuple(max(0, a - b) for a, b in zip(self.buckets, earlier.buckets, strict=True))
        highest = max((index for index, n in enumerate(buckets) if n), default=None)
        top = 0 if highest is None else min(bucket_bounds(highest)[1], self.max)
        return HistogramSnapshot(max(0, self.sum - earlier.sum), top, buckets)


@dataclass(frozen=True, slots=True)
class CountersSnapshot:
    """All of a segment's values: keys are (name, Labels)."""

    heartbeat_ns: int
    values: dict[tuple[str, Labels], int]
    histograms: dict[tuple[str, Labels], HistogramSnapshot]

    def value(self, name: str, **labels: str) -> int:
        """Return the counter of exactly these labels, 0 when there is none."""
        return self.values.get((name, _labels(labels)), 0)

    def total(self, name: str) -> int:
        """Return the sum of the counter over all labels."""
        return sum(value for (key, _), value in self.values.items() if key == name)

    def histogram(self, name: str, **labels: str) -> HistogramSnapshot:
        """Return the histogram of exactly these labels, an empty one when there is none."""
        return self.histograms.get((name, _labels(labels)), HistogramSnapshot())

    def merged(self, name: str) -> HistogramSnapshot:
        """Return the histogram merged over all labels."""
        merged = HistogramSnapshot()
        for (key, _), histogram in self.histograms.items():
            if key == name:
                merged = merged.merge(histogram)
        return merged


def _labels(labels: dict[str, str]) -> Labels:
    return tuple(sorted((key, str(value)) for key, value in labels.items()))
