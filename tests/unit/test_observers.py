import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Tell
from voice_openai_connect.call.events import QueuesUnattended
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.next_step import HangUp
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.settings import CallIdentity
from voice_openai_connect.gateway.app import FrontObserver
from voice_openai_connect.gateway.model_breaker import ModelObserver
from voice_openai_connect.gateway.outbox import OutboxObserver
from voice_openai_connect.gateway.ports import CallObserver
from voice_openai_connect.gateway.presence import PresenceObserver
from voice_openai_connect.integrations.connect_client import ConnectError
from voice_openai_connect.integrations.dynamo_repository import StoreError
from voice_openai_connect.integrations.hubspot_api import CrmError
from voice_openai_connect.logs import clear_call, configure_logging
from voice_openai_connect.metrics import Metrics
from voice_openai_connect.observers import CallWatch, FrontWatch, ModelWatch, OutboxWatch, PresenceWatch
from voice_openai_connect.wire.twilio_webhooks import DialResult

IDENTITY = CallIdentity("CA" + "0" * 32, "conv-1", "ho-1", "+61255501234", "+61255505678")


@pytest.fixture
def lines() -> Iterator[io.BytesIO]:
    stream = io.BytesIO()
    clear_call()
    configure_logging(stream=stream)
    yield stream
    clear_call()
    structlog.reset_defaults()


def read(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_fact_goes_into_the_log_and_the_metrics(lines: io.BytesIO) -> None:
    metrics = Metrics()
    watch: CallObserver = CallWatch(IDENTITY, metrics)
    watch.stream_started("MZ" + "0" * 32)
    watch.tell(Tell(Fact.DIALING, "with_token", 4_200))

    (line,) = read(lines)
    assert (line["message"], line["label"], line["value_ms"]) == ("dialing", "with_token", 4_200)
    assert (line["call_sid"], line["stream_sid"]) == ("CA" + "0" * 32, "MZ" + "0" * 32)
    assert b'voice_connect_dials_total{how="with_token"} 1.0' in metrics.render()


def test_the_handover_s_id_is_on_the_lines_from_the_decision_on(lines: io.BytesIO) -> None:
    watch = CallWatch(IDENTITY, Metrics())
    watch.tell(Tell(Fact.MODEL_READY))
    watch.tell(Tell(Fact.ESCALATED, "key"))
    watch.tell(Tell(Fact.HANDOVER_SAVED))

    assert [line.get("handover_id") for line in read(lines)] == [None, "ho-1", "ho-1"]


def test_a_call_s_length_is_counted(lines: io.BytesIO) -> None:
    now, metrics = [10.0], Metrics()
    watch = CallWatch(IDENTITY, metrics, clock=lambda: now[0])
    watch.tell(Tell(Fact.CALL_STARTED))
    now[0] = 75.0
    watch.tell(Tell(Fact.CALL_ENDED, "goodbye"))

    assert b"voice_connect_call_seconds_sum 65.0" in metrics.render()


def test_what_happens_all_the_time_is_counted_and_not_written_down(lines: io.BytesIO) -> None:
    metrics = Metrics()
    CallWatch(IDENTITY, metrics).tell(Tell(Fact.BARGE_IN))

    assert read(lines) == []
    assert b"voice_connect_barge_ins_total 1.0" in metrics.render()


@pytest.mark.parametrize(
    ("fact", "level"),
    [
        (Tell(Fact.HANDOVER_NOT_SAVED, "timeout"), "warning"),
        (Tell(Fact.CONTACT_MISSING, "timeout"), "warning"),
        (Tell(Fact.CONTACT_MISSING, "crm_off"), "info"),
        (Tell(Fact.TICKET_MISSING, "crm_off"), "info"),
        (Tell(Fact.CONTACT_MISSING, "withheld"), "info"),
        (Tell(Fact.CALL_STARTED), "info"),
    ],
)
def test_what_might_need_a_look_is_a_warning(lines: io.BytesIO, fact: Tell, level: str) -> None:
    CallWatch(IDENTITY, Metrics()).tell(fact)

    assert read(lines)[0]["level"] == level


def test_frames_and_clears_are_counted(lines: io.BytesIO) -> None:
    metrics = Metrics()
    watch: CallObserver = CallWatch(IDENTITY, metrics)
    watch.cleared(2.0)
    watch.frames(received=50, lost=3)

    assert b"voice_connect_speech_to_clear_seconds_sum 0.002" in metrics.render()
    assert b"voice_connect_caller_frames_lost_total 3.0" in metrics.render()
    assert read(lines)[0]["level"] == "warning"


def test_a_failure_is_named_without_its_words(lines: io.BytesIO) -> None:
    metrics = Metrics()
    CallWatch(IDENTITY, metrics).failed("attach ticket", ValueError("what the caller said"))

    (line,) = read(lines)
    assert (line["level"], line["what"], line["error"]) == ("error", "attach ticket", "ValueError")
    assert "caller said" not in str(line)
    assert b'voice_connect_errors_total{what="attach_ticket"} 1.0' in metrics.render()


@pytest.mark.parametrize("error", [CrmError("unreachable", permanent=False), StoreError("throttled")])
def test_a_service_that_fails_in_a_known_way_is_told_and_not_counted_as_broken(
    lines: io.BytesIO, error: Exception
) -> None:
    metrics = Metrics()
    CallWatch(IDENTITY, metrics).failed("find contact", error)

    (line,) = read(lines)
    assert (line["level"], line["message"], line["what"]) == ("info", "not_done", "find contact")
    assert line["why"] == str(error)
    assert b"voice_connect_errors_total{" not in metrics.render()


@pytest.mark.parametrize("error", [StoreError("throttled"), TimeoutError()])
def test_a_store_that_is_late_or_refuses_is_a_warning_and_is_counted(lines: io.BytesIO, error: Exception) -> None:
    metrics = Metrics()
    FrontWatch(metrics).failed("recall call", error)

    (line,) = read(lines)
    assert (line["level"], line["message"], line["what"]) == ("warning", "not_done", "recall call")
    assert b'voice_connect_errors_total{what="recall_call"} 1.0' in metrics.render()


def test_a_strangers_error_is_broken_whatever_attributes_it_has(lines: io.BytesIO) -> None:
    CallWatch(IDENTITY, Metrics()).failed("tool", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "what the caller said"))

    assert read(lines)[0]["message"] == "broke"
    assert b"caller said" not in lines.getvalue()


