import re
import time
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_openai_connect.call.escalation import EscalationPhrases, PhraseTable, Reason, plain_words
from voice_openai_connect.call.settings import Phrases

PHRASES = Path(__file__).parents[3] / "src" / "voice_openai_connect" / "phrases"
CORPUS: dict[str, dict[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("escalation_corpus.toml").read_text(encoding="utf-8")
)
RECALL = 0.97


def read(path: Path) -> PhraseTable:
    return PhraseTable.from_mapping(tomllib.loads(path.read_text(encoding="utf-8")), source=path.name)


TABLES = {path.stem: read(path) for path in sorted(PHRASES.glob("*.toml"))}
TURNS = [turn for language in CORPUS.values() for turns in language.values() for turn in turns]


@cache
def every_language() -> EscalationPhrases:
    """All tables at once: they take a second or two to compile, which only those who listen need to spend."""
    return EscalationPhrases(TABLES.values())


def sentences(kind: str) -> list[str]:
    return [turn for language in CORPUS.values() for turn in language[kind]]


# --- The labelled corpus


def test_the_corpus_is_large_enough_to_mean_something():
    assert set(CORPUS) == set(TABLES)
    assert len(sentences("wishes")) >= 80
    assert len(sentences("others")) >= 80


@pytest.mark.parametrize("language", CORPUS)
def test_what_is_no_wish_is_never_heard_as_one(language: str):
    heard = [turn for turn in CORPUS[language]["others"] if every_language().wants_person(turn)]

    assert heard == []


@pytest.mark.parametrize("language", CORPUS)
def test_nearly_every_wish_is_heard(language: str):
    wishes = CORPUS[language]["wishes"]
    missed = [turn for turn in wishes if not every_language().wants_person(turn)]

    assert len(missed) <= len(wishes) * (1 - RECALL), missed


@pytest.mark.parametrize("language", CORPUS)
def test_a_table_needs_no_other_table(language: str):
    alone = EscalationPhrases([TABLES[language]])

    assert [t for t in CORPUS[language]["others"] if alone.wants_person(t)] == []
    assert [
        t for t in CORPUS[language]["wishes"] if not alone.wants_person(t) and every_language().wants_person(t)
    ] == []


# --- What must not matter


@given(st.text())
def test_any_text_is_answered_without_an_error(text: str):
    assert every_language().wants_person(text) in {True, False}


@given(st.data())
def test_case_spaces_and_punctuation_never_change_the_answer(data: st.DataObject):
    turn = data.draw(st.sampled_from(TURNS))
    gap = st.text(alphabet=" \t\n.,;:!?-–—…'’`\"()¿¡_*/", min_size=1, max_size=4)  # noqa: RUF001
    words = [data.draw(st.sampled_from([w, w.upper(), w.title()])) for w in re.findall(r"[^\W_]+", turn)]
    rewritten = "".join(data.draw(gap) + word for word in words) + data.draw(gap)

    assert every_language().wants_person(rewritten) == every_language().wants_person(turn)


def test_accents_and_compatibility_forms_do_not_matter():
    assert plain_words("Pásame con ＡＧＥＮＴＥ, ﬁn") == plain_words("pasame con agente fin")  # noqa: RUF001


def cpu_time(act: Callable[[], object]) -> float:
    """The best of three, in seconds of this process: what else the machine does is not counted."""
    tries: list[float] = []
    for _ in range(3):
        start = time.process_time()
        act()
        tries.append(time.process_time() - start)
    return min(tries)


@pytest.mark.parametrize(
    "piece", ["no ", "talk to a a a a ", "don't i ", "thank you ", "x", "\u0315\u0300", "agent ", "uh "]
)
def test_the_time_grows_with_the_text_and_no_faster(piece: str):
    short, long = (piece * (size // len(piece)) for size in (10_000, 40_000))

    # Four times the text; quadratic work would take sixteen times as long.
    assert (
        cpu_time(lambda: every_language().wants_person(long))
        < 10 * cpu_time(lambda: every_language().wants_person(short)) + 0.02
    )


# --- Rules, one by one


@pytest.mark.parametrize(
    ("turn", "wanted"),
    [
        ("I want to speak to an agent", True),
        ("I want to speak to an agentic system", False),
        ("I don't want to speak to an agent", False),
        ("I don't want the menu, just let me speak to an agent", True),
        ("I don't want, and let me be very clear on that, to hear that again. Speak to an agent", True),
        ("not the bill but speak to an agent", True),
        ("not the bill, nor speak to an agent", False),
        ("don't get me an agent", False),
        ("it's not working, transfer me to an agent", True),
        ("it's not urgent to transfer me to an agent", False),
        ("can I please have an agent", True),
        ("can I hardly have an agent", False),
        ("I want to speak, um, to an, uh, agent", True),
        ("speak to an agent, no thanks", False),
        ("speak to a travel agent", False),
        ("don't you have an agent", True),
        ("agent", True),
        ("the agent", True),
        ("the agent was rude", False),
        ("speak with one of your other agents", True),
        ("speak with that colleague's former agent", False),
    ],
)
def test_one_rule_at_a_time(turn: str, *, wanted: bool):
    assert every_language().wants_person(turn) is wanted


def test_two_readings_do_not_join_across_a_gap():
    table = PhraseTable(language="xx", words={"p": ("person",)}, wishes=("see {p}",), unrelated=("travel",))

    assert not EscalationPhrases([table]).wants_person("see travel person")


def test_a_table_of_bare_necessities_works():
    table = PhraseTable(language="xx", words={"p": ("person",)}, wishes=("see {p}",))

    assert EscalationPhrases([table]).wants_person("Let me see, person!")


def test_without_tables_nothing_is_a_wish():
    assert not EscalationPhrases([]).wants_person("agent")


# --- A profile's own phrases


def test_own_phrases_count_beside_the_tables():
    phrases = every_language().extended_with(["red line", "Störungsstelle"])

    assert phrases.wants_person("Give me the red line, now")
    assert phrases.wants_person("die STÖRUNGSSTELLE, bitte")
    assert phrases.wants_person("agent")
    assert not every_language().wants_person("Give me the red line, now")


def test_a_negated_own_phrase_is_no_wish_whatever_the_other_languages_think():
    phrases = every_language().extended_with(["red line"])

    assert not phrases.wants_person("I don't need the red line")


def test_own_phrases_add_up():
    phrases = every_language().extended_with(["red line"]).extended_with(["blue line"])

    assert phrases.wants_person("red line")
    assert phrases.wants_person("blue line")


def test_an_own_phrase_is_taken_literally():
    assert every_language().extended_with(["level (2) {support}"]).wants_person("Level 2 support!")


@pytest.mark.parametrize("phrase", ["", "?!", 5])
def test_an_own_phrase_without_a_word_is_refused(phrase: Any):
    with pytest.raises(ValueError, match="own escalation phrases"):
        every_language().extended_with([phrase])


def test_own_phrases_without_any_table_are_refused():
    with pytest.raises(ValueError, match="at least one language table"):
        EscalationPhrases([]).extended_with(["red line"])


# --- Tables as data


GOOD: dict[str, Any] = {"language": "xx", "words": {"p": ["person"]}, "wishes": ["see {p}"]}


def test_a_good_table_is_read():
    table = PhraseTable.from_mapping(GOOD, source="xx.toml")

    assert table.wishes == ("see {p}",)
    assert table.words == {"p": ("person",)}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"wihses": []}, "unknown field 'wihses'"),
        ({"language": ""}, "'language' is missing"),
        ({"language": 5}, "'language' must be text"),
        ({"wishes": []}, "'wishes' is missing"),
        ({"wishes": "see {p}"}, "'wishes' must be a list"),
        ({"wishes": ["see {q}"]}, "names a group 'q'"),
        ({"alone": ["{}"]}, "'alone' holds '{}'"),
        ({"alone": ["see {p"]}, "brace"),
        ({"negations": ["not", "..."]}, "'negations' holds '...'"),
        ({"negations": [3]}, "'negations' holds 3"),
        ({"words": ["person"]}, "'words' must be a table"),
        ({"words": {"p": []}}, "group 'p' in 'words' is empty"),
        ({"words": {"p": ["person"], "q": ["x"]}}, "group 'q' in 'words' is used by no pattern"),
        ({"slips": {"a gent": ""}}, "'slips' holds ''"),
        ({"slips": ["a gent"]}, "'slips' must be a table"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_file(change: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=r"xx\.toml: ") as error:
        PhraseTable.from_mapping(GOOD | change, source="xx.toml")

    assert complaint in str(error.value)


@pytest.mark.parametrize("name", TABLES)
def test_every_shipped_table_says_its_language_in_its_name(name: str):
    assert TABLES[name].language == name


def test_the_phrases_fit_what_a_call_expects():
    phrases: Phrases = every_language()

    assert phrases.wants_person("a human, please")


def test_reasons_are_stable_names():
    assert {str(reason) for reason in Reason} == {
        "caller_asked", "tool", "key", "operator", "stopping", "repeated_failure", "model_lost", "time_limit",
        "context_lost",
    }  # fmt: skip
