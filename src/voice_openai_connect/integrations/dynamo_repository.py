"""The handover table: where records wait for the contact centre, and where any instance finds what a call does next.

One table, key `token`: a handover item per ten-digit token (`dynamo_tokens`), a call item per call (`dynamo_calls`),
and what is owed to the CRM (`dynamo_outbox`).
"""

import secrets
import time
from asyncio import Future
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.handover import HandoverRecord, Redemption
from voice_openai_connect.call.next_step import NextStep
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.findings import Finding
from voice_openai_connect.integrations import dynamo_setup
from voice_openai_connect.integrations.dynamo_calls import DynamoCalls
from voice_openai_connect.integrations.dynamo_client import AwsKey, DynamoClient, StoreError, own_errors
from voice_openai_connect.integrations.dynamo_outbox import DynamoOutbox
from voice_openai_connect.integrations.dynamo_tokens import DynamoTokens

_TOKENS: Final = 10**limits.TOKEN_DIGITS


class DynamoRepository:
    """The handover table, through one client for the life of the process: `async with DynamoRepository(...)`.

    Credentials come from the ordinary AWS chain unless a `key` is given. `endpoint_url` points elsewhere than AWS.
    `clock` gives seconds since the epoch; `draw` a number below 10**10, for a new token. `on_throttle` is called
    for every answer in which DynamoDB asked us to slow down, the ones that a retry made good included.

    Every question is bounded by `SAVE_MS`, retries included. Every method but `check` raises `StoreError`.
    """

    def __init__(
        self,
        table_name: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        key: AwsKey | None = None,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], int] = lambda: secrets.randbelow(_TOKENS),
        on_throttle: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = DynamoClient(
            table_name, region=region, endpoint_url=endpoint_url, key=key, clock=clock, on_throttle=on_throttle
        )
        self._tokens = DynamoTokens(self._client, draw)
        self._calls = DynamoCalls(self._client)
        self.outbox: Final = DynamoOutbox(self._client)
        """What is owed to the CRM."""

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._calls.close()
        finally:
            await self._client.__aexit__(kind, error, trace)

    # --- Handovers

    async def save(self, record: HandoverRecord) -> str:
        """Store the record under a fresh token and return the token: ten digits, to be used within `TOKEN_TTL_S`.

        A repeat of the same `handover_id` returns the same token, also when the first answer was lost.
        """
        return await self._tokens.save(record)

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        """Add a late ticket to a record. False if it has been read, has expired or was never there.

        An empty `contact_id` leaves the record's own as it is.
        """
        return await self._tokens.attach_ticket(token, contact_id, ticket_id, ticket_url)

    async def redemption(self, token: str) -> Redemption | None:
        """What became of a record; None when it is gone. A record whose time is over may still be told of."""
        return await self._tokens.redemption(token)

    async def revoke(self, token: str) -> bool:
        """Make a token worthless. False if it has been redeemed already or is gone."""
        return await self._tokens.revoke(token)

    # --- Calls

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        """Keep what Twilio is to be told next about this call, instead of an earlier step. Keeps all the rest."""
        await self._calls.remember_step(call_sid, step)

    def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint, *, at_once: bool = False) -> Future[None]:
        """Keep where the conversation is, for `CHECKPOINT_TTL_S`. Keeps all the rest. Done when it is kept.

        Waits up to `CHECKPOINTS_GATHERED_MS` for others to be written with, unless it is wanted `at_once`. Cancelling
        takes it back if it has not been sent.
        """
        return self._calls.save_checkpoint(call_sid, checkpoint, at_once=at_once)

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        """Keep, at once, that the caller goes back to the conversation as it is here: no earlier step counts."""
        await self._calls.bring_back(call_sid, checkpoint)

    def hasten(self) -> None:
        """Write now what waits to be written with others."""
        self._calls.hasten()

    async def recall_call(self, call_sid: str) -> CallItem:
        """Everything that was kept, by whichever instance; an empty item if there is nothing or its time is over."""
        return await self._calls.recall_call(call_sid)

    async def take_over(self, call_sid: str) -> CallItem:
        """As `recall_call`, for a stream that goes on with the call: no step of an earlier one counts from now on."""
        return await self._calls.take_over(call_sid)

    async def note_asked(self, call_sid: str) -> None:
        """Keep that Twilio asked just now what is next for this call. Keeps all the rest."""
        await self._calls.note_asked(call_sid)

    async def note_stopped(self, call_sid: str, stream_sid: str) -> None:
        """Keep that this stream has ended in good order, as Twilio says. Keeps all the rest."""
        await self._calls.note_stopped(call_sid, stream_sid)

    async def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> bool:
        """Keep how a dial ended. True only the first time for this attempt, on whichever instance.

        Raises `ValueError` for an attempt beyond `DIAL_ATTEMPTS`.
        """
        return await self._calls.note_dial(call_sid, attempt, outcome)

    async def close_call(self, call_sid: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        """The call is over: keep how for `ENDED_CALL_TTL_S`, and no word of the conversation.

        If its words could not be removed it raises, and they are gone after `CHECKPOINT_TTL_S`. Without `words_kept`
        there are none to be removed.
        """
        await self._calls.close_call(call_sid, outcome, words_kept=words_kept)

    # --- The table itself

    async def setup_table(self) -> list[str]:
        """Make the table and switch its expiry on; what is there already stays. Returns what was done, as sentences."""
        with own_errors():
            return await dynamo_setup.setup_table(self._client.raw, self._client.table)

    async def check(self) -> list[Finding]:
        """What is right and wrong with the table, for the doctor. Writes one item and removes it. Never raises."""
        try:
            with own_errors():
                return await dynamo_setup.check_table(self._client.raw, self._client.table, now=self._client.now())
        except StoreError as error:
            return [dynamo_setup.out_of_reach(self._client.table, error.reason)]
