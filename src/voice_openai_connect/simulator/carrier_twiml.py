"""TwiML as Twilio reads it: a document becomes verbs, or an error with the number Twilio has for it.

Stricter than Twilio in one way: what Twilio would skip with a warning is listed in `Document.warnings`, so that a
test can insist on none. Sources: the TwiML pages for Connect, Stream, Dial and Number, and Twilio's error pages.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

DOCUMENT_BYTES: Final = 65_536
PARAMETER_CHARS: Final = 500
SEND_DIGITS_MAX: Final = 32
DIAL_SECONDS: Final = (5, 600)
CONTENT_TYPES: Final = frozenset({"text/xml", "application/xml", "text/html"})
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

RETRIEVAL_FAILED: Final = 11200
UNREACHABLE: Final = 11205
TOO_LARGE: Final = 11750
NOT_XML: Final = 12100
INVALID: Final = 12200
WRONG_CONTENT_TYPE: Final = 12300
BAD_CALLER_ID: Final = 13214
BAD_NUMBER: Final = 13224
BAD_STREAM_HANDSHAKE: Final = 31920
STREAM_NOT_WSS: Final = 31922
STREAM_URL_MALFORMED: Final = 31923


class TwimlError(Exception):
    """A document Twilio would not carry out. `code` is Twilio's error number."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Stream:
    """`url` is absolute; relative ones have been resolved against the document."""

    url: str
    parameters: dict[str, str]
    name: str = ""
    status_callback: str = ""


@dataclass(frozen=True, slots=True)
class Connect:
    """A two-way media stream; `action` is asked when it is over, empty means the next verb follows."""

    stream: Stream
    action: str = ""
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Dial:
    """A second leg. `timeout_s` is as written; Twilio rings five seconds longer."""

    number: str
    send_digits: str = ""
    action: str = ""
    method: str = "POST"
    timeout_s: int = 30
    time_limit_s: int = 14_400
    caller_id: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """Speech. `language` is empty when the document does not say."""

    text: str
    language: str = ""
    voice: str = ""


@dataclass(frozen=True, slots=True)
class Play:
    """Touch tones in the caller's own ear."""

    digits: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence."""

    seconds: int = 1


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another document instead of the rest of this one."""

    url: str
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Hangup:
    """The end."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Not answered at all. Only counts as the first verb."""

    reason: Literal["rejected", "busy"] = "rejected"


Verb = Connect | Dial | Say | Play | Pause | Redirect | Hangup | Reject


@dataclass(frozen=True, slots=True)
class Document:
    """What to do next. `url` is where it came from: relative addresses start there."""

    verbs: tuple[Verb, ...]
    url: str
    warnings: tuple[str, ...] = ()

    def resolve(self, address: str) -> str:
        """An address written in this document, made absolute."""
        return urljoin(self.url, address)


def read(body: bytes, content_type: str, url: str) -> Document:
    """Read a webhook's answer. Raises `TwimlError`."""
    if len(body) > DOCUMENT_BYTES:
        raise TwimlError(TOO_LARGE, f"the document has {len(body)} bytes, {DOCUMENT_BYTES} are allowed")
    if content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
        raise TwimlError(WRONG_CONTENT_TYPE, f"TwiML is served as text/xml, not {content_type or 'nothing'!r}")
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise TwimlError(NOT_XML, "TwiML has no document type")
    try:
        root = ET.fromstring(body)  # noqa: S314 - no DTD gets here, and the sender is the gateway under test
    except ET.ParseError as error:
        raise TwimlError(NOT_XML, f"not XML: {error}") from error
    return _Reader(url).document(root)


ATTRIBUTES: Final[dict[str, frozenset[str]]] = {
    "Response": frozenset(),
    "Connect": frozenset({"action", "method"}),
    "Stream": frozenset({"url", "name", "statusCallback", "statusCallbackMethod"}),
    "Parameter": frozenset({"name", "value"}),
    "Dial": frozenset(
        {"action", "method", "timeout", "timeLimit", "callerId", "answerOnBridge", "hangupOnStar"}
        | {"record", "recordingStatusCallback", "recordingStatusCallbackMethod", "ringTone", "sequential", "referUrl"}
    ),
    "Number": frozenset(
        {"sendDigits", "url", "method", "statusCallback", "statusCallbackEvent", "statusCallbackMethod"}
    ),
    "Say": frozenset({"voice", "language", "loop"}),
    "Play": frozenset({"digits", "loop"}),
    "Pause": frozenset({"length"}),
    "Redirect": frozenset({"method"}),
    "Hangup": frozenset(),
    "Reject": frozenset({"reason"}),
}


