"""Every way through the contact flow, with the token as sound and the Lambda in AWS's own runtime.

The flow is the committed JSON; the table is a real DynamoDB API; the function is our handler, loaded by AWS's runtime
client inside AWS's runtime emulator. Only the line has no clock: a call of ten seconds takes as long as its function.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from aws.connect_lambda import handler

from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.simulator import lambda_emulator, sound
from voice_openai_connect.simulator.contact_center import QUEUES, deployed_flow
from voice_openai_connect.simulator.contact_flow import FlowRunner, Invoke, LambdaError
from voice_openai_connect.simulator.contact_flow_rules import Flow
from voice_openai_connect.simulator.contact_flow_state import Contact, FlowState
from voice_openai_connect.simulator.contact_line import ScriptedLine
from voice_openai_connect.simulator.dtmf import tones
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.faults import FaultProxy
from voice_openai_connect.simulator.lambda_emulator import emulated_environment
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime

pytestmark = [
    pytest.mark.skipif(lambda_emulator.emulator() is None, reason="the emulator is a program for Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]

TABLE = "flow-journeys"
CALLER, CENTER = "+61491570006", "+61255505678"
RECORD = HandoverRecord(
    handover_id="ho-1",
    conversation_id="conv-1",
    call_sid="CA1",
    caller_phone=CALLER,
    summary="Was charged twice; wants one payment back.",
    intent="billing",
    priority="high",
    escalation_reason="caller_asked",
    route_to_queue="priority",
)
ATTRIBUTES = {
    "conversation_id": "conv-1",
    "caller_phone": CALLER,
    "hubspot_contact_id": "",
    "hubspot_ticket_id": "",
    "hubspot_ticket_url": "",
    "summary": RECORD.summary,
    "intent": "billing",
    "priority": "high",
    "escalation_reason": "caller_asked",
    "route_to_queue": "priority",
    "matched_by": "token",
    "handover": "ok",
}
SENT_BY_TWILIO = "wwww{}#"
"""Two seconds of pause, the token, the key that ends it."""

numbers, contacts = count(1), count(1)
Save = Callable[..., Awaitable[str]]


class Clock:
    """The gateway's. Put back, it makes handovers of some time ago."""

    back_s = 0.0

    def __call__(self) -> float:
        return time.time() - self.back_s


clock = Clock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def handovers(dynamo: SimulatedDynamo) -> AsyncIterator[DynamoRepository]:
    """The table, as the gateway uses it."""
    key = AwsKey(dynamo.access_key_id, dynamo.secret_access_key)
    async with DynamoRepository(
        TABLE, region=dynamo.region, endpoint_url=dynamo.endpoint_url, key=key, clock=clock
    ) as repository:
        await repository.setup_table()
        yield repository


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def function(dynamo: SimulatedDynamo, handovers: DynamoRepository) -> AsyncIterator[LambdaRuntime]:
    """The token Lambda, as it is deployed: without matching by number."""
    runtime = LambdaRuntime.redeeming_tokens(dynamo, TABLE, open_environment=emulated_environment)
    async with runtime:
        yield runtime


@pytest.fixture
def save(handovers: DynamoRepository) -> Save:
    """Stores a handover as the gateway does; returns its token."""

    async def saved(*, age_s: float = 0, **fields: str) -> str:
        clock.back_s = age_s
        try:
            return await handovers.save(replace(RECORD, handover_id=f"ho-{next(numbers)}", **fields))
        finally:
            clock.back_s = 0

    return saved


async def through(
    sent: bytes,
    invoke: Invoke,
    *,
    flow: Flow | None = None,
    caller: str = CALLER,
    work_takes_ms: int = 40,
    closed_queues: frozenset[str] = frozenset(),
    full_queues: frozenset[str] = frozenset(),
) -> FlowRunner:
    """One contact's whole way through the flow."""
    state = FlowState(
        Contact(f"contact-{next(contacts)}", caller, CENTER),
        QUEUES,
        closed_queues=closed_queues,
        full_queues=full_queues,
    )
    run = FlowRunner(flow or deployed_flow(), state, ScriptedLine(sent, work_takes_ms=work_takes_ms), invoke)
    await run.run()
    return run


