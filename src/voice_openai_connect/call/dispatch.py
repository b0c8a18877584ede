"""Which method of a machine handles which event, and which timer; said above each method."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from voice_openai_connect.call.commands import Command
from voice_openai_connect.call.events import Event

Method = TypeVar("Method", bound=Callable[..., list[Command]])


class Dispatch:
    """The two tables of one machine, filled by its decorators."""

    def __init__(self) -> None:
        self.by_event: Final[dict[type[Event], Callable[[Any, Any, int], list[Command]]]] = {}
        self.by_timer: Final[dict[str, Callable[[Any, int], list[Command]]]] = {}

    def on(self, *kinds: type[Event]) -> Callable[[Method], Method]:
        """The method below handles these events."""

        def register(method: Method) -> Method:
            self.by_event.update(dict.fromkeys(kinds, method))
            return method

        return register

    def when(self, timer: str) -> Callable[[Method], Method]:
        """The method below is for this timer."""

        def register(method: Method) -> Method:
            self.by_timer[timer] = method
            return method

        return register
