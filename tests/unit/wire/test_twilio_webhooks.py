from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from twilio.request_validator import RequestValidator  # pyright: ignore[reportMissingTypeStubs]

from voice_openai_connect import limits
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.twilio_webhooks import (
    DialResult,
    Form,
    VoiceRequest,
    dial_result,
    signature_algorithm,
    signature_is_valid,
    tried_again,
    voice_request,
)

CALL = "CA" + "0123456789abcdef" * 2
ACCOUNT = "AC" + "f" * 32
URL = "https://voice.example.com/twilio/voice?attempt=1&name=J%C3%BCrgen"
SECRET = "an auth token"
FIELDS = {"CallSid": CALL, "AccountSid": ACCOUNT, "From": "+14155550123", "To": "+14155550100", "Körper": "été"}
HASHES: dict[Literal["sha1", "sha256"], str] = {"sha1": "HMAC_SHA1", "sha256": "HMAC_SHA256"}


def test_how_often_an_address_is_tried_stands_in_its_fragment_which_no_server_is_sent() -> None:
    address = urlsplit(f"https://voice.example.com/twilio/next{tried_again(3)}")

    assert parse_qs(address.fragment) == {"ct": ["1000"], "rt": ["4000"], "rc": ["3"], "rp": ["ct,rt,5xx"]}
    assert (address.path, address.query) == ("/twilio/next", "")


def form(fields: Mapping[str, str] | Sequence[tuple[str, str]]) -> Form:
    return Form.parse(urlencode(fields).encode())


def twilio_signs(secret: str, url: str, fields: Any, algorithm: Literal["sha1", "sha256"] = "sha1") -> str:
    """What Twilio's own library would put into the header."""
    return RequestValidator(secret).compute_signature(url, fields, HASHES[algorithm])  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def twilio_accepts(secret: str, url: str, fields: Any, signature: str) -> bool:
    return bool(RequestValidator(secret).validate(url, fields, signature))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


class TestForm:
    def test_the_first_value_of_a_name_is_its_value(self) -> None:
        posted = Form.parse(b"a=1&b=2&a=3&empty=")
        assert (posted["a"], posted.get("b"), posted.get("empty", "x"), posted.get("none", "x")) == ("1", "2", "", "x")
        assert posted.getall("a") == ["1", "3"]
        assert posted.getall("none") == []
        assert "a" in posted
        assert "none" not in posted

    def test_a_name_that_was_not_posted_is_a_key_error(self) -> None:
        with pytest.raises(KeyError):
            Form.parse(b"a=1")["b"]

    def test_an_empty_body_is_an_empty_form(self) -> None:
        assert Form.parse(b"").names() == []

    def test_plus_and_percent_are_decoded(self) -> None:
        assert Form.parse(b"From=%2B14155550123&Name=J%C3%BCrgen+B")["From"] == "+14155550123"
        assert Form.parse(b"From=%2B14155550123&Name=J%C3%BCrgen+B")["Name"] == "Jürgen B"

    @pytest.mark.parametrize(
        "body",
        [
            b"a",
            b"a=1&b",
            b"a=1&&b=2",
            b"a=%FF",
            b"a=\xff",
            b"a=1&" * limits.WEBHOOK_FIELDS + b"a=1",
            b"a=" + b"x" * limits.WEBHOOK_BODY_BYTES,
        ],
    )
    def test_a_malformed_or_oversize_form_is_refused(self, body: bytes) -> None:
        with pytest.raises(WireError) as error:
            Form.parse(body)
        assert "xxx" not in str(error.value)

    def test_as_many_fields_as_agreed_are_fine(self) -> None:
        assert len(Form.parse(b"&".join(b"f%d=1" % i for i in range(limits.WEBHOOK_FIELDS))).names()) == 100

    def test_values_are_not_shown_when_a_form_is_printed(self) -> None:
        assert "14155550123" not in repr(form(FIELDS))


