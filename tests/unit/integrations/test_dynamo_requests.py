"""What goes to DynamoDB is what its description allows, signed by the right one, and tried again where it may help."""

import asyncio
import json
import shutil
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.validate import ParamValidator

from bench.audio.suts import self_signed
from voice_openai_connect import limits
from voice_openai_connect.integrations.dynamo_client import AwsKey, Change, DynamoClient, StoreError, Whole
from voice_openai_connect.integrations.dynamo_requests import DynamoRequests
from voice_openai_connect.simulator.dynamo_table import OwnTable
from voice_openai_connect.simulator.scripted_http import Answer, Asked, ScriptedHttp
from voice_openai_connect.wire.aws_signature import Signer, SigningKeys

TRANSACT = "TransactWriteItems"
ITEM = {"Item": {"token": {"S": "one"}}}


def saying(answer: dict[str, Any], **headers: str) -> Answer:
    return Answer(200, json.dumps(answer).encode(), headers)


def refusing(code: str, status: int = 400) -> Answer:
    return Answer(status, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}"}).encode())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DYNAMODB_AGAIN_S", 0)


@asynccontextmanager
async def asking(table: OwnTable, *answers: Answer) -> AsyncGenerator[tuple[DynamoClient, list[Asked]]]:
    script = ScriptedHttp(answers)
    async with script.serving() as url, table.client_at(url) as client:
        yield client, script.asked


# --- What is sent


async def test_every_request_is_one_that_awss_description_allows(table: OwnTable) -> None:
    model = get_session().get_service_model("dynamodb")
    async with asking(table, saying({})) as (client, asked):
        await client.get("one")
        await client.get_all(["one", "two"])
        await client.write_all([Whole("one", {"a": "x", "b": 2, "c": frozenset({"y"})}), Whole("two")])
        await client.put("one", {"a": "x"}, only_if="attribute_not_exists(#t)", given={":a": 1})
        await client.update("one", "SET a = :a", {":a": 1}, only_if="a < :a")
        await client.delete("one", only_if="a = :a", given={":a": 1})
        await client.together(Change("one", "SET a = :a", {":a": 1}), Change("two", "", {":a": 1}, "a = :a"))

    names = [each.headers["x-amz-target"].removeprefix("DynamoDB_20120810.") for each in asked]
    assert names == ["GetItem", "BatchGetItem", "BatchWriteItem", "PutItem", "UpdateItem", "DeleteItem", TRANSACT]
    for name, each in zip(names, asked, strict=True):
        shape: Any = model.operation_model(name).input_shape
        assert ParamValidator().validate(json.loads(each.body), shape).generate_report() == ""
        assert set(json.loads(each.body)) <= set(shape.members)
        assert each.headers["content-type"] == "application/x-amz-json-1.0"
        assert (each.method, each.path) == ("POST", "/")


async def test_a_request_is_signed_with_the_key_that_was_given(table: OwnTable) -> None:
    async with asking(table, saying({})) as (client, asked):
        await client.get("one")

    assert f"Credential={table.server.access_key_id}/" in asked[0].headers["authorization"]
    assert f"/{table.server.region}/dynamodb/aws4_request" in asked[0].headers["authorization"]


