import msgspec
import pytest

from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.strict_json import decode, decode_known


class Greeting(msgspec.Struct, tag_field="kind", tag="greeting"):
    words: str


class Head(msgspec.Struct):
    kind: str


GREETING = msgspec.json.Decoder(Greeting)
HEAD = msgspec.json.Decoder(Head)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{",
        '{"kind":"greeting","words":7}',
        '{"kind":"secret-kind","words":"hello"}',
        '{"kind":"greeting","more":' + "[" * 60_000,
        '{"kind":"greeting","words":"\\ud800"}',
        '{"kind":"greeting","words":"\ud800"}',
        b'{"kind":"greeting","words":"\xff"}',
    ],
)
def test_whatever_is_wrong_shows_as_one_error_that_repeats_nothing(text: str | bytes) -> None:
    with pytest.raises(WireError) as error:
        decode(GREETING, text, "a greeting")
    assert str(error.value) == "a greeting is not JSON of the documented shape"
    assert error.value.__suppress_context__


def test_a_kind_that_is_not_known_is_named_and_its_fields_are_not_looked_at() -> None:
    assert decode_known(GREETING, HEAD, {"greeting"}, '{"kind":"farewell","words":7}', "a word") == "farewell"


def test_a_known_kind_with_wrong_fields_is_an_error() -> None:
    with pytest.raises(WireError):
        decode_known(GREETING, HEAD, {"greeting"}, '{"kind":"greeting","words":7}', "a word")
