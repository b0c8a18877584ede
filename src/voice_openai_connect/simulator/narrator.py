"""Tells a call while it happens: who says what, what the gateway did, how long it took."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

from voice_openai_connect.simulator.gateway_process import LogLine
from voice_openai_connect.simulator.model_protocol import Json
from voice_openai_connect.simulator.timeline import Entry, Timeline

_COLOURS: Final[Mapping[str, str]] = {
    "caller": "36",
    "assistant": "32",
    "gateway": "33",
    "carrier": "90",
    "connect": "35",
    "agent": "35",
    "model": "90",
}
GATEWAY_SAYS: Final[Mapping[str, str]] = {
    "call_started": "the call is on the line",
    "model_ready": "the model has confirmed µ-law both ways",
    "first_audio": "first sound of the answer, {value_ms} ms after the caller's turn",
    "barge_in": "the caller speaks: playback cleared, the model told what was heard",
    "escalated": "a person is needed ({label})",
    "summary_fell_back": "summary made from the turns ({label})",
    "contact_found": "contact found in the CRM",
    "contact_missing": "no contact ({label})",
    "ticket_opened": "ticket opened ({label})",
    "ticket_missing": "no ticket ({label})",
    "handover_saved": "record stored under a new token",
    "handover_not_saved": "record not stored ({label})",
    "dialing": "sentence heard to its end, {label}; {value_ms} ms after the decision",
    "call_ended": "the assistant's part is over ({label})",
    "dial_ended": "dial ended: {status}, then {next}",
    "model_lost": "the model is lost ({label})",
    "stamina.retry_scheduled": "a service did not answer, and is asked again",
    "outbox_paused": "the CRM is in trouble; what it is owed is kept and offered again later",
    "outbox_delivered": "the CRM has got what it was owed",
}
"""The lines of the gateway's log that a listener wants to know about, by their message."""

_OTHERS_SAY: Final[Mapping[tuple[str, str], str]] = {
    ("carrier", "rings"): "rings {number}",
    ("carrier", "asks"): "asks the gateway at {url}",
    ("carrier", "opens a stream"): "opens a media stream to the gateway",
    ("carrier", "logs"): "notes in its debugger: {code}, {text}",
    ("carrier", "dials"): "dials {number}",
    ("carrier", "has dialled"): "has finished the dial ({status})",
    ("carrier", "hangs up"): "the call is over ({outcome})",
    ("connect", "contact flow"): "answers, and the contact flow listens for digits",
    ("connect", "invoked the Lambda"): "has heard the digits; the Lambda answered in {took_ms} ms",
    ("connect", "invoked the Lambda by number"): "has heard no digits; asked by number, the Lambda took {took_ms} ms",
    ("connect", "whispers to the agent"): "whispers to the agent “{text}”",
    ("connect", "contact queued"): "puts the caller into the queue {queue}, priority {priority}",
    ("connect", "contact connected"): "an agent takes the call (handover {handover})",
    ("connect", "contact ended"): "the agent's call is over",
    ("model", "hears"): "hears “{text}”",
    ("model", "forgets"): "forgets all but the {audio_end_ms} ms that were heard",
}


@dataclass
class Narrator:
    """Prints the timeline's entries as they are written, and writes the gateway's and the model's into it."""

    timeline: Timeline
    out: TextIO = field(default_factory=lambda: sys.stdout)

    def __post_init__(self) -> None:
        self._colour = self.out.isatty() and "NO_COLOR" not in os.environ
        self.timeline.listen(self._print)

    def gateway_line(self, line: LogLine) -> None:
        """One line of the gateway's log."""
        if told := GATEWAY_SAYS.get(str(line.get("message"))):
            self.timeline.note("gateway", told.format_map(_Blank(line)))
        elif line.get("level") in {"warning", "error"}:
            self.timeline.note("gateway", f"logs {line.get('message')}", **_short(line))

    def model_event(self, kind: str, fields: Json) -> None:
        """One event that the model sent. What it says is told sentence by sentence, as it begins to say it."""
        if kind == "conversation.item.input_audio_transcription.completed" and fields["transcript"]:
            self.timeline.note("model", "hears", text=fields["transcript"])
        elif kind == "response.output_audio_transcript.delta":
            self.timeline.note("assistant", "says", text=fields["delta"].strip())
        elif kind == "conversation.item.truncated":
            self.timeline.note("model", "forgets", audio_end_ms=fields["audio_end_ms"])

    def _print(self, entry: Entry) -> None:
        line = f"{entry.at_ms / 1000:7.2f} s  {entry.who:<10} {_plain(_told(entry))}"
        colour = _COLOURS.get(entry.who)
        print(f"\x1b[{colour}m{line}\x1b[0m" if self._colour and colour else line, file=self.out, flush=True)


def _told(entry: Entry) -> str:
    """What happened, in a sentence; what has none is told as it was noted, details and all."""
    if sentence := _OTHERS_SAY.get((entry.who, entry.what)):
        return sentence.format_map(_Blank(entry.details))
    if entry.what == "says":
        return f"“{entry.details.get('text')}”"
    return "   ".join([entry.what, *(f"{name}={value}" for name, value in entry.details.items())])


def _plain(text: str) -> str:
    """Without anything that a terminal would obey: words may come from anywhere."""
    return "".join(character if character.isprintable() else " " for character in text)


class _Blank(dict[str, Any]):
    """A line's facts; what it does not say is left blank."""

    def __missing__(self, key: str) -> str:
        return ""


def _short(line: LogLine) -> dict[str, object]:
    """What is worth reading beside a warning's message."""
    return {key: line[key] for key in ("what", "reason", "label", "error", "detail", "code") if key in line}
