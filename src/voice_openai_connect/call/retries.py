"""What is asked for again when the model fails a response, and how often."""

from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.commands import RequestResponse
from voice_openai_connect.call.events import ModelResponseFinished

RETRY_TIMER: Final = "retry"


class Retries:
    """The failures in a row, and the request that the next try repeats."""

    def __init__(self) -> None:
        self.request: RequestResponse | None = None
        """What would be asked for again; None when nothing is left to be tried."""
        self._failures = 0

    def asked(self, request: RequestResponse) -> None:
        """This is what a failure would leave unsaid."""
        self.request = request

    def succeeded(self) -> None:
        """A response was completed: what failed before it is made good."""
        self._failures, self.request = 0, None

    def failed(self, event: ModelResponseFinished) -> int | None:
        """In how many ms to ask again; None if the caller must not be kept waiting for another try.

        A greeting is asked for in the same words; everything else as a reply to what was said.
        """
        self._failures += 1
        wait = event.retry_after_ms or limits.RESPONSE_RETRY_WAIT_MS
        if self._failures > limits.RESPONSE_RETRIES or wait > limits.RESPONSE_RETRY_WAIT_MAX_MS:
            return None
        if event.purpose != "greeting" or self.request is None:
            self.request = RequestResponse("reply")
        return max(wait, limits.RESPONSE_RETRY_WAIT_MS)
