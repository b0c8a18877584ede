"""`voice-connect doctor`: asks each service a real question, and says what is wrong and how to mend it.

Nothing that costs money and nothing that a caller could notice is done: models and sessions are opened and closed,
the table gets one item that is removed again, and everything else is only read.
"""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, date, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
import msgspec

from voice_openai_connect import limits, values
from voice_openai_connect.call.commands import ConfigureModel
from voice_openai_connect.call.events import Event, ModelConfigured, ModelConnected, ModelErred, ModelLost
from voice_openai_connect.clients import connect_client, dynamo_repository, hubspot_client, twilio_client
from voice_openai_connect.config import SHUTDOWN_NOTICE_DAYS, ConfigError, Settings, load_settings, misspelt
from voice_openai_connect.findings import Finding, ok, table, warning, wrong
from voice_openai_connect.integrations.http_client import TooLargeError, ask, open_client
from voice_openai_connect.integrations.openai_client import RealtimeLeg
from voice_openai_connect.logs import configure_logging
from voice_openai_connect.own_tools import OwnTool, ToolsError, load_tools
from voice_openai_connect.profile import Profile, ProfileError, Profiles, load_profiles

Check = Callable[[], Awaitable[Sequence[Finding]]]
_UNREACHABLE: Final = "Check the address, DNS, the certificate and the network path."


def run_doctor(
    write: Callable[[str], None], env: Mapping[str, str] | None = None, env_file: Path | str = ".env"
) -> int:
    """Examine everything, write the table, and return the process's exit status: 1 if anything is wrong."""
    configure_logging("ERROR", stream=sys.stderr.buffer)  # what was tried again is not for this table
    findings = asyncio.run(examine(env, env_file, today=datetime.now(UTC).date()))
    write(table(findings, width=shutil.get_terminal_size((140, 24)).columns))
    return 1 if any(finding.state == "wrong" for finding in findings) else 0


async def examine(env: Mapping[str, str] | None, env_file: Path | str, *, today: date) -> list[Finding]:
    """Every check, in the order of the table. Without settings the rest cannot be looked at."""
    try:
        settings = load_settings(env, env_file)
    except ConfigError as error:
        return [_from_mistake(line, "wrong") for line in error.mistakes]
    uneasy = [*misspelt(env_file), *settings.warnings(today)]
    found = [_from_mistake(line, "warning") for line in uneasy] or [ok("settings", "complete")]
    profiles = _checked_profiles(settings, found)
    tools = _checked_tools(settings, found)
    checks: list[tuple[str, Check]] = [
        ("Twilio", lambda: check_twilio(settings)),
        ("OpenAI model", lambda: check_models(settings, today)),
        ("OpenAI session", lambda: check_sessions(settings, profiles, tools)),
        ("DynamoDB table", lambda: check_table(settings)),
        ("HubSpot", lambda: check_hubspot(settings)),
        ("public address", lambda: check_public_address(settings)),
        ("Connect number", lambda: check_connect_number(settings)),
        ("Connect queues", lambda: check_connect_queues(settings, profiles)),
    ]
    # One after the other: loading the AWS client keeps this process busy for longer than the others' deadlines.
    for subject, check in checks:
        found += await _bounded(subject, check)
    return found


async def _bounded(subject: str, check: Check) -> Sequence[Finding]:
    """One service that hangs, or a mistake of ours, must not hide what the others say."""
    try:
        async with asyncio.timeout(limits.DOCTOR_S):
            return await check()
    except TimeoutError:
        return [wrong(subject, f"no answer within {limits.DOCTOR_S} s", _UNREACHABLE)]
    except Exception as error:  # noqa: BLE001
        remedy = "This is a mistake of the doctor's. Please report it with the version of voice-openai-connect."
        return [wrong(subject, f"could not be looked at ({type(error).__name__})", remedy)]


# --- What lies on this machine ---------------------------------------------------------------------------------


def _from_mistake(line: str, state: str) -> Finding:
    """A line such as ``PORT: is not set. Where to find it`` as a finding."""
    subject, _, rest = line.partition(": ")
    detail, _, remedy = rest.partition(". ")
    return (warning if state == "warning" else wrong)(subject, detail, remedy or "See .env.example.")


