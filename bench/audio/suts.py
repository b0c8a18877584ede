"""The systems under test: how each is started as a process of its own, with everything that it needs around it."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.audio.caller import ACCOUNT_SID
from bench.audio.edges import (
    AUTH_TOKEN,
    GATEWAY_NUMBER,
    PERSON_NUMBER,
    PUBLIC_HOST,
    BridgeEdge,
    Edge,
    GatewayEdge,
)
from bench.audio.exchange import API_KEY, MODEL
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.ports import free_port

ROOT: Final = Path(__file__).parents[2]
PEERS_PYTHON: Final = ROOT / ".bench" / "bin" / "python"
TABLE: Final = "bench"
START_S: Final = 30.0
STOP_S: Final = 20.0
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Sut:
    """A system under test. `module` is run with `python -m`; `settings` are added to what it is told."""

    name: str
    module: str
    gateway: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    what: str = ""
    """In a few words, for the page."""
    usual: int = 50
    """Calls of the row in which all systems are compared; fewer for one that could not carry them."""
    first_rung: int = 50
    ramp_per_s: float = 40.0
    built_in_ms: float = 0.0
    """Delay that it adds by design: not held against it when the largest number of calls is looked for."""
    foreign: bool = False
    """It needs packages that the gateway does not, from an environment of their own."""
    transcodes: bool = False
    """It speaks PCM with the model."""


GATEWAY: Final = Sut("gateway", "voice_openai_connect", gateway=True, what="this gateway, everything switched on")
SUTS: Final = {
    each.name: each
    for each in (
        GATEWAY,
        Sut(
            "gateway_websockets",
            "voice_openai_connect",
            gateway=True,
            settings=(("MEDIA_SOCKET", "websockets"),),
            what="the same with its plain sockets, `MEDIA_SOCKET=websockets`",
        ),
        Sut("bare_picows", "bench.peers.bare_picows", what="a bare bridge on picows, near the floor of Python"),
        Sut("bare_fastapi", "bench.peers.bare_fastapi", what="a bare bridge on FastAPI and `websockets`, well made"),
        Sut(
            "twilio_agent_connect",
            "bench.peers.twilio_agent_connect",
            what="Twilio's `twilio-agent-connect` 2.5.0",
            foreign=True,
            usual=40,
            first_rung=40,
        ),
        Sut(
            "pipecat",
            "bench.peers.pipecat_bot",
            what="a minimal `pipecat-ai` bot; speaks 24 kHz PCM with the model, so its sound is counted, not compared",
            usual=10,
            first_rung=10,
            built_in_ms=30.0,
            foreign=True,
            transcodes=True,
        ),
    )
}


class NotStartedError(RuntimeError):
    """A system under test did not come up; the message ends with what it said last."""


@dataclass(frozen=True, slots=True)
class Running:
    """A system under test that answers."""

    sut: Sut
    process: subprocess.Popen[bytes]
    edge: Edge

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid


@asynccontextmanager
async def running(sut: Sut, base_url: str, *, certificate: Path | None, log: Path) -> AsyncGenerator[Running]:
    """Start it and what it needs; all of it is gone when the block is left."""
    if not sut.gateway:
        async with _started(sut, _bridge_settings(base_url, certificate), log) as (process, port):
            yield Running(sut, process, BridgeEdge(port))
        return
    async with SimulatedDynamo() as dynamo, SimulatedCrm(index_lag_s=0) as crm:
        await _set_up(dynamo, crm)
        settings = _gateway_settings(base_url, dynamo, crm, certificate)
        async with _started(sut, settings, log) as (process, port):
            yield Running(sut, process, GatewayEdge(port))


@asynccontextmanager
async def _started(
    sut: Sut, settings: Mapping[str, str], log: Path
) -> AsyncGenerator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    process = _launched(sut, {**settings, "PORT": str(port)}, log)
    try:
        if not await _answers(process, port):
            raise NotStartedError(f"{sut.name} did not come up; its last words:\n{_last_words(log)}")
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _launched(sut: Sut, settings: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process that knows nothing of this one's environment."""
    if sut.foreign and not PEERS_PYTHON.exists():
        raise NotStartedError(f"{PEERS_PYTHON} is not there: `make bench` makes it")
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    command = [str(PEERS_PYTHON) if sut.foreign else sys.executable, "-m", sut.module]
    with log.open("wb") as out:
        return subprocess.Popen(  # noqa: S603 - our own programs
            command + ["serve"] * sut.gateway,
            env={**environment, **settings, **dict(sut.settings)},
            cwd=log.parent,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


async def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it listens before its time is up."""
    deadline = asyncio.get_running_loop().time() + START_S
    while process.poll() is None and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_LOOK_S)
        else:
            writer.close()
            return True
    return False


def _last_words(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2_000:]


def _bridge_settings(base_url: str, certificate: Path | None) -> dict[str, str]:
    trusted = {"SSL_CERT_FILE": str(certificate)} if certificate else {}
    return {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": API_KEY, **trusted}


def _gateway_settings(
    base_url: str, dynamo: SimulatedDynamo, crm: SimulatedCrm, certificate: Path | None
) -> dict[str, str]:
    """What a company would write into its `.env`, with room for as many calls as the run has."""
    return {
        **_bridge_settings(base_url, certificate),
        "PUBLIC_HOST": PUBLIC_HOST,
        "HOST": "127.0.0.1",
        "MAX_CALLS": "5000",
        "MAX_CALLS_PER_SECOND": "1000",
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_PHONE_NUMBER": GATEWAY_NUMBER,
        "OPENAI_REALTIME_MODEL": MODEL,
        "AWS_REGION": dynamo.region,
        "AWS_ACCESS_KEY_ID": dynamo.access_key_id,
        "AWS_SECRET_ACCESS_KEY": dynamo.secret_access_key,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamo.endpoint_url,
        "DYNAMODB_TABLE_NAME": TABLE,
        "CONNECT_PHONE_NUMBER": PERSON_NUMBER,
        "HUBSPOT_ACCESS_TOKEN": crm.token,
        "HUBSPOT_API_BASE_URL": crm.base_url,
    }


async def _set_up(dynamo: SimulatedDynamo, crm: SimulatedCrm) -> None:
    """`voice-connect setup table` and `voice-connect setup hubspot`."""
    key = AwsKey(dynamo.access_key_id, dynamo.secret_access_key)
    async with DynamoRepository(TABLE, region=dynamo.region, endpoint_url=dynamo.endpoint_url, key=key) as table:
        await table.setup_table()
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        await client.setup()


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A certificate for this machine's own address, made by the `openssl` command: for the model, and to be trusted."""
    certificate, key = folder / "model.pem", folder / "model.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - all of it is written above
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context, certificate
