import base64
import json
from typing import Annotated, Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter

from voice_openai_connect import limits
from voice_openai_connect.call.events import (
    CallerSpeechStarted,
    CallerSpeechStopped,
    CallerStayedSilent,
    CallerTranscribed,
    CallerTranscriptionFailed,
    Event,
    ModelAudio,
    ModelAudioFinished,
    ModelConfigured,
    ModelConnected,
    ModelErred,
    ModelLost,
    ModelResponseFinished,
    ModelResponseStarted,
    ModelSaid,
    ModelToolCalled,
)
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.openai_events import (
    CONFIGURE_EVENT_ID,
    PURPOSES_KEPT,
    RealtimeReader,
    handshake_refused,
    retry_after_ms,
    session_closed,
)

OFFICIAL: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
ULAW = {"type": "audio/pcmu"}
SPOKEN = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}


def message(kind: str, **fields: Any) -> str:
    """A message as the service would write it: OpenAI's own types take it strictly."""
    text = json.dumps({"type": kind, "event_id": "event_1"} | fields)
    OFFICIAL.validate_json(text, strict=True)
    return text


def read(kind: str, **fields: Any) -> tuple[Event, ...]:
    return RealtimeReader().read(message(kind, **fields))


def session(input_format: Any = ULAW, output_format: Any = ULAW) -> dict[str, Any]:
    audio = {"input": {"format": input_format}, "output": {"format": output_format, "voice": "marin"}}
    return {
        "type": "realtime",
        "id": "sess_1",
        "object": "realtime.session",
        "expires_at": 1_800_000_000,
        "audio": audio,
    }


def response(identity: str = "resp_1", **fields: Any) -> dict[str, Any]:
    return {"id": identity, "object": "realtime.response", "status": "in_progress", "output": None} | fields


def tool_call(status: str = "completed") -> dict[str, Any]:
    return {
        "id": "item_2", "object": "realtime.item", "type": "function_call", "status": status,
        "call_id": "call_1", "name": "transfer_to_person", "arguments": '{"reason":"billing"}',
    }  # fmt: skip


class TestSession:
    def test_a_new_session_is_a_connected_model_and_says_when_it_ends(self) -> None:
        reader = RealtimeReader()
        assert reader.expires_at is None
        assert reader.read(message("session.created", session=session())) == (ModelConnected(),)
        assert reader.expires_at == 1_800_000_000

    def test_an_updated_session_names_the_formats_it_will_really_use(self) -> None:
        told = read("session.updated", session=session(ULAW, {"type": "audio/pcm", "rate": 24_000}))
        assert told == (ModelConfigured("audio/pcmu", "audio/pcm"),)

    def test_pcm_at_an_odd_rate_is_not_taken_for_ours(self) -> None:
        text = json.dumps({"type": "session.updated", "session": session(ULAW, {"type": "audio/pcm", "rate": 16_000})})
        assert RealtimeReader().read(text) == (ModelConfigured("audio/pcmu", "audio/pcm;rate=16000"),)

    @pytest.mark.parametrize("audio", [None, {}, {"input": None, "output": {}}, {"input": {"format": None}}])
    def test_a_session_that_names_no_format_is_told_as_such(self, audio: Any) -> None:
        text = json.dumps({"type": "session.updated", "session": {"type": "realtime", "audio": audio}})
        assert RealtimeReader().read(text) == (ModelConfigured("", ""),)


