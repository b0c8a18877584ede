"""The model's voice on its way to the caller: what is passed on, what is cut off, and what must never be heard."""

from collections import OrderedDict

from voice_openai_connect import limits
from voice_openai_connect.call.commands import (
    CancelResponse,
    ClearPlayback,
    Command,
    DeleteItem,
    ModelCommand,
    Tell,
    TruncateItem,
)
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.events import ModelAudio
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.playback import Playback


class _Remembered:
    """Ids that must not come back to life; bounded, the oldest forgotten first."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, key: str) -> bool:
        """Remember `key`; False if it is known already."""
        if key in self._ids:
            return False
        self._ids[key] = None
        if len(self._ids) > limits.REMEMBERED_IDS:
            self._ids.popitem(last=False)
        return True

    def __contains__(self, key: str) -> bool:
        return key in self._ids


_OURS = "local"
"""Stands for response and item of a sound that no model made."""


class Speech:
    """Plays the model's items in order, and after an interruption makes the model's memory match the caller's."""

    def __init__(self, conversation: Conversation) -> None:
        self._playback = Playback()
        self._conversation = conversation
        self._muted_items = _Remembered()
        self._muted_responses = _Remembered()
        self._voiced = _Remembered()
        self._too_long = _Remembered()
        self._holds = 0
        """Rounds of the holding sound since the model last spoke."""
        self._words_end = 0
        """When the last of the model's words on the line has been played, unless they are cleared."""
        self._open: dict[str, str] = {}
        """Items that audio is still coming for, and their responses."""
        self._unplayed: dict[str, set[str]] = {}
        """Items of muted responses that arrived too late to be played at all, by response."""

    def hold(self, sound: bytes, now: int) -> list[Command]:
        """Play a round of the holding sound: ours, so the model hears nothing of it."""
        self._holds += 1
        item_id = f"{_OURS}{self._holds}"
        return [*self._playback.add(_OURS, item_id, sound, now), *self._playback.finish(item_id, now)]

    def audio(self, event: ModelAudio, now: int) -> list[Command]:
        """A piece of the model's voice: to the caller, or nowhere if its item or response was interrupted."""
        if event.item_id in self._muted_items:
            return []
        if event.response_id in self._muted_responses:
            self._unplayed.setdefault(event.response_id, set()).add(event.item_id)
            return []
        commands: list[Command] = []
        if self._holds and not self._open:
            commands += self.stop(now)  # what is still to come of the holding sound would only delay the answer
        self._holds = 0
        self._voiced.add(event.response_id)
        if event.item_id not in self._open:
            self._conversation.assistant_sounds(event.item_id)
            self._open[event.item_id] = event.response_id
        room = max(0, limits.UNHEARD_AUDIO_MS - self._playback.unheard_ms(now)) * limits.BYTES_PER_MS
        commands += self._playback.add(event.response_id, event.item_id, event.audio[:room], now)
        self._words_end = self._playback.quiet_from
        if len(event.audio) > room:
            commands += self._stop_there(event, now, cut_ms=(len(event.audio) - room) // limits.BYTES_PER_MS)
        return commands

    def _stop_there(self, event: ModelAudio, now: int, *, cut_ms: int) -> list[Command]:
        """More is waiting than anyone would listen to: what was sent stays, the rest is never made."""
        self._muted_items.add(event.item_id)
        self._muted_responses.add(event.response_id)
        self._too_long.add(event.response_id)
        self._open.pop(event.item_id, None)
        tail, sent_ms = self._playback.forget_rest(event.item_id, now)
        dropped = Tell(Fact.FRAMES_DROPPED, "unheard_limit", cut_ms)
        if not sent_ms:
            self._unplayed.setdefault(event.response_id, set()).add(event.item_id)
            return [CancelResponse(event.response_id), dropped]
        return [*tail, CancelResponse(event.response_id), TruncateItem(event.item_id, sent_ms), dropped]

    def item_finished(self, item_id: str, now: int) -> list[Command]:
        """No more audio for this item: its tail goes out."""
        self._open.pop(item_id, None)
        return self._playback.finish(item_id, now)

    def response_finished(self, response_id: str, now: int) -> list[Command]:
        """No more items in this response. Items nobody heard leave the model's memory."""
        commands: list[Command] = []
        for item_id in [item for item, response in self._open.items() if response == response_id]:
            commands += self.item_finished(item_id, now)
        commands += [DeleteItem(item_id) for item_id in sorted(self._unplayed.pop(response_id, ()))]
        return commands

    def reached(self, mark: str, now: int) -> None:
        """A mark came back."""
        self._playback.reached(mark, now)

    def look(self, now: int) -> list[Command]:
        """Whether marks still come back; if not, what has been heard goes by the clock."""
        return self._playback.look(now)

    def mute(self, response_id: str) -> None:
        """Whatever still comes of this response is not for the caller."""
        self._muted_responses.add(response_id)

    def is_muted(self, response_id: str) -> bool:
        """Whether this response was interrupted."""
        return response_id in self._muted_responses

    def has_voiced(self, response_id: str) -> bool:
        """Whether any audio of this response went to the caller."""
        return response_id in self._voiced

    def was_too_long(self, response_id: str) -> bool:
        """Whether we ended this response because nobody would listen to more of it."""
        return response_id in self._too_long

    def stop(self, now: int) -> list[Command]:
        """Silence at once: clear the caller's line, and tell the model what was heard. Nothing if all was heard."""
        cuts = self._playback.cut(now)
        if not cuts:
            return []
        self._open.clear()
        commands: list[Command] = [ClearPlayback()]
        for cut in (cut for cut in cuts if cut.response_id != _OURS):
            self._muted_items.add(cut.item_id)
            self._conversation.assistant_was_cut(cut.item_id, cut.heard_ms, cut.received_ms)
            if cut.heard_ms > 0:
                commands.append(TruncateItem(cut.item_id, cut.heard_ms))
            else:
                commands.append(DeleteItem(cut.item_id))
        return commands

    def hush(self, now: int) -> list[Command]:
        """Silence at once, without a word to the model: its session is gone, or is to be left."""
        return [command for command in self.stop(now) if not isinstance(command, ModelCommand)]

    @property
    def quiet_from(self) -> int:
        """When the caller's line runs dry, or ran dry."""
        return self._playback.quiet_from

    def heard_by(self, now: int) -> int:
        """Until when to wait for the model's words on the line to be heard; `now` if there are none."""
        end = min(self._words_end, self._playback.quiet_from)
        return end + limits.MARKS_GONE_MS if end > now else now

    @property
    def unheard(self) -> frozenset[str]:
        """The items that the caller has not heard to their end, as far as is known."""
        return self._playback.unheard

    @property
    def all_heard(self) -> bool:
        """Whether the caller has heard everything, by the witness of marks."""
        return self._playback.all_heard
