"""The lines that CloudWatch counts by itself, held against its specification and against the Prometheus metrics."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Tell
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.outcome import DialOutcome
from voice_openai_connect.cloudwatch import COUNTS, GAUGE, HISTOGRAM, MODEL_DOWN, MetricsLog, written_down
from voice_openai_connect.metrics import Metrics

NAME = {"type": "string", "minLength": 1, "maxLength": 255}
DIRECTIVE = {
    "type": "object",
    "required": ["Namespace", "Dimensions", "Metrics"],
    "properties": {
        "Namespace": NAME,
        "Dimensions": {"type": "array", "minItems": 1, "items": {"type": "array", "maxItems": 30, "items": NAME}},
        "Metrics": {
            "type": "array",
            "maxItems": 100,
            "items": {
                "required": ["Name", "Unit"],
                "properties": {"Name": NAME, "Unit": {"enum": ["Count", "Seconds"]}},
            },
        },
    },
}
FORMAT = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {"Timestamp": {"type": "integer"}, "CloudWatchMetrics": {"items": DIRECTIVE, "minItems": 1}},
        }
    },
}
"""What the specification asks of a line, in its own words for things."""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def told(metrics: Metrics, fact: Fact, label: str = "", value_ms: int | None = None) -> None:
    metrics.observe(Tell(fact, label, value_ms))


def documents(log: MetricsLog) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(document)) for document in log.documents()]


def values(document: dict[str, Any]) -> dict[str, Any]:
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    return {metric["Name"]: document[metric["Name"]] for metric in directive["Metrics"]}


def test_a_line_is_as_the_specification_wants_it(metrics: Metrics) -> None:
    told(metrics, Fact.CALL_STARTED)
    told(metrics, Fact.ESCALATED, "tool")
    told(metrics, Fact.FIRST_AUDIO, value_ms=700)

    for document in documents(MetricsLog(metrics, "voice", clock=lambda: 1_800_000_000.5)):
        jsonschema.validate(document, FORMAT)
        (directive,) = document["_aws"]["CloudWatchMetrics"]
        assert document["_aws"]["Timestamp"] == 1_800_000_000_500
        assert all(isinstance(document[name], str) for dimensions in directive["Dimensions"] for name in dimensions)
        assert len(document.get(HISTOGRAM, [])) <= 100


def test_the_sums_are_there_when_nothing_happens(metrics: Metrics) -> None:
    (only,) = documents(MetricsLog(metrics, "voice"))

    assert values(only) == dict.fromkeys([GAUGE, MODEL_DOWN, *COUNTS], 0)
    assert only["service"] == "voice"


def test_what_was_counted_is_told_once_by_label_and_in_the_sum(metrics: Metrics) -> None:
    log = MetricsLog(metrics, "voice")
    told(metrics, Fact.DIALING, "with_token", 900)
    told(metrics, Fact.DIALING, "without_token", 900)
    told(metrics, Fact.DIALING, "without_token", 900)
    sums, *by_label = documents(log)
    again = documents(log)

    assert values(sums)["dials"] == 3
    assert {document["how"]: values(document) for document in by_label} == {
        "with_token": {"dials": 1},
        "without_token": {"dials": 2},
    }
    assert [values(document)["dials"] for document in again] == [0]


def test_a_counter_without_a_label_is_told_in_the_sum_alone(metrics: Metrics) -> None:
    log = MetricsLog(metrics, "voice")
    metrics.caller_lost()
    (only,) = documents(log)

    assert values(only)["callers_lost"] == 1


def test_calls_on_the_line_are_those_of_this_moment(metrics: Metrics) -> None:
    log = MetricsLog(metrics, "voice")
    told(metrics, Fact.CALL_STARTED)
    told(metrics, Fact.CALL_STARTED)
    two = values(documents(log)[0])[GAUGE]
    told(metrics, Fact.CALL_ENDED, "goodbye")

    assert (two, values(documents(log)[0])[GAUGE]) == (2, 1)


def down(log: MetricsLog) -> int:
    return values(documents(log)[0])[MODEL_DOWN]


def test_a_model_that_is_down_is_told_again_and_again_until_it_is_back(metrics: Metrics) -> None:
    log = MetricsLog(metrics, "voice")
    metrics.model_is_down(down=True)
    first, second = down(log), down(log)
    metrics.model_is_down(down=False)

    assert (first, second, down(log)) == (1, 1, 0)


def test_a_model_that_was_down_for_seconds_between_two_lines_is_told_once(metrics: Metrics) -> None:
    """So is one without credit: every probe takes it for well, and the next caller finds out."""
    log = MetricsLog(metrics, "voice")
    metrics.model_is_down(down=True)
    metrics.model_is_down(down=False)

    assert (down(log), down(log)) == (1, 0)


def test_of_what_was_refused_only_new_calls_count_by_reason(metrics: Metrics) -> None:
    log = MetricsLog(metrics, "voice")
    for what, reason in [("call", "full"), ("call", "model_down"), ("call", "full"), ("resume", "full")]:
        metrics.refused(what, reason)
    metrics.refused("webhook", "signature")
    sums, *by_label = documents(log)

    assert values(sums)["calls_refused"] == 3
    assert {each["reason"]: values(each) for each in by_label} == {
        "full": {"calls_refused": 2},
        "model_down": {"calls_refused": 1},
    }


@pytest.mark.parametrize("outcome", DialOutcome)
def test_of_dials_only_those_count_that_reached_nobody_who_still_waited(metrics: Metrics, outcome: DialOutcome) -> None:
    log = MetricsLog(metrics, "voice")
    metrics.transfer_ended(outcome, suspicious=False)
    sums, *by_label = documents(log)
    counts = outcome not in {DialOutcome.CONNECTED, DialOutcome.CALLER_LEFT}

    assert values(sums)["transfers_failed"] == counts
    assert [(each["outcome"], values(each)) for each in by_label] == [(outcome, {"transfers_failed": 1})] * counts


def test_notes_that_did_not_arrive_are_counted(metrics: Metrics) -> None:
    log = MetricsLog(metrics, "voice")
    metrics.context_not_delivered()

    assert [values(each)["context_not_delivered"] for each in documents(log)] == [1]


def test_times_are_rounded_up_and_never_lost(metrics: Metrics) -> None:
    log = MetricsLog(metrics, "voice")
    for ms in (100, 700, 700, 60_000):
        told(metrics, Fact.FIRST_AUDIO, value_ms=ms)
    _, times = documents(log)

    assert times[HISTOGRAM] == [0.2, 0.8, 0.8, 10.0]
    assert [HISTOGRAM in document for document in documents(log)] == [False]


def test_many_times_go_into_several_lines(metrics: Metrics) -> None:
    for _ in range(2 * limits.EMF_VALUES + 1):
        told(metrics, Fact.FIRST_AUDIO, value_ms=700)
    _, *times = documents(MetricsLog(metrics, "voice"))

    assert [len(document[HISTOGRAM]) for document in times] == [limits.EMF_VALUES, limits.EMF_VALUES, 1]


def test_every_name_is_a_metric_of_ours(metrics: Metrics) -> None:
    known = {family.name.removeprefix("voice_connect_") for family in metrics.registry.collect()}

    assert {GAUGE, MODEL_DOWN, HISTOGRAM, *(count.counter for count in COUNTS.values())} <= known


def test_everything_that_has_a_label_is_told_apart_by_it(metrics: Metrics) -> None:
    for fact in (Fact.ESCALATED, Fact.DIALING, Fact.HANDOVER_NOT_SAVED, Fact.MODEL_LOST):
        told(metrics, fact, "key")
    metrics.refused("call", "key")
    metrics.transfer_ended("busy", suspicious=False)
    metrics.outbox_given_up("key")
    metrics.outbox_not_kept("key")
    _, *by_label = documents(MetricsLog(metrics, "voice"))
    seen = {name: document[COUNTS[name].label] for document in by_label for name in values(document)}

    assert seen.keys() == {name for name, count in COUNTS.items() if count.label}
    assert set(seen.values()) == {"key", "busy"}


async def test_lines_are_written_again_and_again_and_once_at_the_end(metrics: Metrics) -> None:
    lines: list[bytes] = []
    written = asyncio.Event()

    def write(line: bytes) -> None:
        lines.append(line)
        if len(lines) == 3:
            written.set()

    async with written_down(metrics, "voice", write, every_s=0.001):
        async with asyncio.timeout(10):
            await written.wait()
        told(metrics, Fact.MODEL_LOST, "closed")
        before = len(lines)

    assert sum(json.loads(line)["model_failures"] for line in lines if b'"dials"' in line) == 1
    assert len(lines) > before
    assert all(b"\n" not in line for line in lines)


async def test_without_a_name_nothing_is_written(metrics: Metrics) -> None:
    lines: list[bytes] = []

    async with written_down(metrics, "", lines.append, every_s=0.0):
        await asyncio.sleep(0)

    assert lines == []


async def test_what_was_counted_before_it_began_others_have_written_down(metrics: Metrics) -> None:
    told(metrics, Fact.ESCALATED, "key")
    written: list[bytes] = []
    async with written_down(metrics, "voice", written.append, every_s=60):
        told(metrics, Fact.ESCALATED, "tool")

    assert [values(json.loads(line)).get("escalations") for line in written] == [1, 1]
    assert json.loads(written[1])["reason"] == "tool"


def test_of_several_workers_the_sum_is_written_down(tmp_path: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path;"
        "from voice_openai_connect.call.commands import Tell; from voice_openai_connect.call.facts import Fact;"
        "from voice_openai_connect.cloudwatch import MetricsLog;"
        "from voice_openai_connect.metrics import Metrics, count_in;"
        "folder = Path(sys.argv[1]); count_in(folder, int(sys.argv[2])); metrics = Metrics(folder);"
        "[metrics.observe(Tell(fact, 'key', 700)) for fact in (Fact.CALL_STARTED, Fact.ESCALATED, Fact.FIRST_AUDIO)];"
        "print(json.dumps(list(MetricsLog(metrics, 'voice').documents())))"
    )

    def documents_of(worker: int) -> list[dict[str, Any]]:
        words = [sys.executable, "-c", code, str(tmp_path), str(worker)]
        return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    documents_of(0)
    sums, by_label, times = documents_of(1)

    assert (values(sums)[GAUGE], values(sums)["escalations"]) == (2, 2)
    assert (by_label["reason"], values(by_label)["escalations"]) == ("key", 2)
    assert values(times)[HISTOGRAM] == [0.8, 0.8]
