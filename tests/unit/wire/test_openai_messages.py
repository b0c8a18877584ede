from typing import Any, get_args

from openai.types.realtime import RealtimeServerEvent

from voice_openai_connect.wire.openai_messages import PASSED_OVER, USED, AudioDelta, decode_message


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
