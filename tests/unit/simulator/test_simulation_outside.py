from random import Random
from typing import Any

import pytest

from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.simulator.simulation_outside import Model, Services
from voice_openai_connect.simulator.simulation_world import Agenda, Weather


def quiet_day(**changes: Any) -> Weather:
    """Nothing goes wrong, and nobody wants anything."""
    values: dict[str, Any] = dict.fromkeys(Weather.__dataclass_fields__, 0.0)
    values.update(marks="come back", caller_silent=False, ordered_after_ms=None, moved_after_ms=None)
    return Weather(**(values | changes))


class Around:
    """A model or services, and what they have said."""

    def __init__(self, **weather: Any) -> None:
        self.agenda = Agenda()
        self.said: list[ev.Event] = []
        day = quiet_day(**weather)
        self.model = Model(self.agenda, Random(1), day, self.said.append)
        self.services = Services(self.agenda, Random(1), day, self.said.append)

    def pass_time(self) -> list[type[ev.Event]]:
        while self.agenda.step(60_000):
            pass
        return [type(event) for event in self.said]

    def get_ready(self) -> None:
        self.model.carry_out(do.ConnectModel())
        self.pass_time()
        self.model.carry_out(do.ConfigureModel())
        self.pass_time()
        self.said.clear()


@pytest.fixture
def around() -> Around:
    return Around()


def test_a_model_is_ready_after_two_steps_and_then_answers_what_it_is_asked(around: Around) -> None:
    around.get_ready()
    around.model.carry_out(do.RequestResponse("greeting"))
    said = around.pass_time()

    assert said[0] is ev.ModelResponseStarted
    assert ev.ModelAudio in said
    assert said[-1] is ev.ModelResponseFinished


def test_a_model_answers_a_turn_by_itself(around: Around) -> None:
    around.get_ready()
    around.model.hear_start()
    around.model.hear_stop("hello")
    said = around.pass_time()

    assert said[:2] == [ev.CallerSpeechStarted, ev.CallerSpeechStopped]
    assert {ev.CallerTranscribed, ev.ModelAudio} <= set(said)


def test_a_session_that_was_closed_says_nothing_more(around: Around) -> None:
    around.get_ready()
    around.model.carry_out(do.RequestResponse("reply"))
    assert around.model.running

    around.model.carry_out(do.DisconnectModel())
    assert not around.model.running
    assert around.pass_time() == []


def test_what_is_on_its_way_when_the_gateway_connects_anew_arrives_nowhere(around: Around) -> None:
    around.get_ready()
    around.model.hear_start()
    around.model.carry_out(do.AnswerTool("c1", "done"))
    around.model.carry_out(do.DisconnectModel())
    around.model.carry_out(do.ConnectModel())

    assert around.pass_time() == [ev.ModelConnected]
    assert not around.model.knows_more


def test_what_a_model_said_before_it_was_lost_arrives_before_that() -> None:
    around = Around(model_dies=1.0)
    around.get_ready()
    around.model.carry_out(do.RequestResponse("reply"))
    said = around.pass_time()

    assert ev.ModelAudio in said
    assert said[-1] is ev.ModelLost


def test_in_noise_a_turn_does_not_end_any_more() -> None:
    around = Around(noise=1.0)
    around.get_ready()
    around.model.hear_start()
    around.model.hear_stop("hello")

    assert around.pass_time() == [ev.CallerSpeechStarted]
    assert around.model.hears_turn


def test_what_a_tool_found_waits_until_the_model_speaks(around: Around) -> None:
    around.get_ready()
    around.model.carry_out(do.AnswerTool("c1", "done"))
    around.pass_time()
    assert around.model.knows_more

    around.model.carry_out(do.RequestResponse("reply"))
    around.pass_time()
    assert not around.model.knows_more


def test_a_model_that_cannot_be_reached_is_lost() -> None:
    around = Around(connect_fails=1.0)
    around.model.carry_out(do.ConnectModel())

    assert around.pass_time() == [ev.ModelLost]
    assert not around.model.running


def test_services_answer_once_and_in_their_own_time(around: Around) -> None:
    for command in (do.FindContact("+15550100"), do.RunTool("c1", "order_status", "{}")):
        around.services.carry_out(command)
    assert around.said == []

    assert sorted(kind.__name__ for kind in around.pass_time()) == ["ContactFound", "ToolFinished"]


def test_services_that_hang_never_answer() -> None:
    around = Around(service_hangs=1.0)
    around.services.carry_out(do.FindContact("+15550100"))

    assert around.pass_time() == []
