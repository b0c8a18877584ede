"""What a recording holds in place of what was said, keyed and stored: stand-ins that lead to the same decisions.

The rule that everything here obeys: a fresh call that is given the stand-ins asks for the same as the real one did,
once the commands of both have been replaced in the same way. So a length stays where only the length counts, and
"empty or not" where only that does.

Two things are exact only nearly. Turns that were cut short may be some letters longer or shorter than the real ones,
which counts once a conversation outgrows `limits.CHECKPOINT_CHARS`; and a text that is replaced by another of the
same length and number of words looks unchanged, so that a checkpoint may be missed in the replay.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.handover import HandoverRecord, plain_text
from voice_openai_connect.call.next_step import DialPerson
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.call.tools import BUILT_IN, TAKE_MESSAGE, TRANSFER, arguments_of, message_of, transfer_wish

SOMETHING: Final = "x"
"""Stands for any text that is not empty."""
_WISH: Final = "P"
"""Stands for a letter of a turn in which the caller asked for a person."""
TOKEN: Final = "0" * limits.TOKEN_DIGITS
CALLER: Final = "+0"
"""Stands for a caller's number that was not withheld."""
_OTHER_TOOL: Final = "?"
_RUN: Final = re.compile(r"\S+|\s+")


class RecordedPhrases:
    """Phrases of a replayed call: the recording says whether a person was asked for."""

    def wants_person(self, text: str) -> bool:
        """True for the stand-in of a wish."""
        return text.startswith(_WISH)


def sounds_wrong(first_bytes: bytes) -> bool:
    """The format check of a replayed call: true for the stand-in of audio that was refused."""
    return first_bytes.endswith(b"\x00")


def some(text: str) -> str:
    """Whether there was any, and nothing more."""
    return SOMETHING if text else ""


def words(text: str) -> str:
    """As many words and letters, all words of about one length. Pieces may be joined: half a word stays half a word."""
    count = len(text.split())
    if not count:
        return " " * len(text)
    length, more = divmod(sum(not c.isspace() for c in text), count)
    lengths = iter([length + 1] * more + [length] * (count - more))
    return "".join(" " * len(each) if each.isspace() else SOMETHING * next(lengths) for each in _RUN.findall(text))


def silence(length: int, *, wrong: bool = False) -> bytes:
    """Audio of this many bytes; `wrong` if it showed another format than it should have."""
    return (b"\x00" if wrong else bytes([limits.ULAW_SILENCE])) * length


def identity(real: CallIdentity) -> CallIdentity:
    """Which call it was; not who called."""
    return replace(real, caller_phone=CALLER if real.caller_phone else "", called_phone="")


def checkpoint(real: Checkpoint) -> Checkpoint:
    """The turns by their lengths."""
    turns = tuple(Turn(turn.who, words(turn.text)) for turn in real.turns)
    return replace(real, turns=turns)


def event(real: ev.Event, led_to: Sequence[do.Command], settings: CallSettings) -> ev.Event:
    """The stand-in of an event that led to these commands."""
    make = _EVENTS.get(type(real))
    return real if make is None else make(real, led_to, settings)


def command(real: do.Command) -> do.Command:
    """The stand-in of a command."""
    make = _COMMANDS.get(type(real))
    return real if make is None else make(real)


# --- events

Facts = Sequence[do.Command]


def _states(led_to: Facts, fact: Fact) -> bool:
    return any(type(c) is do.Tell and c.fact is fact for c in led_to)


def _caller_audio(real: ev.CallerAudio, _: Facts, __: CallSettings) -> ev.Event:
    return ev.CallerAudio(silence(len(real.audio)))


def _model_audio(real: ev.ModelAudio, led_to: Facts, _: CallSettings) -> ev.Event:
    refused = _states(led_to, Fact.MODEL_FORMAT_REFUSED)
    return replace(real, audio=silence(len(real.audio), wrong=refused))


def _key(real: ev.KeyPressed, led_to: Facts, settings: CallSettings) -> ev.Event:
    """Only a key that called a person keeps its name: the same key within a number is a digit like any other."""
    called = any(_states(led_to, fact) for fact in (Fact.ESCALATED, Fact.NOBODY_FREE, Fact.NOBODY_THERE))
    if real.digit == settings.person_key and called:
        return real
    return ev.KeyPressed("#" if settings.person_key == "*" else "*")


def _transcribed(real: ev.CallerTranscribed, _: Facts, settings: CallSettings) -> ev.Event:
    wish = settings.phrases.wants_person(real.text)
    return replace(real, text=(_WISH if wish else SOMETHING) * max(len(real.text.strip()), wish))


def _said(real: ev.ModelSaid, _: Facts, __: CallSettings) -> ev.Event:
    return replace(real, text=words(real.text))


def _tool_called(real: ev.ModelToolCalled, _: Facts, settings: CallSettings) -> ev.Event:
    known = real.name in BUILT_IN | settings.tools
    return replace(
        real,
        name=real.name if known else _OTHER_TOOL,
        arguments=_tool_arguments(real, settings),
    )


def _tool_arguments(real: ev.ModelToolCalled, settings: CallSettings) -> str:
    if real.name == TRANSFER:
        return _wish(real.arguments, settings)
    if real.name == TAKE_MESSAGE:
        return json.dumps({"message": some(message_of(arguments_of(real.arguments) or {}))})
    return _arguments(real.arguments)


