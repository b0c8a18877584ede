"""Names that are written down: metric labels, items in a table, parameters of a stream."""

from voice_openai_connect.call.outcome import DialOutcome, Outcome


def test_the_names_stay_what_dashboards_and_tables_know() -> None:
    assert {str(outcome) for outcome in Outcome} == {
        "contained",
        "caller_left",
        "connected_with_context",
        "connected_without_context",
        "called_back",
    }
    assert {str(outcome) for outcome in DialOutcome} == {
        "connected",
        "busy",
        "no_answer",
        "failed",
        "canceled",
        "unbridged",
        "too_short",
        "caller_left",
    }
