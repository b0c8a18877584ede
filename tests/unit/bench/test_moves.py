"""What a run reads in the logs of the processes."""

import pytest

from bench.load.moves import wrong_lines

ERROR = {"level": "error", "message": "broke", "what": "call", "error": "ValueError"}
SLOW = {"level": "error", "message": "broke", "what": "checkpoint", "error": "TimeoutError"}
THROTTLED = {"level": "warning", "message": "not_done", "what": "recall call", "error": "StoreError"}
HARMLESS = {"level": "warning", "message": "escalated"}
LOG = [HARMLESS, SLOW, ERROR, THROTTLED]


def test_a_store_that_failed_without_having_been_made_to_fails_the_run_at_whatever_level_it_was_logged() -> None:
    assert wrong_lines(LOG, store_may_fail=False) == [SLOW, ERROR, THROTTLED]


def test_a_store_that_the_run_itself_throttles_may_fail_and_nothing_else_may() -> None:
    assert wrong_lines(LOG, store_may_fail=True) == [ERROR]


@pytest.mark.parametrize("error", ["ValueError", "KeyError"])
def test_a_mistake_of_ours_in_the_store_s_work_is_never_the_store_s(error: str) -> None:
    mistake = {**SLOW, "error": error}
    assert wrong_lines([mistake], store_may_fail=True) == [mistake]
