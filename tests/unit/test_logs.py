import asyncio
import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from voice_openai_connect.findings import Finding
from voice_openai_connect.logs import bind_call, clear_call, configure_logging, get_logger


class Lines:
    """What has been logged so far."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.all[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines, root = Lines(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    clear_call()
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)  # a server in this process may have made it quieter
    configure_logging(secrets=["the-auth-token"], stream=lines.stream)
    yield lines
    clear_call()
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.basicConfig(handlers=handlers, level=level, force=True)


@pytest.mark.parametrize("closed", [False, True], ids=["full disk", "closed"])
def test_a_log_that_cannot_be_written_costs_its_lines_and_nothing_else(lines: Lines, *, closed: bool) -> None:
    with suppress(OSError), Path("/dev/full").open("wb") as full:
        configure_logging(stream=full)
        if closed:
            with suppress(OSError):
                full.close()
        LOG.info("call_started")
        logging.getLogger("uvicorn.error").error("a library's own line")


LOG = get_logger("voice_openai_connect.gateway.app")


def test_a_line_begins_with_time_level_and_message(lines: Lines) -> None:
    LOG.info("call_started", profile="sales")

    assert list(lines.last) == ["timestamp", "level", "message", "source", "profile"]
    assert (lines.last["level"], lines.last["message"]) == ("info", "call_started")
    assert lines.last["source"] == "gateway.app"
    assert lines.last["timestamp"].endswith("Z")


def test_the_ids_of_a_call_are_on_every_line_of_its_task(lines: Lines) -> None:
    async def call(number: int) -> None:
        bind_call(call_sid=f"CA{number:032x}", conversation_id="6d1f9f4e-1d7e-5d43-9a8a-123456789012")
        await asyncio.sleep(0)
        LOG.info("model_ready")

    async def both() -> None:
        await asyncio.gather(call(1), call(2))
        LOG.info("idle")

    asyncio.run(both())

    first, second, idle = lines.all
    assert list(first)[3:5] == ["call_sid", "conversation_id"]
    assert (first["call_sid"][-1], second["call_sid"][-1]) == ("1", "2")
    assert "call_sid" not in idle


def test_ids_learned_later_are_added(lines: Lines) -> None:
    bind_call(call_sid="CA" + "0" * 32)
    bind_call(stream_sid="MZ" + "0" * 32)
    LOG.info("stream_started")

    assert lines.last["call_sid"].startswith("CA")
    assert lines.last["stream_sid"].startswith("MZ")


def test_values_are_redacted_wherever_they_stand(lines: Lines) -> None:
    LOG.warning("from +61255501234", caller="+61255501234", token="0123456789", header="the-auth-token")

    assert lines.last["message"] == "from ***234"
    assert (lines.last["caller"], lines.last["token"], lines.last["header"]) == ("***234", "[digits]", "[secret]")


def test_a_hostile_value_stays_one_line(lines: Lines) -> None:
    LOG.info("call_started", name='x"}\n{"level":"error"', **{"a\nb": 1})

    assert lines.stream.getvalue().count(b"\n") == 1


def test_an_exception_is_its_type_and_place_and_not_its_words(lines: Lines) -> None:
    try:
        {}["what the caller said"]
    except KeyError:
        LOG.exception("it_broke")

    assert (lines.last["level"], lines.last["error"]) == ("error", "KeyError")
    assert lines.last["at"].startswith("test_logs.py:")
    assert "caller said" not in str(lines.last)


def test_our_own_exceptions_may_speak(lines: Lines) -> None:
    class OwnError(Exception):
        __module__ = "voice_openai_connect.call"

    error = OwnError("the table is missing")
    error.__cause__ = ValueError("what the caller said")
    LOG.error("it_broke", exc_info=error)

    assert (lines.last["why"], lines.last["after"]) == ("the table is missing", "ValueError")
    assert "caller said" not in str(lines.last)


def test_the_place_is_ours_and_where_it_was_raised_is_beside_it(lines: Lines) -> None:
    try:
        Finding("a", "wrong")
    except ValueError:
        LOG.exception("it_broke")

    assert lines.last["at"].startswith("findings.py:")
    assert lines.last["at"].endswith("__post_init__")


def test_lines_of_libraries_take_the_same_way(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("botocore.hooks").warning("slow for +61255501234")

    started, slow = lines.all
    assert (started["source"], started["message"]) == ("uvicorn.error", "Started server process [7]")
    assert slow["message"] == "slow for ***234"


def test_paths_of_requests_are_never_logged(lines: Lines) -> None:
    logging.getLogger("uvicorn.access").info("GET /twilio/stream/a-ticket")
    logging.getLogger("uvicorn.access").error("GET /twilio/stream/a-ticket")

    assert lines.all == []


@pytest.mark.parametrize("name", ["botocore.endpoint", "websockets.client", "httpcore2.http11", "httpx2", "asyncio"])
def test_libraries_stay_quiet_even_when_we_debug(lines: Lines, name: str) -> None:
    configure_logging("DEBUG", stream=lines.stream)
    logging.getLogger(name).info("body: everything the caller said")
    LOG.debug("frame_sent")
    logging.getLogger("voice_openai_connect.integrations.openai_client").debug("model_connecting")

    assert [line["message"] for line in lines.all] == ["frame_sent", "model_connecting"]


def test_debug_lines_are_left_out_otherwise(lines: Lines) -> None:
    LOG.debug("frame_sent")
    logging.getLogger("voice_openai_connect.integrations.openai_client").debug("model_connecting")

    assert lines.all == []


def test_an_exception_nobody_waited_for_is_logged_without_its_words(lines: Lines) -> None:
    async def fail() -> None:
        raise ValueError("what the caller said")

    async def lose() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task

    asyncio.run(lose())

    assert lines.last["message"] == "Task exception was never retrieved"
    assert lines.last["error"] == "ValueError"
    assert "caller said" not in str(lines.all)


def test_warnings_become_lines(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", stacklevel=1)

    assert lines.last["source"] == "py.warnings"
    assert lines.last["level"] == "warning"


def test_an_odd_level_is_rounded_down(lines: Lines) -> None:
    logging.getLogger("other").log(35, "odd")

    assert lines.last["level"] == "warning"


def test_the_lines_of_several_workers_can_be_told_apart(lines: Lines) -> None:
    configure_logging(stream=lines.stream, worker=0)
    LOG.info("serving")

    assert lines.last["worker"] == 0


def test_where_there_is_only_one_process_its_lines_say_nothing_of_workers(lines: Lines) -> None:
    LOG.info("serving")

    assert "worker" not in lines.last


def test_a_process_writes_its_log_to_standard_output_and_says_there_which_lines_are_missing() -> None:
    program = """if True:
        from voice_openai_connect.log_stream import standard_output
        from voice_openai_connect.logs import configure_logging, get_logger
        configure_logging(worker=1)
        get_logger("voice_openai_connect.gateway.app").info("call_started")
        standard_output().write(standard_output().notice(3))
    """
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
    ours, missing = (json.loads(line) for line in done.stdout.splitlines())

    assert (ours["message"], ours["source"], ours["worker"]) == ("call_started", "gateway.app", 1)
    assert (missing["message"], missing["lines"], missing["level"]) == ("log_lines_lost", 3, "error")
    assert missing.keys() == {"timestamp", "level", "message", "source", "lines", "worker"}