def _arguments(text: str) -> str:
    return "[]" if arguments_of(text) is None else "{}"


def _wish(text: str, settings: CallSettings) -> str:
    wish = transfer_wish(text)
    kept = {
        "reason": some(wish.reason),
        "intent": wish.intent if wish.intent in settings.intents else "",
        "priority": wish.priority or "",
        "summary": some(wish.summary),
    }
    return json.dumps({name: value for name, value in kept.items() if value})


def _response_finished(real: ev.ModelResponseFinished, _: Facts, settings: CallSettings) -> ev.Event:
    """A summary keeps its first line if that names an intent of the profile's (see `HandingOver.summarised`)."""
    first, _newline, rest = real.text.strip().partition("\n")
    label, _colon, name = first.partition(":")
    if label.strip().lower() != "intent":
        return replace(real, text=_plain(real.text))
    known = name.strip().lower() if name.strip().lower() in settings.intents else ""
    return replace(real, text=f"intent: {known}\n{_plain(rest)}")


def _plain(text: str) -> str:
    return some(plain_text(text, limits.SUMMARY_CHARS))


def _tool_finished(real: ev.ToolFinished, _: Facts, __: CallSettings) -> ev.Event:
    return replace(real, output="")


def _contact(real: ev.ContactFound, _: Facts, __: CallSettings) -> ev.Event:
    return ev.ContactFound(some(real.contact_id))


def _ticket(real: ev.TicketOpened, _: Facts, __: CallSettings) -> ev.Event:
    return ev.TicketOpened(some(real.ticket_id), some(real.url))


def _saved(real: ev.HandoverSaved, _: Facts, __: CallSettings) -> ev.Event:
    return ev.HandoverSaved(TOKEN if real.token else "")


_EVENTS: Final[dict[type[ev.Event], Callable[[Any, Facts, CallSettings], ev.Event]]] = {
    ev.CallerAudio: _caller_audio,
    ev.ModelAudio: _model_audio,
    ev.KeyPressed: _key,
    ev.CallerTranscribed: _transcribed,
    ev.ModelSaid: _said,
    ev.ModelToolCalled: _tool_called,
    ev.ModelResponseFinished: _response_finished,
    ev.ToolFinished: _tool_finished,
    ev.ContactFound: _contact,
    ev.TicketOpened: _ticket,
    ev.HandoverSaved: _saved,
}


# --- commands


def _record(real: HandoverRecord) -> HandoverRecord:
    return replace(
        real,
        caller_phone=CALLER if real.caller_phone else "",
        summary=some(real.summary),
        escalation_reason=real.escalation_reason.partition(":")[0],
        hubspot_contact_id=some(real.hubspot_contact_id),
        hubspot_ticket_id=some(real.hubspot_ticket_id),
        hubspot_ticket_url=some(real.hubspot_ticket_url),
    )


def _note(real: TicketNote) -> TicketNote:
    return replace(real, caller_phone=CALLER if real.caller_phone else "", text=some(real.text))


def _turns_only(real: Checkpoint) -> Checkpoint:
    return replace(real, turns=tuple(Turn(turn.who, some(turn.text)) for turn in real.turns))


def _close(real: do.CloseStream) -> do.Command:
    step = real.next_step
    return do.CloseStream(replace(step, token=TOKEN if step.token else "") if isinstance(step, DialPerson) else step)


def _attach(real: do.AttachTicket) -> do.Command:
    return do.AttachTicket(
        TOKEN if real.token else "", some(real.contact_id), some(real.ticket_id), some(real.ticket_url)
    )


_COMMANDS: Final[dict[type[do.Command], Callable[[Any], do.Command]]] = {
    do.PlayAudio: lambda real: do.PlayAudio(silence(len(real.audio))),
    do.SendCallerAudio: lambda real: do.SendCallerAudio(silence(len(real.audio))),
    do.RequestResponse: lambda real: replace(real, instructions=some(real.instructions)),
    do.RequestSummary: lambda _: do.RequestSummary(""),
    do.AddText: lambda real: replace(real, text=""),
    do.AnswerTool: lambda real: replace(real, output=""),
    do.RunTool: lambda real: replace(real, arguments=_arguments(real.arguments)),
    do.FindContact: lambda real: do.FindContact(CALLER if real.caller_phone else ""),
    do.OpenTicket: lambda real: do.OpenTicket(_record(real.record)),
    do.SaveHandover: lambda real: do.SaveHandover(_record(real.record)),
    do.DeliverTicketLater: lambda real: do.DeliverTicketLater(_record(real.record)),
    # How long each turn is depends on where it was cut; how many there are does not.
    do.SaveCheckpoint: lambda real: do.SaveCheckpoint(_turns_only(real.checkpoint)),
    do.MoveStream: lambda real: do.MoveStream(_turns_only(real.checkpoint)),
    do.KeepNote: lambda real: do.KeepNote(_note(real.note)),
    do.RevokeToken: lambda real: do.RevokeToken(TOKEN if real.token else ""),
    do.CloseStream: _close,
    do.AttachTicket: _attach,
}