def _checked_profiles(settings: Settings, found: list[Finding]) -> Profiles | None:
    try:
        profiles = load_profiles(settings.agent_profile)
    except ProfileError as error:
        found += [_from_mistake(line, "wrong") for line in error.mistakes]
        return None
    names = ", ".join(profiles.by_name)
    found.append(ok("profiles", f"{settings.agent_profile.name}: {names}"))
    return profiles


def _checked_tools(settings: Settings, found: list[Finding]) -> Sequence[OwnTool]:
    try:
        tools = load_tools(settings.tools_module)
    except ToolsError as error:
        found.append(_from_mistake(str(error), "wrong"))
        return ()
    if tools:
        found.append(ok("tools", ", ".join(tool.spec.name for tool in tools)))
    return tools


async def check_connect_number(settings: Settings) -> Sequence[Finding]:
    """Whether the number could be dialled; only a call would show who answers."""
    subject = "Connect number"
    if not values.is_known_number(settings.connect_phone_number):
        return [warning(subject, "is in no range that is known to be in use", "Check CONNECT_PHONE_NUMBER.")]
    return [ok(subject, "is well-formed. Who answers it, only a call can tell")]


# --- The services ------------------------------------------------------------------------------------------------


async def check_twilio(settings: Settings) -> Sequence[Finding]:
    """Account, and whether the number's calls come here."""
    async with twilio_client(settings) as twilio:
        findings = await twilio.check(settings.twilio_phone_number, f"{settings.public_base_url}/twilio/voice")
    if settings.twilio_phone_number:
        return findings
    remedy = "Set TWILIO_PHONE_NUMBER to the number that callers dial."
    account = [finding for finding in findings if finding.subject == "Twilio account"]
    return [*account, warning("Twilio number", "is not set, so its webhook cannot be looked at", remedy)]


async def check_table(settings: Settings) -> Sequence[Finding]:
    """Credentials, table, expiry, and the right to write."""
    async with dynamo_repository(settings) as repository:
        return await repository.check()


async def check_hubspot(settings: Settings) -> Sequence[Finding]:
    """Token, scopes, properties, pipeline."""
    client = hubspot_client(settings)
    if client is None:
        return [ok("HubSpot", "is off: HUBSPOT_ACCESS_TOKEN is not set, so handovers come without a ticket")]
    async with client:
        return await client.check()


async def check_connect_queues(settings: Settings, profiles: Profiles | None) -> Sequence[Finding]:
    """The instance, the rights to ask it, and whether the profiles' queues are there."""
    subject = "Connect queues"
    client = connect_client(settings)
    names = profiles.queues_that_may_be_empty if profiles else frozenset[str]()
    if client is None:
        return [ok(subject, "are not asked about: CONNECT_INSTANCE_ID is not set, so callers are moved open or not")]
    if settings.hubspot_access_token is None:
        return [ok(subject, "are not asked about: without HubSpot no message reaches anybody, so callers are moved")]
    if not names:
        return [ok(subject, "are not asked about: the profiles move callers whoever is there")]
    async with client:
        return await client.check(names)


class _Model(msgspec.Struct):
    id: str
    shutdown_date: str | int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


async def check_models(settings: Settings, today: date) -> Sequence[Finding]:
    """The key, and whether the models it is to be used with are there and stay."""
    async with open_client(
        settings.openai_base_url, connect_s=limits.DOCTOR_HTTP_S, read_s=limits.DOCTOR_HTTP_S
    ) as http:
        key = settings.openai_api_key.get_secret_value()
        request = http.build_request("GET", "models", headers={"Authorization": f"Bearer {key}"})
        try:
            answer = await ask(http, request, deadline_s=limits.DOCTOR_HTTP_S, max_bytes=limits.MODELS_BODY_BYTES)
        except (httpx2.HTTPError, TimeoutError, TooLargeError) as error:
            return [wrong("OpenAI key", f"could not be tried ({type(error).__name__})", _UNREACHABLE)]
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return [wrong("OpenAI key", f"is not accepted ({answer.status})", "Set OPENAI_API_KEY to a key that is alive.")]
    try:
        known = {model.id: model for model in msgspec.json.decode(answer.content, type=_Models).data}
    except msgspec.MsgspecError:
        return [wrong("OpenAI key", f"got no list of models ({answer.status})", "Check OPENAI_BASE_URL.")]
    models = (
        ("OPENAI_REALTIME_MODEL", settings.openai_realtime_model),
        (
            "OPENAI_TRANSCRIPTION_MODEL",
            settings.openai_transcription_model,
        ),
    )
    return [ok("OpenAI key", "is accepted"), *(_about_model(variable, name, known, today) for variable, name in models)]


