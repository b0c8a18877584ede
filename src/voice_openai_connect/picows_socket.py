"""What picows leaves to its user, for both ends of a call: messages instead of frames, a bounded backlog, the close.

picows parses and masks in C and calls back for each frame; no task and no queue stand between the bytes and the call.
"""

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from voice_openai_connect import limits

Heard = Callable[[str], bool]
"""Takes a text message; False when it wants no more of them. A binary message comes as an empty text."""

SILENT: Final = logging.Logger("unheard")  # noqa: LOG001 - in no registry, so that no configuration can switch it on
SILENT.disabled = True
"""The logger of WebSocket libraries: they log paths, headers and messages, so tickets, keys, and what callers say."""
QUIET: Final = logging.LoggerAdapter(SILENT)
"""The same for picows: of a plain logger it makes one for each connection, which is enabled again."""

_TEXT: Final = WSMsgType.TEXT


class PicowsSocket(WSListener):
    """One socket, open from `on_ws_connected` until `over` is done. All of it happens on the event loop.

    `message_bytes` bounds a message in fragments; that of a frame is the protocol's own `max_frame_size`.
    """

    # Between two frames of a call those of all the others push what belongs to it out of the processor's cache. So what
    # every frame needs lies close together, here and wherever else a frame passes: a dict would double the waiting.
    __slots__ = (
        "_closing",
        "_credit",
        "_deaf",
        "_fragments",
        "_fragments_are_text",
        "_heard",
        "_held",
        "_message_bytes",
        "_settling",
        "_transport",
        "_waiting",
        "over",
    )

    def __init__(self, message_bytes: int) -> None:
        self._credit = 0
        """Messages that may come before `_allow_more` is asked."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is gone."""
        self._message_bytes = message_bytes
        self._transport: WSTransport | None = None
        self._closing = False
        self._deaf = False
        self._held: deque[str] = deque()
        self._heard: Heard | None = None
        self._waiting: asyncio.Future[bool] | None = None
        self._fragments: list[bytes] | None = None
        self._fragments_are_text = False
        self._settling: asyncio.Task[None] | None = None

    # --- out

    @property
    def closed_by(self) -> tuple[int, str]:
        """The code and the reason that the socket was closed with; 1006 if it was not closed but broke.

        picows gives up with 1001 when its pings are not answered, which in a server's mouth means something else.
        """
        handshake = self._transport.close_handshake if self._transport else None
        if handshake is None:
            return 1006, ""
        if handshake.recv is not None:
            return handshake.recv.code.value, handshake.recv.reason
        ours = handshake.sent
        if ours is None:
            return 1006, ""
        return (1011, "no pong") if ours.code == WSCloseCode.GOING_AWAY else (ours.code.value, ours.reason)

    @property
    def backlog_bytes(self) -> int:
        """What waits in this process because the peer does not read; the system holds some more."""
        return self._transport.underlying_transport.get_write_buffer_size() if self._transport else 0

    def abort(self) -> None:
        """Let go of the connection as it is."""
        self._closing = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def shut(self, code: int, seconds: float) -> None:
        """Send what is queued and close, within so many seconds. May be called twice."""
        self.begin_close(code)
        if self._transport is not None:
            await asyncio.wait({self.over}, timeout=seconds)
        self.abort()

    def begin_close(self, code: int) -> None:
        """Say goodbye after what is queued; the peer ends the connection, or `shut` does."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        self._end()
        self._transport.send_close(WSCloseCode(code))

    # --- in

    async def receive(self) -> str | None:
        """The next message, or None once the peer is gone or is to be listened to no more."""
        while not self._held:
            if self._deaf:
                return None
            await self._wait()
        return self._held.popleft()

    async def listen(self, heard: Heard) -> bool:
        """Hand over every message from now on as it comes, until the peer is gone (True), or `heard` wants no more.

        What `heard` raises ends it, and is raised here. Cancelling ends it as well.
        """
        while self._held:
            if not heard(self._held.popleft()):
                return False
        if self._deaf:
            return True
        self._heard = heard
        try:
            return await self._wait()
        finally:
            self._heard = None

    async def _wait(self) -> bool:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def _wake(self, outcome: bool | Exception) -> None:
        self._heard = None
        if self._waiting is None or self._waiting.done():
            return
        if isinstance(outcome, Exception):
            self._waiting.set_exception(outcome)
        else:
            self._waiting.set_result(outcome)

    def _end(self) -> None:
        """Listen no more."""
        self._deaf = True
        self._wake(True)

    def _hold(self, text: str) -> None:
        if not self._deaf:
            self._held.append(text)
            self._wake(False)

    def _allow_more(self) -> int:
        """How many messages may come before this is asked again; none, if so many are not to be borne."""
        return sys.maxsize

    # --- what picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        if self._closing:
            return self.abort()
        transport.underlying_transport.set_write_buffer_limits(high=limits.BACKLOG_NOTICED_BYTES)
        return None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came; nearly every one is a whole message."""
        if frame.payload_size > self._message_bytes:
            return self._end()  # picows has said that it is too long, and hands it over all the same
        try:
            usual = frame.msg_type == _TEXT and frame.fin and self._fragments is None
            text = frame.get_payload_as_utf8_text() if usual else self._unusual(transport, frame)
        except UnicodeDecodeError:
            return self._refuse(transport, WSCloseCode.INVALID_TEXT)
        if text is None:
            return None
        if not self._credit:
            self._credit = self._allow_more()
            if not self._credit:
                return None
        self._credit -= 1
        if self._heard is None:
            return self._hold(text)
        try:
            if not self._heard(text):
                self._wake(False)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits in `listen`
            self._wake(error)
        return None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection is gone, from whichever side."""
        self._closing = True
        self._end()
        if not self.over.done():
            self.over.set_result(None)
            self._settling = asyncio.get_running_loop().create_task(_settled(transport))

    def pause_writing(self) -> None:
        """More than `BACKLOG_NOTICED_BYTES` wait."""

    def resume_writing(self) -> None:
        """The peer reads again."""

    def _unusual(self, transport: WSTransport, frame: WSFrame) -> str | None:
        """The text of a message that is whole now, if one is. Raises `UnicodeDecodeError`."""
        match frame.msg_type:
            case WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code() or WSCloseCode.OK)
                transport.disconnect()
                return None
            case WSMsgType.PING | WSMsgType.PONG:
                return None  # picows answers the one and looks for the other
            case kind:
                return self._join(transport, frame, starts=kind != WSMsgType.CONTINUATION, text=kind == _TEXT)

    def _join(self, transport: WSTransport, frame: WSFrame, *, starts: bool, text: bool) -> str | None:
        """A message in fragments (RFC 6455, 5.4), or a binary one."""
        if starts is (self._fragments is not None):
            return self._refuse(transport, WSCloseCode.PROTOCOL_ERROR)
        if starts:
            self._fragments, self._fragments_are_text = [], text
        fragments = self._fragments = [*(self._fragments or ()), frame.get_payload_as_bytes()]
        if sum(map(len, fragments)) > self._message_bytes:
            return self._refuse(transport, WSCloseCode.MESSAGE_TOO_BIG)
        if not frame.fin:
            return None
        self._fragments = None
        return b"".join(fragments).decode() if self._fragments_are_text else ""

    def _refuse(self, transport: WSTransport, code: WSCloseCode) -> None:
        self._closing = True
        self._end()
        transport.send_close(code)
        transport.disconnect()


async def _settled(transport: WSTransport) -> None:
    """Why picows gave a connection up is kept for whoever asks, and the loop complains if nobody does."""
    with contextlib.suppress(Exception):
        await transport.wait_disconnected()
