from bench.load.person import Person, Plan

QUICK = Plan(turns=2, pause_ms=(100, 100), speech_ms=(200, 200), interrupt_after_ms=(60, 60))


def steps(person: Person, count: int, *, hears: bool) -> list[int]:
    return [person.step(hears_voice=hears) for _ in range(count)]


def one_exchange(person: Person) -> None:
    """An answer of 400 ms, the pause after it, and the caller's next turn."""
    steps(person, 20, hears=True)
    steps(person, 5, hears=False)
    steps(person, 10, hears=False)


def test_nobody_speaks_before_the_greeting_has_been_heard():
    assert set(steps(Person(QUICK, seed=1), 500, hears=False)) == {0}


def test_a_turn_begins_after_the_answer_and_a_pause_and_lasts_as_planned():
    person = Person(QUICK, seed=1)
    steps(person, 20, hears=True)

    assert steps(person, 5, hears=False) == [0] * 5
    assert steps(person, 12, hears=False) == [1] * 10 + [0, 0]


def test_whoever_waits_for_an_answer_says_nothing_meanwhile():
    person = Person(QUICK, seed=1)
    one_exchange(person)

    assert set(steps(person, 500, hears=False)) == {0}


def test_after_the_last_answer_the_caller_hangs_up():
    person = Person(QUICK, seed=1)
    one_exchange(person)
    one_exchange(person)
    assert not person.has_left

    steps(person, 20, hears=True)
    steps(person, 5, hears=False)
    assert (person.turn, person.has_left) == (2, True)


def test_whoever_wants_a_key_pressed_presses_it_instead_of_leaving():
    person = Person(Plan(turns=0, goal="press_key", pause_ms=(20, 20)), seed=1)
    steps(person, 5, hears=True)
    steps(person, 1, hears=False)

    assert (person.presses_key, person.has_left) == (True, False)


def test_whoever_interrupts_speaks_while_the_answer_is_heard():
    person = Person(Plan(turns=2, interrupts=1.0, interrupt_after_ms=(60, 60), speech_ms=(200, 200)), seed=1)
    steps(person, 3, hears=True)

    assert steps(person, 10, hears=True) == [1] * 10


def test_whoever_is_told_to_leave_hears_the_answer_out():
    person = Person(Plan(pause_ms=(20, 20)), seed=1)
    person.leave()
    steps(person, 100, hears=True)
    assert not person.has_left

    steps(person, 1, hears=False)
    assert person.has_left


def test_the_same_seed_is_the_same_person():
    def life(seed: int) -> list[int]:
        person = Person(Plan(), seed)
        return [person.step(hears_voice=n % 200 < 100) for n in range(3_000)]

    assert life(5) == life(5)
    assert life(5) != life(6)