def _about_model(variable: str, name: str, known: Mapping[str, _Model], today: date) -> Finding:
    if name not in known:
        remedy = f"Set {variable} to another model, or allow this one in the project's limits."
        return wrong("OpenAI model", f"{name} is not among the models of this key", remedy)
    end = _day(known[name].shutdown_date)
    if end and (end - today).days < SHUTDOWN_NOTICE_DAYS:
        return warning("OpenAI model", f"{name} is shut down on {end}", f"Set {variable} to its successor in time.")
    return ok("OpenAI model", f"{name} is alive" + (f", until {end}" if end else ""))


def _day(stated: str | int | None) -> date | None:
    """A day as ISO text or as seconds since the epoch; None for what is neither."""
    with suppress(ValueError, OSError, OverflowError):
        if isinstance(stated, int):
            return datetime.fromtimestamp(stated, UTC).date()
        if stated:
            return date.fromisoformat(stated[:10])
    return None


async def check_sessions(settings: Settings, profiles: Profiles | None, tools: Sequence[OwnTool]) -> Sequence[Finding]:
    """For each profile, a real session that is set up as for a call and closed before anything is said."""
    if profiles is None:
        return [warning("OpenAI session", "was not tried, for want of a profile", "Mend the profile first.")]
    return [await _try_session(settings, profile, tools) for profile in profiles.by_name.values()]


async def _try_session(settings: Settings, profile: Profile, tools: Sequence[OwnTool]) -> Finding:
    subject = f"OpenAI session ({profile.name})"
    model = profile.model_settings(settings, [tool.spec for tool in tools])
    leg = RealtimeLeg(model, api_key=settings.openai_api_key.get_secret_value(), base_url=settings.openai_base_url)
    settled: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    def post(event: Event) -> None:
        if isinstance(event, ModelConnected):
            leg.send(ConfigureModel())
        if isinstance(event, ModelConfigured | ModelLost | ModelErred) and not settled.done():
            settled.set_result(event)

    async with AsyncExitStack() as stack:
        running = asyncio.create_task(leg.run(post))
        stack.push_async_callback(asyncio.wait, {running})
        stack.push_async_callback(leg.close)
        match await settled:
            case ModelConfigured(input_format=heard, output_format=spoken):
                return _about_formats(subject, heard, spoken, model.audio_format)
            case ModelLost(reason=reason) | ModelErred(code=reason):
                remedy = "Look the code up in OpenAI's documentation; check key, model, voice and profile."
                return wrong(subject, f"could not be set up: {reason}", remedy)
            case other:
                raise AssertionError(other)


def _about_formats(subject: str, heard: str, spoken: str, wanted: str) -> Finding:
    if heard == spoken == wanted:
        return ok(subject, f"was set up and closed, audio {wanted}")
    return wrong(subject, f"speaks {spoken} and hears {heard}", "Set OPENAI_AUDIO_FORMAT to what the model speaks.")


async def check_public_address(settings: Settings) -> Sequence[Finding]:
    """Whether the gateway answers at its public address, seen from this machine."""
    subject, base = "public address", settings.public_base_url
    remedy = (
        "Start the gateway, then check DNS, the certificate and the load balancer. This is only the view from here."
    )
    async with open_client(base, connect_s=limits.DOCTOR_HTTP_S, read_s=limits.DOCTOR_HTTP_S) as http:
        request = http.build_request("GET", "/healthz")
        try:
            answer = await ask(http, request, deadline_s=limits.DOCTOR_HTTP_S, max_bytes=limits.WEBHOOK_BODY_BYTES)
        except (httpx2.HTTPError, TimeoutError, TooLargeError) as error:
            return [warning(subject, f"{base} cannot be reached from here ({type(error).__name__})", remedy)]
    if answer.status != HTTPStatus.OK:
        return [wrong(subject, f"{base}/healthz answers {answer.status}: something else is listening there", remedy)]
    return [ok(subject, f"{base} answers, seen from here")]