class TestSignature:
    def test_the_documented_vector_is_accepted(self) -> None:
        fields = {
            "CallSid": "CA1234567890ABCDE",
            "Caller": "+14158675309",
            "Digits": "1234",
            "From": "+14158675309",
            "To": "+18005551212",
        }
        url = "https://mycompany.com/myapp.php?foo=1&bar=2"
        assert signature_is_valid("RSOYDt4T1cUTdK1PDd93/VVr8B8=", url, form(fields), ["12345"])

    @pytest.mark.parametrize("algorithm", HASHES)
    def test_what_twilio_signs_is_accepted(self, algorithm: Literal["sha1", "sha256"]) -> None:
        signature = twilio_signs(SECRET, URL, FIELDS, algorithm)
        assert signature_is_valid(signature, URL, form(FIELDS), [SECRET], algorithm)
        assert not signature_is_valid(
            signature, URL, form(FIELDS), [SECRET], "sha1" if algorithm == "sha256" else "sha256"
        )

    def test_repeated_fields_are_counted_as_twilio_counts_them(self) -> None:
        posted = form([("b", "2"), ("a", "z"), ("a", "y"), ("a", "z"), ("", "")])
        signature = twilio_signs(SECRET, URL, MultiDict(posted))
        assert signature_is_valid(signature, URL, posted, [SECRET])

    @pytest.mark.parametrize(
        ("signed", "checked", "accepted"),
        [
            ("https://h.example.com/v", "https://h.example.com:443/v", True),
            ("https://h.example.com:443/v", "https://h.example.com/v", True),
            ("https://h.example.com:8443/v", "https://h.example.com:8443/v", True),
            ("https://h.example.com/v", "https://h.example.com:8443/v", True),
            ("https://h.example.com:8443/v", "https://h.example.com/v", False),
            ("http://h.example.com:80/v", "http://h.example.com/v", True),
            ("https://h.example.com/v/", "https://h.example.com/v", False),
            ("https://h.example.com/w", "https://h.example.com/v", False),
            ("http://h.example.com/v", "https://h.example.com/v", False),
            ("https://g.example.com/v", "https://h.example.com/v", False),
        ],
    )
    def test_urls_are_compared_as_twilios_own_validator_does(self, signed: str, checked: str, accepted: bool) -> None:
        signature = twilio_signs(SECRET, signed, FIELDS)
        assert signature_is_valid(signature, checked, form(FIELDS), [SECRET]) is accepted
        assert twilio_accepts(SECRET, checked, FIELDS, signature) is accepted

    def test_the_handshake_is_signed_by_its_wss_url_alone(self) -> None:
        url = "wss://voice.example.com/twilio/stream/a-ticket"
        signature = twilio_signs(SECRET, url, {})
        assert signature_is_valid(signature, url, None, [SECRET])
        assert not signature_is_valid(signature, url.replace("wss", "https"), None, [SECRET])
        assert signature_is_valid(
            twilio_signs(SECRET, "wss://voice.example.com:443/twilio/stream/a-ticket", {}), url, None, [SECRET]
        )

    def test_the_fragment_of_a_url_is_not_signed(self) -> None:
        signature = twilio_signs(SECRET, URL, FIELDS)
        assert signature_is_valid(signature, URL + "#rc=3&rp=all", form(FIELDS), [SECRET])

    def test_any_of_the_live_secrets_will_do(self) -> None:
        signature = twilio_signs("new", URL, FIELDS)
        assert signature_is_valid(signature, URL, form(FIELDS), ["old", "new"])
        assert signature_is_valid(signature, URL, form(FIELDS), ["new", "old"])
        assert not signature_is_valid(signature, URL, form(FIELDS), ["old"])
        assert not signature_is_valid(signature, URL, form(FIELDS), [])

    def test_an_empty_secret_opens_nothing(self) -> None:
        assert not signature_is_valid(twilio_signs("", URL, FIELDS), URL, form(FIELDS), ["", SECRET])

    def test_one_changed_byte_anywhere_is_refused(self) -> None:
        signature = twilio_signs(SECRET, URL, FIELDS)
        for i in range(len(signature)):
            other = signature[:i] + ("A" if signature[i] != "A" else "B") + signature[i + 1 :]
            assert not signature_is_valid(other, URL, form(FIELDS), [SECRET])
        for i in range(len(URL)):
            assert not signature_is_valid(signature, URL[:i] + "~" + URL[i + 1 :], form(FIELDS), [SECRET])
        for name, value in FIELDS.items():
            assert not signature_is_valid(signature, URL, form(FIELDS | {name: value + "x"}), [SECRET])
            assert not signature_is_valid(
                signature, URL, form({k: v for k, v in FIELDS.items() if k != name}), [SECRET]
            )
        assert not signature_is_valid(signature, URL, form(FIELDS | {"Extra": "1"}), [SECRET])
        assert not signature_is_valid(signature, URL, None, [SECRET])

    @pytest.mark.parametrize("signature", [None, "", "ÿ", "\ud800", "x" * 10_000])
    @pytest.mark.parametrize("url", [URL, "", "https://h:99999/x", "https://[::1", "not a url", "https://\ud800/"])
    def test_nothing_makes_it_raise(self, signature: str | None, url: str) -> None:
        assert not signature_is_valid(signature, url, form(FIELDS), [SECRET, "\ud800"])


