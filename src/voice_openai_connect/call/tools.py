"""The three tools every profile has, and what the model may put into them. Arguments are untrusted text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from voice_openai_connect import limits
from voice_openai_connect.call.handover import PRIORITIES, Priority, plain_text

TRANSFER: Final = "transfer_to_human"
END_CALL: Final = "end_call"
TAKE_MESSAGE: Final = "take_message"
BUILT_IN: Final = frozenset({TRANSFER, END_CALL, TAKE_MESSAGE})


@dataclass(frozen=True, slots=True)
class TransferWish:
    """What the model said when it asked for a person. Everything but the fact itself is optional and bounded."""

    reason: str = ""
    intent: str = ""
    priority: Priority | None = None
    summary: str = ""


def arguments_of(text: str) -> Mapping[str, Any] | None:
    """The arguments as an object, or None if they are not one or are unreasonably long."""
    if len(text) > limits.TOOL_ARGUMENTS_CHARS:
        return None
    try:
        value: object = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else None


def message_of(arguments: Mapping[str, Any]) -> str:
    """What the message tool is to pass on, plain and bounded; empty if there is nothing."""
    message = arguments.get("message")
    return plain_text(message, limits.MESSAGE_CHARS) if isinstance(message, str) else ""


def transfer_wish(text: str) -> TransferWish:
    """Read the transfer tool's arguments. What cannot be read is left out: the wish itself still stands."""
    arguments = arguments_of(text) or {}

    def word(key: str, max_chars: int) -> str:
        value = arguments.get(key)
        return plain_text(value, max_chars) if isinstance(value, str) else ""

    priority: Priority | None = next((p for p in PRIORITIES if p == arguments.get("priority")), None)
    return TransferWish(
        reason=word("reason", limits.REASON_CHARS),
        intent=word("intent", limits.REASON_CHARS),
        priority=priority,
        summary=word("summary", limits.SUMMARY_CHARS),
    )
