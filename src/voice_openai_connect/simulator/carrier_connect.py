"""`<Connect><Stream>`: the signed handshake, the stream while it lasts, and what Twilio's debugger says of its end."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from voice_openai_connect.simulator.carrier_line import Party
from voice_openai_connect.simulator.carrier_media import Complain, Ending, MediaStream
from voice_openai_connect.simulator.carrier_twiml import BAD_STREAM_HANDSHAKE, Stream

CONNECT_TIMEOUT: Final = 31901
CONNECT_REFUSED: Final = 31902
DROPPED: Final = 31903
CLOSED: Final = 31921
HANDSHAKE_S: Final = 5.0
"""How long the gateway may take to accept. Twilio names no figure."""
MESSAGE_BYTES: Final = 16 * 1024 * 1024
NO_STREAM: Final = "MZ" + "0" * 32

Tell = Callable[[str, Mapping[str, str]], None]
"""Post these parameters to that address; nobody waits for the answer."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """Opens sockets to the gateway. `real` maps an address to where it leads, `sign` is Twilio's signature."""

    real: Callable[[str], str]
    sign: Callable[[str, Mapping[str, str]], str]

    async def open(self, url: str) -> ClientConnection:
        """Connect, signed over the address as the TwiML has it, without parameters.

        Raises `TimeoutError`, `OSError` or one of websockets' `InvalidHandshake` and `InvalidMessage`.
        """
        public, real = urlsplit(url), urlsplit(self.real(url))
        return await connect(
            urlunsplit((real.scheme, public.netloc, public.path, "", "")),
            host=real.hostname,
            port=real.port or (443 if real.scheme == "wss" else 80),
            additional_headers={"x-twilio-signature": self.sign(url, {})},
            user_agent_header="Twilio.TmeWs/1.0",
            compression=None,
            proxy=None,
            open_timeout=HANDSHAKE_S,
            ping_interval=None,
            close_timeout=1,
            max_size=MESSAGE_BYTES,
        )


class StreamLeg:
    """One `<Stream>`, from the handshake to its end. `make` turns an open socket into the stream."""

    def __init__(self, wanted: Stream, handshake: Handshake, complain: Complain, tell: Tell) -> None:
        self._wanted = wanted
        self._handshake = handshake
        self._complain = complain
        self._tell = tell

    async def run(self, make: Callable[[ClientConnection], MediaStream], switch: Callable[[Party], None]) -> Ending:
        """Open the stream and stay in it. One that cannot be opened counts as dropped."""
        try:
            socket = await self._handshake.open(self._wanted.url)
        except (TimeoutError, OSError, InvalidHandshake, InvalidMessage) as error:
            reason = f"{type(error).__name__}: {error}"
            self._complain(_handshake_code(error), reason)
            self._report("stream-error", NO_STREAM, reason)
            return "dropped"
        return await self._stay(make(socket), switch)

    async def _stay(self, media: MediaStream, switch: Callable[[Party], None]) -> Ending:
        self._report("stream-started", media.stream_sid)
        try:
            await media.begin()
            switch(media)
            ending = await media.run()
        except ConnectionClosed as closed:
            ending = "closed" if closed.rcvd is not None else "dropped"
        except asyncio.CancelledError:
            self._report("stream-stopped", media.stream_sid)
            raise
        if ending == "closed":
            self._complain(CLOSED, "the gateway closed the stream")
            self._report("stream-stopped", media.stream_sid)
        else:
            self._complain(DROPPED, "the stream broke")
            self._report("stream-error", media.stream_sid, "the stream broke")
        return ending

    def _report(self, event: str, stream_sid: str, error: str = "") -> None:
        """`<Stream statusCallback>`, if there is one."""
        if not self._wanted.status_callback:
            return
        posted = {
            "StreamSid": stream_sid,
            "StreamName": self._wanted.name or stream_sid,
            "StreamEvent": event,
            "Timestamp": datetime.now(UTC).isoformat(),
        }
        self._tell(self._wanted.status_callback, posted | ({"StreamError": error} if error else {}))


def _handshake_code(error: Exception) -> int:
    if isinstance(error, TimeoutError):
        return CONNECT_TIMEOUT
    return BAD_STREAM_HANDSHAKE if isinstance(error, InvalidStatus) else CONNECT_REFUSED
