"""Lambda in the town: warm processes, one event at a time in each, and every failure an error with a name."""

import asyncio
from pathlib import Path

import pytest

from voice_openai_connect.simulator.contact_flow import LambdaError
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime

HANDLER = """
import os, sys, time
print("loading")
asked = 0
def lambda_handler(event, context):
    global asked
    asked += 1
    match event["do"]:
        case "raise": raise RuntimeError("no")
        case "exit": os._exit(3)
        case "hang": time.sleep(600)
        case "wait":
            while not os.path.exists(event["for"]): time.sleep(0.01)
        case "meet":
            open(f"{event['at']}/{os.getpid()}", "x").close()
            while len(os.listdir(event["at"])) < event["others"] + 1: time.sleep(0.01)
        case "large": return {"text": "x" * 200_000}
        case "variables": return dict(os.environ)
        case "imports": return sorted(name for name in sys.modules if name.startswith("voice"))
    return {"pid": os.getpid(), "asked": asked}
"""


@pytest.fixture
def handler(tmp_path: Path) -> Path:
    path = tmp_path / "handler.py"
    path.write_text(HANDLER, encoding="utf-8")
    return path


async def test_events_after_one_another_share_a_warm_process(handler: Path) -> None:
    async with LambdaRuntime(handler, {}) as function:
        first, second = [await function.invoke({"do": "count"}) for _ in range(2)]

    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["pid"] == second["pid"]
    assert (first["asked"], second["asked"]) == (1, 2)


def test_one_event_loop_after_the_other_shares_a_warm_process(handler: Path) -> None:
    function = LambdaRuntime(handler, {})
    answers = [asyncio.run(function.invoke({"do": "count"})) for _ in range(2)]
    asyncio.run(function.close())

    assert [answer["asked"] for answer in answers if isinstance(answer, dict)] == [1, 2]


async def test_events_at_the_same_time_run_in_processes_of_their_own(handler: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    meet = {"do": "meet", "at": str(place), "others": 2}
    async with LambdaRuntime(handler, {}, timeout_s=60) as function:
        answers = await asyncio.gather(*(function.invoke(meet) for _ in range(3)))

    assert [answer["asked"] for answer in answers if isinstance(answer, dict)] == [1, 1, 1]


async def test_one_event_too_many_at_a_time_is_throttled(handler: Path, tmp_path: Path) -> None:
    async with LambdaRuntime(handler, {}, concurrency=1) as function:
        first = asyncio.create_task(function.invoke({"do": "wait", "for": str(tmp_path / "over")}))
        await asyncio.sleep(0)
        with pytest.raises(LambdaError, match="TooManyRequestsException"):
            await function.invoke({"do": "count"})
        (tmp_path / "over").touch()
        await first

        assert "'asked': 2" in str(await function.invoke({"do": "count"}))


async def test_an_exception_is_an_error_and_the_process_stays_warm(handler: Path) -> None:
    async with LambdaRuntime(handler, {}) as function:
        with pytest.raises(LambdaError, match="RuntimeError: no"):
            await function.invoke({"do": "raise"})

        assert "asked" in str(await function.invoke({"do": "count"}))


async def test_a_process_that_dies_is_an_error_and_is_replaced(handler: Path) -> None:
    async with LambdaRuntime(handler, {}) as function:
        with pytest.raises(LambdaError, match=r"Runtime\.ExitError"):
            await function.invoke({"do": "exit"})

        assert "'asked': 1" in str(await function.invoke({"do": "count"}))


async def test_a_function_over_its_time_is_ended_and_replaced(handler: Path) -> None:
    async with LambdaRuntime(handler, {}, timeout_s=0.2) as function:
        with pytest.raises(LambdaError, match=r"no answer after 0\.20 seconds"):
            await function.invoke({"do": "hang"})

        function.timeout_s = 60
        assert "'asked': 1" in str(await function.invoke({"do": "count"}))


async def test_an_answer_nobody_waits_for_is_never_given_to_the_next(handler: Path) -> None:
    async with LambdaRuntime(handler, {}) as function:
        given_up = asyncio.create_task(function.invoke({"do": "hang"}))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)

        assert "'asked': 1" in str(await function.invoke({"do": "count"}))


async def test_a_large_answer_comes_through(handler: Path) -> None:
    async with LambdaRuntime(handler, {}) as function:
        assert await function.invoke({"do": "large"}) == {"text": "x" * 200_000}


async def test_the_process_has_its_own_variables_and_none_of_ours(
    handler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")

    async with LambdaRuntime(handler, {"COLOUR": "green"}) as function:
        variables = await function.invoke({"do": "variables"})
        imported = await function.invoke({"do": "imports"})

    assert isinstance(variables, dict)
    assert variables["COLOUR"] == "green"
    assert "OPENAI_API_KEY" not in variables
    assert imported == []


async def test_what_the_handler_prints_is_in_the_log(handler: Path) -> None:
    async with LambdaRuntime(handler, {}) as function:
        await function.invoke({"do": "count"})

    assert function.log == ["loading"]


async def test_a_handler_that_does_not_load_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import nothing_of_that_name", encoding="utf-8")

    with pytest.raises(LambdaError, match="nothing_of_that_name"):
        await LambdaRuntime(tmp_path / "handler.py", {}).invoke({})


async def test_a_handler_that_kills_its_process_while_loading_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import os; os._exit(1)", encoding="utf-8")

    with pytest.raises(LambdaError, match="could not be loaded"):
        await LambdaRuntime(tmp_path / "handler.py", {}).invoke({})


async def test_a_missing_handler_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LambdaError, match="run from a checkout"):
        await LambdaRuntime(tmp_path / "handler.py", {}).invoke({})


async def test_the_token_function_of_this_repository_runs(dynamo: SimulatedDynamo) -> None:
    async with LambdaRuntime.redeeming_tokens(dynamo, "no-such-table") as function:
        answer = await function.invoke({"Details": {"Parameters": {"token": "12"}}})

    assert isinstance(answer, dict)
    assert (answer["success"], answer["retry"]) == ("false", "true")
