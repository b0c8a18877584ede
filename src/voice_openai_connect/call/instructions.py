"""What the model is told when the call asks it for something in particular."""

from typing import Final

from voice_openai_connect.call.settings import CallSettings
from voice_openai_connect.call.ticket_note import HOW_IT_ENDED


def word_for_word(sentence: str) -> str:
    """Instructions that make the model say exactly this."""
    return f'Say exactly the following, word for word, in its language, and nothing else: "{sentence}"'


INTERRUPTED: Final = (
    "The line was interrupted for a moment and what you were saying was cut off. Say in a few words that there was a "
    "short interruption, then go on from the last thing that was said. Do not greet the caller again."
)
"""Told to a model that takes over in the middle of a call."""

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


def nobody_came(how: str) -> str:
    """Told to a model whose caller has come back from a transfer; `how` is the last dial's outcome."""
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