class TestErrors:
    def error(self, code: str | None, *, event_id: str | None = None, param: str | None = None) -> dict[str, Any]:
        return {
            "type": "invalid_request_error", "code": code, "message": "Bad: the caller said 4111", "param": param,
            "event_id": event_id,
        }  # fmt: skip

    def test_an_error_leaves_the_session_alive_and_names_its_request(self) -> None:
        told = read("error", error=self.error("response_cancel_not_active", event_id="CancelResponse.3"))
        assert told == (ModelErred("response_cancel_not_active", "CancelResponse.3"),)

    def test_an_error_without_a_code_is_known_by_its_type(self) -> None:
        assert read("error", error=self.error(None)) == (ModelErred("invalid_request_error", None),)

    @pytest.mark.parametrize(
        "code",
        [
            "insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached",
            "beta_api_shape_disabled", "missing_model", "model_not_found",
        ],
    )  # fmt: skip
    def test_an_error_that_every_session_would_meet_is_permanent(self, code: str) -> None:
        assert read("error", error=self.error(code)) == (ModelLost(code, permanent=True),)

    def test_an_expired_session_may_be_followed_by_another(self) -> None:
        assert read("error", error=self.error("session_expired")) == (ModelLost("session_expired", permanent=False),)

    def test_a_refused_configuration_is_a_lost_model(self) -> None:
        told = read("error", error=self.error("unknown_parameter", event_id=CONFIGURE_EVENT_ID))
        assert told == (ModelLost("settings_refused:unknown_parameter", permanent=True),)

    def test_a_refused_configuration_is_known_by_its_parameter_until_one_was_taken(self) -> None:
        reader = RealtimeReader()
        text = message("error", error=self.error("invalid_value", param="session.audio.output.voice"))
        assert reader.read(text) == (ModelLost("settings_refused:invalid_value", permanent=True),)
        reader.read(message("session.updated", session=session()))
        assert reader.read(text) == (ModelErred("invalid_value", None),)

    def test_a_code_that_looks_like_prose_is_not_repeated(self) -> None:
        assert read("error", error=self.error("the caller said 4111")) == (ModelErred("unknown", None),)


class TestTheCaller:
    def test_speech_starts_and_stops(self) -> None:
        assert read("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=5) == (
            CallerSpeechStarted("item_1"),
        )
        assert read("input_audio_buffer.speech_stopped", item_id="item_1", audio_end_ms=900) == (
            CallerSpeechStopped("item_1"),
        )

    def test_silence_is_told(self) -> None:
        told = read("input_audio_buffer.timeout_triggered", item_id="item_1", audio_start_ms=1, audio_end_ms=6001)
        assert told == (CallerStayedSilent("item_1"),)

    def test_a_turn_is_written_down(self) -> None:
        usage = {"type": "duration", "seconds": 1.5}
        told = read(
            "conversation.item.input_audio_transcription.completed",
            item_id="item_1", content_index=0, transcript="A person, please.", usage=usage,
        )  # fmt: skip
        assert told == (CallerTranscribed("item_1", "A person, please."),)

    def test_a_turn_that_was_not_written_down_says_why(self) -> None:
        told = read(
            "conversation.item.input_audio_transcription.failed",
            item_id="item_1", content_index=0, error={"type": "server_error", "code": None, "message": "4111"},
        )  # fmt: skip
        assert told == (CallerTranscriptionFailed("item_1", "server_error"),)


