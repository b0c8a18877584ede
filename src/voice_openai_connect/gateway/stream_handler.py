"""Runs one `Call`: carries out its commands, and posts what happens. Decides nothing about the conversation."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.next_step import NextStep
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.tools import TAKE_MESSAGE, message_of
from voice_openai_connect.gateway.checkpoint_keeper import CheckpointKeeper
from voice_openai_connect.gateway.media_socket import MediaSocket
from voice_openai_connect.gateway.ports import CallObserver, Crm, HandoverStore, ModelLeg, Outbox, Tool, ToolContext
from voice_openai_connect.gateway.stream_listener import StreamListener
from voice_openai_connect.gateway.timers import Timer, timers
from voice_openai_connect.wire.twilio_media import MediaReader, MediaWriter

_SILENCE: Final = "stream silent"
"""The one timer that is not the call's."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What a call may reach beyond its own line. `crm` is None when no CRM is configured."""

    open_model: Callable[[], ModelLeg]
    store: HandoverStore
    crm: Crm | None
    remember_step: Callable[[str, NextStep], Awaitable[None]]
    """Makes a call's next step known to the webhooks, before its stream is closed."""
    tools: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    outbox: Outbox | None = None
    """Where notes for people are kept; None when no CRM is configured."""
    unattended: Callable[[], ev.QueuesUnattended] = ev.QueuesUnattended
    """Which queues are known to have nobody at this moment."""


def _nowhere(_: bytes) -> None:
    """Before there is a line."""


class NoOutboxError(Exception):
    """Nobody would ever read a message: no CRM is configured."""

    reason = "crm_off"


