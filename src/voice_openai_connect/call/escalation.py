"""When a person is needed, and why.

The model has a tool with which it asks for a person; that is the first signal. This file is the net below it:
it hears a caller who asks in plain words, whatever the model makes of them. What it knows about a language is
data (`phrases/*.toml`, one table each); what it does is a short chain of substitutions:

1. The text becomes plain words: no case, no accents, no punctuation; hesitations gone, known mishearings mended.
2. What only sounds like a wish ("travel agent") or like a negation ("it doesn't work") is blotted out.
3. A wish that is worded with a "no" ("don't you have a human?") counts as it stands.
4. What a negation governs ("I don't need an agent") is blotted out, up to a word that ends its reach ("but").
5. If a wish can still be read, or the whole turn is nothing but "agent, please", a person is wanted.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final


class Reason(StrEnum):
    """Why a call goes to a person. A metric label, and `escalation_reason` in the handover record."""

    CALLER_ASKED = "caller_asked"
    TOOL = "tool"
    KEY = "key"
    OPERATOR = "operator"
    STOPPING = "stopping"
    """The process stops, and no other can go on with the call."""
    REPEATED_FAILURE = "repeated_failure"
    MODEL_LOST = "model_lost"
    TIME_LIMIT = "time_limit"
    CONTEXT_LOST = "context_lost"


WISHES: Final = frozenset({Reason.CALLER_ASKED, Reason.TOOL, Reason.KEY})
"""Reasons that somebody wishes for a person, and the assistant could go on."""

NEGATION_REACH_WORDS: Final = 6
"""How far a negation reaches unless something ends it sooner: "I do not really want to | speak to an agent"."""
REFUSAL_REACH_WORDS: Final = 5
"""How far "no thanks" reaches back: "a human agent for this, no thanks"."""
SMALL_WORDS_BETWEEN: Final = 4
"""Small words allowed between two parts of a wish: "talk to *one of your* agents"."""

_BLOT: Final = "|"
"""Stands where words were taken out. No word of any language matches it, so nothing is read across the gap."""
_NOT_A_WORD: Final = re.compile(r"[\W_]+")
_NOTHING: Final = "(?!)"
_GROUP: Final = re.compile(r"\{([^{}]*)\}")


@lru_cache(maxsize=4_096)
def _unaccented(character: str) -> str:
    """One character without case and accents. One at a time, because normalising a text made of accents is slow."""
    folded = unicodedata.normalize("NFKD", character).casefold()
    return "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))


def plain_words(text: str) -> str:
    """`text` as lower-case words with single spaces between: no punctuation, no accents, no compatibility forms.

    An apostrophe or a hyphen separates like any other punctuation, so "don't" becomes "don t" here and in the
    tables alike.
    """
    plain = text.casefold() if text.isascii() else "".join(map(_unaccented, text))
    return _NOT_A_WORD.sub(" ", plain).strip()


@dataclass(frozen=True, slots=True)
class PhraseTable:
    """How one language asks for a person. `phrases/en.toml` explains each field by example."""

    language: str
    """ISO 639-1, for people; no rule depends on it."""
    words: Mapping[str, tuple[str, ...]]
    """Groups of words and phrases, by the name that patterns use: ``{person}``."""
    wishes: tuple[str, ...]
    """Patterns of words and ``{groups}`` that ask for a person anywhere in a turn."""
    alone: tuple[str, ...] = ()
    """Patterns that ask for a person when nothing else is said, apart from `courtesies`."""
    worded_with_no: tuple[str, ...] = ()
    """Patterns that ask for a person although they hold a negation."""
    small_words: tuple[str, ...] = ()
    """What may stand between two parts of a pattern."""
    asides: tuple[str, ...] = ()
    """What may stand inside a phrase: "can I *please* have"."""
    courtesies: tuple[str, ...] = ()
    hesitations: tuple[str, ...] = ()
    """Left out before anything is looked for."""
    negations: tuple[str, ...] = ()
    terminators: tuple[str, ...] = ()
    """Words at which a negation's reach ends."""
    complaints: tuple[str, ...] = ()
    """Negations that say nothing about what follows: "it doesn't work"."""
    refusals: tuple[str, ...] = ()
    """What takes back the wish before it: "no thanks"."""
    unrelated: tuple[str, ...] = ()
    """What holds a word from `words` and means something else."""
    slips: Mapping[str, str] = field(default_factory=dict[str, str])
    """What speech recognition writes, and what was said."""

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], *, source: str) -> "PhraseTable":
        """Check what was read from a table's file and make the table.

        Raises:
            ValueError: a field is missing, unknown, misspelt or of the wrong kind; a phrase holds no word; a
                pattern names a group that is not in `words`. The message begins with `source`.

        """
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"{source}: unknown field {unknown[0]!r}; the fields are {', '.join(sorted(known))}")
        if missing := [name for name in ("language", "words", "wishes") if not data.get(name)]:
            raise ValueError(f"{source}: {missing[0]!r} is missing or empty")
        if not isinstance(language := data["language"], str):
            raise ValueError(f"{source}: 'language' must be text, such as \"en\"")  # noqa: TRY004  wrong in a file: a value
        lists = {name: _phrases(data.get(name, []), f"{source}: {name!r}") for name in known - _NOT_LISTS}
        table = cls(
            language=language,
            words={
                name: _phrases(value, f"{source}: group {name!r} in 'words'")
                for name, value in _mapping(data["words"], f"{source}: 'words'").items()
            },
            slips=_slips(data.get("slips", {}), f"{source}: 'slips'"),
            **lists,
        )
        table._check_patterns(source)
        return table

    def _check_patterns(self, source: str) -> None:
        used: set[str] = set()
        for pattern in (*self.wishes, *self.alone, *self.worded_with_no):
            used.update(groups := _GROUP.findall(pattern))
            if "{" in (rest := _GROUP.sub("", pattern)) or "}" in rest:
                raise ValueError(f"{source}: the pattern {pattern!r} has a brace without its partner")
            if unknown := [group for group in groups if group not in self.words]:
                raise ValueError(f"{source}: the pattern {pattern!r} names a group {unknown[0]!r} not in 'words'")
        for group, phrases in self.words.items():
            if not phrases:
                raise ValueError(f"{source}: group {group!r} in 'words' is empty")
            if group not in used:
                raise ValueError(f"{source}: group {group!r} in 'words' is used by no pattern")


