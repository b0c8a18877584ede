import json
from typing import Any, get_args

import pytest
from openai.types.realtime import RateLimitsUpdatedEvent, RealtimeServerEvent

from voice_openai_connect.wire.openai_messages import (
    PASSED_OVER,
    USED,
    AudioDelta,
    RateLimits,
    decode_message,
    limits_left,
)


def official_types() -> set[str]:
    """Every `type` that OpenAI's own client knows a server message by."""
    union: Any = get_args(RealtimeServerEvent)[0]
    return {name for event in get_args(union) for name in get_args(event.model_fields["type"].annotation)}


def test_every_documented_type_is_used_or_passed_over_on_purpose() -> None:
    assert official_types() == USED | PASSED_OVER


def test_no_type_is_both() -> None:
    assert not USED & PASSED_OVER


def test_nothing_of_the_beta_protocol_is_used() -> None:
    assert not {"response.audio.delta", "response.audio_transcript.delta", "response.text.delta"} & (USED | PASSED_OVER)


def test_base64_is_decoded_on_the_way() -> None:
    message = decode_message('{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"//8="}')
    assert message == AudioDelta("r", "i", b"\xff\xff")


def test_of_another_type_only_the_name_is_read() -> None:
    for kind in (*PASSED_OVER, "not.yet.documented"):
        assert decode_message(f'{{"type":"{kind}","item_id":7,"rate_limits":"anything"}}') == kind


def left(rate_limits: Any) -> dict[str, float]:
    message = decode_message(json.dumps({"type": "rate_limits.updated", "event_id": "e", "rate_limits": rate_limits}))
    assert isinstance(message, RateLimits)
    return limits_left(message)


def test_of_each_limit_the_share_that_is_left_is_told() -> None:
    told = [
        {"name": "requests", "limit": 400, "remaining": 100, "reset_seconds": 0.3},
        {"name": "tokens", "limit": 200_000, "remaining": 0, "reset_seconds": 60.0},
    ]
    RateLimitsUpdatedEvent.model_validate(
        {"type": "rate_limits.updated", "event_id": "e", "rate_limits": told}, strict=True
    )

    assert left(told) == {"requests": 0.25, "tokens": 0.0}


@pytest.mark.parametrize(
    ("limit", "remaining", "share"), [(10, 11, 1.0), (10, -1, 0.0), (1e300, 1, 1e-300), (0.5, 0.25, 0.5)]
)
def test_a_share_is_never_less_than_nothing_nor_more_than_all(limit: float, remaining: float, share: float) -> None:
    assert left([{"name": "tokens", "limit": limit, "remaining": remaining}]) == {"tokens": share}


def test_a_limit_that_is_not_told_whole_hides_no_other() -> None:
    whole = {"name": "tokens", "limit": 10, "remaining": 5}
    parts = [{}, {"name": "a", "limit": 1}, {"name": "b", "remaining": 1}, {"name": "c", "limit": 0, "remaining": 0}]

    assert left([*parts, whole, {"limit": 1, "remaining": 1}]) == {"tokens": 0.5}


@pytest.mark.parametrize("nonsense", [None, 7, "anything", {}, [7], [{"name": 7}], [{"name": "tokens", "limit": "x"}]])
def test_limits_that_cannot_be_read_are_none(nonsense: Any) -> None:
    assert left(nonsense) == {}
