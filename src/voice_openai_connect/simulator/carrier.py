"""A simulated Twilio: a telephone number, signed webhooks, TwiML carried out, media streams, second legs.

It speaks to the gateway over real sockets and in real time. Where Twilio's documents say how something works, it
works so; where they do not, `Habits` chooses.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Self

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.carrier_call import Account, CarriedCall, Exchange, Habits
from voice_openai_connect.simulator.carrier_connect import Handshake
from voice_openai_connect.simulator.carrier_webhooks import Routes, Webhooks, signer
from voice_openai_connect.simulator.telephone import Subscriber
from voice_openai_connect.simulator.timeline import Timeline

WEBHOOK_PATH = "/twilio/voice"
MS_PER_LETTER = 60


def silent_speech(text: str, language: str) -> bytes:  # noqa: ARG001 - silence is the same in every language
    """As much silence as the text would take to say."""
    return sound.silence(len(text) * MS_PER_LETTER)


class SimulatedCarrier:
    """A Twilio account with one telephone number.

    `gateway` is the gateway's base address as the world knows it, such as ``https://voice.example.com``, and its
    webhook is ``/twilio/voice`` there; a fragment such as ``#rc=2`` sets timeouts and retries as on a real number.
    `routes` says where it really listens (``{"https://voice.example.com": "http://127.0.0.1:8000"}``).
    `directory` says who answers which number. `speak(text, language)` returns µ-law for `<Say>`; it runs in a thread.

    Use it as an async context manager: at the end, calls still live are ended.
    """

    def __init__(
        self,
        gateway: str,
        account: Account,
        *,
        directory: Mapping[str, Subscriber] | None = None,
        routes: Mapping[str, str] | None = None,
        speak: Callable[[str, str], bytes] = silent_speech,
        habits: Habits | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        base, hash_, fragment = gateway.partition("#")
        self.voice_url = base.rstrip("/") + WEBHOOK_PATH + hash_ + fragment
        self.account = account
        self.timeline = timeline or Timeline()
        self.calls: dict[str, CarriedCall] = {}
        roads = Routes(routes)
        self._webhooks = Webhooks(account.auth_token, roads)
        handshake = Handshake(roads.real, signer(account.auth_token))
        self._exchange = Exchange(
            account, habits or Habits(), self._webhooks, handshake, self.timeline, speak, directory or {}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End every call and close the connections."""
        lives = [call.ended for call in self.calls.values()]
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        await self._webhooks.aclose()

    async def place_call(self, caller: Subscriber, *, from_: str, to: str = "") -> CarriedCall:
        """Let `caller` ring the gateway's number. Returns at once; `await call.ended` for the end."""
        call = CarriedCall(self._exchange, from_, to or self.account.number)
        self.calls[call.sid] = call
        call.begin(caller, self.voice_url)
        return call