class _Reader:
    """Reads one document; collects what Twilio would only warn about."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._warnings: list[str] = []

    def document(self, root: ET.Element) -> Document:
        if root.tag != "Response":
            raise TwimlError(NOT_XML, f"the root element is <Response>, not <{root.tag}>")
        self._check_attributes(root)
        verbs = tuple(self._verb(element) for element in root)
        for before in verbs[:-1]:
            if isinstance(before, Hangup | Redirect | Reject) or (isinstance(before, Connect | Dial) and before.action):
                self._warnings.append(f"nothing after <{type(before).__name__}> can be reached")
        return Document(verbs, self._url, tuple(self._warnings))

    def _verb(self, element: ET.Element) -> Verb:
        self._check_attributes(element)
        match element.tag:
            case "Connect":
                return self._connect(element)
            case "Dial":
                return self._dial(element)
            case "Say":
                return Say(_text(element), element.get("language", ""), element.get("voice", ""))
            case "Play":
                return self._play(element)
            case "Pause":
                return Pause(_whole(element, "length", 1, lowest=0))
            case "Redirect":
                return Redirect(_text(element), _method(element))
            case "Hangup":
                return Hangup()
            case "Reject":
                return Reject("busy" if element.get("reason") == "busy" else "rejected")
            case _:
                raise TwimlError(INVALID, f"<{element.tag}> is not a verb this carrier carries out")

    def _check_attributes(self, element: ET.Element) -> None:
        unknown = set(element.keys()) - ATTRIBUTES.get(element.tag, frozenset(element.keys()))
        for name in sorted(unknown):
            self._warnings.append(f"<{element.tag}> has no attribute {name!r}; Twilio ignores it")

    def _connect(self, element: ET.Element) -> Connect:
        stream = _only_child(element, "Stream")
        self._check_attributes(stream)
        return Connect(self._stream(stream), element.get("action", ""), _method(element))

    def _stream(self, element: ET.Element) -> Stream:
        parameters: dict[str, str] = {}
        for child in element:
            if child.tag != "Parameter":
                raise TwimlError(INVALID, f"<Stream> holds <Parameter>, not <{child.tag}>")
            self._check_attributes(child)
            name, value = _needed(child, "name"), child.get("value", "")
            if len(name) + len(value) >= PARAMETER_CHARS:
                raise TwimlError(INVALID, f"parameter {name!r} with its value has {PARAMETER_CHARS} characters or more")
            parameters[name] = value
        url = stream_address(_needed(element, "url"), self._url)
        return Stream(url, parameters, element.get("name", ""), element.get("statusCallback", ""))

    def _dial(self, element: ET.Element) -> Dial:
        number = _only_child(element, "Number") if len(element) else element
        if number is not element:
            self._check_attributes(number)
            self._warn_unless_simulated(number, {"url", "statusCallback"})
        self._warn_unless_simulated(element, {"record", "hangupOnStar", "referUrl"})
        return Dial(
            _telephone_number(_text(number)),
            self._digits(number.get("sendDigits", "")),
            element.get("action", ""),
            _method(element),
            min(max(_whole(element, "timeout", 30), DIAL_SECONDS[0]), DIAL_SECONDS[1]),
            _whole(element, "timeLimit", 14_400, lowest=1),
            element.get("callerId", ""),
        )

    def _warn_unless_simulated(self, element: ET.Element, names: set[str]) -> None:
        for name in sorted(names & set(element.keys())):
            self._warnings.append(f"<{element.tag} {name}> exists, but this carrier does not carry it out")

    def _digits(self, digits: str) -> str:
        if not re.fullmatch(r"[0-9A-D#*wW]*", digits, re.ASCII):
            raise TwimlError(INVALID, "sendDigits may hold 0-9 A-D # * w W")
        if len(digits) > SEND_DIGITS_MAX:
            self._warnings.append(f"sendDigits has {len(digits)} characters; more than {SEND_DIGITS_MAX} is untried")
        return digits

    def _play(self, element: ET.Element) -> Play:
        digits = element.get("digits", "")
        if not digits:
            raise TwimlError(INVALID, "this carrier plays digits only: <Play digits=…/>")
        return Play(self._digits(digits))


def stream_address(written: str, document_url: str) -> str:
    """A `<Stream url>` made absolute and checked. Raises `TwimlError` 31920, 31922 or 31923.

    `ws` is taken for this machine only, where Twilio itself could not come.
    """
    address = written if "://" in written else _as_socket(urljoin(document_url, written))
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise TwimlError(STREAM_URL_MALFORMED, f"the stream's address cannot be read: {error}") from error
    if not host or parts.fragment:
        raise TwimlError(STREAM_URL_MALFORMED, "the stream's address needs a host, and no fragment")
    if parts.scheme != "wss" and not (parts.scheme == "ws" and host in LOOPBACK):
        raise TwimlError(STREAM_NOT_WSS, f"a stream's address begins with wss://, not {parts.scheme}://")
    if parts.query:
        raise TwimlError(BAD_STREAM_HANDSHAKE, "a stream's address has no query: use <Parameter>")
    return address


def _as_socket(address: str) -> str:
    return re.sub(r"^http", "ws", address)


def _text(element: ET.Element) -> str:
    text = (element.text or "").strip()
    if not text:
        raise TwimlError(INVALID, f"<{element.tag}> is empty")
    return text


def _needed(element: ET.Element, name: str) -> str:
    value = element.get(name, "")
    if not value:
        raise TwimlError(INVALID, f"<{element.tag}> needs {name!r}")
    return value


def _only_child(element: ET.Element, tag: str) -> ET.Element:
    children = list(element)
    if len(children) != 1 or children[0].tag != tag:
        held = ", ".join(f"<{child.tag}>" for child in children) or "nothing"
        raise TwimlError(INVALID, f"<{element.tag}> holds one <{tag}> here, not {held}")
    return children[0]


def _method(element: ET.Element) -> str:
    method = element.get("method", "POST").upper()
    if method not in {"GET", "POST"}:
        raise TwimlError(INVALID, f"<{element.tag} method> is GET or POST, not {method!r}")
    return method


def _whole(element: ET.Element, name: str, default: int, *, lowest: int = 0) -> int:
    written = element.get(name)
    if written is None:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", written, re.ASCII) or int(written) < lowest:
        raise TwimlError(INVALID, f"<{element.tag} {name}> is a whole number from {lowest}, not {written!r}")
    return int(written)


def _telephone_number(written: str) -> str:
    number = re.sub(r"[ ().-]", "", written)
    if not re.fullmatch(r"\+?[0-9]{3,15}", number, re.ASCII):
        raise TwimlError(BAD_NUMBER, f"{written!r} is not a telephone number")
    return number