def test_the_caller_s_number_is_on_no_line(lines: io.BytesIO) -> None:
    watch = CallWatch(IDENTITY, Metrics())
    for fact in Fact:
        watch.tell(Tell(fact))

    assert b"5550" not in lines.getvalue()


def test_a_model_that_is_down_is_one_warning_and_a_gauge_until_it_is_back(lines: io.BytesIO) -> None:
    metrics = Metrics()
    watch: ModelObserver = ModelWatch(metrics)
    watch.model_down("http_401")
    for _ in range(3):
        FrontWatch(metrics).refused("call", "model_down")
    body = metrics.render()
    watch.model_back()

    assert [line["message"] for line in read(lines)] == ["model_down", *["refused"] * 3, "model_back"]
    assert [line["level"] for line in read(lines)] == ["warning", *["info"] * 4]
    assert read(lines)[0]["reason"] == "http_401"
    assert b"voice_connect_model_down 1.0" in body
    assert b'voice_connect_refused_total{reason="model_down",what="call"} 3.0' in body
    assert b"voice_connect_model_down 0.0" in metrics.render()


def test_what_is_left_of_a_limit_of_the_model_is_a_gauge_and_not_in_the_log(lines: io.BytesIO) -> None:
    metrics = Metrics()
    ModelWatch(metrics).limit_left("tokens", 0.25)

    assert b'voice_connect_model_limit_left_ratio{limit="tokens"} 0.25' in metrics.render()
    assert lines.getvalue() == b""


def test_a_probe_that_breaks_is_named_without_its_words(lines: io.BytesIO) -> None:
    metrics = Metrics()
    ModelWatch(metrics).failed("model probe", ValueError("what was sent"))

    (line,) = read(lines)
    assert (line["level"], line["what"], line["error"]) == ("error", "model probe", "ValueError")
    assert b"what was sent" not in lines.getvalue()
    assert b'voice_connect_errors_total{what="model_probe"} 1.0' in metrics.render()


