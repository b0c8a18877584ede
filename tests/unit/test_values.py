from collections.abc import Callable

import pytest

from voice_openai_connect import values
from voice_openai_connect.wire.openai_models import DEAD_MODELS, DEAD_VOICES, VOICES


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("https://voice.example.com", "scheme"),
        ("voice.example.com/twilio", "path"),
        ("voice.example.com:8443", "port"),
        ("me:secret@voice.example.com", "user name"),
        ("192.0.2.7", "IP address"),
        ("192.0.2.7:8000", "IP address"),
        ("2001:db8::1", "IP address"),
        ("[2001:db8::1]", "IP address"),
        ("localhost", "not a host name"),
        ("voice.example.123", "not a host name"),
        ("voice..example.com", "not a host name"),
        ("-voice.example.com", "not a host name"),
        ("voice.example.com\n", None),
        ("voice.exam ple.com", "not a host name"),
        ("a." * 130 + "com", "not a host name"),
        ("büro.example.com", "xn--"),
    ],
)
def test_a_public_host_is_a_bare_name(given: str, complaint: str | None) -> None:
    if complaint is None:
        assert values.public_host(given) == given.strip()
        return
    with pytest.raises(ValueError, match=complaint):
        values.public_host(given)


def test_a_public_host_is_written_in_lower_case() -> None:
    assert values.public_host(" Voice.Example.COM ") == "voice.example.com"


@pytest.mark.parametrize("given", ["http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8000"])
def test_http_is_for_this_machine(given: str) -> None:
    assert values.public_host(given) == given


@pytest.mark.parametrize(
    "given",
    [
        "http://voice.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@voice.example.com",
        "http://192.168.1.1:8000",
        "http://",
    ],
)
def test_http_is_for_no_other_machine(given: str) -> None:
    with pytest.raises(ValueError, match="this machine only"):
        values.public_host(given)


@pytest.mark.parametrize("tail", ["/", "/twilio", "?a=b", "#here"])
def test_a_loopback_host_ends_after_its_port(tail: str) -> None:
    with pytest.raises(ValueError, match="end after the port"):
        values.public_host(f"http://127.0.0.1:8000{tail}")


@pytest.mark.parametrize("given", ["http://127.0.0.1:9/v1", "http://model:8080", "https://api.openai.com/v1"])
def test_a_service_is_reached_over_https_or_where_nobody_can_listen(given: str) -> None:
    assert values.service_url(given + "/") == given


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("http://api.openai.com/v1", "in the clear"),
        ("api.openai.com", "not an address"),
        ("ftp://api.openai.com", "not an address"),
        ("https://", "not an address"),
        ("https://me:secret@api.openai.com", "user name or password"),
        ("https://api.openai.com?key=1", "base address"),
        ("https://api.openai.com:port", "not an address"),
    ],
)
def test_an_address_that_is_none_is_refused(given: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        values.service_url(given)


def test_twilio_s_dead_regional_hosts_are_refused_with_the_living_one() -> None:
    with pytest.raises(ValueError, match=r"https://api\.sydney\.au1\.twilio\.com"):
        values.twilio_url("https://api.au1.twilio.com")


@pytest.mark.parametrize("host", ["api.twilio.com", "api.us1.twilio.com", "api.sydney.au1.twilio.com"])
def test_twilio_s_living_hosts_are_taken(host: str) -> None:
    assert values.twilio_url(f"https://{host}/") == f"https://{host}"


def test_a_phone_number_may_be_written_for_people() -> None:
    assert values.phone_number(" +61 (2) 5550-1234 ") == "+61255501234"


@pytest.mark.parametrize(
    "given", ["0255501234", "61255501234", "", "+", "+999123456", "+6125", "+612555012345678", "+61x"]
)
def test_what_cannot_be_dialled_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(ValueError, match=r"as in \+61255501234"):
        values.phone_number(given)


def test_an_extension_is_no_part_of_a_number_to_dial() -> None:
    with pytest.raises(ValueError, match="number of digits"):
        values.phone_number("+61255501234 ext. 5")


def test_a_range_that_nobody_has_is_known_to_be_unused() -> None:
    assert values.is_known_number("+61255501234")
    assert not values.is_known_number("+15551234567")


@pytest.mark.parametrize("model", sorted(DEAD_MODELS))
def test_a_dead_model_is_refused_with_its_successor(model: str) -> None:
    with pytest.raises(ValueError, match=f"Use {DEAD_MODELS[model]}"):
        values.realtime_model(model)


def test_a_model_of_the_other_api_is_refused() -> None:
    with pytest.raises(ValueError, match="another protocol"):
        values.realtime_model("gpt-live-1")


def test_a_transcriber_that_no_conversation_may_have_is_refused() -> None:
    with pytest.raises(ValueError, match="Use gpt-transcribe"):
        values.transcription_model("gpt-live-transcribe")


def test_a_model_that_we_have_never_heard_of_is_taken() -> None:
    assert values.realtime_model("gpt-realtime-9") == "gpt-realtime-9"
    assert values.transcription_model("gpt-transcribe-9") == "gpt-transcribe-9"


@pytest.mark.parametrize("voice", sorted(DEAD_VOICES))
def test_a_dead_voice_is_refused_with_another(voice: str) -> None:
    with pytest.raises(ValueError, match=f"Use {DEAD_VOICES[voice]}"):
        values.realtime_voice(voice)


def test_a_misspelt_voice_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean marin"):
        values.realtime_voice("Marine")


@pytest.mark.parametrize("voice", sorted(VOICES))
def test_every_living_voice_is_taken(voice: str) -> None:
    assert values.realtime_voice(voice) == voice


@pytest.mark.parametrize(
    "check",
    [
        values.public_host,
        values.service_url,
        values.phone_number,
        values.realtime_model,
        values.transcription_model,
        values.realtime_voice,
    ],
)
def test_no_complaint_repeats_the_value(check: Callable[[str], str]) -> None:
    secret = "sk-proj-VeryPrivate!"
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (each has its own words)
        check(secret)
    assert "Private" not in str(caught.value)
