"""`MEDIA_SOCKET=websockets`: a whole call on the ordinary sockets. All other journeys are on picows."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from voice_openai_connect.simulator.caller import Listen, Press
from voice_openai_connect.simulator.town import Town
from voice_openai_connect.simulator.witness import TO_A_PERSON, over, person_knows, ring

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]


async def test_a_caller_hears_the_greeting_and_reaches_a_person_who_knows(quick_town: OpenTown) -> None:
    async with quick_town(settings={"MEDIA_SOCKET": "websockets"}) as town:
        assert town.parts is not None
        assert town.parts.media is None
        call = await ring(town, Listen(ms=300), Press("0"), *TO_A_PERSON)
        await over(call)

        assert call.heard
        assert person_knows(town)
