"""Prometheus metrics of a server."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

_LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.queries = Counter(
            "clipseed_index_queries", "Queries answered.", registry=registry
        )
        self.refused = Counter(
            "clipseed_index_refused", "Requests refused.", ["reason"], registry=registry
        )
        self.latency = Histogram(
            "clipseed_index_request_seconds",
            "Time to answer a request, including the wait.",
            buckets=_LATENCIES_S,
            registry=registry,
        )
        self.batch = Histogram(
            "clipseed_index_batch_queries",
            "Queries searched at once.",
            buckets=_SIZES,
            registry=registry,
        )
        self.sampled = Counter(
            "clipseed_index_recall_sampled_pairs",
            "Pairs of an exact search over a sample of the batches.",
            registry=registry,
        )
        self.found = Counter(
            "clipseed_index_recall_found_pairs",
            "Sampled pairs that the index had found.",
            registry=registry,
        )
        self.version = Info("clipseed_index", "The index served.", registry=registry)
        self.memory = Gauge(
            "clipseed_index_memory_bytes", "Resident memory.", registry=registry
        )
        self.memory.set_function(resident_bytes)
        self.waiting = Gauge(
            "clipseed_index_waiting_queries", "Queries waiting.", registry=registry
        )


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        fields = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    line = next(line for line in fields if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
