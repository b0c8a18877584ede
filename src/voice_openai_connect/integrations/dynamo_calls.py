"""What every instance must know about a call: one item a call, `call#{CallSid}`, changed attribute by attribute.

Several instances write to it, so each write sets what it knows and leaves the rest alone. An item is kept as long as
its latest write says, and once the call is over for `ENDED_CALL_TTL_S`, whatever comes after that.

Each stream that goes on with a call counts the item's `stream_number` up. An instance that still holds an earlier one,
half open and without knowing, may not write over what the later one has written: its steps and checkpoints are dropped.
"""

import secrets
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

import msgspec

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.integrations.dynamo_client import Change, ConditionNotMetError, DynamoClient, Item
from voice_openai_connect.integrations.gathered_writes import GatheredWrites

_STEPS: Final[dict[str, type[NextStep]]] = {"dial": DialPerson, "hang_up": HangUp, "promise_call_back": PromiseCallBack}
_STEP_NAMES: Final = {kind: name for name, kind in _STEPS.items()}
_ATTEMPTS: Final = range(1, limits.DIAL_ATTEMPTS + 1)
_NONE_LATER: Final = "attribute_not_exists(stream_number) OR stream_number <= :ours"
_KEPT: Final = "expires_at = if_not_exists(kept_until, :until)"