class TestResponses:
    def test_a_response_that_nobody_asked_for_is_a_reply(self) -> None:
        told = read("response.created", response=response(metadata=None))
        assert told == (ModelResponseStarted("resp_1", "reply"),)

    def test_a_response_is_for_what_it_was_asked_for_to_the_end(self) -> None:
        reader = RealtimeReader()
        began = reader.read(message("response.created", response=response(metadata={"purpose": "transfer"})))
        ended = reader.read(message("response.done", response=response(status="completed")))
        assert began == (ModelResponseStarted("resp_1", "transfer"),)
        assert ended == (ModelResponseFinished("resp_1", "transfer", "completed"),)

    @pytest.mark.parametrize("metadata", [{}, {"purpose": "world domination"}, {"topic": "summary"}])
    def test_a_purpose_that_is_not_ours_is_a_reply(self, metadata: dict[str, str]) -> None:
        assert read("response.created", response=response(metadata=metadata)) == (
            ModelResponseStarted("resp_1", "reply"),
        )

    def test_voice_comes_as_bytes(self) -> None:
        delta = base64.b64encode(b"\xff\x7f\x00").decode()
        assert read("response.output_audio.delta", **SPOKEN, delta=delta) == (
            ModelAudio("resp_1", "item_1", b"\xff\x7f\x00"),
        )

    def test_no_voice_is_nothing(self) -> None:
        assert read("response.output_audio.delta", **SPOKEN, delta="") == ()

    def test_the_end_of_an_items_voice_is_told(self) -> None:
        assert read("response.output_audio.done", **SPOKEN) == (ModelAudioFinished("resp_1", "item_1"),)

    def test_what_is_said_comes_in_pieces_and_then_whole(self) -> None:
        assert read("response.output_audio_transcript.delta", **SPOKEN, delta="Hel") == (
            ModelSaid("resp_1", "item_1", "Hel"),
        )
        assert read("response.output_audio_transcript.done", **SPOKEN, transcript="Hello.") == (
            ModelSaid("resp_1", "item_1", "Hello.", final=True),
        )

    @pytest.mark.parametrize("reason", ["turn_detected", "client_cancelled"])
    def test_a_cancelled_response_says_why(self, reason: str) -> None:
        details = {"type": "cancelled", "reason": reason}
        assert read("response.done", response=response(status="cancelled", status_details=details)) == (
            ModelResponseFinished("resp_1", "reply", "cancelled", code=reason),
        )

    def test_an_incomplete_response_says_why(self) -> None:
        details = {"type": "incomplete", "reason": "max_output_tokens"}
        assert read("response.done", response=response(status="incomplete", status_details=details)) == (
            ModelResponseFinished("resp_1", "reply", "incomplete", code="max_output_tokens"),
        )

    def test_a_rate_limited_response_says_how_long_to_wait(self) -> None:
        error = {"type": "tokens", "code": "rate_limit_exceeded", "message": "Please try again in 1.2s. Visit …"}
        details = {"type": "failed", "error": error}
        assert read("response.done", response=response(status="failed", status_details=details)) == (
            ModelResponseFinished("resp_1", "reply", "failed", code="rate_limit_exceeded", retry_after_ms=1200),
        )

    def test_a_response_that_failed_as_every_other_would_is_permanent(self) -> None:
        error = {"type": "insufficient_quota", "code": "insufficient_quota", "message": "You exceeded your quota."}
        details = {"type": "failed", "error": error}
        assert read("response.done", response=response(status="failed", status_details=details)) == (
            ModelResponseFinished("resp_1", "reply", "failed", code="insufficient_quota", permanent=True),
        )

    def test_a_response_that_failed_without_a_word_failed_all_the_same(self) -> None:
        assert read("response.done", response=response(status="failed", status_details=None)) == (
            ModelResponseFinished("resp_1", "reply", "failed", code="unknown"),
        )

    def test_remembered_purposes_are_bounded(self) -> None:
        reader = RealtimeReader()
        for i in range(PURPOSES_KEPT + 1):
            began = response(f"resp_{i}", metadata={"purpose": "greeting"})
            reader.read(message("response.created", response=began))
        ended = [
            reader.read(message("response.done", response=response(f"resp_{i}", status="completed"))) for i in (0, 1)
        ]
        assert [event.purpose for (event,) in ended if isinstance(event, ModelResponseFinished)] == [
            "reply",
            "greeting",
        ]