def test_refusals_streams_that_fail_and_dials_are_logged_and_counted(lines: io.BytesIO) -> None:
    metrics = Metrics()
    front: FrontObserver = FrontWatch(metrics)
    front.refused("webhook", "bad_signature")
    front.stream_failed("CA" + "0" * 32, "MZ1", "no handshake")
    FrontWatch(metrics).failed("remember step", ValueError("what the caller said"))
    front.dial_ended(DialResult("CA" + "0" * 32, "busy", None, None), DialOutcome.BUSY, HangUp())

    refused, stream, broken, dial = read(lines)
    assert (stream["message"], stream["call_sid"], stream["why"]) == ("stream_failed", "CA" + "0" * 32, "no handshake")
    assert (broken["level"], broken["what"], broken["error"]) == ("error", "remember step", "ValueError")
    assert (refused["message"], refused["reason"]) == ("refused", "bad_signature")
    assert (dial["status"], dial["outcome"], dial["next"]) == ("busy", "busy", "HangUp")
    body, content_type = front.metrics()
    assert b'voice_connect_refused_total{reason="bad_signature",what="webhook"} 1.0' in body
    assert b'voice_connect_refused_total{reason="twilio_error",what="stream"} 1.0' in body
    assert content_type.startswith("text/plain")


def test_a_stranger_does_not_fill_the_log_and_what_is_left_out_of_it_is_counted(lines: io.BytesIO) -> None:
    metrics, now = Metrics(), [0.0]
    front = FrontWatch(metrics, clock=lambda: now[0])
    for _ in range(limits.REFUSED_LINES + 7):
        front.refused("webhook", "signature")
    front.refused("call", "busy")
    now[0] = 59.9
    front.refused("webhook", "signature")
    now[0] = 60.0
    front.refused("webhook", "signature")
    front.refused("webhook", "signature")

    *first, other, after, last = read(lines)
    assert [line["reason"] for line in first] == ["signature"] * limits.REFUSED_LINES
    assert not any("left_out" in line for line in first)
    assert (other["what"], other["reason"]) == ("call", "busy")
    assert (after["reason"], after["left_out"]) == ("signature", 8)
    assert "left_out" not in last
    counted = limits.REFUSED_LINES + 10
    assert f'refused_total{{reason="signature",what="webhook"}} {counted}.0'.encode() in front.metrics()[0]


def test_what_became_of_a_caller_after_the_assistant_is_logged_under_the_call_and_counted(lines: io.BytesIO) -> None:
    metrics = Metrics()
    front = FrontWatch(metrics)
    front.transfer_ended(IDENTITY, DialOutcome.CONNECTED, suspicious=False)
    front.transfer_ended(IDENTITY, DialOutcome.CONNECTED, suspicious=True)
    front.transfer_ended(IDENTITY, DialOutcome.BUSY, suspicious=False)
    front.person_reached(IDENTITY, 6.5)
    front.context_not_delivered(IDENTITY)
    front.call_ended(IDENTITY, Outcome.CALLED_BACK)
    front.caller_lost(IDENTITY.call_sid)

    told = read(lines)
    assert [(line["message"], line["level"]) for line in told] == [
        ("transfer_ended", "info"),
        ("transfer_ended", "warning"),
        ("transfer_ended", "warning"),
        ("person_reached", "info"),
        ("context_not_delivered", "warning"),
        ("outcome", "info"),
        ("caller_lost", "error"),
    ]
    assert {line["call_sid"] for line in told} == {IDENTITY.call_sid}
    assert told[3]["value_ms"] == 6_500
    body, _ = front.metrics()
    assert b'voice_connect_transfers_total{outcome="connected"} 2.0' in body
    assert b"voice_connect_transfers_suspicious_total 1.0" in body
    assert b'voice_connect_call_outcomes_total{outcome="called_back"} 1.0' in body
    assert b"voice_connect_callers_lost_total 1.0" in body


# --- what is owed to the CRM


