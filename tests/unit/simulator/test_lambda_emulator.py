"""AWS's own runtime emulator with AWS's own client in it: answers, errors, time-outs and crashes as Lambda has them."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from voice_openai_connect.simulator import lambda_emulator
from voice_openai_connect.simulator.contact_flow import LambdaError
from voice_openai_connect.simulator.lambda_emulator import emulated_environment
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime

HANDLER = """
import os, time
print("loading")
asked = 0
def lambda_handler(event, context):
    global asked
    asked += 1
    match event["do"]:
        case "raise": raise RuntimeError("no")
        case "exit": os._exit(3)
        case "hang": print("hanging"); time.sleep(600)
        case "time": return context.get_remaining_time_in_millis()
        case "name": return os.environ["_HANDLER"], os.environ.get("COLOUR"), os.environ.get("OPENAI_API_KEY")
    return {"pid": os.getpid(), "asked": asked}
"""

pytestmark = pytest.mark.skipif(lambda_emulator.emulator() is None, reason="the emulator is a program for Linux")


@pytest.fixture
def handler(tmp_path: Path) -> Path:
    path = tmp_path / "handler.py"
    path.write_text(HANDLER, encoding="utf-8")
    return path


async def test_events_after_one_another_share_a_warm_process(handler: Path) -> None:
    async with LambdaRuntime(handler, {}, open_environment=emulated_environment) as function:
        answers = [await function.invoke({"do": "count"}) for _ in range(3)]

    assert [answer["asked"] for answer in answers if isinstance(answer, dict)] == [1, 2, 3]
    assert "loading" in function.log


async def test_events_at_the_same_time_run_in_emulators_of_their_own(handler: Path) -> None:
    """One emulator dies of a second event."""
    async with LambdaRuntime(handler, {}, open_environment=emulated_environment) as function:
        answers = await asyncio.gather(*(function.invoke({"do": "count"}) for _ in range(2)))

    assert [answer["asked"] for answer in answers if isinstance(answer, dict)] == [1, 1]


async def test_an_exception_is_an_error_and_the_process_stays_warm(handler: Path) -> None:
    async with LambdaRuntime(handler, {}, open_environment=emulated_environment) as function:
        with pytest.raises(LambdaError, match="RuntimeError: no"):
            await function.invoke({"do": "raise"})

        assert "'asked': 2" in str(await function.invoke({"do": "count"}))


async def test_a_process_that_dies_is_an_error_and_is_replaced(handler: Path) -> None:
    async with LambdaRuntime(handler, {}, open_environment=emulated_environment) as function:
        with pytest.raises(LambdaError, match="exit"):
            await function.invoke({"do": "exit"})

        assert "'asked': 1" in str(await function.invoke({"do": "count"}))


async def test_a_function_over_its_time_is_ended_by_the_emulator_itself(handler: Path) -> None:
    async with LambdaRuntime(handler, {}, 1, open_environment=emulated_environment) as function:
        with pytest.raises(LambdaError, match=r"Sandbox\.Timedout: no answer after 1\.00 seconds"):
            await function.invoke({"do": "hang"})

        assert "'asked': 1" in str(await function.invoke({"do": "count"}))


class Log(list[str]):
    """Says when the handler has begun to hang."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging = asyncio.Event()

    def append(self, line: str) -> None:
        super().append(line)
        if line == "hanging":
            self.hanging.set()


async def test_an_event_nobody_waits_for_any_longer_is_the_end_of_its_emulator(handler: Path) -> None:
    log = Log()
    async with LambdaRuntime(handler, {}, open_environment=emulated_environment, log=log) as function:
        first = await function.invoke({"do": "count"})
        given_up = asyncio.create_task(function.invoke({"do": "hang"}))
        await log.hanging.wait()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)

        assert "'asked': 1" in str(await function.invoke({"do": "count"}))

    pid = re.search(r"'pid': (\d+)", str(first))
    assert pid
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid[1]), 0)  # the process that was still in it has gone with it


async def test_the_function_has_its_own_variables_its_name_and_its_time(
    handler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")

    async with LambdaRuntime(handler, {"COLOUR": "green"}, open_environment=emulated_environment) as function:
        assert await function.invoke({"do": "name"}) == ["handler.lambda_handler", "green", None]
        left_ms = await function.invoke({"do": "time"})

    assert isinstance(left_ms, int)
    assert 0 < left_ms <= 7_000


async def test_a_handler_that_does_not_load_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import nothing_of_that_name", encoding="utf-8")

    async with LambdaRuntime(tmp_path / "handler.py", {}, open_environment=emulated_environment) as function:
        with pytest.raises(LambdaError, match="nothing_of_that_name"):
            await function.invoke({})


async def test_where_there_is_no_emulator_the_error_says_what_to_do(
    handler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambda_emulator.platform, "machine", lambda: "sparc")

    assert lambda_emulator.emulator() is None
    with pytest.raises(RuntimeError, match="make setup"):
        await emulated_environment(handler, {}, [], 1)
