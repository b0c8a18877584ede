"""The outbox over a real table and a real HTTP account; the time of both is the test's to move."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.outbox_entry import NotDue, OutboxEntry
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.gateway.outbox import CrmOutbox
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.dynamo_table import OwnTable, own_table

CALLER = "+61491570006"
RECORD = HandoverRecord("ho-1", "conv-1", "CA1", CALLER, "The invoice is wrong.", "billing", "normal", "key", "q")
NOTE = TicketNote("conv-1", CALLER, "call_back", "Please call back.", urgent=True)
DEADLINE_S = 30


@dataclass
class Watch:
    told: list[str] = field(default_factory=list[str])
    left: list[int] = field(default_factory=list[int])
    waits: list[float] = field(default_factory=list[float])
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def pending(self, count: int) -> None:
        self.left.append(count)

    def delivered(self, conversation_id: str) -> None:
        self._tell(f"delivered {conversation_id}")

    def given_up(self, conversation_id: str, reason: str) -> None:
        self._tell(f"given up {conversation_id}: {reason}")

    def paused(self, reason: str, seconds: float, *, for_a_person: bool) -> None:
        self.waits.append(seconds)
        self._tell(f"paused: {reason}{', for a person' if for_a_person else ''}")

    def not_kept(self, conversation_id: str, error: BaseException) -> None:
        self._tell(f"not kept {conversation_id}: {getattr(error, 'reason', '')}")

    def bypassed(self, conversation_id: str, error: BaseException) -> None:
        self._tell(f"bypassed {conversation_id}: {getattr(error, 'reason', '')}")

    def failed(self, what: str, error: BaseException) -> None:
        self._tell(f"failed {what}: {getattr(error, 'reason', type(error).__name__)}")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.news.set()

    async def until(self, what: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while what not in self.told:
                self.news.clear()
                await self.news.wait()


@dataclass
class Instance:
    outbox: CrmOutbox
    watch: Watch
    repository: DynamoRepository


@dataclass
class Company:
    """A table, an account, and as many instances of the gateway as a test wants."""

    table: OwnTable
    crm: SimulatedCrm
    stack: AsyncExitStack

    async def instance(self, *, at: str = "") -> Instance:
        repository = await self.stack.enter_async_context(self.table.repository(at=at))
        client = await self.stack.enter_async_context(HubSpotClient(lambda: self.crm.token, base_url=self.crm.base_url))
        watch = Watch()
        clock = lambda: self.table.now  # noqa: E731
        return Instance(
            CrmOutbox(repository.outbox, client, watch, jitter=lambda seconds: seconds, clock=clock), watch, repository
        )

    @property
    def tickets(self) -> list[str]:
        return [ticket.properties["content"] for ticket in self.crm.tickets.values()]


@pytest.fixture
async def company(dynamo: SimulatedDynamo, crm: SimulatedCrm, patient: None) -> AsyncIterator[Company]:
    async with AsyncExitStack() as stack:
        table = await stack.enter_async_context(own_table(dynamo))
        async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
            await client.setup()
        yield Company(table, crm, stack)


# --- Delivery


async def test_a_ticket_is_delivered_with_its_contact_after_a_moment(company: Company) -> None:
    one = await company.instance()
    await one.outbox.keep_ticket(RECORD)
    assert await one.outbox.look() == limits.OUTBOX_FIRST_WAIT_S
    assert company.tickets == []
    company.table.now += limits.OUTBOX_FIRST_WAIT_S
    await one.outbox.look()

    (contact,) = company.crm.contacts.values()
    (ticket,) = company.crm.tickets.values()
    assert contact.properties["voice_caller_e164"] == CALLER
    assert ticket.associations == {("contacts", contact.id)}
    assert "The invoice is wrong." in company.tickets[0]
    assert (one.watch.told, one.watch.left[-1]) == (["delivered conv-1"], 0)
    assert await one.repository.outbox.pending() == set()


async def test_a_note_goes_out_at_once_and_after_its_ticket(company: Company) -> None:
    one = await company.instance()
    await one.outbox.keep_ticket(RECORD)
    await one.outbox.keep_note(NOTE)
    await one.outbox.look()

    assert [content.split(".")[0] for content in company.tickets] == ["CALL BACK: Please call back"]
    assert "The invoice is wrong." in company.tickets[0]


async def test_a_caller_who_withheld_the_number_gets_a_ticket_too(company: Company) -> None:
    one = await company.instance()
    await one.outbox.keep_ticket(replace(RECORD, caller_phone=""))
    company.table.now += limits.OUTBOX_FIRST_WAIT_S
    await one.outbox.look()

    assert (len(company.tickets), company.crm.contacts) == (1, {})


async def test_another_instance_delivers_what_one_has_kept_and_left_behind(company: Company) -> None:
    one, other = await company.instance(), await company.instance()
    await one.outbox.keep_note(NOTE)
    await other.outbox.look()
    await one.outbox.look()

    assert (one.watch.told, other.watch.told) == ([], ["delivered conv-1"])
    assert len(company.tickets) == 1


async def test_many_instances_deliver_each_once(company: Company) -> None:
    instances = [await company.instance() for _ in range(3)]
    for number in range(6):
        await instances[0].outbox.keep_ticket(replace(RECORD, conversation_id=f"conv-{number}"))
        await instances[0].outbox.keep_note(replace(NOTE, conversation_id=f"conv-{number}"))
    await asyncio.gather(*(each.outbox.look() for each in instances))

    delivered = [told for each in instances for told in each.watch.told]
    assert sorted(delivered) == [f"delivered conv-{number}" for number in range(6)]
    assert len(company.tickets) == 6
    assert all(content.count("Please call back.") == 1 for content in company.tickets)


async def test_a_delivery_whose_end_nobody_saw_is_repeated_and_changes_nothing(company: Company) -> None:
    one, other = await company.instance(), await company.instance()
    await one.outbox.keep_note(NOTE)
    leased = await one.repository.outbox.lease("conv-1")
    assert isinstance(leased, OutboxEntry)
    await one.outbox._deliver(leased)  # and then it dies, before it could say so  # pyright: ignore[reportPrivateUsage]
    company.table.now += limits.OUTBOX_LEASE_S
    await other.outbox.look()

    assert company.tickets == ["CALL BACK: Please call back."]


async def test_what_expires_is_told(company: Company) -> None:
    one = await company.instance()
    await one.outbox.keep_note(NOTE)
    company.table.now += limits.OUTBOX_TTL_S
    await one.outbox.look()

    assert (one.watch.told, one.watch.left[-1]) == (["given up conv-1: expired"], 0)


# --- Trouble of the CRM's own


async def test_trouble_of_the_crm_costs_one_try_and_a_growing_pause(company: Company) -> None:
    one = await company.instance()
    for number in range(5):
        await one.outbox.keep_note(replace(NOTE, conversation_id=f"conv-{number}"))
    await company.crm.down()
    for _ in range(9):
        company.table.now += await one.outbox.look()

    expected = [min(limits.OUTBOX_PAUSE_FIRST_S * 2**n, limits.OUTBOX_PAUSE_MAX_S) for n in range(9)]
    assert one.watch.told == ["paused: unreachable"] * 9
    assert one.watch.waits == expected
    assert expected[-1] == limits.OUTBOX_PAUSE_MAX_S


async def test_after_the_trouble_everything_arrives_and_the_pause_is_short_again(company: Company) -> None:
    one = await company.instance()
    for number in range(3):
        await one.outbox.keep_note(replace(NOTE, conversation_id=f"conv-{number}"))
    await company.crm.down()
    for _ in range(4):
        company.table.now += await one.outbox.look()
    await company.crm.up()
    await one.outbox.look()
    assert len(company.tickets) == 3
    company.crm.fail_next(20, status=503)
    await one.outbox.keep_note(replace(NOTE, conversation_id="conv-9"))
    await one.outbox.look()

    assert one.watch.waits[-1] == limits.OUTBOX_PAUSE_FIRST_S


async def test_in_a_pause_nothing_is_asked(company: Company) -> None:
    one = await company.instance()
    await one.outbox.keep_note(NOTE)
    await company.crm.down()
    left = await one.outbox.look()
    await company.crm.up()
    company.crm.requests.clear()
    company.table.now += left - 1

    assert await one.outbox.look() == 1
    assert company.crm.requests == []


@pytest.mark.parametrize(("status", "reason"), [(401, "unauthorized"), (403, "forbidden")])
async def test_an_account_that_will_not_have_us_is_told_loudly_and_asked_rarely(
    company: Company, status: int, reason: str
) -> None:
    one = await company.instance()
    await one.outbox.keep_ticket(RECORD)
    company.table.now += limits.OUTBOX_FIRST_WAIT_S
    company.crm.fail_next(1, status=status)

    assert await one.outbox.look() == limits.OUTBOX_DENIED_S
    assert one.watch.told == [f"paused: {reason}, for a person"]
    company.table.now += limits.OUTBOX_DENIED_S
    await one.outbox.look()
    assert len(company.tickets) == 1


async def test_a_crm_that_asks_for_patience_gets_it(company: Company) -> None:
    one = await company.instance()
    await one.outbox.keep_note(NOTE)
    company.crm.fail_next(20, status=429, headers={"Retry-After": "90"})

    assert await one.outbox.look() == 90
    assert one.watch.told == ["paused: rate_limited"]


# --- Entries that are refused for what they are


async def test_an_entry_that_is_refused_waits_longer_each_time_and_is_given_up_in_the_end(company: Company) -> None:
    one = await company.instance()
    company.crm.portal.required["tickets"].add("voice_intent")
    await one.outbox.keep_note(NOTE)
    waits: list[int] = []
    for _ in range(limits.OUTBOX_REFUSALS):
        await one.outbox.look()
        state = await one.repository.outbox.lease("conv-1")
        assert isinstance(state, NotDue)
        waits.append(state.wait_s)
        company.table.now += state.wait_s

    assert waits == [*(limits.OUTBOX_REFUSED_FIRST_S * 2**n for n in range(limits.OUTBOX_REFUSALS - 1)), 0]
    assert one.watch.told[-1] == "given up conv-1: invalid"
    assert await one.repository.outbox.pending() == set()


async def test_an_entry_that_is_refused_does_not_hold_up_the_others(company: Company) -> None:
    one = await company.instance()
    company.crm.portal.required["tickets"].add("voice_intent")
    await one.outbox.keep_note(replace(NOTE, conversation_id="conv-0"))
    await one.outbox.keep_ticket(RECORD)
    company.table.now += limits.OUTBOX_FIRST_WAIT_S
    await one.outbox.look()

    assert one.watch.told == ["failed deliver: invalid", "delivered conv-1"]


async def test_a_promised_call_back_is_delivered_also_where_no_contact_can_be_made(company: Company) -> None:
    one = await company.instance()
    company.crm.portal.required["contacts"].add("email")
    await one.outbox.keep_note(NOTE)
    await one.outbox.look()

    assert one.watch.told == ["delivered conv-1"]
    assert (company.tickets, company.crm.contacts) == (["CALL BACK: Please call back."], {})


# --- A shelf that fails


async def test_without_the_shelf_a_note_goes_to_the_crm_at_once(company: Company) -> None:
    one = await company.instance(at="http://127.0.0.1:9")
    await one.outbox.keep_note(NOTE)

    assert one.watch.told == ["bypassed conv-1: unreachable"]
    assert company.tickets == ["CALL BACK: Please call back."]


async def test_without_shelf_and_crm_whoever_keeps_something_hears_of_it(company: Company) -> None:
    one = await company.instance(at="http://127.0.0.1:9")
    await company.crm.down()
    with pytest.raises(Exception, match="HubSpot: unreachable"):
        await one.outbox.keep_note(NOTE)

    assert one.watch.told == ["not kept conv-1: unreachable", "failed deliver: unreachable"]


async def test_a_note_on_its_way_goes_on_when_nobody_waits_for_it_any_longer(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HUBSPOT_READ_S", 0.2)
    one = await company.instance(at="http://127.0.0.1:9")
    company.crm.hang(1)
    async with one.outbox as outbox:
        keeping = asyncio.create_task(outbox.keep_note(NOTE))
        await asyncio.wait_for(company.crm.hanging.wait(), DEADLINE_S)
        keeping.cancel()
        await one.watch.until("bypassed conv-1: unreachable")

    assert keeping.cancelled()
    assert company.tickets == ["CALL BACK: Please call back."]


async def test_a_note_that_a_process_which_stops_has_no_time_left_for_is_told(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_LAST_S", 0.01)
    one = await company.instance(at="http://127.0.0.1:9")
    company.crm.hang(1)
    async with one.outbox as outbox:
        keeping = asyncio.create_task(outbox.keep_note(NOTE))
        await asyncio.wait_for(company.crm.hanging.wait(), DEADLINE_S)
    with pytest.raises(asyncio.CancelledError):
        await keeping

    assert "not kept conv-1: unreachable" in one.watch.told
    assert company.tickets == []


# --- In the background


async def test_it_delivers_by_itself_as_soon_as_there_is_news(company: Company) -> None:
    one = await company.instance()
    async with one.outbox as outbox:
        await outbox.keep_note(NOTE)
        await one.watch.until("delivered conv-1")


async def test_it_goes_on_after_a_shelf_that_did_not_answer(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTBOX_LOOK_S", 0.01)
    one = await company.instance(at="http://127.0.0.1:9")
    async with one.outbox:
        await one.watch.until("failed outbox: unreachable")
        one.watch.told.clear()
        await one.watch.until("failed outbox: unreachable")


async def test_before_it_stops_it_looks_once_more(company: Company) -> None:
    one, other = await company.instance(), await company.instance()
    async with one.outbox:
        await other.outbox.keep_note(NOTE)  # of which the first knows nothing yet

    assert one.watch.told == ["delivered conv-1"]


async def test_its_last_look_is_bounded_and_what_is_left_stays_on_the_shelf(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_LAST_S", 0.1)
    one, other = await company.instance(), await company.instance()
    company.crm.hang(50)
    async with asyncio.timeout(DEADLINE_S), one.outbox as outbox:
        await outbox.keep_note(NOTE)
        await company.crm.hanging.wait()

    assert await other.repository.outbox.pending() == {"conv-1"}