def test_what_becomes_of_the_outbox_is_logged_by_conversation_and_counted(lines: io.BytesIO) -> None:
    metrics = Metrics()
    watch: OutboxObserver = OutboxWatch(metrics)
    watch.pending(3)
    watch.delivered("conv-1")
    watch.given_up("conv-2", "invalid")
    watch.not_kept("conv-3", StoreError("full"))
    watch.bypassed("conv-4", StoreError("throttled"))
    watch.failed("deliver", CrmError("invalid", permanent=True))
    watch.failed("outbox", ValueError("what the caller said"))

    told = [(line["message"], line["level"], line.get("conversation_id", "")) for line in read(lines)]
    assert told == [
        ("outbox_delivered", "info", "conv-1"),
        ("outbox_given_up", "error", "conv-2"),
        ("outbox_not_kept", "error", "conv-3"),
        ("outbox_bypassed", "warning", "conv-4"),
        ("not_done", "warning", ""),
        ("not_done", "warning", ""),
    ]
    assert "what the caller said" not in lines.getvalue().decode()
    body = metrics.render()
    assert b"voice_connect_outbox_pending 3.0" in body
    assert b"voice_connect_outbox_delivered_total 1.0" in body
    assert b'voice_connect_outbox_given_up_total{reason="invalid"} 1.0' in body
    assert b'voice_connect_outbox_not_kept_total{reason="full"} 1.0' in body
    assert b'voice_connect_outbox_bypassed_total{reason="throttled"} 1.0' in body
    assert b'voice_connect_errors_total{what="outbox"} 1.0' in body
    assert b'voice_connect_errors_total{what="deliver"}' not in body


def test_an_account_that_wants_a_person_is_an_error_and_one_in_trouble_a_warning(lines: io.BytesIO) -> None:
    metrics = Metrics()
    watch = OutboxWatch(metrics)
    watch.paused("unavailable", 5.2, for_a_person=False)
    watch.paused("unauthorized", 1_800, for_a_person=True)

    trouble, refusal = read(lines)
    assert (trouble["level"], trouble["seconds"], "remedy" in trouble) == ("warning", 5, False)
    assert (refusal["level"], refusal["reason"]) == ("error", "unauthorized")
    assert "voice-connect doctor" in refusal["remedy"]
    assert b'voice_connect_crm_failures_total{reason="unauthorized",what="outbox"} 1.0' in metrics.render()


# --- who is there


def test_queues_that_have_nobody_are_told_by_name_and_counted_by_why(lines: io.BytesIO) -> None:
    metrics = Metrics()
    watch: PresenceObserver = PresenceWatch(metrics)
    watch.unattended(QueuesUnattended(closed=frozenset({"sales", "billing"}), unstaffed=frozenset({"support"})))

    (told,) = read(lines)
    assert (told["message"], told["closed"], told["unstaffed"]) == (
        "queues_unattended",
        ["billing", "sales"],
        ["support"],
    )
    body = metrics.render()
    assert b'voice_connect_queues_unattended{why="closed"} 2.0' in body
    assert b'voice_connect_queues_unattended{why="unstaffed"} 1.0' in body


def test_a_contact_centre_that_cannot_be_asked_is_a_warning_with_a_remedy(lines: io.BytesIO) -> None:
    metrics = Metrics()
    watch = PresenceWatch(metrics)
    watch.presence_unknown("queues", ConnectError("denied"))
    watch.queues_unknown(frozenset({"sales"}))
    watch.queues_unknown(frozenset())
    watch.presence_known()

    told = read(lines)
    assert [(line["message"], line["level"]) for line in told] == [
        ("presence_unknown", "warning"),
        ("queues_unknown", "warning"),
        ("presence_known", "info"),
    ]
    assert "voice-connect doctor" in told[0]["remedy"]
    assert "CONNECT_QUEUES" in told[1]["remedy"]
    assert b'voice_connect_errors_total{what="presence"}' not in metrics.render()


def test_a_mistake_of_ours_among_the_questions_is_counted(lines: io.BytesIO) -> None:
    metrics = Metrics()
    PresenceWatch(metrics).presence_unknown("queues", ZeroDivisionError())

    assert len(read(lines)) == 1
    assert b'voice_connect_errors_total{what="presence"} 1.0' in metrics.render()