_NOT_LISTS: Final = {"language", "words", "slips"}


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a table of names and values")  # noqa: TRY004
    return value  # pyright: ignore[reportUnknownVariableType]  TOML's keys are always text


def _phrases(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} must be a list of phrases in quotes")  # noqa: TRY004
    items: list[object] = list(value)  # pyright: ignore[reportUnknownArgumentType]
    for item in items:
        if not isinstance(item, str) or not plain_words(item):
            raise ValueError(f"{where} holds {item!r}, which has no word in it; every entry is a phrase in quotes")
    return tuple(str(item) for item in items)


def _slips(value: object, where: str) -> dict[str, str]:
    slips = _mapping(value, where)
    return dict(zip(_phrases(list(slips), where), _phrases(list(slips.values()), where), strict=True))


class EscalationPhrases:
    """Hears a wish for a person in any of the given languages. Immutable; safe to share between calls."""

    def __init__(self, tables: Iterable[PhraseTable], own: Iterable[str] = ()) -> None:
        self._tables = tuple(tables)
        self._own = tuple(own)
        self._listeners = tuple(map(_Listener, self._tables))
        self._own_listeners = (
            tuple(_Listener(replace(t, wishes=self._own, alone=(), worded_with_no=())) for t in self._tables)
            if self._own
            else ()
        )

    def wants_person(self, text: str) -> bool:
        """True if the caller asks for a person in `text` (one transcribed turn). Takes any text; raises nothing."""
        words = plain_words(text)
        if any(listener.hears_wish(words) for listener in self._listeners):
            return True
        # A phrase of the profile's own belongs to no language, so a negation in any of them counts.
        return bool(self._own) and all(listener.hears_wish(words) for listener in self._own_listeners)

    def extended_with(self, phrases: Iterable[str]) -> "EscalationPhrases":
        """The same, and the given phrases (a profile's own) count as wishes too, unless they are negated.

        Raises:
            ValueError: a phrase holds no word, or there is no table to take negations from.

        """
        more = _phrases(list(phrases), "the profile's own escalation phrases")
        if more and not self._tables:
            raise ValueError("own escalation phrases need at least one language table beside them")
        return EscalationPhrases(self._tables, (*self._own, *(plain_words(phrase) for phrase in more)))