class TestTools:
    def test_a_finished_call_is_told(self) -> None:
        told = read("response.output_item.done", response_id="resp_1", output_index=0, item=tool_call())
        assert told == (ModelToolCalled("resp_1", "item_2", "call_1", "transfer_to_person", '{"reason":"billing"}'),)

    def test_a_call_that_was_cut_short_is_not_made(self) -> None:
        told = read("response.output_item.done", response_id="resp_1", output_index=0, item=tool_call("incomplete"))
        assert told == ()

    def test_arguments_alone_are_not_a_call(self) -> None:
        fields = {"response_id": "resp_1", "item_id": "item_2", "output_index": 0, "call_id": "call_1"}
        told = read("response.function_call_arguments.done", **fields, name="transfer_to_person", arguments='{"rea')
        assert told == ()

    def test_a_finished_message_is_no_call(self) -> None:
        item = {
            "id": "item_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_audio"}],
        }
        assert read("response.output_item.done", response_id="resp_1", output_index=0, item=item) == ()

    @pytest.mark.parametrize("missing", ["id", "call_id", "name", "arguments"])
    def test_a_call_that_cannot_be_answered_is_refused(self, missing: str) -> None:
        item = tool_call() | {missing: None}
        with pytest.raises(WireError, match="tool call"):
            RealtimeReader().read(
                json.dumps({"type": "response.output_item.done", "response_id": "resp_1", "item": item})
            )


class TestSummary:
    """The written summary runs beside the conversation, and must never be heard in it."""

    @pytest.fixture
    def reader(self) -> RealtimeReader:
        reader = RealtimeReader()
        began = response(metadata={"purpose": "summary"}, conversation_id=None)
        assert reader.read(message("response.created", response=began)) == (ModelResponseStarted("resp_1", "summary"),)
        return reader

    def test_its_text_comes_when_it_is_done(self, reader: RealtimeReader) -> None:
        item = {
            "id": "item_9", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Wants a refund"}, {"type": "output_text", "text": "."}],
        }  # fmt: skip
        done = response(status="completed", output=[item], metadata={"purpose": "summary"})
        assert reader.read(message("response.done", response=done)) == (
            ModelResponseFinished("resp_1", "summary", "completed", text="Wants a refund."),
        )

    def test_nothing_of_it_is_spoken_or_done_not_even_late(self, reader: RealtimeReader) -> None:
        for _ in range(2):
            assert reader.read(message("response.output_audio.delta", **SPOKEN, delta="//8=")) == ()
            assert reader.read(message("response.output_audio.done", **SPOKEN)) == ()
            assert reader.read(message("response.output_audio_transcript.delta", **SPOKEN, delta="x")) == ()
            assert reader.read(message("response.output_audio_transcript.done", **SPOKEN, transcript="x")) == ()
            assert reader.read(message("response.output_text.delta", **SPOKEN, delta="x")) == ()
            assert reader.read(message("response.output_text.done", **SPOKEN, text="x")) == ()
            call = message("response.output_item.done", response_id="resp_1", output_index=0, item=tool_call())
            assert reader.read(call) == ()
            reader.read(message("response.done", response=response(status="completed")))

    def test_the_spoken_response_beside_it_is_heard(self, reader: RealtimeReader) -> None:
        other = SPOKEN | {"response_id": "resp_2"}
        assert reader.read(message("response.output_audio.delta", **other, delta="/w==")) == (
            ModelAudio("resp_2", "item_1", b"\xff"),
        )

    def test_the_transcript_of_speech_is_not_written_output(self) -> None:
        item = {
            "id": "item_9", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_audio", "transcript": "Hello."}],
        }  # fmt: skip
        told = read("response.done", response=response(status="completed", output=[item]))
        assert told == (ModelResponseFinished("resp_1", "reply", "completed"),)


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "null",
            "[]",
            '{"type":7}',
            '{"type":"error"}',
            '{"type":"error","error":"bad"}',
            '{"type":"response.output_audio.delta"}',
            '{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":null}',
            '{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"not base64"}',
            '{"type":"response.created","response":{}}',
            '{"type":"response.done","response":{"id":"r","status":"in_progress"}}',
            '{"type":"response.done","response":{"id":"r","status":"completed","output":' + "[" * 100_000,
            "[" * 100_000,
        ],
    )
    def test_it_is_refused(self, text: str) -> None:
        with pytest.raises(WireError):
            RealtimeReader().read(text)

    def test_types_we_do_not_know_are_counted_under_a_bounded_number_of_names(self) -> None:
        reader = RealtimeReader()
        for i in range(1_000):
            assert reader.read(json.dumps({"type": f"new.kind.{i}"})) == ()
        reader.read(json.dumps({"type": "x" * 100_000}))
        assert len(reader.unknown) == limits.UNKNOWN_NAMES
        assert sum(reader.unknown.values()) == 1_001
        assert reader.unknown["new.kind.0"] == 1

    def test_documented_types_that_we_do_not_need_are_not_counted(self) -> None:
        reader = RealtimeReader()
        assert reader.read(message("input_audio_buffer.cleared")) == ()
        assert reader.unknown == {}