def without_context(run: FlowRunner) -> bool:
    """Whether the caller is in the fallback queue, and the agent will be told that nothing is known."""
    contact = run.state.contact
    return (contact.queue, contact.attributes) == ("fallback", {"handover": "missing"})


# --- The token


async def test_a_good_token_brings_the_whole_handover(function: LambdaRuntime, save: Save) -> None:
    run = await through(tones(SENT_BY_TWILIO.format(await save())), function.invoke)

    assert run.state.contact.attributes == ATTRIBUTES
    assert (run.state.contact.queue, run.state.contact.priority) == ("priority", 2)
    assert run.state.contact.event_hooks.keys() == {"DefaultAgentUI", "AgentWhisper"}


async def test_a_wrong_token_and_then_the_right_one(function: LambdaRuntime, save: Save) -> None:
    run = await through(tones(f"9999999999#{await save()}#"), function.invoke)

    assert run.state.contact.attributes == ATTRIBUTES
    assert run.walked.count("look-up-by-token") == 2


async def test_three_wrong_tokens_end_in_the_fallback_queue(function: LambdaRuntime) -> None:
    run = await through(tones("9999999999#88#77777777777"), function.invoke)

    assert run.walked.count("look-up-by-token") == 3
    assert without_context(run)


async def test_an_expired_token_buys_nothing_and_is_not_asked_for_again(function: LambdaRuntime, save: Save) -> None:
    run = await through(tones(SENT_BY_TWILIO.format(await save(age_s=601))), function.invoke)

    assert run.walked.count("look-up-by-token") == 1
    assert without_context(run)


async def test_a_used_token_buys_nothing_and_is_not_asked_for_again(function: LambdaRuntime, save: Save) -> None:
    token = await save()
    first, second = [await through(tones(f"{token}#"), function.invoke) for _ in range(2)]

    assert first.state.contact.attributes == ATTRIBUTES
    assert second.walked.count("look-up-by-token") == 1
    assert without_context(second)


# --- The line


async def test_silence_ends_in_the_fallback_queue(function: LambdaRuntime, save: Save) -> None:
    """A handover waits for this very number, and is not found by it: that is switched off."""
    await save()
    run = await through(b"", function.invoke)

    assert run.state.stored_input == "Timeout"
    assert without_context(run)


async def test_digits_from_the_first_moment_on_are_all_heard(function: LambdaRuntime, save: Save) -> None:
    run = await through(tones(f"{await save()}#", tone_ms=60, gap_ms=60), function.invoke)

    assert run.state.contact.attributes == ATTRIBUTES


async def test_digits_that_come_while_the_function_runs_wait_in_the_buffer(function: LambdaRuntime, save: Save) -> None:
    """The caller's own keys come first; the token's digits come while the function looks those up."""
    run = await through(tones(f"1#{await save()}#"), function.invoke, work_takes_ms=2_000)

    assert run.state.contact.attributes == ATTRIBUTES


async def test_without_the_buffer_the_same_digits_are_lost(function: LambdaRuntime, save: Save) -> None:
    flow = deployed_flow()
    flow.actions["buffer-on"].parameters["EnableDTMFBuffer"] = "False"

    run = await through(tones(f"1#{await save()}#"), function.invoke, flow=flow, work_takes_ms=2_000)

    assert without_context(run)


def over_a_bad_line(sent: bytes, *, snr_db: float, quieter_db: float, seed: int) -> bytes:
    """Fainter, and with noise that is `snr_db` under the tones."""
    faint = sound.ulaw_decode(sent).astype(np.float64) * 10 ** (-quieter_db / 20)
    level = np.sqrt(np.mean(faint[faint != 0] ** 2)) * 10 ** (-snr_db / 20)
    noise = np.random.default_rng(seed).normal(0, level, faint.size)
    return sound.ulaw_encode(np.clip(faint + noise, -32_768, 32_767).astype(np.int16))


