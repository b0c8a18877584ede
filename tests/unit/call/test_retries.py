"""A failed response is asked for again, once in a row."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import RequestResponse
from voice_openai_connect.call.events import ModelResponseFinished, Purpose
from voice_openai_connect.call.retries import Retries

GREETING = RequestResponse("greeting", "Hello!")


def failed(purpose: Purpose = "reply", retry_after_ms: int | None = None) -> ModelResponseFinished:
    return ModelResponseFinished("r", purpose, "failed", "x", retry_after_ms)


def test_a_failure_is_tried_again_after_a_moment_and_the_next_one_is_not() -> None:
    retries = Retries()

    assert retries.failed(failed()) == limits.RESPONSE_RETRY_WAIT_MS
    assert retries.request == RequestResponse("reply")
    assert retries.failed(failed()) is None


def test_a_success_makes_good_what_failed_before_it() -> None:
    retries = Retries()
    retries.failed(failed())
    retries.succeeded()

    assert retries.request is None
    assert retries.failed(failed()) is not None


def test_a_greeting_is_asked_for_in_the_same_words_and_everything_else_as_a_reply() -> None:
    retries = Retries()
    retries.asked(GREETING)
    retries.failed(failed("greeting"))
    assert retries.request == GREETING
    retries.succeeded()
    retries.failed(failed("greeting"))
    assert retries.request == RequestResponse("reply")


def test_the_service_may_ask_for_patience_but_not_for_more_than_a_caller_has() -> None:
    retries = Retries()

    assert retries.failed(failed(retry_after_ms=limits.RESPONSE_RETRY_WAIT_MAX_MS)) == limits.RESPONSE_RETRY_WAIT_MAX_MS
    retries.succeeded()
    assert retries.failed(failed(retry_after_ms=limits.RESPONSE_RETRY_WAIT_MAX_MS + 1)) is None
