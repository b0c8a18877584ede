from typing import Any

import pytest

from voice_openai_connect.call import commands as do
from voice_openai_connect.call.handing_over import HandingOver
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.patience import Patience
from voice_openai_connect.call.playback import Playback
from voice_openai_connect.simulator.simulation import main, simulate, simulate_many

SEEDS = range(60)


def is_found(broken_promise: str) -> bool:
    """Whether one of the calls breaks this promise."""
    return any(broken_promise in text for seed in SEEDS for text in simulate(seed, told=False).broken)


def test_a_seed_is_one_call_to_the_last_millisecond() -> None:
    assert simulate(3) == simulate(3)
    assert simulate(3).trace != simulate(4).trace


def test_a_call_goes_the_same_way_whether_it_is_told_or_not_and_in_whatever_process() -> None:
    told = [simulate(seed) for seed in range(6)]
    for outcome in told:
        outcome.trace.clear()

    assert told == [simulate(seed, told=False) for seed in range(6)] == list(simulate_many(range(6), jobs=2))


def test_calls_are_taken_up_again_moved_dialled_and_dialled_again() -> None:
    signs = {"MoveStream", "the line breaks", "the instance dies", "attempt=2", "marks_missing", "take_message"}
    for seed in range(400):
        trace = "\n".join(simulate(seed).trace)
        signs = {sign for sign in signs if sign not in trace}
        if not signs:
            break

    assert signs == set()


def test_a_seed_can_be_read_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3"]) == 0

    assert "StreamStarted" in capsys.readouterr().out


def test_many_seeds_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "5"]) == 0

    assert "0 with a broken promise" in capsys.readouterr().out


def test_a_call_that_leaves_its_callers_in_silence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> list[do.Command]:
        return []

    monkeypatch.setattr(Patience, "fill", nothing)

    assert is_found("of dead air")


def test_a_call_that_believes_that_all_it_sent_was_heard_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_sent(self: Any, _: int) -> int:
        return self._sent

    monkeypatch.setattr(Playback, "_heard", all_sent)

    assert is_found("were heard; it was")


def test_a_call_that_speaks_after_its_end_or_moves_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Call.handle

    def twice(self: Call, event: Any, now: int) -> tuple[do.Command, ...]:
        commands = handle(self, event, now)
        return commands + tuple(c for c in commands if isinstance(c, do.CloseStream | do.SaveHandover))

    monkeypatch.setattr(Call, "handle", twice)

    assert is_found("CloseStream for the second time")
    assert is_found("SaveHandover for the second time")


def test_a_wait_without_a_timer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Call.handle

    def without(self: Call, event: Any, now: int) -> tuple[do.Command, ...]:
        commands = handle(self, event, now)
        return tuple(c for c in commands if not (isinstance(c, do.SetTimer) and c.name == "goodbye"))

    monkeypatch.setattr(Call, "handle", without)

    assert is_found("waits without a timer, saying_goodbye")


def test_a_call_that_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandingOver, "ready", False)

    assert is_found("never ended: handing_over")