class _Listener:
    """One table, ready to be used. Every repetition is bounded, so the time grows with the text and no faster."""

    def __init__(self, table: PhraseTable) -> None:
        groups = {name: _any_of(phrases) for name, phrases in table.words.items()}
        small = f"(?: {_any_of(table.small_words)}(?![^ ])){{0,{SMALL_WORDS_BETWEEN}}} "
        # The word right after a negation is always governed by it: "don't get me ..." although "get" ends a reach.
        reach = f"(?: [^ ]++(?: (?!{_any_of(table.terminators)}(?![^ ]))[^ ]++){{0,{NEGATION_REACH_WORDS - 1}}})?"
        self._slips = {plain_words(slip): plain_words(meant) for slip, meant in table.slips.items()}
        self._slip = _whole(_any_of(table.slips))
        self._hesitation = _whole(_any_of(table.hesitations))
        self._aside = _whole(_any_of(table.asides))
        self._courtesy = _whole(_any_of(table.courtesies))
        self._unrelated = _whole(_any_of((*table.unrelated, *table.complaints)))
        self._refused = _whole(f"(?:[^ ]++ ){{0,{REFUSAL_REACH_WORDS}}}{_any_of(table.refusals)}")
        self._negated = _whole(_any_of(table.negations) + reach)
        self._wish = _whole(_any_pattern(table.wishes, groups, small))
        self._worded_with_no = _whole(_any_pattern(table.worded_with_no, groups, small))
        self._alone = _whole(_any_pattern(table.alone, groups, small))

    def hears_wish(self, words: str) -> bool:
        """Look for a wish in what `plain_words` made of a turn."""
        words = self._slip.sub(lambda slip: self._slips[slip.group()], words)
        words = _without(self._hesitation, words)
        words = self._refused.sub(_BLOT, self._unrelated.sub(_BLOT, words))
        if self._worded_with_no.search(words) or self._is_nothing_but_a_wish(words):
            return True
        words = self._negated.sub(_BLOT, words)
        return any(self._wish.search(reading) for reading in {words, _without(self._aside, words)})

    def _is_nothing_but_a_wish(self, words: str) -> bool:
        left, found = self._alone.subn("", words)
        return found > 0 and not _without(self._courtesy, left)


def _whole(expression: str) -> re.Pattern[str]:
    """The expression, where it begins and ends with whole words."""
    return re.compile(f"(?<![^ ])(?:{expression})(?![^ ])")


def _any_of(phrases: Iterable[str]) -> str:
    """Any one of the phrases, the longest that fits. None at all fits nothing."""
    plain = sorted({plain_words(phrase) for phrase in phrases}, key=len, reverse=True)
    return f"(?:{'|'.join(map(re.escape, plain))})" if plain else _NOTHING


def _without(expression: re.Pattern[str], words: str) -> str:
    return " ".join(expression.sub("", words).split())


def _any_pattern(patterns: Iterable[str], groups: Mapping[str, str], small: str) -> str:
    """Any one of the patterns: their groups and literal words in this order, small words allowed between them."""
    written = [small.join(_parts(pattern, groups)) for pattern in patterns]
    return f"(?:{'|'.join(written)})" if written else _NOTHING


def _parts(pattern: str, groups: Mapping[str, str]) -> Iterable[str]:
    for position, part in enumerate(_GROUP.split(pattern)):
        if position % 2:
            yield groups[part]
        elif literal := plain_words(part):
            yield re.escape(literal)
