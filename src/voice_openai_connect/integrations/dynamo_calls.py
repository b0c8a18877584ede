"""What every instance must know about a call: one item a call, `call#{CallSid}`, changed attribute by attribute.

Several instances write to it, so each write sets what it knows and leaves the rest alone. An item is kept as long as
its latest write says, and once the call is over for `ENDED_CALL_TTL_S`, whatever comes after that.

Each stream that goes on with a call counts the item's `stream_number` up. An instance may still hold an earlier one,
half open and without knowing: its steps are dropped. Checkpoints are items of their own, one a stream,
`checkpoint#{CallSid}#{stream number}`, written whole and without a condition; the latest stream's that there is counts.
They hold every word that is kept of a conversation, and are gone when the call is over, or after `CHECKPOINT_TTL_S`.
"""

import asyncio
import secrets
from asyncio import Future
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Final

import msgspec

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.integrations.dynamo_client import ConditionNotMetError, DynamoClient, Item, Whole
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

    def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint, *, at_once: bool = False) -> Future[None]:
        """Keep where our stream's conversation is. It counts for nothing once a later stream has kept its own.

        Waits a moment for others to be written with, unless it is wanted `at_once`. No task: each answer of each call
        comes through here, twice.
        """
        text, until = msgspec.json.encode(checkpoint).decode(), self._client.now(limits.CHECKPOINT_TTL_S)
        item = Whole(_checkpoint_key(call_sid, self._ours(call_sid)), {"checkpoint": text, "expires_at": until})
        return self._checkpoints.put(item, at_once=at_once)

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        """The conversation goes on from here, and no earlier step counts; unless a later stream has the call.

        The step goes first: with neither, the caller would go to a person; with both, to one who was not there.
        """
        values = {":until": self._client.now(limits.CALL_ITEM_TTL_S), ":ours": self._ours(call_sid)}
        with suppress(ConditionNotMetError):
            await self._client.update(_key(call_sid), f"SET {_KEPT} REMOVE next_step", values, only_if=_NONE_LATER)
            await self.save_checkpoint(call_sid, checkpoint, at_once=True)

    def hasten(self) -> None:
        """Write now what waits to be written with others."""
        self._checkpoints.hasten()

    async def close(self) -> None:
        """Write what still waits, within `SAVE_MS`."""
        await self._checkpoints.close()

    async def take_over(self, call_sid: str) -> CallItem:
        """What is kept, for a stream that goes on with the call. No earlier step counts from now on, and an earlier
        stream can keep none."""
        values = {":one": 1, ":until": self._client.now(limits.CALL_ITEM_TTL_S)}
        change = "ADD stream_number :one SET expires_at = if_not_exists(expires_at, :until) REMOVE next_step"
        return await self._read(call_sid, await self._client.updated(_key(call_sid), change, values))

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

    async def close_call(self, call_sid: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        """The call is over: keep how, and remove every word of the conversation if any were kept.

        The words go with what is to be written of other calls. Where that fails, or for streams before the latest 25,
        they stay for what is left of `CHECKPOINT_TTL_S`; nobody goes on from them.
        """
        now, until = self._client.now(), self._client.now(limits.ENDED_CALL_TTL_S)
        change = "SET outcome = :outcome, ended_at = :now, kept_until = :until, expires_at = :until"
        values = {":outcome": outcome.value, ":now": now, ":until": until}
        item = await self._client.updated(_key(call_sid), change, values)
        if words_kept:
            keys = _checkpoint_keys(call_sid, item, limits.CHECKPOINTS_TOGETHER)
            await asyncio.gather(*(self._checkpoints.put(Whole(key)) for key in keys))

    async def recall_call(self, call_sid: str) -> CallItem:
        """Everything that is kept; an empty item if the call is unknown or its time is over."""
        return await self._read(call_sid, await self._client.get(_key(call_sid)))

    def _ours(self, call_sid: str) -> int:
        return self._streams.get(call_sid, 0)

    async def _read(self, call_sid: str, item: Item) -> CallItem:
        """Whoever reads the item was asked by Twilio just now: no stream is later than the one it tells of."""
        self._streams[call_sid] = _latest_stream(item)
        self._streams.move_to_end(call_sid)
        if len(self._streams) > limits.STEPS_KEPT:
            self._streams.popitem(last=False)
        known = CallItem() if item.expired(self._client.now()) else _read_call(item)
        if known.outcome is not None:
            return known
        return replace(known, checkpoint=await self._checkpoint(_checkpoint_keys(call_sid, item)))

    async def _checkpoint(self, keys: Sequence[str]) -> Checkpoint | None:
        """The first that there is and that is not too old."""
        found, now = await self._client.get_all(keys), self._client.now()
        items = [found[key] for key in keys if key in found]
        read = [_read_checkpoint(item.text("checkpoint")) for item in items if not item.expired(now)]
        return next((checkpoint for checkpoint in read if checkpoint is not None), None)


def _key(call_sid: str) -> str:
    return f"call#{call_sid}"


def _latest_stream(item: Item) -> int:
    """The number of the latest stream that has gone on with a call; 0 for a call's first."""
    return item.number("stream_number") or 0


def _checkpoint_key(call_sid: str, stream: int) -> str:
    return f"checkpoint#{call_sid}#{stream}"


def _checkpoint_keys(call_sid: str, item: Item, streams: int = limits.STREAMS_LOOKED_BACK) -> list[str]:
    """Of so many streams, the latest first."""
    latest = _latest_stream(item)
    return [_checkpoint_key(call_sid, number) for number in range(latest, max(-1, latest - streams), -1)]


def _read_call(item: Item) -> CallItem:
    """What the item says itself, without the conversation."""
    return CallItem(
        step=_read_step(item.text("next_step")),
        dials=_read_dials(item),
        outcome=_read_outcome(item.text("outcome")),
        asked_at=item.number("asked_at"),
        stopped_stream=item.text("stopped_stream"),
    )


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
