"""The second leg of a call: ringing somebody, sending digits, joining the two, and what Twilio reports of it."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

from voice_openai_connect.simulator.carrier_line import Bridge, Party, Ringing, Tape
from voice_openai_connect.simulator.carrier_twiml import Dial
from voice_openai_connect.simulator.dtmf import tones
from voice_openai_connect.simulator.telephone import LineEnd, NotTaken, Subscriber, line

TIMEOUT_EXTRA_S: Final = 5
"""Twilio rings this much longer than `timeout` says."""


@dataclass
class Dialled:
    """One `<Dial>` as it went. `status` is Twilio's word, empty while it lasts."""

    number: str
    digits: str
    caller_id: str
    sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    status: str = ""
    answered: bool = False
    bridge: Bridge | None = None

    @property
    def bridged(self) -> bool:
        """Whether the caller and the called one heard each other."""
        return self.bridge is not None and self.bridge.joined

    @property
    def tape(self) -> Tape:
        """The called leg, from its answer: what it was sent, digits included, and what it said."""
        return self.bridge.tape if self.bridge else Tape()

    def params(self) -> dict[str, str]:
        """What is posted to `<Dial action>`. The duration is left out when nothing was answered."""
        posted = {
            "DialCallSid": self.sid,
            "DialCallStatus": self.status,
            "DialBridged": "true" if self.bridged else "false",
        }
        if self.answered:
            posted["DialCallDuration"] = str(round(self.tape.length_ms / 1000))
        return posted


class Leg:
    """Rings a subscriber and stays until the leg is over.

    `switch` changes what the caller hears; `keep` is given the subscriber's task, which may have something to finish
    after the call.
    """

    def __init__(
        self,
        dialled: Dialled,
        caller: LineEnd,
        switch: Callable[[Party], None],
        keep: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._dialled = dialled
        self._caller = caller
        self._switch = switch
        self._keep = keep
        self._near, self._far = line(dialled.caller_id, dialled.number)

    async def run(self, verb: Dial, subscriber: Subscriber) -> None:
        """Ring, join, and return when one side has hung up; also hangs up when cancelled."""
        self._switch(Ringing())
        answering = asyncio.create_task(self._answer(subscriber))
        self._keep(answering)
        try:
            await self._ring(answering, verb.timeout_s + TIMEOUT_EXTRA_S)
            if self._dialled.answered:
                await self._talk(answering, verb)
        finally:
            self._dialled.status = self._dialled.status or ("completed" if self._dialled.answered else "canceled")
            self._near.hang_up()

    async def _answer(self, subscriber: Subscriber) -> None:
        """Let the subscriber have the call; afterwards the line is down in any case."""
        try:
            await subscriber.answer(self._far)
        except NotTaken as refused:
            if not self._dialled.answered:
                self._dialled.status = refused.status
        except Exception:
            self._dialled.status = "failed"
            raise
        finally:
            self._far.hang_up()

    async def _ring(self, answering: asyncio.Task[None], seconds: float) -> None:
        """Wait until it is answered, refused, or has rung long enough."""
        await _first(answering, self._near.until_answered(), seconds)
        self._dialled.answered = self._near.far_end_answered
        if not (self._dialled.answered or self._dialled.status):
            self._dialled.status = "no-answer"

    async def _talk(self, answering: asyncio.Task[None], verb: Dial) -> None:
        """Send the digits, then join the two until one hangs up or the time is over."""
        bridge = self._dialled.bridge = Bridge(self._near, self._caller, tones(verb.send_digits))
        self._switch(bridge)
        await _first(answering, self._near.until_hung_up(), verb.time_limit_s)


async def _first(task: asyncio.Task[None], other: Coroutine[None, None, None], seconds: float) -> None:
    """Wait until one of the two is over, or the time is. The task goes on; the other does not."""
    waiting = asyncio.create_task(other)
    try:
        await asyncio.wait({task, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
