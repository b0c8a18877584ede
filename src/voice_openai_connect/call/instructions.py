"""What the model is told when the call asks it for something in particular."""

from typing import Final

from voice_openai_connect.call.settings import CallSettings


def word_for_word(sentence: str) -> str:
    """Instructions that make the model say exactly this."""
    return f'Say exactly the following, word for word, in its language, and nothing else: "{sentence}"'


INTERRUPTED: Final = (
    "The line was interrupted for a moment and what you were saying was cut off. Say in a few words that there was a "
    "short interruption, then go on from the last thing that was said. Do not greet the caller again."
)
"""Told to a model that takes over in the middle of a call."""


def summary_note(settings: CallSettings) -> str:
    """Instructions for the written summary. Its first line names the intent (`HandingOver.summarised` reads it)."""
    intents = ", ".join(settings.intents)
    return (
        "Write a note for the person who takes over this call. First line: 'intent: ' and the one of these that fits "
        f"best: {intents}. Then, from the second line on, two or three plain sentences: what the caller wants, what "
        "was tried or answered, what is still open. Only what was said; no greeting, no markup."
    )
