"""What the model is told when the call asks it for something in particular."""

from collections.abc import Mapping, Sequence
from typing import Final

from voice_openai_connect.call.outcome import Absence
from voice_openai_connect.call.settings import CallSettings
from voice_openai_connect.call.ticket_note import HOW_IT_ENDED
from voice_openai_connect.call.tools import TAKE_MESSAGE, TRANSFER


def word_for_word(sentence: str) -> str:
    """Instructions that make the model say exactly this."""
    return f'Say exactly the following, word for word, in its language, and nothing else: "{sentence}"'


def greeting_owed(greeting: str) -> str:
    """Told to a model whose greeting was lost because the caller spoke first."""
    return f'The caller has not heard your greeting. Begin your next answer with it, word for word: "{greeting}"'


INTERRUPTED: Final = (
    "The line was interrupted for a moment and what you were saying was cut off. Say in a few words that there was a "
    "short interruption, then go on from the last thing that was said. Do not greet the caller again."
)
"""Told to a model that takes over in the middle of a call."""

NO_PAUSE: Final = (
    "For half a minute there has been sound on the caller's line without a pause, so you have not been able to answer. "
    "Say in one sentence that you could not make out what they said, and ask them to say it once more, in a few words."
)
"""Told to a model whose caller's turn does not end."""

TRANSFERRING: Final = "The caller is being connected to a person."

NOBODY_IS_FREE: Final = (
    "Nobody is free to take this call; it cannot be transferred any more. Say so, apologise, and offer to take a "
    "message so that a person calls back. Once the caller has said what it is about, call take_message."
)
"""Told to the model when a caller asks for a person once more."""

MESSAGE_KEPT: Final = "The message is kept: a person will read it and call back. Tell the caller so."
MESSAGE_NOT_KEPT: Final = (
    "The message could not be kept. Tell the caller so, apologise, and ask them to call again later."
)


_WHO_IS_MISSING: Final[Mapping[str, str]] = {
    Absence.CLOSED: "The team that could help is closed at this time",
    Absence.UNSTAFFED: "Nobody of the team that could help is at work at this moment",
}


def nobody_there(absence: str, elsewhere: Sequence[str] = ()) -> str:
    """Told to a model whose caller needs a person of a queue that has none; `elsewhere`: intents that have somebody."""
    reached = (
        f" If the call is really about one of these, where somebody is there, call {TRANSFER} with it as the intent: "
        f"{', '.join(elsewhere)}."
    )
    return (
        f"{_WHO_IS_MISSING[absence]}, so this call is not transferred. Say so in one sentence, apologise, and offer to "
        f"take a message so that a person calls back. Once the caller has said what it is about, call {TAKE_MESSAGE}."
        f"{reached if elsewhere else ''}"
    )


def nobody_came(how: str) -> str:
    """Told to a model that takes over a caller whom no person could take; `how` is why, as a checkpoint has it."""
    if how in _WHO_IS_MISSING:
        return f"{nobody_there(how)} If you have told them already, do not say it again."
    return (
        f"The caller was being transferred to a person, and nobody could be reached: {HOW_IT_ENDED[how]}. They are "
        "back with you. If you have not told them yet, say in one sentence that nobody could be reached, apologise, "
        "and offer to take a message so that a person calls back. Once they have said what it is about, call "
        "take_message. Do not greet them again, and do not offer another transfer in this call."
    )


def summary_note(settings: CallSettings) -> str:
    """Instructions for the written summary. Its first line names the intent (`HandingOver.summarised` reads it)."""
    intents = ", ".join(settings.intents)
    return (
        "Write a note for the person who takes over this call. First line: 'intent: ' and the one of these that fits "
        f"best: {intents}. Then, from the second line on, two or three plain sentences: what the caller wants, what "
        "was tried or answered, what is still open. Only what was said; no greeting, no markup."
    )
