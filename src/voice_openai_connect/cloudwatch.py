"""The metrics that somebody should be woken for, once a minute as lines of the log that CloudWatch counts by itself.

Embedded metric format: a JSON line whose member ``_aws`` says which of the other members are metrics. CloudWatch finds
such lines in every log group, so neither an agent nor a right beyond writing the log is needed.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from prometheus_client.samples import Sample

from voice_openai_connect import limits
from voice_openai_connect.call.outcome import DialOutcome
from voice_openai_connect.log_stream import standard_output
from voice_openai_connect.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Count:
    """What of a counter is written down."""

    counter: str
    label: str = ""
    """By which it is told apart, if it has one."""
    where: str = ""
    """Of this label, only the values `among` these count; empty, all do."""
    among: frozenset[str] = frozenset()


NAMESPACE: Final = "voice-connect"
GAUGE: Final = "active_calls"
MODEL_DOWN: Final = "model_down"
"""1 when the model was down at any moment since the last line. One that is out of credit takes every probe in: it is
down for seconds, after each caller whom it failed."""
COUNTS: Final[Mapping[str, Count]] = {
    "escalations": Count("escalations", "reason"),
    "dials": Count("dials", "how"),
    "handovers_not_saved": Count("handovers_not_saved", "reason"),
    "model_failures": Count("model_failures", "reason"),
    "callers_lost": Count("callers_lost"),
    "outbox_given_up": Count("outbox_given_up", "reason"),
    "outbox_not_kept": Count("outbox_not_kept", "reason"),
    "calls_refused": Count("refused", "reason", where="what", among=frozenset({"call"})),
    "transfers_failed": Count(
        "transfers",
        "outcome",
        where="outcome",
        among=frozenset(DialOutcome) - {DialOutcome.CONNECTED, DialOutcome.CALLER_LEFT},
    ),
    "context_not_delivered": Count("context_not_delivered"),
}
"""What is counted, by its name in CloudWatch. Each of them costs money every month, so only what an alarm asks for."""
HISTOGRAM: Final = "first_audio_seconds"

_OUTAGES: Final = "model_outages"

Document = dict[str, object]
_Families = Mapping[str, list[Sample]]


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
        families = {found.name: found.samples for found in self._metrics.exposed.collect()}
        counted = {name: self._by_label(families, name, count) for name, count in COUNTS.items()}
        sums = {name: sum(by_label.values()) for name, by_label in counted.items()}
        gauges = {GAUGE: _gauge(families, GAUGE), MODEL_DOWN: self._model_down(families)}
        yield self._document({**gauges, **sums}, unit="Count")
        for name, by_label in counted.items():
            for value, amount in by_label.items():
                if amount and (label := COUNTS[name].label):
                    yield self._document({name: amount}, unit="Count", labels={label: value})
        times = list(self._first_audio(families))
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

    def _model_down(self, families: _Families) -> int:
        went_down = sum(self._by_label(families, _OUTAGES, Count(_OUTAGES)).values())
        return int(_gauge(families, MODEL_DOWN) > 0 or went_down > 0)

    def _by_label(self, families: _Families, name: str, count: Count) -> dict[str, float]:
        now = [
            (sample.labels.get(count.label, ""), sample.value)
            for sample in _samples(families, count.counter, f"{count.counter}_total")
            if not count.where or sample.labels[count.where] in count.among
        ]
        return {value: self._since(name, value, total) for value, total in now}

    def _first_audio(self, families: _Families) -> Iterator[float]:
        """Each time, rounded up to the end of its bucket; beyond the last one, to where that begins."""
        below, bound = 0.0, 0.0
        for sample in _samples(families, HISTOGRAM, f"{HISTOGRAM}_bucket"):
            end = sample.labels["le"]
            bound = bound if end == "+Inf" else float(end)
            until_here = self._since(HISTOGRAM, end, sample.value)
            yield from [bound] * round(until_here - below)
            below = until_here

    def _since(self, name: str, label: str, now: float) -> float:
        before = self._before.get((name, label), 0.0)
        self._before[name, label] = now
        return now - before


def _samples(families: _Families, family: str, name: str) -> Iterable[Sample]:
    found = families.get(f"voice_connect_{family}", [])
    return (sample for sample in found if sample.name == f"voice_connect_{name}")


def _gauge(families: _Families, name: str) -> float:
    return next(sample.value for sample in _samples(families, name, name))


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
