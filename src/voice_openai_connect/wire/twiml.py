"""TwiML: what Twilio is to do with the caller. Built by an XML writer, so no value can become an instruction."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final
from xml.sax.saxutils import escape

from voice_openai_connect import limits
from voice_openai_connect.call.next_step import AskAgain, DialPerson, HangUp, NextStep, PromiseCallBack

E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
DIGITS_END: Final = "#"

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_TOKEN: Final = re.compile(rf"[0-9]{{{limits.TOKEN_DIGITS}}}")
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot carry in any form. The writer would let them through, and Twilio would not."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences Twilio speaks when the model cannot, in the profile's language.

    Raises ValueError, naming the sentence, if one is too long for a TwiML document.
    """

    language: str
    """As Twilio writes it, e.g. ``en-US``."""
    transfer: str
    """Before the first dial, if the model did not say it."""
    second_try: str
    """Before the second dial."""
    call_back: str
    """When nobody could be reached: a person will call back."""
    goodbye: str
    voice: str = ""
    """One of Twilio's voices; empty for the language's own."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if len(escape(getattr(self, field.name), {'"': "&quot;"})) > limits.SPOKEN_SENTENCE_CHARS:
                raise ValueError(f"{field.name} is longer than {limits.SPOKEN_SENTENCE_CHARS} characters: shorten it")


def connect_stream(
    *,
    stream_url: str,
    action_url: str,
    parameters: Mapping[str, str],
    status_url: str | None,
) -> str:
    """Open a media stream; when it ends, however it ends, Twilio asks `action_url` what is next.

    Raises ValueError for a stream URL with a query or fragment (Twilio drops the one and then fails on the other,
    error 31920), for a parameter of 500 characters or more, and for a document that would be too long.
    """
    if not re.fullmatch(r"wss?://[^?#\s]+", stream_url):
        raise ValueError("a stream's URL begins with wss:// and has no query and no fragment")
    response = ET.Element("Response")
    connect = ET.SubElement(response, "Connect", {"action": action_url})
    stream = ET.SubElement(connect, "Stream", {"url": stream_url})
    if status_url is not None:
        stream.set("statusCallback", status_url)
    for name, value in parameters.items():
        if len(name) + len(value) >= limits.STREAM_PARAMETER_CHARS:
            raise ValueError(f"a stream parameter has {limits.STREAM_PARAMETER_CHARS} characters or more")
        ET.SubElement(stream, "Parameter", {"name": name, "value": value})
    return _document(response)


def render(
    step: NextStep,
    *,
    wording: Wording,
    person_number: str,
    dial_action_url: Callable[[int], str],
    ask_again_url: Callable[[int], str],
    dial_seconds: int,
    digits_after_ms: int = limits.DIGITS_AFTER_MS,
) -> str:
    """Write a step down. `dial_action_url` gives the URL that Twilio asks after the dial of that attempt,
    `ask_again_url` the one for a question that has been asked so many times already.

    Raises ValueError for a token that is not ten ASCII digits and for a number to dial that is not E.164. `timeout`
    is `dial_seconds`, to which Twilio adds about five of its own. The token's tones begin `digits_after_ms` after the
    answer, to the half second below.
    """
    response = ET.Element("Response")
    match step:
        case DialPerson():
            _say(response, wording, wording.second_try if step.apologise else "")
            _say(response, wording, wording.transfer if step.announce else "")
            action = {"action": dial_action_url(step.attempt), "timeout": str(dial_seconds)}
            _number(ET.SubElement(response, "Dial", action), person_number, step.token, digits_after_ms)
        case PromiseCallBack():
            _say(response, wording, wording.call_back)
            _say(response, wording, wording.goodbye)
            ET.SubElement(response, "Hangup")
        case AskAgain():
            ET.SubElement(response, "Pause", {"length": str(limits.ASK_AGAIN_S)})
            ET.SubElement(response, "Redirect").text = ask_again_url(step.asked)
        case HangUp():
            _say(response, wording, wording.goodbye if step.farewell else "")
            ET.SubElement(response, "Hangup")
        case _:
            raise TypeError(f"{type(step).__name__} cannot be written as TwiML")
    return _document(response)


def _say(response: ET.Element, wording: Wording, sentence: str) -> None:
    if not sentence:
        return
    say = ET.SubElement(response, "Say", {"language": wording.language})
    if wording.voice:
        say.set("voice", wording.voice)
    say.text = sentence


def _number(dial: ET.Element, person_number: str, token: str, digits_after_ms: int) -> None:
    if not E164.fullmatch(person_number):
        raise ValueError("the number to dial must be E.164: + and 7 to 15 digits")
    number = ET.SubElement(dial, "Number")
    number.text = person_number
    if token:
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"a token is {limits.TOKEN_DIGITS} ASCII digits")
        number.set("sendDigits", f"{'w' * (digits_after_ms // limits.DIGITS_STEP_MS)}{token}{DIGITS_END}")


def _document(response: ET.Element) -> str:
    text = _DECLARATION + _NOT_XML.sub("", ET.tostring(response, encoding="unicode"))
    if len(text) >= limits.TWIML_CHARS:
        raise ValueError(f"a TwiML document has {limits.TWIML_CHARS} characters or more")
    return text
