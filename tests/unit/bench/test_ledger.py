import pytest

from bench.load import blocks
from bench.load.ledger import ASKS_FOR_PERSON, CallBook, CallerTrack, Ledger, ModelTrack
from bench.load.person import Plan

HOLDING = b"\x99" * 160


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def book(ledger: Ledger) -> CallBook:
    return ledger.open(5, Plan(turns=2))


def caller(number: int, call: int = 5, turn: int = 0) -> bytes:
    return blocks.write(call, turn, number, 0)


def model(item: int, number: int, call: int = 5) -> bytes:
    return blocks.write(call, item, number, 0)


# --- the caller's blocks at the model


def test_a_session_may_begin_anywhere_but_must_then_get_every_block(ledger: Ledger):
    track = CallerTrack(ledger)
    for number in (40, 41, 42):
        track.take(caller(number), 0.0)

    assert ledger.violations == []
    assert ledger.up.count == 3


@pytest.mark.parametrize("second", [caller(40), caller(42), caller(39), caller(41, call=6), b"\xff" * 160])
def test_a_lost_repeated_foreign_or_changed_block_is_found(ledger: Ledger, second: bytes):
    track = CallerTrack(ledger)
    track.take(caller(40), 0.0)
    track.take(second, 0.0)

    assert len(ledger.violations) == 1


# --- the model's blocks at the caller


def heard(ledger: Ledger, book: CallBook, *audio: bytes) -> ModelTrack:
    track = ModelTrack(ledger, book, frozenset({HOLDING}))
    for each in audio:
        track.take(each, 0.0)
    return track


def test_items_from_beginning_to_end_with_the_holding_sound_between_them_are_well(ledger: Ledger, book: CallBook):
    book.items[book.answer()].blocks = 2
    book.answer()
    heard(ledger, book, HOLDING, model(1, 0), model(1, 1), HOLDING, model(2, 0))

    assert ledger.violations == []


@pytest.mark.parametrize(
    "audio",
    [
        [model(1, 1)],
        [model(1, 0), model(1, 2)],
        [model(1, 0), model(1, 0)],
        [model(1, 0), model(2, 0)],
        [model(1, 0), model(1, 1), model(2, 1)],
        [model(1, 0, call=6)],
        [b"\x01" * 160],
    ],
    ids=["late beginning", "gap", "repeated", "not to its end", "next begins late", "another call's", "changed"],
)
def test_what_is_not_the_model_s_next_is_found(ledger: Ledger, book: CallBook, audio: list[bytes]):
    book.items[book.answer()].blocks = 2
    book.answer()
    heard(ledger, book, *audio)

    assert len(ledger.violations) == 1


def test_an_item_that_was_cleared_may_end_anywhere_but_may_not_go_on(ledger: Ledger, book: CallBook):
    book.items[book.answer()].blocks = 9
    book.answer()
    track = heard(ledger, book, model(1, 0))
    track.clear()
    track.take(model(2, 0), 0.0)
    assert ledger.violations == []

    track.clear()
    track.take(model(2, 1), 0.0)
    assert len(ledger.violations) == 1


# --- what a session that takes over is told


@pytest.fixture
def talked(book: CallBook) -> CallBook:
    book.answer()
    for turn in (1, 2, 3):
        book.said(turn, book.words(turn), float(turn))
    return book


def told(book: CallBook, *turns: int) -> list[tuple[str, str]]:
    return [("assistant", book.items[1].text), *(("user", book.words(turn)) for turn in turns), ("system", "Go on.")]


def test_the_turns_in_order_are_well(ledger: Ledger, talked: CallBook):
    ledger.check_history(talked, told(talked, 1, 2, 3), known_since=9.0)

    assert (ledger.violations, talked.forgotten) == ([], 0)


def test_the_first_turns_of_a_long_conversation_may_be_left_out(ledger: Ledger, talked: CallBook):
    for turn in range(4, 60):
        talked.said(turn, talked.words(turn), float(turn))
    ledger.check_history(talked, told(talked, *range(20, 60)), known_since=99.0)
    assert ledger.violations == []

    ledger.check_history(talked, told(talked, *range(30, 60)), known_since=99.0)
    assert len(ledger.violations) == 1


def test_a_turn_said_only_just_before_may_be_forgotten_and_is_counted(ledger: Ledger, talked: CallBook):
    ledger.check_history(talked, told(talked, 1, 2), known_since=2.5)

    assert (ledger.violations, talked.forgotten) == ([], 1)


@pytest.mark.parametrize("turns", [(1, 2), (2, 3), (1, 3), (2, 1, 3), (1, 2, 2, 3), ()])
def test_a_turn_forgotten_long_after_or_told_in_another_order_is_found(
    ledger: Ledger, talked: CallBook, turns: tuple[int, ...]
):
    ledger.check_history(talked, told(talked, *turns), known_since=9.0)

    assert len(ledger.violations) == 1


def test_an_answer_may_be_cut_but_not_invented(ledger: Ledger, talked: CallBook):
    whole = told(talked, 1, 2, 3)
    ledger.check_history(talked, [("assistant", "Caller 5, this is"), *whole], known_since=9.0)
    assert ledger.violations == []

    ledger.check_history(talked, [("assistant", "Caller 6, this is answer 1"), *whole], known_since=9.0)
    assert len(ledger.violations) == 1


# --- plans


def test_only_the_last_turn_of_who_wants_a_person_asks_for_one(ledger: Ledger):
    book = ledger.open(1, Plan(turns=2, goal="ask_for_person"))

    assert book.words(1) != ASKS_FOR_PERSON
    assert book.words(2) == ASKS_FOR_PERSON


def test_the_model_calls_its_tool_once_the_last_turn_was_said(ledger: Ledger):
    book = ledger.open(1, Plan(turns=1, goal="model_says_goodbye"))
    assert book.tool_due == ""

    book.said(1, "Thanks.", 0.0)
    assert book.tool_due == "end_call"