class MultiDict(dict[str, str]):
    """What Flask hands to Twilio's validator."""

    def __init__(self, posted: Form) -> None:
        super().__init__({name: posted[name] for name in posted.names()})
        self.getall = posted.getall


class TestAlgorithm:
    @pytest.mark.parametrize(
        ("header", "algorithm"),
        [
            (None, "sha1"),
            ("", "sha1"),
            ("key=webhooks_sharedkey_1", "sha1"),
            ("key=webhooks_sharedkey_1,algorithm=HMAC_SHA1", "sha1"),
            ("key=webhooks_sharedkey_1, algorithm = hmac_sha256 ", "sha256"),
            ("algorithm=HMAC_SHA256,key=1", "sha256"),
            ("key=1,algorithm=HMAC_SHA512", None),
            ("algorithm=none", None),
        ],
    )
    def test_the_header_names_it(self, header: str | None, algorithm: str | None) -> None:
        assert signature_algorithm(header) == algorithm


class TestVoiceRequest:
    def test_a_call_is_read(self) -> None:
        request = voice_request(form(FIELDS | {"CallStatus": "ringing"}))
        assert request == VoiceRequest(CALL, ACCOUNT, "+14155550123", "+14155550100", "ringing")

    @pytest.mark.parametrize(
        "caller",
        [
            "",
            "anonymous",
            "Anonymous",
            "Restricted",
            "unavailable",
            "+266696687",
            "+7378742833",
            "+2562533",
            "+8656696",
            "+86282452253",
            "464",
            "+464",
            "14155550123",
            "+04155550123",
            "+14155550123 ",
            "+1415555012345678",
            "+١٤١٥٥٥٥٠١٢٣",
            "sip:+14155550123@example.com",
            "client:alice",
        ],
    )
    def test_a_withheld_number_is_no_number(self, caller: str) -> None:
        assert voice_request(form(FIELDS | {"From": caller})).caller == ""

    def test_a_missing_number_is_no_number(self) -> None:
        assert voice_request(form({"CallSid": CALL})) == VoiceRequest(CALL, "", "", "", "")

    def test_a_status_that_is_not_known_is_none(self) -> None:
        assert voice_request(form(FIELDS | {"CallStatus": "dreaming"})).status == ""

    @pytest.mark.parametrize("sid", ["", "CA", CALL.upper(), CALL + "0", CALL + "\n", "CB" + CALL[2:], "CA" + "g" * 32])
    def test_a_webhook_without_a_call_is_refused(self, sid: str) -> None:
        with pytest.raises(WireError, match="CallSid"):
            voice_request(form(FIELDS | {"CallSid": sid}))
        with pytest.raises(WireError, match="CallSid"):
            dial_result(form(FIELDS | {"CallSid": sid}))


class TestDialResult:
    def test_a_dial_is_read(self) -> None:
        posted = {"CallSid": CALL, "DialCallStatus": "completed", "DialCallDuration": "61", "DialBridged": "true"}
        assert dial_result(form(posted)) == DialResult(CALL, "completed", 61, bridged=True)

    @pytest.mark.parametrize("status", ["completed", "answered", "busy", "no-answer", "failed", "canceled"])
    def test_every_documented_status_is_read(self, status: str) -> None:
        posted = {"CallSid": CALL, "DialCallStatus": status, "DialBridged": "False"}
        assert dial_result(form(posted)) == DialResult(CALL, status, None, bridged=False)

    @pytest.mark.parametrize("duration", ["", "-1", "1.5", "soon", "9" * 5_000, "٣"])
    def test_what_is_missing_or_strange_is_unknown(self, duration: str) -> None:
        posted = {"CallSid": CALL, "DialCallStatus": "exploded", "DialCallDuration": duration, "DialBridged": "maybe"}
        assert dial_result(form(posted)) == DialResult(CALL, "unknown", None, None)
