import pytest

from voice_openai_connect.simulator.carrier_twiml import (
    Connect,
    Dial,
    Document,
    Hangup,
    Pause,
    Play,
    Redirect,
    Reject,
    Say,
    Stream,
    TwimlError,
    read,
    stream_address,
)

URL = "https://voice.example.com/twilio/voice"


def parse(inner: str) -> Document:
    return read(f'<?xml version="1.0"?><Response>{inner}</Response>'.encode(), "text/xml; charset=utf-8", URL)


def refusal(inner: str) -> TwimlError:
    with pytest.raises(TwimlError) as refused:
        parse(inner)
    return refused.value


def test_a_stream_with_its_parameters_is_read() -> None:
    document = parse(
        '<Connect action="/next"><Stream url="wss://voice.example.com/twilio/stream/t1">'
        '<Parameter name="call" value="a &amp; b"/></Stream></Connect>'
    )
    stream = Stream("wss://voice.example.com/twilio/stream/t1", {"call": "a & b"})
    assert document.verbs == (Connect(stream, "/next"),)
    assert document.warnings == ()
    assert document.resolve("/next") == "https://voice.example.com/next"


def test_a_dial_with_digits_is_read() -> None:
    document = parse(
        '<Dial action="/dialled" timeout="20" callerId="+15550001">'
        '<Number sendDigits="wwww123#">+15550100</Number></Dial>'
    )
    assert document.verbs == (Dial("+15550100", "wwww123#", "/dialled", timeout_s=20, caller_id="+15550001"),)


def test_the_small_verbs_are_read() -> None:
    document = parse(
        '<Say language="de-DE">Guten Tag</Say><Pause length="3"/><Pause/><Play digits="12"/>'
        '<Redirect method="get">/x</Redirect>'
    )
    assert document.verbs == (Say("Guten Tag", "de-DE"), Pause(3), Pause(1), Play("12"), Redirect("/x", "GET"))
    assert parse("<Hangup/>").verbs == (Hangup(),)
    assert parse('<Reject reason="busy"/>').verbs == (Reject("busy"),)


@pytest.mark.parametrize(("written", "seconds"), [("1", 5), ("5", 5), ("600", 600), ("9000", 600)])
def test_a_dials_timeout_is_held_between_five_seconds_and_ten_minutes(written: str, seconds: int) -> None:
    (dial,) = parse(f'<Dial timeout="{written}">+15550100</Dial>').verbs
    assert isinstance(dial, Dial)
    assert dial.timeout_s == seconds


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ("<Sing/>", 12200),
        ("<Say></Say>", 12200),
        ('<Connect action="/next"/>', 12200),
        ("<Connect><Room>x</Room></Connect>", 12200),
        ("<Connect><Stream/></Connect>", 12200),
        ('<Connect><Stream url="wss://a/b"><Param/></Stream></Connect>', 12200),
        ('<Connect><Stream url="wss://a/b"><Parameter value="x"/></Stream></Connect>', 12200),
        (f'<Connect><Stream url="wss://a/b"><Parameter name="n" value="{"v" * 499}"/></Stream></Connect>', 12200),
        ("<Dial/>", 12200),
        ("<Dial>call me</Dial>", 13224),
        ('<Dial timeout="soon">+15550100</Dial>', 12200),
        ('<Dial method="PUT">+15550100</Dial>', 12200),
        ('<Dial><Number sendDigits="12x">+15550100</Number></Dial>', 12200),
        ("<Dial><Number>+15550100</Number><Number>+15550101</Number></Dial>", 12200),
        ("<Play>https://a/b.mp3</Play>", 12200),
        ('<Connect><Stream url="https://voice.example.com/s"/></Connect>', 31922),
        ('<Connect><Stream url="ws://voice.example.com/s"/></Connect>', 31922),
        ('<Connect><Stream url="wss://voice.example.com/s?token=1"/></Connect>', 31920),
        ('<Connect><Stream url="wss://"/></Connect>', 31923),
        ('<Connect><Stream url="wss://voice.example.com:port/s"/></Connect>', 31923),
        ('<Connect><Stream url="wss://voice.example.com/s#x"/></Connect>', 31923),
    ],
)
def test_what_twilio_would_not_carry_out_is_refused_with_its_number(inner: str, code: int) -> None:
    assert refusal(inner).code == code


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"<Response>", "text/xml", 12100),
        (b"", "text/xml", 12100),
        (b"<Answer/>", "text/xml", 12100),
        (b"<!DOCTYPE x><Response/>", "text/xml", 12100),
        (b"<Response/>", "application/json", 12300),
        (b"<Response/>", "", 12300),
        (b"<Response>" + b" " * 65_536 + b"</Response>", "text/xml", 11750),
    ],
)
def test_a_body_that_is_no_document_is_refused(body: bytes, content_type: str, code: int) -> None:
    with pytest.raises(TwimlError) as refused:
        read(body, content_type, URL)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("inner", "part"),
    [
        ('<Dial url="/whisper">+15550100</Dial>', "<Dial> has no attribute 'url'"),
        ('<Connect><Stream url="wss://a/b" audioFormat="hd"/></Connect>', "no attribute 'audioFormat'"),
        ("<Hangup/><Say>x</Say>", "nothing after <Hangup>"),
        ('<Dial action="/x">+15550100</Dial><Say>x</Say>', "nothing after <Dial>"),
        ('<Dial record="record-from-answer">+15550100</Dial>', "does not carry it out"),
        (f'<Dial><Number sendDigits="{"1" * 33}">+15550100</Number></Dial>', "more than 32"),
    ],
)
def test_what_twilio_would_pass_over_is_listed_as_a_warning(inner: str, part: str) -> None:
    (warning,) = parse(inner).warnings
    assert part in warning


def test_a_relative_stream_address_starts_at_the_document() -> None:
    assert stream_address("/twilio/stream/1", URL) == "wss://voice.example.com/twilio/stream/1"
    assert stream_address("/s", "http://127.0.0.1:8000/twilio/voice") == "ws://127.0.0.1:8000/s"
