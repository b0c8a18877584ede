"""The lines of a recording: JSON, one line a step, the head first. Only what `stand_ins` made is ever written.

    {"recording": "voice-openai-connect", "version": 1, "identity": {...}, "settings": {...}}
    {"now": 81020, "event": {"type": "CallerAudio", "audio": 160}, "commands": [{"type": "SendCallerAudio", ...}]}

Audio is its length in bytes. Nothing here can make a class that is not an event.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from inspect import getmembers
from typing import Any, Final, cast

import msgspec

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.handover import Priority
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent
from voice_openai_connect.recording import stand_ins

FORMAT: Final = "voice-openai-connect"
VERSION: Final = 1

Plain = dict[str, Any]
"""An event or a command as JSON has it: `type`, then its fields."""

EVENTS: Final[dict[str, type[ev.Event]]] = {
    name: kind
    for name, kind in getmembers(ev, is_dataclass)
    if isinstance(kind, type) and issubclass(kind, ev.Event) and kind is not ev.Event
}


class RecordingError(Exception):
    """A recording that cannot be read; the text names the line and what is wrong with it."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    queue: str
    priority: Priority


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a profile has a say in what a call decides."""

    intents: dict[str, _Named]
    default_intent: str
    default: _Named
    audio_format: str
    server_interrupts: bool
    tools: list[str]
    holding_bytes: int
    person_key: str
    checkpoints: bool
    call_ms: int
    transfer_when_closed: bool = False


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    recording: str
    version: int
    identity: CallIdentity
    settings: _Settings
    resumed: Checkpoint | None


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    now: int
    event: Plain
    commands: list[Plain]
    raised: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recorded call: what happened at `now` (ms), and what was asked for."""

    now: int
    event: ev.Event
    commands: list[Plain]
    raised: str = ""
    """The class of the error, if the call itself broke at this step."""


# --- out


def head_line(identity: CallIdentity, settings: CallSettings, resumed: Checkpoint | None = None) -> bytes:
    """The first line: format, version, which call, and the settings that it decided by."""
    default = settings.default_intent
    kept = _Settings(
        intents={name: _Named(each.queue, each.priority) for name, each in settings.intents.items()},
        default_intent=default.name,
        default=_Named(default.queue, default.priority),
        audio_format=settings.audio_format,
        server_interrupts=settings.server_interrupts,
        tools=sorted(settings.tools),
        holding_bytes=len(settings.holding_sound),
        person_key=settings.person_key,
        checkpoints=settings.checkpoints,
        call_ms=settings.call_ms,
        transfer_when_closed=settings.transfer_when_closed,
    )
    before = resumed and stand_ins.checkpoint(resumed)
    return msgspec.json.encode(_Head(FORMAT, VERSION, stand_ins.identity(identity), kept, before)) + b"\n"


def step_line(
    now: int, event: ev.Event, commands: Sequence[do.Command], settings: CallSettings, raised: str = ""
) -> bytes:
    """One step, everything private in it replaced."""
    stood_in = plain(stand_ins.event(event, commands, settings))
    return msgspec.json.encode(_Step(now, stood_in, plain_commands(commands), raised)) + b"\n"


def plain_commands(commands: Sequence[do.Command]) -> list[Plain]:
    """Commands as a recording has them."""
    return [plain(stand_ins.command(command)) for command in commands]


def plain(stood_in: ev.Event | do.Command) -> Plain:
    """An event or a command, already replaced by its stand-in, as JSON has it."""
    fields: Plain = {"type": type(stood_in).__name__, **asdict(stood_in)}
    if isinstance(stood_in, do.CloseStream):
        fields["next_step"]["type"] = type(stood_in.next_step).__name__
    if "audio" in fields:
        audio = fields["audio"]
        fields["audio"] = {"wrong": len(audio)} if stand_ins.sounds_wrong(audio) else len(audio)
    return fields


# --- in


def read_head(line: bytes) -> tuple[CallIdentity, CallSettings, Checkpoint | None]:
    """Which call, settings by which a fresh one decides alike, and what it went on from. Raises `RecordingError`."""
    try:
        head = msgspec.json.decode(line, type=_Head)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RecordingError(1, f"is not the head of a recording ({error})") from None
    if (head.recording, head.version) != (FORMAT, VERSION):
        raise RecordingError(1, f"is of version {head.version}; this program reads version {VERSION}")
    kept = head.settings
    if not 0 < kept.holding_bytes <= limits.RECORDED_AUDIO_BYTES or kept.holding_bytes % limits.FRAME_BYTES:
        raise RecordingError(1, "holding_bytes must be whole frames of a reasonable length")
    settings = CallSettings(
        greeting=stand_ins.SOMETHING,
        transfer_sentence=stand_ins.SOMETHING,
        goodbye_sentence=stand_ins.SOMETHING,
        phrases=stand_ins.RecordedPhrases(),
        intents={name: Intent(name, each.queue, each.priority) for name, each in kept.intents.items()},
        default_intent=Intent(kept.default_intent, kept.default.queue, kept.default.priority),
        audio_format=kept.audio_format,
        server_interrupts=kept.server_interrupts,
        tools=frozenset(kept.tools),
        holding_sound=stand_ins.silence(kept.holding_bytes),
        person_key=kept.person_key,
        checkpoints=kept.checkpoints,
        call_ms=kept.call_ms,
        transfer_when_closed=kept.transfer_when_closed,
        sounds_wrong=stand_ins.sounds_wrong,
    )
    return head.identity, settings, head.resumed


def read_step(number: int, line: bytes) -> Step:
    """The step on line `number` (the head is line 1). Raises `RecordingError`."""
    try:
        step = msgspec.json.decode(line, type=_Step)
        return Step(step.now, _event(step.event), step.commands, step.raised)
    except (ValueError, RecursionError) as error:
        raise RecordingError(number, f"is not a step of a call ({error})") from None


def _event(fields: Plain) -> ev.Event:
    """Raises `ValueError` (msgspec's own errors are of that kind)."""
    rest = dict(fields)
    name = rest.pop("type", None)
    kind = EVENTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"there is no event {name!r}")
    if "audio" in rest:
        audio = rest["audio"]
        wrong = isinstance(audio, dict)
        length = cast("Plain", audio).get("wrong") if wrong else audio
        rest["audio"] = stand_ins.silence(_length(length), wrong=wrong)
    return msgspec.convert(rest, type=kind)


def _length(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= limits.RECORDED_AUDIO_BYTES:
        raise ValueError(f"audio is a length between 0 and {limits.RECORDED_AUDIO_BYTES}")
    return value
