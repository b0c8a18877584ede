"""JSON from strangers: one way to decode it, and one error when that fails."""

from collections.abc import Collection
from typing import Protocol, TypeVar

import msgspec

from voice_openai_connect.wire.errors import WireError

T = TypeVar("T")
H = TypeVar("H", bound="Head")


def decode(decoder: msgspec.json.Decoder[T], text: str | bytes, what: str) -> T:
    """What `decoder` makes of `text`. Raises WireError saying that `what` could not be read, and nothing else.

    A library's own message may quote the text, so it is dropped. Deep nesting shows as RecursionError, and a
    string with half a surrogate pair as UnicodeError.
    """
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise WireError(f"{what} is not JSON of the documented shape") from None


class Head(Protocol):
    """The beginning of a message: what kind it is."""

    @property
    def kind(self) -> str:
        """The value of the message's tag."""
        ...


def decode_known(
    decoder: msgspec.json.Decoder[T],
    head: msgspec.json.Decoder[H],
    known: Collection[str],
    text: str,
    what: str,
) -> T | str:
    """As `decode`, for a union of tagged messages: of one whose kind is not in `known`, only its kind is returned.

    The union is tried first, since nearly every message is one of it.
    """
    try:
        return decode(decoder, text, what)
    except WireError:
        kind = decode(head, text, what).kind
        if kind in known:
            raise
        return kind
