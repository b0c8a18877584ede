"""Facts have stable names: dashboards are built on them."""

from voice_openai_connect.call.facts import Fact


def test_names_are_words_that_a_metric_label_can_be() -> None:
    assert all(fact.value.replace("_", "").isalpha() and fact.value.islower() for fact in Fact)


def test_a_facts_value_is_its_name_in_lower_case() -> None:
    assert all(fact.value == fact.name.lower() for fact in Fact)
