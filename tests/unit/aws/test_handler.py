"""The Lambda that redeems tokens, against a real DynamoDB: one winner, flat strings, and an answer in time, always."""

import functools
import importlib.util
import json
import re
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, cast

import boto3
import pytest

from voice_openai_connect.simulator.dynamo import SimulatedDynamo

HANDLER = Path(__file__).parents[3] / "aws" / "connect_lambda" / "handler.py"
TABLE = "tokens-of-the-lambda-tests"
TOKENS = (f"{n:010d}" for n in count(7))  # leading zeros on purpose
RECORD = {
    "conversation_id": "conv-1",
    "caller_phone": "+61400000001",
    "hubspot_contact_id": "101",
    "hubspot_ticket_id": "202",
    "hubspot_ticket_url": "https://app.hubspot.com/contacts/1/ticket/202",
    "summary": "Wants to talk about an invoice.",
    "intent": "billing",
    "priority": "high",
    "escalation_reason": "The caller asked for a person.",
    "route_to_queue": "priority",
}
KEYS = {"success", "retry", "matched_by", *RECORD}
FOUND = {"success": "true", "retry": "false", "matched_by": "token"}

Handler = Callable[..., dict[str, str]]


def event(token: object, contact_id: object = "contact-1") -> dict[str, Any]:
    return {
        "Name": "ContactFlowEvent",
        "Details": {
            "ContactData": {"Attributes": {}, "Channel": "VOICE", "ContactId": contact_id, "CustomerEndpoint": None},
            "Parameters": {"token": token},
        },
    }


def refused(*, retry: bool) -> dict[str, str]:
    return dict.fromkeys(RECORD, "") | {"success": "false", "retry": "true" if retry else "false", "matched_by": ""}