class DynamoCalls:
    """The call items of a table. Every method raises `StoreError` when the table does not do it in time."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client
        self._checkpoints = GatheredWrites(client)
        self._streams: OrderedDict[str, int] = OrderedDict()
        """The latest stream of each call that this instance knows of."""

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        """Keep what Twilio is to be told next, instead of an earlier step; unless a later stream has the call."""
        until = self._client.now(limits.CALL_ITEM_TTL_S)
        values = {":step": _write_step(step), ":until": until, ":ours": self._ours(call_sid)}
        with suppress(ConditionNotMetError):
            await self._client.update(_key(call_sid), f"SET next_step = :step, {_KEPT}", values, only_if=_NONE_LATER)

    async def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint, *, at_once: bool = False) -> None:
        """Keep where the conversation is, unless a later stream has the call. It is newer than any step, which goes.

        Waits a moment for others to be written with, unless it is wanted `at_once`.
        """
        text, until = msgspec.json.encode(checkpoint).decode(), self._client.now(limits.CHECKPOINT_TTL_S)
        change = f"SET checkpoint = :text, checkpoint_until = :until, {_KEPT} REMOVE next_step"
        values = {":text": text, ":until": until, ":ours": self._ours(call_sid)}
        with suppress(ConditionNotMetError):
            await self._checkpoints.write(Change(_key(call_sid), change, values, _NONE_LATER), at_once=at_once)

    def hasten(self) -> None:
        """Write now what waits to be written with others."""
        self._checkpoints.hasten()

    async def close(self) -> None:
        """Write what still waits, within `SAVE_MS`."""
        await self._checkpoints.close()

    async def take_over(self, call_sid: str) -> CallItem:
        """What is kept, for a stream that goes on with the call. From now on an earlier stream can keep nothing."""
        values = {":one": 1, ":until": self._client.now(limits.CALL_ITEM_TTL_S)}
        change = "ADD stream_number :one SET expires_at = if_not_exists(expires_at, :until)"
        return self._read(call_sid, await self._client.updated(_key(call_sid), change, values))

    async def note_asked(self, call_sid: str) -> None:
        """Keep that Twilio asked just now. A question alone does not make an item be kept any longer."""
        values = {":now": self._client.now(), ":until": self._client.now(limits.CALL_ITEM_TTL_S)}
        change = "SET asked_at = :now, expires_at = if_not_exists(expires_at, :until)"
        await self._client.update(_key(call_sid), change, values)

    async def note_stopped(self, call_sid: str, stream_sid: str) -> None:
        """Keep that this stream has ended in good order. That alone does not make an item be kept any longer."""
        values = {":stream": stream_sid, ":until": self._client.now(limits.CALL_ITEM_TTL_S)}
        change = "SET stopped_stream = :stream, expires_at = if_not_exists(expires_at, :until)"
        await self._client.update(_key(call_sid), change, values)

    async def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> bool:
        """Keep how a dial ended, and say whether that was news. Raises `ValueError` for an attempt we never make."""
        if attempt not in _ATTEMPTS:
            raise ValueError(f"attempts are 1 to {limits.DIAL_ATTEMPTS}")
        name, until = f"dial_{attempt}", self._client.now(limits.CALL_ITEM_TTL_S)
        # Named by whoever asks, so that the client's own repeat after a lost answer is still the first time.
        values = {":outcome": outcome.value, ":us": secrets.token_hex(8), ":until": until}
        change = f"SET {name} = :outcome, {name}_by = :us, {_KEPT}"
        news = f"attribute_not_exists({name}) OR {name}_by = :us"
        try:
            await self._client.update(_key(call_sid), change, values, only_if=news)
        except ConditionNotMetError:
            return False
        return True

    async def close_call(self, call_sid: str, outcome: Outcome) -> None:
        """The call is over: keep how, and remove every word of the conversation."""
        now, until = self._client.now(), self._client.now(limits.ENDED_CALL_TTL_S)
        change = (
            "SET outcome = :outcome, ended_at = :now, kept_until = :until, expires_at = :until"
            " REMOVE checkpoint, checkpoint_until"
        )
        await self._client.update(_key(call_sid), change, {":outcome": outcome.value, ":now": now, ":until": until})

    async def recall_call(self, call_sid: str) -> CallItem:
        """Everything that is kept; an empty item if the call is unknown or its time is over."""
        return self._read(call_sid, await self._client.get(_key(call_sid)))

    def _ours(self, call_sid: str) -> int:
        return self._streams.get(call_sid, 0)

    def _read(self, call_sid: str, item: Item) -> CallItem:
        """Whoever reads the item was asked by Twilio just now: no stream is later than the one it tells of."""
        now = self._client.now()
        self._streams[call_sid] = item.number("stream_number") or 0
        self._streams.move_to_end(call_sid)
        if len(self._streams) > limits.STEPS_KEPT:
            self._streams.popitem(last=False)
        if item.expired(now):
            return CallItem()
        until = item.number("checkpoint_until")
        return CallItem(
            step=_read_step(item.text("next_step")),
            checkpoint=_read_checkpoint(item.text("checkpoint")) if until is None or until > now else None,
            dials=_read_dials(item),
            outcome=_read_outcome(item.text("outcome")),
            asked_at=item.number("asked_at"),
            stopped_stream=item.text("stopped_stream"),
        )


def _key(call_sid: str) -> str:
    return f"call#{call_sid}"


def _write_step(step: NextStep) -> str:
    return msgspec.json.encode({"step": _STEP_NAMES[type(step)], **asdict(step)}).decode()


def _read_step(text: str) -> NextStep | None:
    """The step, or None if an older or newer version wrote something that is not understood here."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        return msgspec.convert(fields, _STEPS[str(fields.pop("step", ""))])
    except (msgspec.MsgspecError, KeyError):
        return None


def _read_checkpoint(text: str) -> Checkpoint | None:
    try:
        return msgspec.json.decode(text, type=Checkpoint)
    except msgspec.MsgspecError:
        return None


def _read_dials(item: Item) -> dict[int, DialOutcome]:
    """A dial whose outcome is not understood has failed: what counts is that it is over."""
    known = {outcome.value: outcome for outcome in DialOutcome}
    found = {attempt: item.text(f"dial_{attempt}") for attempt in _ATTEMPTS}
    return {attempt: known.get(text, DialOutcome.FAILED) for attempt, text in found.items() if text}


def _read_outcome(text: str) -> Outcome | None:
    return next((outcome for outcome in Outcome if outcome.value == text), None)
