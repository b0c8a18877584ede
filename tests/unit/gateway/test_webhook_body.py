"""A webhook whose sender goes away in the middle of it is refused like any other that is not signed."""

from collections.abc import MutableMapping
from typing import Any, cast

from fastapi import Request

from voice_openai_connect.gateway.app import Front, Gateway

FRONT = Front("https://voice.example.com", "wss://voice.example.com", "AC" + "0" * 32, ("secret",), "+61255505678")


class Watch:
    def __init__(self) -> None:
        self.refusals: list[tuple[str, str]] = []

    def refused(self, what: str, reason: str) -> None:
        self.refusals.append((what, reason))

    def failed(self, what: str, error: BaseException) -> None:
        raise AssertionError(what)


async def test_a_sender_who_breaks_off_in_the_middle_of_a_form_is_no_error_of_ours() -> None:
    watch, nothing = Watch(), cast("Any", None)
    gateway = Gateway(FRONT, nothing, nothing, cast("Any", watch), aftercare=nothing)
    messages = iter([{"type": "http.request", "body": b"CallSid=CA", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> MutableMapping[str, Any]:
        return next(messages)

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)

    assert await gateway.signed_form(request) is None
    assert watch.refusals == [("webhook", "broken_off")]
