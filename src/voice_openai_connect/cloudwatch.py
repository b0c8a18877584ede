"""The metrics that somebody should be woken for, once a minute as lines of the log that CloudWatch counts by itself.

Embedded metric format: a JSON line whose member ``_aws`` says which of the other members are metrics. CloudWatch finds
such lines in every log group, so neither an agent nor a right beyond writing the log is needed.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from voice_openai_connect import limits
from voice_openai_connect.log_stream import standard_output
from voice_openai_connect.metrics import Metrics

NAMESPACE: Final = "voice-connect"
GAUGE: Final = "active_calls"
COUNTERS: Final[Mapping[str, str]] = {
    "escalations": "reason",
    "dials": "how",
    "handovers_not_saved": "reason",
    "model_failures": "reason",
    "callers_lost": "",
    "outbox_given_up": "reason",
    "outbox_not_kept": "reason",
}
"""The counters, and the label by which each is told apart, if it has one."""
HISTOGRAM: Final = "first_audio_seconds"

Document = dict[str, object]


class MetricsLog:
    """What has happened since it was last asked, in one process or in all that count together.

    `service` tells deployments apart.
    """

    def __init__(self, metrics: Metrics, service: str, *, clock: Callable[[], float] = time.time) -> None:
        self._metrics = metrics
        self._service = service
        self._clock = clock
        self._before: dict[tuple[str, str], float] = {}

    def documents(self) -> Iterator[Document]:
        """One with the sums, which is never missing; then one for each label that has moved, and the answers' times."""
        counted = {name: self._by_label(name, label) for name, label in COUNTERS.items()}
        sums = {name: sum(by_label.values()) for name, by_label in counted.items()}
        yield self._document({GAUGE: self._gauge(), **sums}, unit="Count")
        for name, by_label in counted.items():
            for value, amount in by_label.items():
                if amount and COUNTERS[name]:
                    yield self._document({name: amount}, unit="Count", labels={COUNTERS[name]: value})
        times = list(self._first_audio())
        for begin in range(0, len(times), limits.EMF_VALUES):
            yield self._document({HISTOGRAM: times[begin : begin + limits.EMF_VALUES]}, unit="Seconds")

    def _document(self, values: Mapping[str, object], *, unit: str, labels: Mapping[str, str] = {}) -> Document:
        dimensions = {"service": self._service, **labels}
        stated = {
            "Namespace": NAMESPACE,
            "Dimensions": [list(dimensions)],
            "Metrics": [{"Name": name, "Unit": unit} for name in values],
        }
        about = {"Timestamp": int(self._clock() * 1_000), "CloudWatchMetrics": [stated]}
        return {"_aws": about, "message": "metrics", **dimensions, **values}

    def _gauge(self) -> float:
        return next(value for _, value in self._samples(GAUGE, GAUGE, ""))

    def _by_label(self, name: str, label: str) -> dict[str, float]:
        return {value: self._since(name, value, now) for value, now in self._samples(name, f"{name}_total", label)}

    def _first_audio(self) -> Iterator[float]:
        """Each time, rounded up to the end of its bucket; beyond the last one, to where that begins."""
        below, bound = 0.0, 0.0
        for end, now in self._samples(HISTOGRAM, f"{HISTOGRAM}_bucket", "le"):
            bound = bound if end == "+Inf" else float(end)
            until_here = self._since(HISTOGRAM, end, now)
            yield from [bound] * round(until_here - below)
            below = until_here

    def _samples(self, family: str, name: str, label: str) -> Iterable[tuple[str, float]]:
        for found in self._metrics.exposed.collect():
            if found.name == f"voice_connect_{family}":
                yield from (
                    (sample.labels.get(label, ""), sample.value)
                    for sample in found.samples
                    if sample.name == f"voice_connect_{name}"
                )

    def _since(self, name: str, label: str, now: float) -> float:
        before = self._before.get((name, label), 0.0)
        self._before[name, label] = now
        return now - before


@contextlib.asynccontextmanager
async def written_down(
    metrics: Metrics, service: str, write: Callable[[bytes], object] | None = None, *, every_s: float = limits.EMF_S
) -> AsyncGenerator[None]:
    """While the block runs, write the lines every `every_s` seconds, and at its end. Without a `service`, none."""
    if not service:
        yield
        return
    log = MetricsLog(metrics, service)
    put = write or _print
    for _ in log.documents():  # what is there already, others wrote down before us
        pass

    def write_all() -> None:
        for document in log.documents():
            put(msgspec.json.encode(document))

    async def keep_writing() -> None:
        while True:
            await asyncio.sleep(every_s)
            write_all()

    task = asyncio.create_task(keep_writing(), name="metrics log")
    try:
        yield
    finally:
        task.cancel()
        write_all()


def _print(document: bytes) -> None:
    standard_output().write(document + b"\n")
