"""What one call is told about itself when it begins: who, which profile, and how that profile wants it run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from voice_openai_connect import limits
from voice_openai_connect.call.format_check import looks_like_pcm16
from voice_openai_connect.call.handover import Priority
from voice_openai_connect.call.holding_sound import holding_sound


class Phrases(Protocol):
    """Hears from the caller's words whether a person is wanted."""

    def wants_person(self, text: str) -> bool:
        """True if the caller asks for a person in `text` (one transcribed turn)."""
        ...


@dataclass(frozen=True, slots=True)
class CallIdentity:
    """Who is calling whom. The ids are fixed by the CallSid, so every instance arrives at the same ones."""

    call_sid: str
    conversation_id: str
    handover_id: str
    caller_phone: str
    """E.164, or empty when withheld."""
    called_phone: str


@dataclass(frozen=True, slots=True)
class Intent:
    """Where a wish of the caller's leads: the queue and the priority its handover gets."""

    name: str
    queue: str
    priority: Priority
    description: str = ""


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How a profile wants its calls run. Sentences are in the profile's language."""

    greeting: str
    """Said first, word for word; begins with the disclosure line."""
    transfer_sentence: str
    goodbye_sentence: str
    phrases: Phrases
    intents: Mapping[str, Intent]
    default_intent: Intent
    audio_format: str = "audio/pcmu"
    """What the model must confirm, both ways, before anything is played."""
    server_interrupts: bool = True
    """Whether the model cancels its own response when the caller speaks (`interrupt_response`)."""
    tools: frozenset[str] = field(default_factory=frozenset[str])
    """Names of the tools that the user has registered."""
    holding_sound: bytes = field(default_factory=holding_sound)
    """Heard while the caller waits for us: µ-law in whole frames, one round of it."""
    person_key: str = "0"
    """The key that means "a person, please"; empty switches it off."""
    checkpoints: bool = True
    """Whether another instance may go on with a call whose stream broke; what that needs is then kept for minutes."""
    transfer_when_closed: bool = False
    """Whether callers are moved to a queue that is known to have nobody: the contact centre knows what to do."""
    call_ms: int = limits.CALL_MS
    sounds_wrong: Callable[[bytes], bool] = looks_like_pcm16
    """Whether the first bytes of a session's audio show another format than the one confirmed."""
