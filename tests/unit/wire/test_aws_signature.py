"""Held against botocore's own signer, which AWS maintains."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from voice_openai_connect.wire.aws_signature import Signer, SigningKeys

HOST = "dynamodb.ap-southeast-2.amazonaws.com"
SIGNER = Signer(HOST, "ap-southeast-2", "dynamodb")
HEADERS = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.GetItem"}
STAMP = "20270115T080000Z"
THEN = datetime(2027, 1, 15, 8, tzinfo=UTC)

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


def botocore_signs(url: str, headers: dict[str, str], body: bytes, keys: SigningKeys, moment: datetime) -> str:
    """The `Authorization` that AWS's own client would send."""
    request: Any = AWSRequest("POST", url, headers, body)
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        SigV4Auth(credentials, "dynamodb", "ap-southeast-2").add_auth(request)
    return str(request.headers["Authorization"])


@given(
    body=st.binary(max_size=200),
    secret=words,
    token=st.none() | words,
    seconds=st.integers(1_500_000_000, 2_500_000_000),
)
def test_a_request_is_signed_as_by_awss_own_client(body: bytes, secret: str, token: str | None, seconds: int) -> None:
    keys, moment = SigningKeys("AKIDEXAMPLE", secret, token), datetime.fromtimestamp(seconds, UTC)

    ours = SIGNER.signed(HEADERS, body, keys, moment.strftime("%Y%m%dT%H%M%SZ"))["authorization"]

    assert ours == botocore_signs(f"https://{HOST}/", HEADERS, body, keys, moment)


def test_a_path_and_a_port_are_signed_too() -> None:
    keys = SigningKeys("a", "b")
    ours = Signer("127.0.0.1:8000", "ap-southeast-2", "dynamodb", "/local").signed(HEADERS, b"{}", keys, STAMP)

    assert ours["authorization"] == botocore_signs("http://127.0.0.1:8000/local", HEADERS, b"{}", keys, THEN)


def test_what_is_signed_is_what_is_to_be_sent() -> None:
    signed = SIGNER.signed(HEADERS, b"{}", SigningKeys("a", "b", "c"), STAMP)

    assert signed.items() >= {**HEADERS, "host": HOST, "x-amz-date": STAMP}.items()
    assert signed["x-amz-security-token"] == "c"
    assert "content-type;host;x-amz-date;x-amz-security-token;x-amz-target" in signed["authorization"]


@pytest.mark.parametrize("shown", [repr, str])
def test_keys_do_not_show_their_secrets(shown: Any) -> None:
    assert "hidden" not in shown(SigningKeys("AKIA", "hidden", "hidden"))
