import pytest

from voice_openai_connect.findings import Finding, ok, table, warning, wrong


def test_a_finding_that_is_not_ok_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="what to do"):
        Finding("table", "wrong", "it is not there")


def test_what_is_well_needs_no_words() -> None:
    assert ok("table") == Finding("table", "ok", "", "")


def test_a_warning_and_a_wrong_differ_in_their_state_only() -> None:
    assert warning("a", "b", "c").state == "warning"
    assert wrong("a", "b", "c") == Finding("a", "wrong", "b", "c")


def test_a_table_fits_its_width_and_loses_no_word() -> None:
    detail, remedy = "the account does not have this number at all", "Set TWILIO_PHONE_NUMBER to one that it has"
    text = table([ok("Settings"), wrong("Twilio number", detail, remedy)], width=72)

    assert all(len(line) <= 72 for line in text.splitlines())
    assert set(f"{detail} {remedy}".split()) <= set(text.split())
    assert text.splitlines()[0].startswith("check          state  what was seen")
    assert text.splitlines()[1] == "Settings       ok"


def test_a_narrow_terminal_still_gets_a_table() -> None:
    assert "account" in table([wrong("Twilio", "the account is closed", "Open it")], width=10)
