"""HubSpot: it never stands between a caller and a person."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from voice_openai_connect.simulator.caller import Listen, Press, Step
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.scripted_http import DRIPS, Answer, ScriptedHttp
from voice_openai_connect.simulator.town import CALLER, Town
from voice_openai_connect.simulator.witness import TO_A_PERSON, over, person_knows, ring

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
KEY_0: tuple[Step, ...] = (Listen(ms=300), Press("0"), *TO_A_PERSON)


async def transferred(town: Town, from_: str = CALLER) -> CarriedCall:
    """A whole call with key 0, which must reach a person who knows why."""
    call = await ring(town, *KEY_0, from_=from_)
    await over(call)
    assert person_knows(town)
    return call


def ticket_told(town: Town) -> str:
    """The ticket that the person was told of."""
    return town.center.contacts[0].attributes["hubspot_ticket_id"]


@pytest.mark.parametrize("status", [401, 403])
async def test_H1_a_crm_that_will_not_have_us(quick_town: OpenTown, status: int) -> None:
    """Fault: HubSpot refuses the key or lacks a scope.

    Hears: nothing of it; the person has the summary and no ticket.
    """
    async with quick_town() as town:
        town.crm.requests.clear()
        town.crm.fail_next(50, status=status)
        await transferred(town)

        assert ticket_told(town) == ""
        asked = [path for method, path in town.crm.requests if method == "POST" and path.endswith("/tickets")]
        assert len(asked) <= 1  # a refusal is not tried again


async def test_H2_a_crm_that_asks_for_patience(quick_town: OpenTown) -> None:
    """Fault: HubSpot answers 429 and asks for more time than the transfer has.

    Hears: nothing of it; the ticket is made all the same, once.
    """
    async with quick_town() as town:
        town.crm.fail_next(1, status=429, headers={"Retry-After": "4"})
        await transferred(town)

        assert len(town.crm.tickets) == 1


@pytest.mark.parametrize("how", ["500", "reset", "slices"])
async def test_H3_a_crm_that_fails_once(quick_town: OpenTown, how: str) -> None:
    """Fault: HubSpot fails once (500), or the connection is lost before its answer, or its answers come in slices.

    Hears: nothing of it; there is one contact and one ticket, and the person is told of it.
    """
    async with quick_town(proxied={"crm"}) as town:
        if how == "500":
            town.crm.fail_next(1, status=500)
        if how == "reset":
            town.proxies["crm"].back.close_after = 0
        if how == "slices":
            town.proxies["crm"].back.piece_bytes = 40
        await transferred(town)

        assert len(town.crm.contacts) == len(town.crm.tickets) == 1
        assert ticket_told(town) in town.crm.tickets


@pytest.mark.parametrize("kind", ["contacts", "tickets"])
async def test_H3_a_crm_that_does_it_and_does_not_say_so(quick_town: OpenTown, kind: str) -> None:
    """Fault: HubSpot makes the contact or the ticket, and its answer never comes.

    Hears: nothing of it; there is still only one of each.
    """
    async with quick_town() as town:
        town.crm.commit_then_hang(1, method="POST", path=f"/{kind}")
        await transferred(town)

        assert len(town.crm.contacts) == len(town.crm.tickets) == 1


async def test_H3_a_crm_that_is_down(quick_town: OpenTown) -> None:
    """Fault: HubSpot cannot be reached at all.

    Hears: nothing of it; the person has the summary and no ticket.
    """
    async with quick_town(proxied={"crm"}) as town:
        await town.proxies["crm"].go_away()
        await transferred(town)

        assert ticket_told(town) == ""


async def test_H3_a_crm_that_never_answers(quick_town: OpenTown) -> None:
    """Fault: HubSpot accepts requests and never answers.

    Hears: the transfer at most `CRM_MS` later; the person has the summary and no ticket.
    """
    async with quick_town(proxied={"crm"}) as town:
        town.proxies["crm"].back.stalled = True
        await transferred(town)
        town.proxies["crm"].reset()

        assert ticket_told(town) == ""


async def test_H4_a_caller_who_is_there_twice(quick_town: OpenTown) -> None:
    """Fault: two contacts have the caller's number.

    Hears: nothing of it; the ticket hangs on the older one.
    """
    async with quick_town() as town:
        first, _ = (
            town.crm.portal.create("contacts", {"properties": {"lastname": name, "phone": CALLER}})
            for name in ("Smith", "Smythe")
        )
        town.crm.portal.index_lag_s = 0
        await transferred(town)

        assert town.center.contacts[0].attributes["hubspot_contact_id"] == first.id
        assert len(town.crm.contacts) == 2


async def test_H4_a_caller_without_a_number(quick_town: OpenTown) -> None:
    """Fault: the number is withheld.

    Hears: nothing of it; there is a ticket without a contact.
    """
    async with quick_town() as town:
        await transferred(town, from_="anonymous")

        assert town.crm.contacts == {}
        assert ticket_told(town) in town.crm.tickets


@pytest.mark.parametrize(
    "answer",
    [
        DRIPS,
        Answer(body=b" " * 10_000_000),
        Answer(302, headers={"location": "http://127.0.0.1:9/"}),
        Answer(body=b"["),
    ],
    ids=["slow body", "10 MB body", "redirect", "no JSON"],
)
async def test_H5_answers_that_are_none(quick_town: OpenTown, answer: Any) -> None:
    """Fault: HubSpot's answer drips without end, is 10 MB long, leads elsewhere, or is no JSON.

    Hears: the transfer at most `CRM_MS` later; the person has the summary and no ticket.
    """
    async with (
        ScriptedHttp([answer]).serving() as address,
        quick_town(settings={"HUBSPOT_API_BASE_URL": address}) as town,
    ):
        await transferred(town)

        assert ticket_told(town) == ""