@pytest.mark.parametrize(("snr_db", "quieter_db"), [(20, 0), (16, 12), (20, 20)])
async def test_digits_over_a_bad_line_are_heard(
    function: LambdaRuntime, save: Save, snr_db: float, quieter_db: float
) -> None:
    sent = over_a_bad_line(tones(SENT_BY_TWILIO.format(await save())), snr_db=snr_db, quieter_db=quieter_db, seed=7)

    run = await through(sent, function.invoke)

    assert run.state.contact.attributes == ATTRIBUTES


async def test_a_digit_that_the_line_swallows_ends_in_the_fallback_queue(function: LambdaRuntime, save: Save) -> None:
    sent = bytearray(tones(f"{await save()}#"))
    sent[800:1_600] = sound.silence(100)  # the second of two hundred milliseconds each

    run = await through(bytes(sent[1_600:]), function.invoke)

    assert without_context(run)


# --- The function


async def test_a_function_that_is_throttled_once_is_asked_again(function: LambdaRuntime, save: Save) -> None:
    answers = iter([0, function.concurrency])

    async def invoke(event: dict[str, object]) -> object:
        function.concurrency = next(answers)
        return await function.invoke(event)

    run = await through(tones(f"{await save()}#"), invoke)

    assert run.state.contact.attributes == ATTRIBUTES


async def test_a_function_that_stays_throttled_ends_in_the_fallback_queue(dynamo: SimulatedDynamo, save: Save) -> None:
    throttled = LambdaRuntime.redeeming_tokens(dynamo, TABLE, open_environment=emulated_environment)
    throttled.concurrency = 0

    assert without_context(await through(tones(f"{await save()}#"), throttled.invoke))


async def test_an_answer_that_is_lost_is_asked_for_again_and_is_the_same(function: LambdaRuntime, save: Save) -> None:
    """Redeemed, and Connect did not hear it: its repeat has the same contact, and gets the record."""
    lost = [True]

    async def invoke(event: dict[str, object]) -> object:
        answer = await function.invoke(event)
        if lost and lost.pop():
            raise LambdaError("the connection was lost")
        return answer

    run = await through(tones(f"{await save()}#"), invoke)

    assert run.state.contact.attributes == ATTRIBUTES


async def test_a_function_that_cannot_be_loaded_ends_in_the_fallback_queue(tmp_path: Path, save: Save) -> None:
    broken = tmp_path / "handler.py"
    broken.write_text("raise RuntimeError('no table')", encoding="utf-8")

    async with LambdaRuntime(broken, {}, open_environment=emulated_environment) as function:
        assert without_context(await through(tones(f"{await save()}#"), function.invoke))


async def test_a_function_whose_table_does_not_answer_ends_in_the_fallback_queue(
    dynamo: SimulatedDynamo, save: Save
) -> None:
    """It answers by itself, before Connect's eight seconds and Lambda's seven."""
    host, port = dynamo.endpoint_url.removeprefix("http://").split(":")
    async with FaultProxy(host, int(port)) as proxy:
        proxy.back.stalled = True
        slow = LambdaRuntime.redeeming_tokens(
            dynamo, TABLE, endpoint_url=f"http://{proxy.address}", open_environment=emulated_environment
        )
        async with slow:
            run = await through(tones(f"{await save()}#"), slow.invoke)
        proxy.back.stalled = False

    assert without_context(run)
    assert '"outcome": "unavailable"' in "".join(slow.log)


async def test_a_function_over_its_time_limit_ends_in_the_fallback_queue(tmp_path: Path, save: Save) -> None:
    sleepy = tmp_path / "handler.py"
    sleepy.write_text("import time\ndef lambda_handler(event, context): time.sleep(60)\n", encoding="utf-8")
    flow = deployed_flow()
    flow.actions["look-up-by-token"].parameters["InvocationTimeLimitSeconds"] = "1"

    async with LambdaRuntime(sleepy, {}, open_environment=emulated_environment) as function:
        assert without_context(await through(tones(f"{await save()}#"), function.invoke, flow=flow))


# --- The queues


