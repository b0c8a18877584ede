"""Which method handles what."""

from voice_openai_connect.call.commands import Command
from voice_openai_connect.call.dispatch import Dispatch
from voice_openai_connect.call.events import ModelConnected, StreamStopped


def test_a_method_is_found_by_each_of_its_events_and_by_its_timer() -> None:
    dispatch = Dispatch()

    @dispatch.on(ModelConnected, StreamStopped)
    @dispatch.when("tick")
    def method(*_: object) -> list[Command]:
        return []

    assert dispatch.by_event == {ModelConnected: method, StreamStopped: method}
    assert dispatch.by_timer == {"tick": method}
