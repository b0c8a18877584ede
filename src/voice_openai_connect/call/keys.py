"""The keys a caller presses: those that come one after another are one number."""

from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.commands import AddText, Command, SetTimer

KEYS_TIMER: Final = "keys"


class Keys:
    """What has been keyed since the last pause."""

    def __init__(self) -> None:
        self._pressed = ""

    @property
    def none_yet(self) -> bool:
        """Whether the next key is the first of a number."""
        return not self._pressed

    def press(self, digit: str, now: int) -> list[Command]:
        """One more key; after a pause the number is complete."""
        self._pressed = (self._pressed + digit)[: limits.KEYS_MAX]
        return self.wait(now)

    def wait(self, now: int) -> list[Command]:
        """Look again after a pause."""
        return [SetTimer(KEYS_TIMER, now + limits.KEYS_PAUSE_MS)] if self._pressed else []

    def take(self) -> list[Command]:
        """Tell the model the number, if there is one; the next key begins another."""
        keys, self._pressed = self._pressed, ""
        return [AddText("caller", f"(The caller pressed these keys: {keys})")] if keys else []