class StreamHandler:
    """One call's sockets, timers and tasks. `run` serves the stream; after `settle` all of them are gone."""

    def __init__(self, call: Call, outside: Outside, observer: CallObserver) -> None:
        self.call = call
        self._outside = outside
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        sid = call.identity.call_sid
        self._keeper = CheckpointKeeper(outside.store, sid, observer.failed, resumed=call.resumed)
        self._waiting: deque[tuple[ev.Event, float]] = deque()
        self._busy = False
        self._arrived_at = 0.0
        self._socket: MediaSocket | None = None
        self._writer = MediaWriter("")
        self._send: Callable[[bytes], None] = _nowhere
        self._leg: ModelLeg | None = None
        self._clock = timers()
        self._timers: dict[str, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._listener: StreamListener | None = None
        self._closing = False
        self._broken = False
        self.caller_left = False
        """Whether Twilio said that the stream ended because the call did."""
        self.broken_stream = ""
        """The stream, if it broke off before anybody had closed it or given it up."""
        self._over = asyncio.Event()

    # --- events in

    def post(self, event: ev.Event) -> None:
        """Hand an event to the call and carry out what it asks for. Never blocks, never raises.

        An event posted while another is being handled waits its turn.
        """
        self._waiting.append((event, self._loop.time()))
        if not self._busy:
            self._work_off()

    def _work_off(self) -> None:
        self._busy = True
        try:
            while self._waiting and not self._over.is_set():
                self._handle(*self._waiting.popleft())
        finally:
            self._busy = False

    def _handle(self, event: ev.Event, arrived_at: float) -> None:
        self._arrived_at = arrived_at
        try:
            for command in self.call.handle(event, int(self._loop.time() * 1_000)):
                self._carry_out[type(command)](self, command)
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not cost the caller the call
            self._fail_open(error)
        if self._listener is not None:
            self._listener.pass_on = self._leg.send_audio if self._leg is not None and self.call.passes_audio else None
        if self.call.phase is Phase.ENDED:
            self._over.set()

    def _fail_open(self, error: Exception) -> None:
        """Let a person take over, and the call say that it has ended; if it cannot even do that, it is over anyway."""
        self._start(self._close_stream(self.call.ending.way_out), "emergency transfer")
        if self._broken:
            self._over.set()
        self._broken = True
        self._waiting.appendleft((ev.StreamLost("broken"), self._loop.time()))
        self._observer.failed("call", error)

    def lose_stream(self, reason: str) -> None:
        """Give the caller's line up: it is gone although nobody closed it. Ends `run`."""
        self._lost(reason)
        self._stop_listening()

    def give_way(self) -> None:
        """Another stream has this call now: end, and leave what it has written, and will write, alone."""
        self._closing = True
        self._keeper.stop()
        self.post(ev.StreamLost("taken_over"))
        self._over.set()
        for task in self._tasks:
            task.cancel()

    async def run(self, socket: MediaSocket, reader: MediaReader, stream_sid: str) -> None:
        """Serve the call from its verified `start` until its stream is closed. `settle` comes after it, always."""
        self._socket, self._writer, self._send = socket, MediaWriter(stream_sid), socket.send
        listener = self._listener = StreamListener(reader, self._heard, self._not_passed_on)
        self._observer.stream_started(stream_sid)
        if (known := self._outside.unattended()) != ev.QueuesUnattended():
            self.post(known)
        self.post(ev.StreamStarted(stream_sid))
        self._listening = self._start(socket.deliver(listener.hear), "listen")
        self._look_for_silence(listener)
        try:
            await asyncio.wait({self._listening})
        finally:
            self._listener = None
            self._stop_listening()
            if not (self._closing or self._over.is_set()):
                self.broken_stream = stream_sid
            self._lost("closed")
            self._keeper.hasten()  # Twilio may ask now what is next
            self._disconnect()
            self._observer.frames(received=reader.frames, lost=reader.frames_lost)
            await socket.close()

    async def settle(self) -> None:
        """Wait, bounded, for what outlives the stream (a ticket on its way), then end every timer and task."""
        try:
            async with asyncio.timeout(limits.CRM_LATE_MS / 1_000):
                await self._over.wait()
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError as error:
            self._observer.failed("settle", error)
        finally:
            self._over.set()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._keeper.closed()
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    def _heard(self, event: ev.Event) -> bool:
        """What came from the line; whether it is worth listening to any longer."""
        if isinstance(event, ev.StreamLost):
            self._lost(event.reason)
            return False
        self.post(event)
        if isinstance(event, ev.StreamStopped):
            self.caller_left = self._closing = True
            return False
        return True

    def _not_passed_on(self, error: Exception) -> None:
        self._fail_open(error)
        self._work_off()

    def _look_for_silence(self, listener: StreamListener) -> None:
        """Twilio's frames come fifty times a second: when nothing does, the line is dead.

        Looks are counted, not seconds: a process that stood still has not yet read what came meanwhile.
        """
        if listener.quiet_looks() >= limits.STREAM_SILENT_LOOKS:
            return self.lose_stream("silent")
        at = self._loop.time() + limits.STREAM_SILENT_MS / limits.STREAM_SILENT_LOOKS / 1_000
        self._timers[_SILENCE] = self._clock.set(at, partial(self._look_for_silence, listener))
        return None

    def _lost(self, reason: str) -> None:
        """The stream is over, and unless we closed it ourselves or Twilio said so, that is news to the call."""
        if not self._closing:
            self.post(ev.StreamLost(reason))

    def _stop_listening(self) -> None:
        self._forget_timer(_SILENCE)
        if self._listening is not None:
            self._listening.cancel()

    # --- commands out: the line

    def _play(self, command: do.PlayAudio) -> None:
        self._send(self._writer.media(command.audio))

    def _mark(self, command: do.MarkPlayback) -> None:
        self._send(self._writer.mark(command.name))

    def _clear(self, _: do.ClearPlayback) -> None:
        self._send(self._writer.clear())
        self._observer.cleared((self._loop.time() - self._arrived_at) * 1_000)

    def _close(self, command: do.CloseStream) -> None:
        self._start(self._close_stream(command.next_step), "close stream")

    async def _close_stream(self, step: NextStep) -> None:
        if self._closing or self._socket is None:
            return
        self._closing = True
        try:
            await self._keeper.settled()  # whoever is asked next may go on from it
            await self._outside.remember_step(self.call.identity.call_sid, step)
        finally:
            await self._hang_up_socket(self._socket)

    async def _move_stream(self) -> None:
        if self._closing or self._socket is None:
            return
        self._closing = True
        try:
            await self._keeper.settled()
        finally:
            await self._hang_up_socket(self._socket)

    async def _hang_up_socket(self, socket: MediaSocket) -> None:
        await socket.close()
        self._stop_listening()  # a peer that goes on talking after the close is not listened to

    def _save_checkpoint(self, command: do.SaveCheckpoint) -> None:
        self._keeper.keep(command.checkpoint)

    def _note_outcome(self, command: do.NoteOutcome) -> None:
        self._keeper.close(command.outcome)

    def _move(self, command: do.MoveStream) -> None:
        self._keeper.keep(command.checkpoint)
        self._start(self._move_stream(), "move stream")

    # --- commands out: the model

    def _connect(self, _: do.ConnectModel) -> None:
        try:
            self._leg = self._outside.open_model()
        except Exception as error:  # noqa: BLE001 - without a model there is still a person
            self._observer.failed("open model", error)
            self.post(ev.ModelLost("not_opened", permanent=True))
        else:
            self._start(self._run_model(self._leg), "model leg")

    async def _run_model(self, leg: ModelLeg) -> None:
        """The model's side from connecting to its end. It has promised not to raise; a caller must not depend on it."""
        try:
            await leg.run(self.post)
        except Exception as error:  # noqa: BLE001 - silence would follow if the call did not hear of it
            self._observer.failed("model leg", error)
            self.post(ev.ModelLost("broken"))

    def _to_model(self, command: do.ModelCommand) -> None:
        if self._leg is not None:
            self._leg.send(command)

    def _disconnect(self, _: do.DisconnectModel | None = None) -> None:
        if self._leg is not None:
            self._start(self._leg.close(), "close model leg")

    # --- commands out: tools, CRM, records

    def _run_tool(self, command: do.RunTool) -> None:
        identity = self.call.identity
        context = ToolContext(identity.call_sid, identity.conversation_id, identity.caller_phone)

        async def run() -> ev.Event:
            tool = self._take_message if command.name == TAKE_MESSAGE else self._outside.tools[command.name]
            return ev.ToolFinished(command.call_id, str(await tool(json.loads(command.arguments), context)))

        self._answer(run, lambda why: ev.ToolFailed(command.call_id, why), "tool")

    async def _take_message(self, arguments: Mapping[str, Any], _: ToolContext) -> str:
        """The tool that every call has: kept for people, and delivered however long the CRM is out of reach."""
        if self._outside.outbox is None:
            raise NoOutboxError
        await self._outside.outbox.keep_note(self.call.notes.message(message_of(arguments)))
        return ""

    def _keep_note(self, command: do.KeepNote) -> None:
        if self._outside.outbox is not None:  # without a CRM there is no ticket to put it on
            self._start(self._outside.outbox.keep_note(command.note), "keep note")

    def _revoke_token(self, command: do.RevokeToken) -> None:
        async def revoke() -> None:  # if it fails, the token expires by itself
            await self._outside.store.revoke(command.token)

        self._start(revoke(), "revoke token")

    def _find_contact(self, command: do.FindContact) -> None:
        crm = self._outside.crm
        if crm is None:
            self.post(ev.ContactNotFound("crm_off"))
            return

        async def find() -> ev.Event:
            return ev.ContactFound(await crm.find_contact(command.caller_phone))

        self._answer(find, ev.ContactNotFound, "find contact")

    def _open_ticket(self, command: do.OpenTicket) -> None:
        crm = self._outside.crm
        if crm is None:
            self.post(ev.TicketNotOpened("crm_off"))
            return

        async def open_ticket() -> ev.Event:
            return ev.TicketOpened(*await crm.open_ticket(command.record))

        self._answer(open_ticket, ev.TicketNotOpened, "open ticket")

    def _deliver_later(self, command: do.DeliverTicketLater) -> None:
        if self._outside.outbox is not None:
            self._start(self._outside.outbox.keep_ticket(command.record), "keep ticket")

    def _save_handover(self, command: do.SaveHandover) -> None:
        async def save() -> ev.Event:
            return ev.HandoverSaved(await self._outside.store.save(command.record))

        self._answer(save, ev.HandoverNotSaved, "save handover")

    def _attach_ticket(self, command: do.AttachTicket) -> None:
        async def attach() -> None:  # if it fails, the record stays as it is, which is still right
            await self._outside.store.attach_ticket(
                command.token, command.contact_id, command.ticket_id, command.ticket_url
            )

        self._start(attach(), "attach ticket")

    def _answer(self, ask: Callable[[], Awaitable[ev.Event]], failure: Callable[[str], ev.Event], what: str) -> None:
        """Ask in the background; post the answer, or the failure with the short reason that the error names."""

        async def run() -> None:
            try:
                event = await ask()
            except Exception as error:  # noqa: BLE001 - every failure has its event
                self._observer.failed(what, error)
                event = failure(str(getattr(error, "reason", type(error).__name__)))
            self.post(event)

        self._start(run(), what)

    # --- commands out: time and facts

    def _set_timer(self, command: do.SetTimer) -> None:
        self._forget_timer(command.name)
        self._timers[command.name] = self._clock.set(command.at / 1_000, partial(self._fire, command.name))

    def _cancel_timer(self, command: do.CancelTimer) -> None:
        self._forget_timer(command.name)

    def _forget_timer(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def _fire(self, name: str) -> None:
        self._timers.pop(name, None)
        self.post(ev.TimerFired(name))

    def _tell(self, command: do.Tell) -> None:
        self._observer.tell(command)

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        def finished(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._observer.failed(what, error)

        task = self._loop.create_task(work, name=f"{what} {self.call.identity.call_sid}")
        self._tasks.add(task)
        task.add_done_callback(finished)
        return task

    _carry_out: ClassVar[dict[type[do.Command], Callable[["StreamHandler", Any], None]]] = {
        do.PlayAudio: _play,
        do.MarkPlayback: _mark,
        do.ClearPlayback: _clear,
        do.CloseStream: _close,
        do.ConnectModel: _connect,
        do.DisconnectModel: _disconnect,
        **dict.fromkeys(
            (
                do.ConfigureModel,
                do.SendCallerAudio,
                do.RequestResponse,
                do.RequestSummary,
                do.CancelResponse,
                do.TruncateItem,
                do.DeleteItem,
                do.AddText,
                do.AnswerTool,
            ),
            _to_model,
        ),
        do.SaveCheckpoint: _save_checkpoint,
        do.NoteOutcome: _note_outcome,
        do.MoveStream: _move,
        do.RunTool: _run_tool,
        do.FindContact: _find_contact,
        do.OpenTicket: _open_ticket,
        do.DeliverTicketLater: _deliver_later,
        do.SaveHandover: _save_handover,
        do.AttachTicket: _attach_ticket,
        do.KeepNote: _keep_note,
        do.RevokeToken: _revoke_token,
        do.SetTimer: _set_timer,
        do.CancelTimer: _cancel_timer,
        do.Tell: _tell,
    }
