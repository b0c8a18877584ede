"""Who may speak next."""

import pytest

from voice_openai_connect.call.commands import RequestResponse
from voice_openai_connect.call.floor import Floor
from voice_openai_connect.call.instructions import NO_PAUSE

REPLY, TRANSFER = RequestResponse("reply"), RequestResponse("transfer", "say it")
GREETING, GOODBYE = RequestResponse("greeting", "say it"), RequestResponse("goodbye", "say it")


def test_a_request_on_a_free_floor_is_made_at_once() -> None:
    assert Floor().request(REPLY) == [REPLY]


def test_a_request_waits_until_the_response_being_made_is_over() -> None:
    floor = Floor()
    floor.started("r1", "reply")

    assert floor.request(TRANSFER) == []
    assert floor.finished("another") == []
    assert floor.finished("r1") == [TRANSFER]


def test_a_request_that_met_the_models_own_response_is_made_again_after_it() -> None:
    floor = Floor()
    floor.request(TRANSFER)
    floor.started("own", "reply")
    floor.refused()

    assert floor.finished("own") == [TRANSFER]


def test_a_response_of_the_models_own_that_looked_like_ours_is_found_out_when_ours_is_refused() -> None:
    floor = Floor()
    floor.request(REPLY)
    floor.started("own", "reply")
    floor.refused()

    assert floor.finished("own") == [REPLY]
    floor.started("ours", "reply")
    assert floor.finished("ours") == []


def test_a_refusal_that_comes_after_the_answer_asks_for_nothing_again() -> None:
    floor = Floor()
    floor.request(REPLY)
    floor.started("ours", "reply")
    floor.finished("ours")
    floor.refused()

    assert floor.free


def test_the_latest_of_two_waiting_requests_counts() -> None:
    floor = Floor()
    floor.started("r1", "reply")
    floor.request(REPLY)
    floor.request(TRANSFER)

    assert floor.finished("r1") == [TRANSFER]
    floor.started("r2", "transfer")
    assert floor.finished("r2") == []


def test_the_floor_is_free_when_nothing_is_made_asked_or_waiting() -> None:
    floor = Floor()
    assert floor.free
    floor.request(REPLY)
    assert not floor.free
    floor.started("r1", "reply")
    floor.finished("r1")
    assert floor.free


def test_what_a_lost_model_was_answering_is_not_asked_of_the_next() -> None:
    floor = Floor()
    floor.request(REPLY)
    floor.started("r1", "reply")
    floor.clear()
    floor.refused()

    assert floor.free


def test_a_lost_model_takes_everything_asked_of_it_along() -> None:
    floor = Floor()
    floor.request(REPLY)
    floor.request(TRANSFER)
    floor.clear()

    assert floor.free


def test_a_request_that_was_refused_does_not_take_the_place_of_a_later_one() -> None:
    floor = Floor()
    floor.request(REPLY)
    floor.request(TRANSFER)
    floor.started("own", "reply")
    floor.refused()

    assert floor.finished("own") == [TRANSFER]


def test_a_floor_is_free_only_when_nothing_is_made_asked_for_or_waiting() -> None:
    floor = Floor()
    assert floor.free

    floor.request(REPLY)
    assert not floor.free
    floor.started("r1", "reply")
    assert not floor.free
    floor.finished("r1")
    assert floor.free


def test_with_the_model_goes_everything_that_was_asked_of_it() -> None:
    floor = Floor()
    floor.started("r1", "reply")
    floor.request(TRANSFER)
    floor.clear()

    assert floor.free
    assert floor.take() == []


@pytest.mark.parametrize("waiting", [REPLY, GOODBYE], ids=lambda request: request.purpose)
def test_nothing_that_the_callers_own_words_make_needless_is_asked_for_over_them(waiting: RequestResponse) -> None:
    floor = Floor()
    floor.started("interrupted", "reply")
    floor.request(waiting)

    assert floor.finished("interrupted", caller_speaks=True) == []
    assert floor.free


@pytest.mark.parametrize("waiting", [GREETING, TRANSFER], ids=lambda request: request.purpose)
def test_what_the_caller_must_hear_is_asked_for_also_while_they_speak(waiting: RequestResponse) -> None:
    floor = Floor()
    floor.started("interrupted", "reply")
    floor.request(waiting)

    assert floor.finished("interrupted", caller_speaks=True) == [waiting]


# --- a response that begins just as the caller speaks


@pytest.mark.parametrize("asked", [REPLY, GOODBYE], ids=lambda request: request.purpose)
def test_what_was_asked_for_before_the_caller_spoke_and_begins_after_it_is_taken_back(asked: RequestResponse) -> None:
    floor = Floor()
    floor.request(asked)

    assert floor.started("r1", asked.purpose, caller_speaks=True)
    assert floor.finished("r1", caller_speaks=True) == []
    assert floor.free


def test_so_is_an_answer_that_the_model_began_by_itself() -> None:
    assert Floor().started("own", "reply", caller_speaks=True)


@pytest.mark.parametrize("asked", [GREETING, TRANSFER], ids=lambda request: request.purpose)
def test_what_the_caller_must_hear_is_not_taken_back(asked: RequestResponse) -> None:
    floor = Floor()
    floor.request(asked)

    assert not floor.started("r1", asked.purpose, caller_speaks=True)


def test_what_is_asked_of_a_model_that_hears_no_pause_is_not_taken_back() -> None:
    floor = Floor()
    floor.request(RequestResponse("reply", NO_PAUSE))

    assert not floor.started("r1", "reply", caller_speaks=True)


def test_nothing_is_taken_back_of_a_caller_who_listens() -> None:
    floor = Floor()
    floor.request(REPLY)

    assert not floor.started("r1", "reply")
    assert floor.finished("r1") == []


def test_a_turn_that_has_ended_before_the_response_was_taken_back_is_answered_all_the_same() -> None:
    floor = Floor()
    floor.request(REPLY)
    floor.started("r1", "reply", caller_speaks=True)

    assert floor.finished("r1") == [REPLY]


def test_a_sentence_that_waits_comes_instead_of_that_answer() -> None:
    floor = Floor()
    floor.started("r1", "reply", caller_speaks=True)
    floor.request(TRANSFER)

    assert floor.take() == [TRANSFER]
    assert floor.finished("r1") == []


def test_a_model_that_is_gone_has_taken_nothing_back() -> None:
    floor = Floor()
    floor.started("r1", "reply", caller_speaks=True)
    floor.clear()
    floor.started("r2", "reply")

    assert floor.finished("r2") == []
