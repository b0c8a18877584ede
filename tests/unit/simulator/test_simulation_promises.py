import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.simulator.simulation_promises import Promises
from voice_openai_connect.simulator.simulation_world import Agenda, Sound, Turns


@pytest.fixture
def promises() -> Promises:
    return Promises(7, Agenda(), told=False)


def test_a_second_escalation_breaks_a_promise_on_whatever_stream_it_comes(promises: Promises) -> None:
    promises.count(do.Tell(Fact.ESCALATED, "tool"), stream=1)
    assert promises.outcome.broken == []

    promises.count(do.Tell(Fact.ESCALATED, "key"), stream=2)
    assert promises.outcome.broken == ["at 0 ms: escalated for the second time"]


def test_every_stream_may_find_the_caller_once_and_only_one_of_them_may(promises: Promises) -> None:
    promises.count(do.FindContact("+15550100"), stream=1)
    promises.count(do.FindContact("+15550100"), stream=2)

    assert promises.outcome.broken == ["at 0 ms: FindContact for the second time"]


def test_who_goes_on_after_a_lost_decision_may_decide_anew(promises: Promises) -> None:
    promises.count(do.Tell(Fact.ESCALATED, "tool"), stream=1)
    promises.forgive()
    promises.count(do.Tell(Fact.ESCALATED, "tool"), stream=2)

    assert promises.outcome.broken == []


def test_a_third_dial_and_a_token_that_is_sent_twice_are_found(promises: Promises) -> None:
    for token in ("0123456789", "", ""):
        promises.dialled(token)
    promises.dialled("0123456789")

    assert promises.outcome.broken == [
        f"at 0 ms: dial number {limits.DIAL_ATTEMPTS + 1}",
        f"at 0 ms: dial number {limits.DIAL_ATTEMPTS + 2}",
        "at 0 ms: a token was used for the second time",
    ]


def test_a_tool_without_a_timer_is_found(promises: Promises) -> None:
    promises.check_deadlines(Phase.TALKING, {"call_limit": 9, "tool:c1": 9}, {"c1"})
    assert promises.outcome.broken == []

    promises.check_deadlines(Phase.TALKING, {"call_limit": 9}, {"c1"})
    assert promises.outcome.broken == ["at 0 ms: waits for the tool c1 without a timer"]


def test_silence_is_judged_over_the_whole_call(promises: Promises) -> None:
    turns = Turns(Agenda())
    turns.set(ours=True)
    promises.outcome.how, promises.outcome.lasted_ms = "dial", 9_000
    promises.judge(turns, [Sound(6_000, 9_000, 1), Sound(0, 1_000, 1)])

    assert promises.outcome.longest_dead_air_ms == 5_000
    assert promises.outcome.broken == ["at 1000 ms: 5000 ms of dead air"]


def test_nothing_is_written_down_unless_it_is_to_be_told(promises: Promises) -> None:
    promises.note("1 talking", "→", "something")
    assert promises.outcome.trace == []

    talkative = Promises(7, Agenda(), told=True)
    talkative.note("1 talking", "→", do.PlayAudio(b"\x01" * 160))
    assert talkative.outcome.trace == ["      0 1 talking        → PlayAudio 20 ms of 01"]
