from voice_openai_connect.wire.errors import WireError


def test_whoever_catches_value_errors_catches_this_one() -> None:
    assert issubclass(WireError, ValueError)
