"""The shape of a profile file, and the search for mistakes in it: all of them at once, with line and remedy.

A profile that leaves something out takes it from the file's own ``[profile.default]``, and that from the packaged
`agent.toml`. So each table is checked for itself, where it was written, and then laid over the one below it.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from voice_openai_connect import limits, values
from voice_openai_connect.call.handover import Priority
from voice_openai_connect.config import ConfigError
from voice_openai_connect.toml_lines import key_lines, line_of

DEFAULT: Final = "default"


class ProfileError(ConfigError):
    """A profile file cannot be used. `mistakes` has one line for each: file, line, what is wrong, what to do."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__(mistakes, "The profile file needs your attention:")


# --- The shape -----------------------------------------------------------------------------------------------


def _between(low: float, high: float) -> AfterValidator:
    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"is out of range. Give a number from {low:g} to {high:g}")
        return value

    return AfterValidator(check)


def _like(pattern: str, complaint: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(complaint)
        return value

    return AfterValidator(check)


def _text(value: str, max_chars: int) -> str:
    text = value.strip()
    if not text:
        raise ValueError("is empty. Write something, or leave the line out to take over what is said elsewhere")
    if len(text) > max_chars:
        raise ValueError(f"is too long. Keep it below {max_chars} characters")
    return text


def _sentence(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f<>]", value.strip()):
        raise ValueError("holds a line break or an angle bracket. Write plain words, as they are to be spoken")
    return _text(value, limits.SENTENCE_CHARS)


def _keyword(value: str) -> str:
    if not value.strip() or re.search(r"[\x00-\x1f\x7f<>]", value) or len(value) > limits.KEYWORD_CHARS:
        raise ValueError(
            "holds an entry with a line break or an angle bracket, or an empty or very long one: the transcription "
            "refuses those. Write plain words"
        )
    return value.strip()


def _idle(value: int) -> int:
    if value and not limits.IDLE_TIMEOUT_MIN_MS <= value <= limits.IDLE_TIMEOUT_MAX_MS:
        low, high = limits.IDLE_TIMEOUT_MIN_MS, limits.IDLE_TIMEOUT_MAX_MS
        raise ValueError(f"is out of range. Give {low} to {high} ms, or 0 for never")
    return value


Sentence = Annotated[str, AfterValidator(_sentence)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


_AnyTable = TypeVar("_AnyTable", bound=_Table)


def _laid_over(own: _AnyTable, below: _AnyTable) -> _AnyTable:
    """What `own` states, and for the rest what `below` says."""
    return below.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


class TurnDetectionTable(_Table):
    """``[profile.NAME.turn_detection]``."""

    kind: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: Annotated[float, _between(0, 1)] = 0.5
    prefix_padding_ms: Annotated[int, _between(0, 2_000)] = 300
    silence_ms: Annotated[int, _between(100, 5_000)] = 500
    idle_timeout_ms: Annotated[int, AfterValidator(_idle)] = 15_000
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    interrupt_response: bool = True


class IntentTable(_Table):
    """``[profile.NAME.intents.INTENT]``."""

    queue: Sentence
    priority: Priority = "normal"
    description: Annotated[str, AfterValidator(lambda text: _text(text, limits.SENTENCE_CHARS))] = ""


class ProfileTable(_Table):
    """``[profile.NAME]``. The packaged `agent.toml` says what each line means."""

    numbers: Annotated[tuple[Annotated[str, AfterValidator(values.phone_number)], ...], Field(strict=False)] = ()
    disclosure: Annotated[str, AfterValidator(lambda text: text and _sentence(text))] = ""
    greeting: Sentence = ""
    transfer_sentence: Sentence = ""
    goodbye: Sentence = ""
    second_try: Sentence = ""
    call_back: Sentence = ""
    language: Annotated[
        str, _like("[a-z]{2}-[A-Z]{2}", "is not a language. Write language and country, as in en-AU")
    ] = "en-US"
    voice: Annotated[str, AfterValidator(values.realtime_voice)] = ""
    say_voice: Annotated[
        str,
        _like(r"[A-Za-z][A-Za-z0-9.-]{1,63}", "is not one of Twilio's voices. Give a name as in Polly.Joanna-Neural"),
    ] = ""
    speed: Annotated[float, _between(0.25, 1.5)] = 1.0
    instructions: Annotated[str, AfterValidator(lambda text: _text(text, limits.INSTRUCTIONS_CHARS))] = ""
    person_key: Annotated[str, _like("[0-9*#]?", "is not a key. Give one of 0 to 9, * or #, or an empty text")] = "0"
    holding_sound: str = ""
    phrase_languages: Texts = ()
    escalation_phrases: Texts = ()
    keywords: Annotated[
        tuple[Annotated[str, AfterValidator(_keyword)], ...], Field(strict=False, max_length=limits.KEYWORDS_MAX)
    ] = ()
    noise_reduction: Literal["near_field", "far_field", "off"] = "near_field"
    reasoning_effort: Literal["minimal", "low", "medium", "high", "off"] = "low"
    max_output_tokens: Annotated[int, _between(16, 4_096)] = 1_024
    default_intent: str = ""
    transfer_when_closed: bool = False
    turn_detection: TurnDetectionTable = TurnDetectionTable()
    intents: Annotated[dict[str, IntentTable], Field(max_length=limits.INTENTS_MAX)] = {}

    def over(self, below: "ProfileTable") -> "ProfileTable":
        """What this profile states, and for the rest what `below` says. Numbers are nobody's but one's own."""
        turns = _laid_over(self.turn_detection, below.turn_detection)
        return _laid_over(self, below).model_copy(update={"numbers": self.numbers, "turn_detection": turns})


# --- The search for mistakes -----------------------------------------------------------------------------------


@dataclass(slots=True)
class ProfileFile:
    """One file: its tables laid over the defaults, and the mistakes found so far."""

    path: Path
    lines: dict[tuple[str, ...], int]
    tables: dict[str, ProfileTable] = field(default_factory=dict[str, ProfileTable])
    stated: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Which keys each profile states itself."""
    spoilt: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Profile and key of each mistake: what depends on them cannot be judged."""
    _found: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def complain(self, where: tuple[str | int, ...], message: str) -> None:
        """Note a mistake at `where` (a path of keys); `message` says what is wrong and what to do."""
        number = line_of(self.lines, where)
        name = ".".join(map(str, where))
        self._found.append((number, f"{self.path.name}:{number}: {name} {message}"))

    def answers_for(self, name: str, *keys: str) -> bool:
        """Whether a mistake in these keys is this profile's own, and not one it has taken over from the default."""
        return name == DEFAULT or not self.stated[name].isdisjoint(keys)

    def raise_mistakes(self) -> None:
        """Raise `ProfileError` with everything found, in the order of the lines, if there is anything."""
        if self._found:
            raise ProfileError(tuple(dict.fromkeys(message for _, message in sorted(self._found))))


def read_profile_file(path: Path, below: ProfileTable | None = None) -> ProfileFile:
    """Read a file; lay its default over `below`, and its other profiles over its default.

    Mistakes are noted in the result, so that the caller can look for more. Raises `ProfileError` at once only for
    a file that cannot be read as TOML at all.
    """
    text, raw = _parse(path)
    file = ProfileFile(path, key_lines(text))
    profiles = _profiles(file, raw)
    stated = {name: _checked(file, name, table) for name, table in {DEFAULT: {}, **profiles}.items()}
    file.stated = {name: set(table.model_fields_set) for name, table in stated.items()}
    base = stated[DEFAULT].over(below) if below else stated[DEFAULT]
    file.tables = {DEFAULT: base, **{name: table.over(base) for name, table in stated.items() if name != DEFAULT}}
    for name in profiles:
        _look_for_misfits(file, name, file.tables[name])
    _look_for_shared_numbers(file)
    return file


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        mistake = f"{path.name}: is not TOML: {error}. Mend that line; texts stand in quotes"
    except UnicodeDecodeError:
        mistake = f"{path.name}: is not plain text. Save it as UTF-8"
    except OSError as error:
        mistake = f"{path.name}: cannot be read ({type(error).__name__}). Check the path and its permissions"
    raise ProfileError((mistake,))


def _profiles(file: ProfileFile, raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    for key in raw.keys() - {"profile"}:
        file.complain((key,), "stands outside of every profile. Move it below [profile.default]")
    tables: object = raw.get("profile", {})
    if not isinstance(tables, dict):
        file.complain(("profile",), "must be a table. Write [profile.default]")
        return {}
    good: dict[str, dict[str, Any]] = {}
    for name, table in cast("dict[str, object]", tables).items():
        if isinstance(table, dict):
            good[name] = cast("dict[str, Any]", table)
        else:
            file.complain(("profile", name), f"is in no profile. Write it below [profile.{DEFAULT}]")
    return good


def _checked(file: ProfileFile, name: str, raw: dict[str, Any]) -> ProfileTable:
    """The table's good part. What is wrong in it has been noted."""
    try:
        return ProfileTable.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
    for detail in details:
        file.complain(("profile", name, *detail["loc"]), _sentence_for(detail))
    bad = {str(detail["loc"][0]) for detail in details}
    file.spoilt |= {(name, key) for key in bad}
    return ProfileTable.model_validate({key: value for key, value in raw.items() if key not in bad})


_SENTENCES: Final = {
    "missing": "is missing. Add the line",
    "string_type": "must be text. Put it in quotes",
    "int_type": "must be a whole number. Write it without quotes",
    "float_type": "must be a number. Write it without quotes",
    "bool_type": "must be true or false. Write it without quotes",
    "tuple_type": "must be a list. Put it in square brackets",
    "dict_type": "must be a table. Write it below a heading of its own",
    "model_type": "must be a table. Write it below a heading of its own",
}


def _sentence_for(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"is not one of the possible values. Give {context['expected']}"
        case "too_long":
            return f"has too many entries. Keep it to {context['max_length']}"
        case "extra_forbidden":
            near = get_close_matches(str(detail["loc"][-1]), _siblings(detail["loc"]), n=1)
            return f"is not known here. {f'Did you mean {near[0]}?' if near else 'Take it out'}"
        case kind:
            return _SENTENCES.get(kind, f"{detail['msg']}. Compare it with the packaged agent.toml")


def _siblings(where: tuple[int | str, ...]) -> list[str]:
    tables: dict[int | str, type[_Table]] = {"turn_detection": TurnDetectionTable, "intents": IntentTable}
    table = tables.get(where[0], ProfileTable) if len(where) > 1 else ProfileTable
    return list(table.model_fields)


def _look_for_misfits(file: ProfileFile, name: str, table: ProfileTable) -> None:
    """What is well-formed line by line and still does not fit together."""
    here = ("profile", name)
    if name != DEFAULT and not table.numbers and (name, "numbers") not in file.spoilt:
        file.complain(here, 'answers no number. Add numbers = ["+61255501234"]')
    spoilt = not file.spoilt.isdisjoint({(name, "intents"), (DEFAULT, "intents")})
    if spoilt or not file.answers_for(name, "intents", "default_intent"):
        return
    for intent in table.intents:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", intent):
            file.complain((*here, "intents", intent), "is not a good name. Use small letters, digits and _")
    if table.default_intent not in table.intents:
        near = get_close_matches(table.default_intent, table.intents, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(table.intents) or 'those you add'}"
        file.complain((*here, "default_intent"), f"names an intent that is not among the intents. {hint}")


def _look_for_shared_numbers(file: ProfileFile) -> None:
    owners: dict[str, str] = {}
    for name, table in file.tables.items():
        for number in table.numbers:
            owner = owners.setdefault(number, name)
            if owner != name:
                file.complain(("profile", name, "numbers"), f"claim {number}, as {owner} does. Leave it to one of them")
