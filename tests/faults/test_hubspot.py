"""HubSpot: it never stands between a caller and a person, and it gets everything in the end."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.simulator.caller import Listen, Press, Step
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.gateway_process import PATIENT, GatewayProcess
from voice_openai_connect.simulator.scripted_http import DRIPS, Answer, ScriptedHttp
from voice_openai_connect.simulator.town import CALLER, Town
from voice_openai_connect.simulator.witness import TO_A_PERSON, over, person_knows, ring

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
LATER_S = 60
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


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the outbox would wait for minutes for is over in a moment."""
    for wait in ("OUTBOX_FIRST_WAIT_S", "OUTBOX_PAUSE_FIRST_S", "OUTBOX_PAUSE_MAX_S", "OUTBOX_DENIED_S"):
        monkeypatch.setattr(limits, wait, 1)


async def settled(town: Town, *, owed: bool) -> None:
    """Return when something is owed to the CRM, or when it has the ticket and nothing is owed any more."""
    async with asyncio.timeout(LATER_S), town.table() as table:
        while True:
            pending = await table.outbox.pending()
            if pending if owed else town.crm.tickets and not pending:
                return
            await asyncio.sleep(0.1)


async def delivered_once(town: Town) -> str:
    """What the only ticket says, once the CRM has everything. Raises `TimeoutError` when that does not come."""
    await settled(town, owed=False)
    (ticket,) = town.crm.tickets.values()
    return ticket.properties["content"]


@pytest.mark.parametrize("status", [401, 403])
async def test_H1_a_crm_that_will_not_have_us(quick_town: OpenTown, status: int) -> None:
    """Fault: HubSpot refuses the key or lacks a scope.

    Hears: nothing of it; the person has the summary and no ticket. Once somebody has mended it, the ticket is made.
    """
    async with quick_town() as town:
        right = town.crm.token, town.crm.scopes
        town.crm.token, town.crm.scopes = ("another", right[1]) if status == 401 else (right[0], frozenset[str]())
        town.crm.requests.clear()
        call = await transferred(town)

        assert ticket_told(town) == ""
        asked = [path for method, path in town.crm.requests if method == "POST" and path.endswith("/tickets")]
        assert len(asked) <= 1 + call.now_ms / 1_000  # a refusal is not tried again by the call, and rarely later
        town.crm.token, town.crm.scopes = right
        assert "Reason for the handover: key" in await delivered_once(town)


async def test_H2_a_crm_that_asks_for_patience(quick_town: OpenTown) -> None:
    """Fault: HubSpot answers 429 and asks for more time than the transfer has.

    Hears: nothing of it; the ticket is made all the same, once.
    """
    async with quick_town() as town:
        town.crm.fail_next(1, status=429, headers={"Retry-After": "4"})
        await transferred(town)

        assert len(town.crm.tickets) == 1


async def test_H2_a_crm_that_never_stops_asking_for_patience(quick_town: OpenTown) -> None:
    """Fault: HubSpot answers 429 to everything until the call is long over.

    Hears: nothing of it; the person has the summary and no ticket. It is made later, once.
    """
    async with quick_town(proxied={"crm"}) as town:
        town.crm.burst_per_10_s = 0
        await transferred(town)
        assert ticket_told(town) == ""
        town.crm.burst_per_10_s = 100

        assert "Reason for the handover: key" in await delivered_once(town)


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
    """Fault: HubSpot cannot be reached at all until the call is long over.

    Hears: nothing of it; the person has the summary and no ticket. It is made later, once.
    """
    async with quick_town(proxied={"crm"}) as town:
        await town.proxies["crm"].go_away()
        await transferred(town)
        assert ticket_told(town) == ""
        await town.proxies["crm"].come_back()

        assert "Reason for the handover: key" in await delivered_once(town)


async def test_H3_a_crm_that_is_down_until_another_process_is_there(quick_town: OpenTown) -> None:
    """Fault: HubSpot cannot be reached, and the process that took the call is killed before it can be.

    Hears: nothing of it; another process makes the ticket, once.
    """
    async with quick_town(proxied={"crm"}, own_process=True) as town:
        assert town.gateway is not None
        await town.proxies["crm"].go_away()
        await transferred(town)
        await settled(town, owed=True)
        await town.gateway.stop(signal.SIGKILL)
        await town.proxies["crm"].come_back()
        async with GatewayProcess(town.settings, town.gateway.port, module=PATIENT):
            assert "Reason for the handover: key" in await delivered_once(town)


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