@pytest.fixture(scope="session")
def table(dynamo: SimulatedDynamo) -> Any:
    """Once for each worker, as its DynamoDB: a worker may come back to this file after others."""
    resource = cast("Any", boto3).resource(
        "dynamodb",
        endpoint_url=dynamo.endpoint_url,
        region_name=dynamo.region,
        aws_access_key_id=dynamo.access_key_id,
        aws_secret_access_key=dynamo.secret_access_key,
    )
    made = resource.create_table(
        TableName=TABLE,
        AttributeDefinitions=[
            {"AttributeName": "token", "AttributeType": "S"},
            {"AttributeName": "phone_key", "AttributeType": "S"},
            {"AttributeName": "created_at", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "token", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_phone",
                "KeySchema": [
                    {"AttributeName": "phone_key", "KeyType": "HASH"},
                    {"AttributeName": "created_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["consumed_by"]},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    made.wait_until_exists()
    return made


@pytest.fixture
def at(dynamo: SimulatedDynamo, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Handler]:
    """The handler as a new process would load it, looking for DynamoDB at that address."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", dynamo.region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", dynamo.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", dynamo.secret_access_key)
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", TABLE)

    def load(endpoint_url: str) -> Handler:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint_url)
        spec = importlib.util.spec_from_file_location("connect_lambda_handler", HANDLER)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return functools.partial(module.lambda_handler, context=None)

    return load


@pytest.fixture
def handler(at: Callable[[str], Handler], dynamo: SimulatedDynamo) -> Handler:
    return at(dynamo.endpoint_url)


def stored(table: Any, *, expires_in: int = 600, **fields: Any) -> str:
    token = next(TOKENS)
    table.put_item(Item={**RECORD, **fields, "token": token, "expires_at": int(time.time()) + expires_in})
    return token


def item(table: Any, token: str) -> dict[str, Any]:
    return table.get_item(Key={"token": token}, ConsistentRead=True)["Item"]


def outcomes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(line)["outcome"] for line in capsys.readouterr().out.splitlines()]


def test_a_good_token_gives_the_record(handler: Handler, table: Any) -> None:
    token = stored(table)

    answer = handler(event(token))

    assert answer == {**RECORD, **FOUND}
    assert item(table, token)["consumed_by"] == "contact-1"


def test_that_a_token_was_redeemed_is_known_for_as_long_as_a_call_may_last(handler: Handler, table: Any) -> None:
    token, before = stored(table, expires_in=60), int(time.time())
    handler(event(token))

    assert int(item(table, token)["expires_at"]) >= before + 4 * 3_600


def test_a_token_that_buys_nothing_is_kept_no_longer(handler: Handler, table: Any) -> None:
    token = stored(table, expires_in=60, consumed_by="another")
    before = item(table, token)
    handler(event(token))

    assert item(table, token) == before


def test_the_same_contact_may_ask_four_times_and_consumes_once(handler: Handler, table: Any) -> None:
    token = stored(table)
    first = handler(event(token))
    table.update_item(
        Key={"token": token}, UpdateExpression="SET consumed_at = :then", ExpressionAttributeValues={":then": 5}
    )

    assert [handler(event(token)) for _ in range(3)] == [first] * 3
    assert item(table, token)["consumed_at"] == 5, "the time of the first reading stays"


def test_another_contact_is_refused_and_changes_nothing(
    handler: Handler, table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    token = stored(table)
    handler(event(token, "contact-1"))

    assert handler(event(token, "contact-2")) == refused(retry=False)
    assert item(table, token)["consumed_by"] == "contact-1"
    assert outcomes(capsys) == ["redeemed", "already_used"]


@pytest.mark.parametrize("expires_in", [-1, -100_000])
def test_an_expired_token_is_refused_though_it_is_still_in_the_table(
    handler: Handler, table: Any, capsys: pytest.CaptureFixture[str], expires_in: int
) -> None:
    token = stored(table, expires_in=expires_in)

    assert handler(event(token)) == refused(retry=False)
    assert "consumed_by" not in item(table, token)
    assert outcomes(capsys) == ["expired"]


def test_a_token_redeemed_in_time_and_asked_for_again_too_late_is_refused(handler: Handler, table: Any) -> None:
    token = stored(table, expires_in=-1, consumed_by="contact-1")

    assert handler(event(token)) == refused(retry=False)


def test_an_unknown_token_is_refused_and_leaves_no_trace(
    handler: Handler, table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert handler(event("9999999999")) == refused(retry=True)
    assert "Item" not in table.get_item(Key={"token": "9999999999"})
    assert outcomes(capsys) == ["not_found"]


BAD_TOKENS: list[object] = [
    *("Timeout", "", " ", "123456789", "12345678901", "123 456789", " 1234567890", "1234567890 ", "1234567890\n"),
    *("١٢٣٤٥٦٧٨٩٠", "\uff11" * 10, "12345abcde", "1234567890#", "-123456789", "call#CA123", "9" * 1_000_000),
    *(None, 1234567890, 1.5, True, [], ["1234567890"], {"S": "1234567890"}),
]


@pytest.mark.parametrize("token", BAD_TOKENS, ids=lambda token: repr(token)[:20])
def test_anything_but_ten_digits_is_refused_without_a_lookup(
    at: Callable[[str], Handler], token: object, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = at("http://127.0.0.1:9")(event(token))  # nobody listens there: a lookup would be "unavailable"

    assert answer == refused(retry=True)
    assert outcomes(capsys) == ["bad_format"]


@pytest.mark.parametrize(
    "broken",
    [
        *(None, [], "text", {}, {"Details": None}, {"Details": {}}, {"Details": {"Parameters": None}}),
        {"Details": {"Parameters": {}}},
        {"Details": {"Parameters": {"Token": "1234567890"}, "ContactData": None}},
    ],
    ids=repr,
)
def test_an_event_of_another_shape_is_refused_like_a_bad_token(at: Callable[[str], Handler], broken: object) -> None:
    assert at("http://127.0.0.1:9")(broken) == refused(retry=True)


@pytest.mark.parametrize("contact_id", [None, "", 5])
def test_nothing_is_redeemed_for_a_contact_without_an_id(handler: Handler, table: Any, contact_id: object) -> None:
    token = stored(table)

    assert handler(event(token, contact_id)) == refused(retry=False)
    assert "consumed_by" not in item(table, token)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (42, "42"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        ("Zażółć 顧客 👋", "Zażółć 顧客 👋"),
        ("one\ntwo\r\n\tthree\x00\x7f\x9f\u2028four", "one two three four"),
        (["a", "list"], ""),
        ({"a": "map"}, ""),
        (b"bytes", ""),
        pytest.param({"a", "set"}, "", id="a set"),
    ],
    ids=repr,
)
def test_every_kind_of_value_becomes_a_plain_string(handler: Handler, table: Any, value: object, text: str) -> None:
    answer = handler(event(stored(table, summary=value)))

    assert answer == {**RECORD, **FOUND, "summary": text}


def test_a_field_that_is_not_there_is_an_empty_string(handler: Handler, table: Any) -> None:
    token = next(TOKENS)
    table.put_item(Item={"token": token, "expires_at": int(time.time()) + 60})

    assert handler(event(token)) == dict.fromkeys(RECORD, "") | FOUND


@pytest.mark.parametrize("letter", ["x", "é", "漢", "👋", "x👋"])
def test_oversized_fields_are_cut_between_characters_and_the_answer_stays_under_8_kb(
    handler: Handler, table: Any, letter: str
) -> None:
    huge = letter * (20_000 // len(letter.encode()))
    fields: Any = dict.fromkeys(RECORD, huge)

    answer = handler(event(stored(table, **fields)))

    assert sum(len(text.encode()) for pair in answer.items() for text in pair) < 8_192
    assert all(huge.startswith(answer[key]) and answer[key] for key in RECORD)


def test_every_answer_is_what_string_map_validation_accepts(handler: Handler, table: Any) -> None:
    used = stored(table)
    answers = [
        handler(event(token, contact))
        for token, contact in [(used, "a"), (used, "b"), (stored(table, expires_in=-5), "a"), ("1", "a"), (None, "a")]
    ]

    for answer in answers:
        assert set(answer) == KEYS
        assert all(type(value) is str for value in answer.values())
        assert all(re.fullmatch(r"[A-Za-z0-9_-]+", key) for key in answer)


def test_of_64_contacts_at_once_exactly_one_wins(handler: Handler, table: Any) -> None:
    token = stored(table)
    handler(event("0000000000"))  # the client is made by the first invocation, as in a process of its own
    together = threading.Barrier(32)

    def redeem(n: int) -> str:
        together.wait(30)
        return handler(event(token, f"contact-{n}"))["success"]

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(redeem, range(64)))

    assert answers.count("true") == 1
    assert answers.count("false") == 63
    assert answers[int(item(table, token)["consumed_by"].removeprefix("contact-"))] == "true"


def test_the_log_has_one_line_without_token_number_or_summary(
    handler: Handler, table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    token = stored(table)

    handler(event(token))

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line).items() >= {"outcome": "redeemed", "contact_id": "contact-1", "error": ""}.items()
    assert not any(private in line for private in (token, RECORD["caller_phone"], RECORD["summary"]))


# --- No digits came: by the caller's number, if that is switched on


PHONES = (f"+6140000{n:04d}" for n in count(1))


def by_phone(number: object, contact_id: str = "contact-1") -> dict[str, Any]:
    asked = event(None, contact_id)
    asked["Details"]["Parameters"] = {"match": "phone"}
    asked["Details"]["ContactData"]["CustomerEndpoint"] = {"Address": number, "Type": "TELEPHONE_NUMBER"}
    return asked


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> str:
    """A number of one's own, in a function that matches by number."""
    monkeypatch.setenv("MATCH_BY_PHONE", "true")
    return next(PHONES)


def waiting(table: Any, number: str, *, age_s: int = 5, **fields: Any) -> str:
    """A handover that waits for that number."""
    return stored(table, phone_key=number, created_at=int(time.time()) - age_s, **fields)


def test_the_one_handover_of_a_number_is_found_and_the_answer_says_how(
    handler: Handler, table: Any, phone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    token = waiting(table, phone)
    waiting(table, next(PHONES))

    assert handler(by_phone(phone)) == {**RECORD, **FOUND, "matched_by": "phone"}
    assert item(table, token)["consumed_by"] == "contact-1"
    assert not any(private in capsys.readouterr().out for private in (token, phone))


def test_the_same_contact_may_ask_by_number_again_and_another_may_not(
    handler: Handler, table: Any, phone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting(table, phone)

    assert [handler(by_phone(phone))["success"] for _ in range(4)] == ["true"] * 4
    assert handler(by_phone(phone, "contact-2")) == refused(retry=False)
    assert outcomes(capsys)[-1] == "not_found"


def test_what_a_token_has_bought_is_not_found_by_number(handler: Handler, table: Any, phone: str) -> None:
    handler(event(waiting(table, phone), "contact-1"))

    assert handler(by_phone(phone, "contact-2")) == refused(retry=False)


def test_two_that_wait_for_one_number_are_none(
    handler: Handler, table: Any, phone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = [waiting(table, phone), waiting(table, phone)]

    assert handler(by_phone(phone)) == refused(retry=False)
    assert not any("consumed_by" in item(table, token) for token in tokens)
    assert outcomes(capsys) == ["ambiguous"]


@pytest.mark.parametrize("age_s", [121, 590])
def test_a_handover_of_minutes_ago_is_not_found_by_number(handler: Handler, table: Any, phone: str, age_s: int) -> None:
    waiting(table, phone, age_s=age_s)

    assert handler(by_phone(phone)) == refused(retry=False)


def test_an_expired_handover_is_not_found_by_number(handler: Handler, table: Any, phone: str) -> None:
    waiting(table, phone, expires_in=-1)

    assert handler(by_phone(phone)) == refused(retry=False)


def test_an_item_that_is_no_handover_is_never_answered_with(handler: Handler, table: Any, phone: str) -> None:
    now = int(time.time())
    table.put_item(Item={"token": f"call#{phone}", "phone_key": phone, "created_at": now, "expires_at": now + 60})

    assert handler(by_phone(phone)) == refused(retry=False)


@pytest.mark.parametrize("number", [None, "", "anonymous", "61400000001", "+6140000000x", "+1" * 20, 5, "+٦١٤٠٠٠٠٠٠٠"])
def test_a_caller_without_a_number_matches_nothing(
    at: Callable[[str], Handler], phone: str, number: object, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = at("http://127.0.0.1:9")(by_phone(number))  # nobody listens there: a lookup would be "unavailable"

    assert answer == refused(retry=False)
    assert outcomes(capsys) == ["number_withheld"]


@pytest.mark.parametrize("switch", [None, "", "false", "1", "TRUE"])
def test_unless_it_is_switched_on_nothing_is_looked_for_by_number(
    at: Callable[[str], Handler],
    monkeypatch: pytest.MonkeyPatch,
    switch: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MATCH_BY_PHONE", raising=False)
    if switch is not None:
        monkeypatch.setenv("MATCH_BY_PHONE", switch)

    assert at("http://127.0.0.1:9")(by_phone("+61400000001")) == refused(retry=False)
    assert outcomes(capsys) == ["phone_not_matched"]


def test_a_parameter_cannot_name_another_number(handler: Handler, table: Any, phone: str) -> None:
    """Whoever calls may press keys, and keys become parameters. The number is Connect's."""
    waiting(table, phone)
    asked = by_phone(next(PHONES))
    asked["Details"]["Parameters"] |= {"token": phone, "phone": phone, "Address": phone}

    assert handler(asked) == refused(retry=False)


def test_of_two_contacts_that_ask_by_one_number_at_once_one_wins(handler: Handler, table: Any, phone: str) -> None:
    waiting(table, phone)
    handler(event("0000000000"))
    together = threading.Barrier(8)

    def ask(n: int) -> str:
        together.wait(30)
        return handler(by_phone(phone, f"contact-{n}"))["success"]

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == ["false"] * 7 + ["true"]


def test_a_table_without_the_index_is_an_answer_too(
    at: Callable[[str], Handler],
    dynamo: SimulatedDynamo,
    phone: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "no-such-table")

    assert at(dynamo.endpoint_url)(by_phone(phone)) == refused(retry=False)
    assert outcomes(capsys) == ["unavailable"]


# --- DynamoDB in trouble


def test_a_dynamodb_that_never_answers_costs_less_than_five_seconds(
    at: Callable[[str], Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody reads
        answer = at(f"http://127.0.0.1:{silent.getsockname()[1]}")(event("1234567890"))

    log = json.loads(capsys.readouterr().out)
    assert answer == refused(retry=False)
    assert (log["outcome"], log["error"]) == ("unavailable", "ReadTimeoutError")
    assert log["ms"] < 5_000


def test_a_dynamodb_that_is_not_there_is_an_answer_too(
    at: Callable[[str], Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    assert at("http://127.0.0.1:9")(event("1234567890")) == refused(retry=False)
    assert outcomes(capsys) == ["unavailable"]


def test_a_dynamodb_that_resets_every_connection_is_an_answer_too(
    at: Callable[[str], Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

        thread = threading.Thread(target=reset)
        thread.start()
        answer = at(f"http://127.0.0.1:{server.getsockname()[1]}")(event("1234567890"))
        thread.join(30)

    assert not thread.is_alive()
    assert answer == refused(retry=False)
    assert outcomes(capsys) == ["unavailable"]


def test_a_missing_table_name_is_an_answer_too(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DYNAMODB_TABLE_NAME")

    assert handler(event("1234567890")) == refused(retry=False)


@pytest.fixture
def troubled(dynamo: SimulatedDynamo) -> Iterator[tuple[str, list[str]]]:
    """DynamoDB behind a proxy that takes its next misdeed from a list: ``throttle``, ``break`` or ``lose reply``."""
    misdeeds: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            misdeed = misdeeds.pop(0) if misdeeds else ""
            if misdeed == "throttle":
                return self.reply(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException"}')
            if misdeed == "break":
                return self.reply(500, b'{"__type":"InternalServerError"}')
            forwarded = urllib.request.Request(  # noqa: S310 - our own loopback
                dynamo.endpoint_url, data=body, headers=dict(self.headers)
            )
            with urllib.request.urlopen(forwarded) as answer:  # noqa: S310
                content = answer.read()
            return None if misdeed == "lose reply" else self.reply(200, content)

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("x-amz-retry-after", "5000")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", misdeeds
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("misdeed", ["throttle", "break", "lose reply"])
def test_one_failed_request_is_tried_again_and_the_token_still_works(
    at: Callable[[str], Handler], table: Any, troubled: tuple[str, list[str]], misdeed: str
) -> None:
    url, misdeeds = troubled
    misdeeds.append(misdeed)

    assert at(url)(event(stored(table)))["success"] == "true"


def test_a_throttled_table_is_answered_at_once_however_long_it_asks_us_to_wait(
    at: Callable[[str], Handler], table: Any, troubled: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, misdeeds = troubled
    misdeeds += ["throttle"] * 2

    assert at(url)(event(stored(table))) == refused(retry=False)

    log = json.loads(capsys.readouterr().out)
    assert (log["outcome"], log["error"]) == ("unavailable", "ThrottlingException")
    assert log["ms"] < 5_000
