import base64
import hmac
import re

import pytest

from voice_openai_connect.wire.stream_ticket import Ticket, issue_ticket, read_ticket

CALL = "CA" + "0123456789abcdef" * 2
NONCE = bytes(range(16))
TICKET = issue_ticket("secret", call_sid=CALL, expires_at_s=1_800_000_060, nonce=NONCE)
NOW = 1_800_000_000


def test_a_ticket_is_read_back() -> None:
    assert read_ticket(["secret"], TICKET, now_s=NOW) == Ticket(CALL, 1_800_000_060, NONCE)


def test_the_right_to_take_a_call_over_is_sealed_into_the_ticket() -> None:
    resuming = issue_ticket("secret", call_sid=CALL, expires_at_s=1_800_000_060, nonce=NONCE, resumes=True)
    read = read_ticket(["secret"], resuming, now_s=NOW)

    assert read == Ticket(CALL, 1_800_000_060, NONCE, resumes=True)
    assert read_ticket(["secret"], resuming.replace("060r.", "060."), now_s=NOW) is None
    assert read_ticket(["secret"], TICKET.replace("060.", "060r."), now_s=NOW) is None


def test_a_ticket_is_one_path_segment() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,200}", TICKET)


def test_any_of_the_live_secrets_will_do() -> None:
    assert read_ticket(["newer", "secret"], TICKET, now_s=NOW) is not None


def test_another_secret_or_none_opens_nothing() -> None:
    assert read_ticket(["other"], TICKET, now_s=NOW) is None
    assert read_ticket([], TICKET, now_s=NOW) is None
    assert read_ticket([""], TICKET, now_s=NOW) is None


def test_a_ticket_made_with_an_empty_secret_opens_nothing() -> None:
    """Anybody could make one, and an unset secret must not let them in."""
    claims = TICKET.rsplit(".", 1)[0]
    key = hmac.digest(b"", b"voice-openai-connect media stream ticket 1", "sha256")
    seal = base64.urlsafe_b64encode(hmac.digest(key, claims.encode(), "sha256")).decode().rstrip("=")
    assert read_ticket(["", "secret"], f"{claims}.{seal}", now_s=NOW) is None


def test_a_ticket_is_dead_from_the_second_it_expires() -> None:
    assert read_ticket(["secret"], TICKET, now_s=1_800_000_059.9) is not None
    assert read_ticket(["secret"], TICKET, now_s=1_800_000_060) is None


def test_one_changed_character_anywhere_makes_it_worthless() -> None:
    for i, letter in enumerate(TICKET):
        for other in "Ab3.-":
            if other != letter:
                assert read_ticket(["secret"], TICKET[:i] + other + TICKET[i + 1 :], now_s=NOW) is None


@pytest.mark.parametrize(
    "text", ["", ".", "...", TICKET + "=", TICKET + "\n", " " + TICKET, "é" * 40, "\ud800", "x" * 10**6]
)
def test_what_is_no_ticket_is_none_and_raises_nothing(text: str) -> None:
    assert read_ticket(["secret"], text, now_s=NOW) is None


def test_the_nonce_makes_every_ticket_another() -> None:
    other = issue_ticket("secret", call_sid=CALL, expires_at_s=1_800_000_060, nonce=bytes(16))
    assert other.split(".")[3] != TICKET.split(".")[3]


@pytest.mark.parametrize(
    ("secret", "call_sid", "expires", "nonce"),
    [
        ("", CALL, 1, NONCE),
        ("s", "CA1", 1, NONCE),
        ("s", CALL, -1, NONCE),
        ("s", CALL, 10**12, NONCE),
        ("s", CALL, 1, b"short"),
        ("s", CALL, 1, bytes(33)),
    ],
)
def test_a_ticket_that_could_not_be_read_back_is_not_issued(
    secret: str, call_sid: str, expires: int, nonce: bytes
) -> None:
    with pytest.raises(ValueError, match="a ticket needs"):
        issue_ticket(secret, call_sid=call_sid, expires_at_s=expires, nonce=nonce)


@pytest.mark.parametrize("size", [8, 32])
def test_nonces_of_every_agreed_size_are_read_back(size: int) -> None:
    ticket = issue_ticket("secret", call_sid=CALL, expires_at_s=NOW + 1, nonce=b"n" * size)
    assert read_ticket(["secret"], ticket, now_s=NOW) == Ticket(CALL, NOW + 1, b"n" * size)
