"""What a witness swears to, held against calls and towns that are made up here."""

from types import SimpleNamespace
from typing import Any

import pytest

from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.simulator import sound, witness
from voice_openai_connect.simulator.timeline import Timeline


def a_call(**unusual: Any) -> Any:
    """A call that is over and went well."""

    async def ended() -> str:
        return "hung-up"

    class Ended:
        def done(self) -> bool:
            return True

        def __await__(self) -> Any:
            return ended().__await__()

    usual: dict[str, Any] = {"sid": "CA1", "ended": Ended(), "violations": [], "dials": [], "heard": []}
    return SimpleNamespace(**{**usual, **unusual})


def a_town(*calls: Any, tickets: int = 0) -> Any:
    return SimpleNamespace(
        carrier=SimpleNamespace(calls={call.sid: call for call in calls}),
        crm=SimpleNamespace(tickets=dict.fromkeys(range(tickets))),
        timeline=Timeline(),
        parts=None,
    )


def dial(digits: str = "") -> Any:
    return SimpleNamespace(digits=digits)


def test_the_holding_sound_is_known_among_other_sounds() -> None:
    speech = sound.ulaw_encode(sound.tone(440, 500))
    heard = [SimpleNamespace(audio=audio) for audio in (speech, holding_sound(), speech)]

    assert witness.hears_holding_sound(a_call(heard=heard))
    assert not witness.hears_holding_sound(a_call(heard=heard[:1]))


def test_only_what_the_carrier_says_is_its_own_word() -> None:
    town = a_town()
    town.timeline.note("carrier", "says", text="One moment.")
    town.timeline.note("agent", "says", text="Hello.")

    assert witness.hears_carrier_say(town) == "One moment."


async def test_of_a_good_call_nothing_is_left() -> None:
    assert await witness.left_behind(a_town(a_call(dials=[dial("wwww1#"), dial()]), tickets=1)) == []


@pytest.mark.parametrize(
    ("dials", "tickets", "violations"),
    [
        ([dial(), dial(), dial()], 0, []),
        ([dial("wwww1#"), dial("wwww2#")], 0, []),
        ([], 2, []),
        ([], 0, ["31951"]),
    ],
    ids=["three dials", "two tokens", "two tickets", "a broken rule"],
)
async def test_what_is_too_much_is_told(dials: list[Any], tickets: int, violations: list[str]) -> None:
    town = a_town(a_call(dials=dials, violations=violations), tickets=tickets)

    assert len(await witness.left_behind(town)) == 1
