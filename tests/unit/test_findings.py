import pytest

from voice_openai_connect.findings import Finding, ok, warning, wrong


def test_a_finding_that_is_not_ok_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="what to do"):
        Finding("table", "wrong", "it is not there")


def test_what_is_well_needs_no_words() -> None:
    assert ok("table") == Finding("table", "ok", "", "")


def test_a_warning_and_a_wrong_differ_in_their_state_only() -> None:
    assert warning("a", "b", "c").state == "warning"
    assert wrong("a", "b", "c") == Finding("a", "wrong", "b", "c")
