"""Whose requests to AWS these are: credentials found and renewed beside the requests that need them, not in them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from aiobotocore.credentials import AioCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError, PartialCredentialsError

from voice_openai_connect import limits

NO_CREDENTIALS: Final = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
"""What a request meets when nobody can say whose it is."""
REMEDY: Final = (
    "Give this process AWS credentials: a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. "
    "`aws sts get-caller-identity`, run as this process is, says why there are none."
)


class HeldCredentials(AioCredentials):
    """What the ordinary chain found, for as long as it is valid.

    botocore renews the credentials of a role within a request, from fifteen minutes before they expire: where whoever
    gives them out (an ECS agent, a metadata service, STS) does not answer, one request after the other waits for it in
    vain, although there are credentials with which it could have gone on. Here a request waits only if there are none.
    """

    def __init__(self, find: Callable[[], Awaitable[Any]]) -> None:
        super().__init__("", "", method="held")
        self._find = find
        self._found: Any = None
        self._held: ReadOnlyCredentials | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._again_at = 0.0

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The keys to sign with. Raises one of `NO_CREDENTIALS`."""
        if self._held is None or self._expires_within(0):
            await asyncio.shield(self._renewing())  # a request that gives up leaves it to those that come after
        elif self._expires_within(None) and asyncio.get_running_loop().time() >= self._again_at:
            self._renewing()
        return cast("ReadOnlyCredentials", self._held)

    def _expires_within(self, seconds: int | None) -> bool:
        """Without `seconds`, the time before the end at which botocore begins to renew."""
        due = getattr(self._found, "refresh_needed", None)  # keys that do not expire have none
        return due is not None and bool(due(seconds))

    def _renewing(self) -> asyncio.Task[None]:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(), name="renew AWS credentials")
            self._renewal.add_done_callback(_has_been_told)
        return self._renewal

    async def _renew(self) -> None:
        try:
            self._found = self._found or await self._find_any()
            self._held = await self._found.get_frozen_credentials()
        except NO_CREDENTIALS:
            raise
        except Exception as error:  # a file that is not there, a refusal of STS, an answer that is none
            raise CredentialRetrievalError(provider="AWS", error_msg=type(error).__name__) from error
        finally:
            self._again_at = asyncio.get_running_loop().time() + limits.AWS_KEYS_AGAIN_S

    async def _find_any(self) -> Any:
        if (found := await self._find()) is None:
            raise NoCredentialsError
        return found


def _has_been_told(renewal: asyncio.Task[None]) -> None:
    """Whoever waits has the error; if nobody does, botocore has logged why, and the next one comes soon."""
    if not renewal.cancelled():
        renewal.exception()
