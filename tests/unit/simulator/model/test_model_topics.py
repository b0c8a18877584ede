import pytest

from voice_openai_connect.simulator.model_topics import TOPICS, number_in, topic_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My internet has been down since this morning.", "outage"),
        ("The light on my router's red and it keeps blinking.", "outage"),
        ("Can you tell me why my bill is so high this month?", "billing"),
        ("I was charged twice.", "billing"),
        ("When will my order arrive?", "order"),
        ("What time do you open on Saturday?", "hours"),
        ("I want to cancel my contract.", "cancel"),
        ("I want to cancel my internet contract.", "cancel"),
        ("This is ridiculous, my internet is down again.", "complaint"),
        ("My medical alarm is offline.", "danger"),
        ("I forgot my password.", "password"),
        ("Do you have anything faster?", "plans"),
        ("Can an engineer visit me?", "visit"),
    ],
)
def test_what_a_caller_says_has_a_topic(text: str, name: str) -> None:
    topic = topic_of(text)
    assert topic is not None
    assert topic.name == name


@pytest.mark.parametrize("text", ["", "Yes please.", "No.", "It is red.", "Banana.", "I want a human."])
def test_an_answer_has_no_topic_of_its_own(text: str) -> None:
    assert topic_of(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 447-193.", "447193"),
        ("four four seven one nine three", "447193"),
        ("Order number 44 71 93 I think", "447193"),
        ("Oh, that one.", ""),
        ("I have two.", ""),
    ],
)
def test_a_number_is_understood_in_figures_and_in_words(text: str, number: str) -> None:
    assert number_in(text) == number


def test_every_step_has_its_line_in_the_note() -> None:
    for topic in TOPICS:
        assert len(topic.tried) == len(topic.steps), topic.name