async def test_out_of_hours_the_fallback_queue_takes_the_caller_with_the_context(
    function: LambdaRuntime, save: Save
) -> None:
    run = await through(tones(f"{await save()}#"), function.invoke, closed_queues=frozenset({"priority"}))

    assert (run.state.contact.queue, run.state.contact.attributes) == ("fallback", ATTRIBUTES)


async def test_out_of_hours_everywhere_the_caller_is_told_so(function: LambdaRuntime, save: Save) -> None:
    closed = frozenset({"priority", "fallback"})
    run = await through(tones(f"{await save()}#"), function.invoke, closed_queues=closed)

    assert run.walked[-2:] == ["closed", "bye"]


async def test_a_full_queue_overflows_into_the_fallback_queue_with_the_context(
    function: LambdaRuntime, save: Save
) -> None:
    run = await through(tones(f"{await save()}#"), function.invoke, full_queues=frozenset({"priority"}))

    assert (run.state.contact.queue, run.state.contact.attributes) == ("fallback", ATTRIBUTES)


# --- The second key


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def by_number(dynamo: SimulatedDynamo, handovers: DynamoRepository) -> AsyncIterator[LambdaRuntime]:
    """The token Lambda with MATCH_BY_PHONE."""
    runtime = LambdaRuntime.redeeming_tokens(dynamo, TABLE, match_by_phone=True, open_environment=emulated_environment)
    async with runtime:
        yield runtime


def a_number() -> str:
    return f"+6140000{next(numbers):04d}"


async def test_a_caller_whose_digits_were_lost_is_found_by_number_and_the_agent_is_told_to_ask(
    by_number: LambdaRuntime, save: Save
) -> None:
    caller = a_number()
    await save(caller_phone=caller)

    run = await through(b"", by_number.invoke, caller=caller)

    assert run.state.contact.attributes == {**ATTRIBUTES, "caller_phone": caller, "matched_by": "phone"}
    assert run.state.contact.queue == "priority"


async def test_two_handovers_of_one_number_are_not_told_apart_without_digits(
    by_number: LambdaRuntime, save: Save
) -> None:
    caller = a_number()
    tokens = [await save(caller_phone=caller) for _ in range(2)]

    assert without_context(await through(b"", by_number.invoke, caller=caller))
    found = await through(tones(f"{tokens[1]}#"), by_number.invoke, caller=caller)
    assert found.state.contact.attributes["matched_by"] == "token"


async def test_a_withheld_number_finds_nothing(by_number: LambdaRuntime, save: Save) -> None:
    token = await save(caller_phone="")

    assert without_context(await through(b"", by_number.invoke, caller=""))
    found = await through(tones(f"{token}#"), by_number.invoke, caller="")
    assert found.state.contact.attributes["handover"] == "ok", "by its digits it is found all the same"


# --- Many at once


async def test_of_64_callers_at_once_one_wins_each_token(
    handovers: DynamoRepository, function: LambdaRuntime, save: Save
) -> None:
    """Sixteen tokens, each sent by four callers, through four runtimes at a time."""
    tokens = [await save() for _ in range(16)]
    four_at_a_time = asyncio.Semaphore(4)

    async def invoke(event: dict[str, object]) -> object:
        async with four_at_a_time:
            return await function.invoke(event)

    sent = [tones(f"{token}#", tone_ms=60, gap_ms=60) for token in tokens * 4]
    runs = await asyncio.gather(*(through(each, invoke) for each in sent))

    won = [run for run in runs if run.state.contact.attributes["handover"] == "ok"]
    assert sorted(run.state.stored_input for run in won) == sorted(tokens)
    assert all(without_context(run) for run in runs if run not in won)
    redeemed = [await handovers.redemption(token) for token in tokens]
    assert {found.redeemed_by for found in redeemed if found} == {run.state.contact.contact_id for run in won}


async def test_nothing_private_is_in_the_functions_log(function: LambdaRuntime, save: Save) -> None:
    token = await save()
    await through(tones(f"{token}#"), function.invoke)

    written = "\n".join(function.log)
    assert '"outcome": "redeemed"' in written
    assert not any(private in written for private in (token, CALLER, RECORD.summary))
    assert handler.PHONE_INDEX not in written
