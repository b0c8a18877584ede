"""What people type into settings and profiles, checked: hosts, addresses, phone numbers, models, voices.

Every function returns the value in its one agreed spelling, or raises `ValueError` with a sentence that says what is
wrong and what to do. No sentence repeats the value: it may be a secret that was pasted into the wrong line.
"""

import ipaddress
import re
from difflib import get_close_matches
from typing import Final
from urllib.parse import SplitResult, urlsplit

import phonenumbers

from voice_openai_connect.wire.openai_models import DEAD_MODELS, DEAD_VOICES, VOICES

_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.(?!\d+$){_LABEL}")
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")

TWILIO_EDGES: Final = {
    "au1": "sydney",
    "br1": "sao-paulo",
    "de1": "frankfurt",
    "ie1": "dublin",
    "jp1": "tokyo",
    "sg1": "singapore",
    "us2": "umatilla",
}
"""Region → the edge in front of it. ``api.{region}.twilio.com`` stopped working on 2026-04-28 for all of these;
``api.{edge}.{region}.twilio.com`` is the form that stays."""


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(value: str) -> str:
    """A bare DNS name with at least one dot: no scheme, port, path, user, and no IP address. Lower case."""
    name = value.strip().lower()
    if "://" in name:
        raise ValueError("must be a bare host name. Leave out the scheme, as in voice.example.com")
    if "@" in name:
        raise ValueError("must be a bare host name. Leave out the user name and the @")
    if re.search(r"[/?#]", name):
        raise ValueError("must be a bare host name. Leave out the path, as in voice.example.com")
    if _is_ip_address(name):
        raise ValueError("is an IP address, which has no certificate. Give the host name")
    if ":" in name:
        raise ValueError("must be a bare host name. Leave out the port: 443 is implied")
    if len(name) > 253 or not _HOST_NAME.fullmatch(name):  # noqa: PLR2004  (RFC 1035)
        raise ValueError("is not a host name. Give one such as voice.example.com (international names as xn--…)")
    return name


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]").rsplit(":", 1)[0] if text.count(":") == 1 else text.strip("[]"))
    except ValueError:
        return False
    return True


def public_host(value: str) -> str:
    """Where Twilio reaches the gateway: a bare host name, or ``http://localhost:8000`` for tests on this machine."""
    if not value.strip().lower().startswith("http://"):
        return host_name(value)
    parts = _split(value)
    if not is_loopback(parts.hostname or ""):
        raise ValueError("may use http:// for this machine only. Give the bare host name; https is implied")
    return _bare_origin(parts)


def _bare_origin(parts: SplitResult) -> str:
    if parts.username or parts.path or parts.query or parts.fragment:
        raise ValueError("must end after the port, as in http://127.0.0.1:8000")
    return f"http://{parts.netloc.lower()}"


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value.strip())
        _ = parts.port  # raises if it is not a number
    except ValueError:
        raise ValueError("is not an address. Give one such as https://api.example.com") from None
    return parts


def service_url(value: str) -> str:
    """The base URL of an outside service, without a trailing slash.

    https, or http where nobody else can listen: this machine, or a name without a dot (a neighbour in a private
    network of containers).
    """
    parts = _split(value)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("is not an address. Give one such as https://api.example.com")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password. Leave out what is before the @")
    if parts.query or parts.fragment:
        raise ValueError("must be a base address. Leave out everything from the ? or # on")
    if parts.scheme == "http" and not (is_loopback(host) or "." not in host):
        raise ValueError("would send secrets in the clear. Use https://")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def twilio_url(value: str) -> str:
    """Twilio's REST address; the regional hosts that no longer exist are refused with the one to use."""
    url = service_url(value)
    dead = re.fullmatch(r"api\.([a-z]{2}\d)\.twilio\.com", urlsplit(url).hostname or "")
    if dead and (edge := TWILIO_EDGES.get(dead[1])):
        raise ValueError(f"names a host that Twilio has shut down. Use https://api.{edge}.{dead[1]}.twilio.com")
    return url


def phone_number(value: str) -> str:
    """A phone number in E.164. Spaces, hyphens and brackets are allowed and removed."""
    remedy = "Write + and the country code, as in +61255501234"
    if not value.strip().startswith("+"):
        raise ValueError(f"is not in E.164 form. {remedy}")
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        raise ValueError(f"is not a phone number. {remedy}") from None
    if number.extension or not phonenumbers.is_possible_number(number):
        raise ValueError(f"has a wrong number of digits, or an unknown country code. {remedy}")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_known_number(e164: str) -> bool:
    """Whether the numbering plan knows this range. New ranges come up, so a no is a warning and not an error."""
    return phonenumbers.is_valid_number(phonenumbers.parse(e164, None))


def realtime_model(value: str) -> str:
    """The name of a Realtime model that has not been shut down."""
    name = value.strip()
    if name in DEAD_MODELS:
        raise ValueError(f"names {name}, which OpenAI has shut down. Use {DEAD_MODELS[name]}")
    if name.startswith("gpt-live"):
        raise ValueError("names a model of OpenAI's Live API, which has another protocol. Use gpt-realtime-2.1")
    if not _MODEL_NAME.fullmatch(name):
        raise ValueError("is not the name of a model. Use gpt-realtime-2.1")
    return name


def transcription_model(value: str) -> str:
    """The name of a model that writes down what callers say while another speaks with them."""
    name = value.strip()
    if name.startswith("gpt-live"):
        raise ValueError("names a model that OpenAI refuses wherever turns are detected. Use gpt-transcribe")
    if not _MODEL_NAME.fullmatch(name):
        raise ValueError("is not the name of a model. Use gpt-transcribe")
    return name


def realtime_voice(value: str) -> str:
    """The name of a voice that Realtime models have."""
    name = value.strip()
    if name in DEAD_VOICES:
        raise ValueError(f"names {name}, which Realtime models do not have. Use {DEAD_VOICES[name]}")
    if name not in VOICES:
        near = get_close_matches(name.lower(), VOICES, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(sorted(VOICES))}"
        raise ValueError(f"is not a voice of Realtime models. {hint}")
    return name
