"""The command line as a company runs it: processes of their own, told what they know by their environment alone."""

import asyncio
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from voice_openai_connect.simulator.caller import Caller, HangUp, Listen, Press, Wait, WaitForPerson
from voice_openai_connect.simulator.carrier_rest import RestApi
from voice_openai_connect.simulator.town import CALLER, Town

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
END_S = 60


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    def findings(self, state: str) -> list[str]:
        """What the doctor found to be in that state: the first column of its table."""
        return re.findall(rf"^(\S.*?) +{state}(?: |$)", self.out, re.MULTILINE)


async def voice_connect(*words: str, settings: Mapping[str, str], folder: Path) -> Ran:
    """Run a command to its end, in a directory where there is no `.env`."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("voice-connect"),
        *words,
        env={"PATH": os.environ.get("PATH", ""), "COLUMNS": "160", **settings},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), END_S)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


# --- serve


async def test_without_a_crm_it_says_so_once_and_hands_over_without_a_ticket(quick_town: OpenTown) -> None:
    async with quick_town(crm=False, own_process=True) as town:
        assert town.gateway is not None
        script = (Listen(), Press("0"), WaitForPerson(), Wait(500), HangUp())
        call = await town.carrier.place_call(Caller(script), from_=CALLER)
        await asyncio.wait_for(asyncio.shield(call.ended), END_S)

        attributes = town.center.contacts[0].attributes
        assert attributes["handover"] == "ok"
        assert attributes["hubspot_ticket_id"] == ""
        assert call.violations == []

    assert town.crm.tickets == {}
    said = [line["message"] for line in town.gateway.log]
    assert said.count("crm_off") == 1
    assert town.gateway.other_output == []
    assert [line for line in town.gateway.log if line["level"] == "error"] == []


async def test_a_dynamodb_that_cannot_be_reached_does_not_keep_it_from_starting(quick_town: OpenTown) -> None:
    nowhere = {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9"}
    async with quick_town(own_process=True, settings=nowhere) as town:
        assert town.gateway is not None
        call = await town.carrier.place_call(Caller([Listen(), HangUp()]), from_=CALLER)

        assert await asyncio.wait_for(asyncio.shield(call.ended), END_S) == "caller-hung-up"
        assert len(call.heard) > 0


async def test_all_mistakes_are_named_at_once_and_no_secret_with_them(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[profile.default]\nspeed = 9\nvoice = 'fable'\n")
    (tmp_path / "shop.py").write_text("answer = 42\n")
    settings = {
        "PORT": "high",
        "TWILIO_AUTH_TOKEN": "a secret of ours",
        "OPENAI_API_KEY": "sk-never-to-be-seen",
        "OPENAI_REALTIME_MODEL": "gpt-4o-realtime-preview",
        "AGENT_PROFILE": "mine.toml",
        "TOOLS_MODULE": "shop",
    }

    ran = await voice_connect("serve", settings=settings, folder=tmp_path)

    assert (ran.status, ran.out) == (2, "")
    for mistake in (
        "PUBLIC_HOST: is not set",
        "PORT: must be a valid integer",
        "TWILIO_ACCOUNT_SID: is not set",
        "TWILIO_AUTH_TOKEN: holds a space",
        "OPENAI_REALTIME_MODEL: ",
        "CONNECT_PHONE_NUMBER: is not set",
        "mine.toml:2: ",
        "mine.toml:3: ",
        "TOOLS_MODULE: shop holds no tool",
    ):
        assert ran.err.count(mistake) == 1, (mistake, ran.err)
    assert "secret of ours" not in ran.err
    assert "never-to-be-seen" not in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("words", [("serve",), ("serve", "--workers", "2")])
async def test_a_port_that_is_taken_is_said_in_one_sentence(town: Town, tmp_path: Path, words: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = await voice_connect(*words, settings={**town.settings, "PORT": str(port)}, folder=tmp_path)

    assert ran.status == 1
    assert ran.out == ""
    assert ran.err == (
        f"HOST, PORT: cannot listen on 127.0.0.1:{port}: address already in use. "
        "Stop the program that uses it, or set HOST and PORT to others\n"
    )


# --- doctor


async def examine(town: Town, folder: Path, **changes: str) -> Ran:
    async with RestApi(town.carrier).serving() as twilio:
        settings = {**town.settings, "TWILIO_API_BASE_URL": twilio, **changes}
        return await voice_connect("doctor", settings=settings, folder=folder)


async def test_in_a_town_where_all_is_well_the_doctor_finds_nothing(town: Town, tmp_path: Path) -> None:
    ran = await examine(town, tmp_path)

    assert (ran.status, ran.findings("wrong")) == (0, []), ran.out
    assert {"settings", "OpenAI key", "OpenAI session (default)", "DynamoDB table"} <= set(ran.findings("ok"))
    assert ran.findings("warning") == [], ran.out
    assert "Twilio fallback" in ran.findings("ok")
    assert ran.err == ""


async def test_a_crm_that_is_down_is_the_one_thing_that_is_wrong(town: Town, tmp_path: Path) -> None:
    await town.crm.down()

    ran = await examine(town, tmp_path)

    assert ran.status == 1
    assert all("HubSpot" in subject for subject in ran.findings("wrong")), ran.out
    assert ran.findings("wrong")


@pytest.mark.parametrize(
    ("name", "value", "subjects"),
    [
        ("DYNAMODB_TABLE_NAME", "not-there", {"DynamoDB table"}),
        ("OPENAI_API_KEY", "sk-wrong", {"OpenAI key", "OpenAI session (default)"}),
        ("OPENAI_REALTIME_MODEL", "gpt-4o-realtime-preview", {"OPENAI_REALTIME_MODEL"}),
        ("OPENAI_REALTIME_MODEL", "gpt-realtime-99", {"OpenAI model", "OpenAI session (default)"}),
        ("TWILIO_AUTH_TOKEN", "wrong", {"Twilio account"}),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_else(
    town: Town, tmp_path: Path, name: str, value: str, subjects: set[str]
) -> None:
    ran = await examine(town, tmp_path, **{name: value})

    assert (ran.status, set(ran.findings("wrong"))) == (1, subjects), ran.out
    assert "Traceback" not in ran.out + ran.err


# --- setup


async def test_the_table_is_made_once_and_a_second_time_nothing_happens(town: Town, tmp_path: Path) -> None:
    settings = {**town.settings, "DYNAMODB_TABLE_NAME": "another-table"}
    first = await voice_connect("setup", "table", settings=settings, folder=tmp_path)
    second = await voice_connect("setup", "table", settings=settings, folder=tmp_path)
    then = await examine(town, tmp_path, DYNAMODB_TABLE_NAME="another-table")

    assert (first.status, second.status) == (0, 0)
    assert "created" in first.out
    assert "created" not in second.out
    assert "there already" in second.out
    assert "DynamoDB table" in then.findings("ok")


async def test_the_crm_is_set_up_once_and_a_second_time_nothing_happens(town: Town, tmp_path: Path) -> None:
    town.crm.portal.properties["tickets"].pop("voice_intent")
    first = await voice_connect("setup", "hubspot", settings=town.settings, folder=tmp_path)
    second = await voice_connect("setup", "hubspot", settings=town.settings, folder=tmp_path)

    assert (first.status, second.status) == (0, 0)
    assert [line for line in first.out.splitlines() if "there already" not in line] == [
        "Property voice_intent of tickets was made."
    ]
    assert "made" not in second.out
    assert "voice_intent" in town.crm.portal.properties["tickets"]