class TestLimits:
    LEFT = message(
        "rate_limits.updated",
        rate_limits=[
            {"name": "requests", "limit": 400, "remaining": 399, "reset_seconds": 0.3},
            {"name": "tokens", "limit": 200_000, "remaining": 50_000, "reset_seconds": 45.0},
        ],
    )

    def test_what_is_left_of_the_account_s_limits_is_told_and_no_news_to_the_call(self) -> None:
        told: dict[str, float] = {}
        assert RealtimeReader(told.__setitem__).read(self.LEFT) == ()
        assert told == {"requests": 0.9975, "tokens": 0.25}

    def test_nobody_needs_to_listen(self) -> None:
        assert RealtimeReader().read(self.LEFT) == ()

    def test_limits_that_cannot_be_read_are_no_bad_message(self) -> None:
        told: dict[str, float] = {}
        assert RealtimeReader(told.__setitem__).read('{"type":"rate_limits.updated","rate_limits":7}') == ()
        assert told == {}


class TestTheSocket:
    @pytest.mark.parametrize(
        ("status", "permanent"), [(401, True), (403, True), (404, True), (429, False), (500, False)]
    )
    def test_a_refused_handshake(self, status: int, permanent: bool) -> None:
        assert handshake_refused(status) == ModelLost(f"http_{status}", permanent=permanent)

    @pytest.mark.parametrize(
        ("code", "reason", "lost"),
        [
            (1000, "", ModelLost("closed_1000")),
            (1001, "Your session hit the maximum duration of 60 minutes.", ModelLost("closed_1001")),
            (1006, "", ModelLost("closed_1006")),
            (1011, "keepalive ping timeout", ModelLost("closed_1011")),
            (
                4000,
                "invalid_request_error.missing_model",
                ModelLost("closed_4000:invalid_request_error.missing_model", permanent=True),
            ),
            (
                4000,
                "invalid_request_error.something_new",
                ModelLost("closed_4000:invalid_request_error.something_new", permanent=True),
            ),
            (
                4000,
                "insufficient_quota.insufficient_quota",
                ModelLost("closed_4000:insufficient_quota.insufficient_quota", permanent=True),
            ),
            (
                4000,
                "invalid_request_error.session_expired",
                ModelLost("closed_4000:invalid_request_error.session_expired", permanent=False),
            ),
            (4000, "server_error.overloaded", ModelLost("closed_4000:server_error.overloaded", permanent=False)),
            (4000, "the caller said 4111", ModelLost("closed_4000:unknown", permanent=False)),
            (4000, "", ModelLost("closed_4000", permanent=False)),
        ],
    )
    def test_a_closed_session(self, code: int, reason: str, lost: ModelLost) -> None:
        assert session_closed(code, reason) == lost


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("Rate limit reached. Please try again in 166ms.", 166),
        ("Please try again in 1.2s.", 1200),
        ("Try again in 20s, or later", 20_000),
        ("Please try again in 6m0s.", 360_000),
        ("Please try again in 1h2m3.5s", 3_723_500),
        ("Please try again in 20 seconds.", None),
        ("Please try again later.", None),
        ("Limit 10 in 3months", None),
        ("in 99999999999999999999999999s", None),
        ("", None),
    ],
)
def test_the_wait_is_read_from_the_words(text: str, ms: int | None) -> None:
    assert retry_after_ms(text) == ms