async def test_without_a_key_the_ordinary_chain_is_asked(table: OwnTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary")
    script = ScriptedHttp([saying({})])
    async with script.serving() as url, DynamoClient("t", region="eu-west-1", endpoint_url=url) as client:
        await client.get("one")

    assert "Credential=AKIAENVIRONMENT/" in script.asked[0].headers["authorization"]
    assert script.asked[0].headers["x-amz-security-token"] == "temporary"


@pytest.mark.parametrize(
    ("setting", "value", "host"),
    [
        ("AWS_REGION", "eu-west-1", "dynamodb.eu-west-1.amazonaws.com"),
        ("AWS_USE_FIPS_ENDPOINT", "true", "dynamodb-fips.eu-west-1.amazonaws.com"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true", "dynamodb.eu-west-1.api.aws"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "https://dynamodb.example:8443", "dynamodb.example:8443"),
    ],
)
async def test_the_address_is_the_one_that_awss_settings_ask_for(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, host: str
) -> None:
    asked: list[str] = []

    async def send(_: Any, request: Any) -> Wire:
        asked.append(request.url)
        return Wire()

    monkeypatch.setattr(AIOHTTPSession, "send", send)
    monkeypatch.setenv(setting, value)
    async with DynamoClient("t", region="eu-west-1", key=AwsKey("AKIA", "secret")) as client:
        await client.get("one")

    assert asked == [f"https://{host}/"]


async def test_without_any_credentials_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    script = ScriptedHttp([saying({})])
    async with script.serving() as url, DynamoClient("t", region="eu-west-1", endpoint_url=url) as client:
        with pytest.raises(StoreError, match="no_credentials"):
            await client.get("one")

    assert script.asked == []


async def test_keys_are_asked_for_anew_with_every_request() -> None:
    """Those of a role are renewed while the process runs."""
    http, held = Wire(), iter(["first", "second"])

    async def keys() -> SigningKeys:
        return SigningKeys(next(held), "secret")

    requests = DynamoRequests(http, "https://dynamodb.eu-west-1.amazonaws.com:443", "eu-west-1", keys, lambda: None)
    await requests.ask("GetItem")
    await requests.ask("GetItem")

    assert ["first" in sent["authorization"] for sent in http.sent] == [True, False]
    assert http.sent[0]["host"] == "dynamodb.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("path", ["", "/", "/local"])
async def test_the_address_is_signed_as_it_is_asked(path: str) -> None:
    http = Wire()
    await DynamoRequests(http, f"http://127.0.0.1:8000{path}", "eu-west-1", no_ones_keys, lambda: None).ask("GetItem")

    (sent,) = http.sent
    told = {name: sent[name] for name in ("content-type", "x-amz-target")}
    signer = Signer("127.0.0.1:8000", "eu-west-1", "dynamodb", path or "/")
    assert (
        sent["authorization"] == signer.signed(told, b"{}", await no_ones_keys(), sent["x-amz-date"])["authorization"]
    )


async def test_a_proxy_of_the_environment_is_used(table: OwnTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    script = ScriptedHttp([saying(ITEM)])
    async with script.serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        async with table.client_at("http://dynamodb.example") as client:
            assert await client.get("one")

    assert script.asked[0].headers["host"] == "dynamodb.example"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made with openssl")
@pytest.mark.parametrize("trusting", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_a_bundle_of_certificates_is_trusted(
    table: OwnTable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trusting: str
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    context, certificate = self_signed(tmp_path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with table.client_at(url) as client:
            with pytest.raises(StoreError, match="unreachable"):
                await client.get("one")
        monkeypatch.setenv(trusting, str(certificate))
        async with table.client_at(url) as client:
            assert not await client.get("one")


class Wire:
    """Stands for the connection: keeps the headers of what is sent, and has one answer."""

    def __init__(self, status_code: int = 200, body: bytes = b"{}") -> None:
        self.sent: list[dict[str, str]] = []
        self.status_code = status_code
        self.headers: dict[str, str] = {}
        self._body = body

    async def send(self, request: Any) -> "Wire":
        self.sent.append({name.lower(): value for name, value in request.headers.items()})
        return self

    @property
    async def content(self) -> bytes:
        return self._body


async def no_ones_keys() -> SigningKeys:
    return SigningKeys("a", "b")


# --- What is tried again


@pytest.mark.parametrize(
    "trouble",
    [
        refusing("ProvisionedThroughputExceededException"),
        refusing("InternalServerError", 500),
        refusing("TransactionInProgressException"),
        Answer(503, b"<html>the proxy has nobody to ask</html>"),
        Answer(200, b"{ cut off"),
        saying(ITEM, **{"x-amz-crc32": "1"}),
    ],
)
async def test_what_may_pass_is_tried_once_more(table: OwnTable, trouble: Answer) -> None:
    async with asking(table, trouble, saying(ITEM)) as (client, asked):
        assert (await client.get("one")).text("token") == "one"

    assert len(asked) == 2


async def test_a_connection_that_breaks_is_made_again(table: OwnTable) -> None:
    """Idle connections are closed by the other side, and that may be noticed only when one is used."""
    met: list[asyncio.StreamWriter] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        if len(met) > 1:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(30), table.client_at(url) as client:
            assert not await client.get("one")

    assert len(met) == 2


async def test_what_will_not_pass_is_not(table: OwnTable) -> None:
    async with asking(table, refusing("ValidationException"), saying(ITEM)) as (client, asked):
        with pytest.raises(StoreError, match="refused"):
            await client.get("one")

    assert len(asked) == 1


@pytest.mark.parametrize("nonsense", [b"", b"[]", b"null", b'"x"', b"\xff"])
async def test_an_answer_that_is_none_is_a_failure(table: OwnTable, nonsense: bytes) -> None:
    async with asking(table, Answer(200, nonsense)) as (client, asked):
        with pytest.raises(StoreError, match="failed"):
            await client.get("one")

    assert len(asked) == limits.DYNAMODB_ATTEMPTS


async def test_an_answer_with_the_right_checksum_is_taken(table: OwnTable) -> None:
    body = json.dumps(ITEM).encode()
    async with asking(table, Answer(200, body, {"x-amz-crc32": str(zlib.crc32(body))})) as (client, asked):
        assert await client.get("one")

    assert len(asked) == 1


async def test_a_transaction_that_is_tried_again_is_the_same_one(table: OwnTable) -> None:
    """The first may have been carried out, and only its answer lost."""
    async with asking(table, refusing("InternalServerError", 500), saying({})) as (client, asked):
        await client.together(Change("one", "SET a = :a", {":a": 1}))
        await client.together(Change("one", "SET a = :a", {":a": 1}))

    first, second, other = (json.loads(each.body)["ClientRequestToken"] for each in asked)
    assert first == second != other


async def test_a_refusal_keeps_what_dynamodb_said_of_it() -> None:
    code = "ConditionalCheckFailedException"
    http = Wire(400, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **ITEM}).encode())

    with pytest.raises(ClientError) as caught:
        await DynamoRequests(http, "http://127.0.0.1:1", "eu-west-1", no_ones_keys, lambda: None).ask("PutItem")

    response: Any = caught.value.response
    assert response["Error"]["Code"] == code
    assert response["Item"] == ITEM["Item"]
