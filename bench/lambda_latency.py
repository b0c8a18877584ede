"""How long the token Lambda takes in AWS's own runtime emulator, beside a function that does nothing.

    .venv/bin/python bench/lambda_latency.py --events 500

Both run in one warm emulator each, one event after the other, against a simulated DynamoDB on this machine. So the
difference is our handler, boto3 and the loopback way to the table, without AWS's network or its hardware.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.lambda_emulator import emulated_environment
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime

TABLE = "lambda-latency"
NOTHING = "def lambda_handler(event, context):\n    return {}\n"


def event(token: str, contact: int) -> dict[str, Any]:
    """What Connect asks with, as far as the handler reads it."""
    return {"Details": {"ContactData": {"ContactId": f"contact-{contact}"}, "Parameters": {"token": token}}}


async def save(dynamo: SimulatedDynamo, count: int) -> list[str]:
    """That many handovers; returns their tokens."""
    key = AwsKey(dynamo.access_key_id, dynamo.secret_access_key)
    async with DynamoRepository(TABLE, region=dynamo.region, endpoint_url=dynamo.endpoint_url, key=key) as table:
        await table.setup_table()
        return [await table.save(record(n)) for n in range(count)]


def record(n: int) -> HandoverRecord:
    """A handover of ordinary size."""
    return HandoverRecord(
        handover_id=f"ho-{n}",
        conversation_id=f"conv-{n}",
        call_sid=f"CA{n}",
        caller_phone="+61491570006",
        summary="Was charged twice in March and wants one of the two payments back. " * 6,
        intent="billing",
        priority="high",
        escalation_reason="caller_asked",
        route_to_queue="priority",
    )


async def measure(function: LambdaRuntime, events: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of each event but the first, which loads the handler."""
    await function.invoke({})
    took: list[float] = []
    for each in events:
        began = time.perf_counter()
        await function.invoke(each)
        took.append((time.perf_counter() - began) * 1_000)
    return took


def report(name: str, took: list[float]) -> None:
    """One line."""
    p99 = quantiles(took, n=100)[98]
    print(f"{name:<24} median {median(took):6.1f} ms   p99 {p99:6.1f} ms   worst {max(took):6.1f} ms   of {len(took)}")


async def run(count: int) -> None:
    """Measure both, one after the other."""
    with SimulatedDynamo() as dynamo, tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "nothing.py"
        empty.write_text(NOTHING, encoding="utf-8")
        events = [event(token, n) for n, token in enumerate(await save(dynamo, count))]
        async with LambdaRuntime(empty, {}, open_environment=emulated_environment) as function:
            report("a function of nothing", await measure(function, events))
        redeeming = LambdaRuntime.redeeming_tokens(dynamo, TABLE, open_environment=emulated_environment)
        async with redeeming as function:
            report("redeeming a token", await measure(function, events))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=500)
    asyncio.run(run(parser.parse_args().events))
