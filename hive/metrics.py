"""Prometheus text at http://HOST:PORT/metrics, from the same counters that `hive top` reads.

Every counter but `running_strategy` becomes `hive_<name>_total`, every gauge `hive_<name>`, every histogram of
nanoseconds a histogram of seconds `hive_<name>_seconds` with a bucket per octave. Labels are the counters' own, and
`role`. Units are Prometheus's base units: `<name>_ms` and `<name>_ns` become `hive_<name>_seconds`, thousandths
(`<name>_milli`) and hundred-millionths (`<name>_e8`) `hive_<name>`. HELP lines are those of metric_texts.py.
"""

import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from hive.metric_texts import TEXTS
from hive.shm.snapshots import HistogramSnapshot, bucket_bounds
from hive.state import FleetDir
from hive.top_sample import Sample, Sampler
from hive.totals import GAUGES

_PER_OCTAVE = 8
_OF_ONE_MOMENT = "running_strategy"  # of a worker, for whoever finds it dead; added up over workers it says nothing


class FleetCollector:
    """Makes the metrics of a fleet from a fresh sample at every scrape."""

    def __init__(self, folder: FleetDir) -> None:
        self._sampler = Sampler(folder)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; nothing when the fleet has no figures yet."""
        sample = self._sampler.sample(pss=True)
        if sample is not None:
            yield from metrics_of(sample)


class MetricsServer:
    """Serves /metrics from a thread of its own until closed.

    Args:
        folder: of the fleet.
        port: to listen on; 0 lets the kernel choose.
        host: address to bind.

    Raises:
        OSError: the port is in use or the address is not ours.
    """

    def __init__(self, folder: FleetDir, port: int, host: str = "127.0.0.1") -> None:
        registry = CollectorRegistry(auto_describe=False)
        self._server: WSGIServer
        self._thread: threading.Thread
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        registry.register(FleetCollector(folder))
        self.port = self._server.server_port

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def metrics_of(sample: Sample) -> list[Metric]:
    """Return the metrics of a sample, those of one name together."""
    found = _Families()
    for role, snapshot in sample.counters.items():
        for (name, labels), value in snapshot.values.items():
            if name == _OF_ONE_MOMENT:
                continue
            kind = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
            metric, factor = in_base_units(name)
            found.add(kind, metric, {**dict(labels), "role": role}, value * factor)
        for (name, labels), histogram in snapshot.histograms.items():
            seconds = f"hive_{name.removesuffix('_ns')}_seconds"
            values = (octaves(histogram), histogram.sum / 1e9)
            found.add(HistogramMetricFamily, seconds, {**dict(labels), "role": role}, *values)
    for (role, index), facts in sample.facts.items():
        who = {"role": role, "index": str(index)}
        memory = facts.rss if facts.pss is None else facts.pss
        found.add(CounterMetricFamily, "hive_process_cpu_seconds", who, facts.cpu_ns / 1e9)
        found.add(GaugeMetricFamily, "hive_process_memory_bytes", who, memory)
    found.add(GaugeMetricFamily, "hive_up", {"fleet": sample.fleet["fleet"]}, int(sample.alive))
    return found.families()


def in_base_units(name: str) -> tuple[str, float]:
    """Return a counter's name as a metric, and what its value is multiplied by."""
    stem = name.removesuffix("_total")
    if stem.endswith("_ms"):
        return f"hive_{stem.removesuffix('_ms')}_seconds", 1e-3
    if stem.endswith("_ns"):
        return f"hive_{stem.removesuffix('_ns')}_seconds", 1e-9
    if stem.endswith("_e8"):
        return f"hive_{stem.removesuffix('_e8')}", 1e-8
    if stem.endswith("_milli"):
        return f"hive_{stem.removesuffix('_milli')}", 1e-3
    return f"hive_{stem}", 1


class _Families:
    """Gathers series by name; a label that some series of a name lack is empty there, which means the same."""

    def __init__(self) -> None:
        self._series: dict[str, list[tuple[type, dict[str, str], tuple]]] = {}

    def add(self, kind: type, name: str, labels: dict[str, str], *values: Any) -> None:
        self._series.setdefault(name, []).append((kind, labels, values))

    def families(self) -> list[Metric]:
        made = []
        for name, series in self._series.items():
            keys = sorted({key for _, labels, _ in series for key in labels})
            stem = name.removeprefix("hive_")
            family = series[0][0](name, TEXTS.get(stem, stem.replace("_", " ")), labels=keys)
            for _, labels, values in series:
                family.add_metric([labels.get(key, "") for key in keys], *values)
            made.append(family)
        return made


def octaves(histogram: HistogramSnapshot) -> list[tuple[str, float]]:
    """Return cumulative Prometheus buckets (upper bound in seconds as text, count), one per octave and +Inf."""
    buckets = []
    seen = 0
    for index, count in enumerate(histogram.buckets):
        seen += count
        if index % _PER_OCTAVE == 0 and index < len(histogram.buckets) - 1:
            buckets.append((repr(bucket_bounds(index)[1] / 1e9), float(seen)))
    return [*buckets, ("+Inf", float(seen))]
