"""Where a call can be on its way, and what means something there.

starting ──► talking ◄──► saying_goodbye ──► ended
    │          │ ▲ ▼             │             ▲
    │          │ recovering      │             │
    └──────────┴───┴─────────────┴► handing_over ──► dialing
"""

from enum import StrEnum
from typing import Final

from voice_openai_connect.call import events as ev


class Phase(StrEnum):
    """Where a call is on its way."""

    STARTING = "starting"
    """The line is open, the model is not ready."""
    TALKING = "talking"
    """The caller and the assistant talk."""
    RECOVERING = "recovering"
    """The model was lost in the middle of the call and is being tried once more."""
    SAYING_GOODBYE = "saying_goodbye"
    """The last words are on their way; the caller may still change their mind."""
    HANDING_OVER = "handing_over"
    """A person is needed; the sentence is spoken and the record made."""
    DIALING = "dialing"
    """The stream is closed and Twilio dials; only a late ticket is still waited for."""
    CLEARING_UP = "clearing_up"
    """The caller left during the handover; a token that is still being stored must not outlive the call."""
    ENDED = "ended"
    """Nothing more will come of it."""


_MODEL_SPEAKS: Final = (ev.ModelResponseStarted, ev.ModelAudio, ev.ModelAudioFinished, ev.ModelSaid)
_MODEL_ENDS: Final = (ev.ModelResponseFinished, ev.ModelErred, ev.ModelLost)
_CALLER: Final = (ev.CallerAudio, ev.PlaybackReached, ev.StreamStopped, ev.StreamLost, ev.KeyPressed, ev.TimerFired)
_CALLER_SPEAKS: Final = (
    ev.CallerSpeechStarted,
    ev.CallerSpeechStopped,
    ev.CallerStayedSilent,
    ev.CallerTranscribed,
    ev.CallerTranscriptionFailed,
)
_TOOLS: Final = (ev.ModelToolCalled, ev.ToolFinished, ev.ToolFailed)
_ORDERS: Final = (ev.HandoverOrdered, ev.MoveOrdered, ev.QueuesUnattended)
_RECORD: Final = (ev.ContactFound, ev.ContactNotFound, ev.TicketOpened, ev.TicketNotOpened)
_SAVED: Final = (ev.HandoverSaved, ev.HandoverNotSaved)
RECORD_ANSWERS: Final = (*_RECORD, *_SAVED)
_IN_CONVERSATION: Final = (*_CALLER, *_CALLER_SPEAKS, *_MODEL_SPEAKS, *_MODEL_ENDS, *_TOOLS)

LEGAL: Final[dict[Phase, frozenset[type[ev.Event]]]] = {
    Phase.STARTING: frozenset(
        {*_CALLER, ev.StreamStarted, ev.ModelConnected, ev.ModelConfigured, *_MODEL_ENDS, *_ORDERS}
    ),
    Phase.TALKING: frozenset({*_IN_CONVERSATION, *_ORDERS}),
    Phase.RECOVERING: frozenset(
        {
            *_CALLER,
            ev.ModelConnected,
            ev.ModelConfigured,
            ev.CallerTranscribed,
            *_MODEL_ENDS,
            *_TOOLS,
            *_ORDERS,
        }
    ),
    Phase.SAYING_GOODBYE: frozenset({*_IN_CONVERSATION, *_ORDERS}),
    Phase.HANDING_OVER: frozenset({*_IN_CONVERSATION, *_RECORD, *_SAVED, ev.QueuesUnattended}),
    Phase.DIALING: frozenset({*_RECORD, ev.HandoverSaved, ev.TimerFired}),
    Phase.CLEARING_UP: frozenset({*_RECORD, *_SAVED, ev.TimerFired}),
    Phase.ENDED: frozenset(),
}

WAITING_FOR_US: Final = frozenset({Phase.STARTING, Phase.RECOVERING, Phase.HANDING_OVER})
"""The caller has nothing to say: their line must not be silent for long."""
CONVERSATION: Final = frozenset({Phase.TALKING, Phase.SAYING_GOODBYE})
"""Caller and assistant take turns: whose silence it is depends on whose turn it is."""
