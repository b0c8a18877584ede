"""Reads `flow.toml`, and names every mistake in it: all of them at once, each with its line and what to do."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, cast

FILE: Final = Path(__file__).with_name("flow.toml")

PROMPT_CHARS: Final = 300
"""A prompt is a sentence or two. Whoever waits hears all of it."""
PRIORITIES: Final = ("urgent", "high", "normal", "low")
"""What a handover's `priority` may be."""
ENGINES: Final = ("standard", "neural", "generative")
PROMPTS: Final = ("listening", "connecting", "closed", "sorry", "whisper", "whisper_unverified")

_LANGUAGE: Final = re.compile(r"[a-z]{2}-[A-Z]{2}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:connect:[a-z0-9-]+:[0-9]{12}:instance/[a-z0-9-]+/queue/[A-Za-z0-9-]+")
_PARAMETER: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,254}")
_HEADER: Final = re.compile(r"\s*\[([^\]]+)\]")
_KEY: Final = re.compile(r"""\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)\s*=""")
_QUOTES: Final = "\"'"


class ConfigError(ValueError):
    """The file cannot be used. `mistakes` has one line for each: file, line, what is wrong, what to do."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Language:
    """What is spoken, and by which of Amazon Polly's voices."""

    voice: str
    engine: str
    prompts: Mapping[str, str]
    """By the names in `PROMPTS`."""


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """A contact centre, as far as the flow is concerned. Queues are ARNs, or ``${Parameter}`` to be filled in."""

    tries: int
    first_digit_s: int
    next_digit_s: int
    queues: Mapping[str, str]
    default_queue: str
    fallback_queue: str
    priorities: Mapping[str, int]
    agent_whisper: bool
    agent_guide: bool
    language: str
    languages: Mapping[str, Language]

    @property
    def spoken(self) -> Language:
        """The language callers hear."""
        return self.languages[self.language]


def load_config(path: Path = FILE, *, language: str = "") -> FlowConfig:
    """Read the file; `language` is spoken instead of the one it names. Raises `ConfigError`."""
    text, raw = _parse(path)
    reader = _Reader(path.name, _lines(text))
    top = reader.table("", raw)
    config = FlowConfig(
        **_token(reader, raw),
        **_routing(reader, raw),
        **_agent(reader, raw),
        language=language or reader.text(top, "language"),
        languages=_languages(reader, raw),
    )
    _look_for_misfits(reader, config)
    for name in raw.keys() - _TABLES - {"language"}:
        reader.complain(name, f"is not known here. {_near(name, [*_TABLES, 'language'])}")
    reader.raise_mistakes()
    return config


_TABLES: Final = frozenset({"token", "queues", "routing", "priorities", "agent", "languages"})


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        mistake = f"{path.name}: is not TOML: {error}. Mend that line; texts stand in quotes"
    except UnicodeDecodeError:
        mistake = f"{path.name}: is not plain text. Save it as UTF-8"
    except OSError as error:
        mistake = f"{path.name}: cannot be read ({error.strerror}). Check the path and its permissions"
    raise ConfigError((mistake,))


def _lines(text: str) -> dict[str, int]:
    """The line (from 1) of every table and key, by its whole dotted name."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = header[1].strip()
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(f"{table}.{key[1].strip(_QUOTES)}".lstrip("."), number)
    return lines


def _near(name: str, known: Iterable[str], otherwise: str = "Take it out") -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else otherwise


@dataclass
class _Reader:
    """Takes values out of tables and collects what is wrong with them. A bad value is replaced by a harmless one."""

    file: str
    lines: Mapping[str, int]
    _mistakes: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def complain(self, where: str, message: str) -> None:
        """Note a mistake at a dotted name."""
        parts = where.split(".")
        around = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        line = next((self.lines[name] for name in around if name in self.lines), 1)
        self._mistakes.append((line, f"{self.file}:{line}: {where} {message}"))

    def raise_mistakes(self) -> None:
        """Raise `ConfigError` with everything found, in the order of the lines, if there is anything."""
        if self._mistakes:
            raise ConfigError(tuple(dict.fromkeys(message for _, message in sorted(self._mistakes))))

    def table(self, name: str, raw: Mapping[str, Any], known: tuple[str, ...] = ()) -> "_Table":
        """The table of that name, or `raw` itself for none; anything beside the `known` keys is a mistake."""
        found = raw.get(name, {}) if name else raw
        if not isinstance(found, dict):
            self.complain(name, f"must be a table. Write it below a heading [{name}]")
            found = {}
        table = _Table(name, cast("dict[str, Any]", found))
        for key in table.values.keys() - set(known) if known else ():
            self.complain(f"{name}.{key}", f"is not known here. {_near(key, known)}")
        return table

    def text(self, table: "_Table", key: str) -> str:
        """A text on one line, at most `PROMPT_CHARS` long."""
        value = self._value(table, key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.complain(table.path(key), "must be text. Put it in quotes")
            return ""
        if not value.strip() or re.search(r"[\x00-\x1f\x7f<>]", value):
            self.complain(table.path(key), "is empty, or holds a line break or an angle bracket. Write plain words")
        elif len(value) > PROMPT_CHARS:
            self.complain(table.path(key), f"is too long. Keep it to {PROMPT_CHARS} characters")
        return value

    def number(self, table: "_Table", key: str, low: int, high: int) -> int:
        """A whole number between the two, which count."""
        value = self._value(table, key)
        if value is None:
            return low
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.complain(table.path(key), f"must be a whole number from {low} to {high}, without quotes")
            return low
        return value

    def flag(self, table: "_Table", key: str) -> bool:
        """A truth value."""
        value = self._value(table, key)
        if value is not None and not isinstance(value, bool):
            self.complain(table.path(key), "must be true or false, without quotes")
        return value is True

    def queue(self, table: "_Table", key: str) -> str:
        """An ARN as it is, or the name of a parameter as ``${Name}``."""
        value = self.text(table, key)
        if not value or _ARN.fullmatch(value):
            return value
        if not _PARAMETER.fullmatch(value):
            self.complain(
                table.path(key),
                "is neither a queue's ARN nor the name of a parameter. Write arn:aws:connect:…/queue/… or letters and "
                "digits, as in PriorityQueueArn",
            )
        return f"${{{value}}}"

    def _value(self, table: "_Table", key: str) -> object:
        if key not in table.values:
            self.complain(table.path(key), "is missing. Add the line")
        return table.values.get(key)


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    values: dict[str, Any]

    def path(self, key: str) -> str:
        return f"{self.name}.{key}".lstrip(".")


def _token(reader: _Reader, raw: Mapping[str, Any]) -> dict[str, Any]:
    table = reader.table("token", raw, ("tries", "first_digit_seconds", "next_digit_seconds"))
    return {
        "tries": reader.number(table, "tries", 1, 3),
        "first_digit_s": reader.number(table, "first_digit_seconds", 1, 20),
        "next_digit_s": reader.number(table, "next_digit_seconds", 1, 10),
    }


def _routing(reader: _Reader, raw: Mapping[str, Any]) -> dict[str, Any]:
    queues, routing = reader.table("queues", raw), reader.table("routing", raw, ("default_queue", "fallback_queue"))
    priorities = reader.table("priorities", raw, PRIORITIES)
    for name in queues.values:
        if not _NAME.fullmatch(name):
            reader.complain(f"queues.{name}", "is not a good name. Use small letters, digits, - and _")
    return {
        "queues": {name: reader.queue(queues, name) for name in queues.values},
        "default_queue": reader.text(routing, "default_queue"),
        "fallback_queue": reader.queue(routing, "fallback_queue"),
        "priorities": {
            name: reader.number(priorities, name, 1, 100) for name in priorities.values if name in PRIORITIES
        },
    }


def _agent(reader: _Reader, raw: Mapping[str, Any]) -> dict[str, Any]:
    table = reader.table("agent", raw, ("whisper", "guide"))
    return {"agent_whisper": reader.flag(table, "whisper"), "agent_guide": reader.flag(table, "guide")}


def _languages(reader: _Reader, raw: Mapping[str, Any]) -> dict[str, Language]:
    tables = reader.table("languages", raw)
    return {name: _language(reader, name, tables.values) for name in tables.values}


def _language(reader: _Reader, name: str, tables: dict[str, Any]) -> Language:
    where = f"languages.{name}"
    if not _LANGUAGE.fullmatch(name):
        reader.complain(where, "is not a language. Write language and country, as in en-AU")
    table = reader.table(where, {where: tables[name]}, ("voice", "engine", *PROMPTS))
    engine = reader.text(table, "engine")
    if engine and engine not in ENGINES:
        reader.complain(f"{where}.engine", f"is none of Amazon Polly's. Give one of {', '.join(ENGINES)}")
    return Language(
        voice=reader.text(table, "voice"),
        engine=engine,
        prompts={prompt: reader.text(table, prompt) for prompt in PROMPTS},
    )


def _look_for_misfits(reader: _Reader, config: FlowConfig) -> None:
    """What is well-formed line by line and still does not fit together."""
    if not config.queues:
        reader.complain("queues", 'names no queue. Add one, as in escalation = "EscalationQueueArn"')
    elif config.default_queue and config.default_queue not in config.queues:
        hint = _near(config.default_queue, config.queues, "Give the name of one of them")
        reader.complain("routing.default_queue", f"is not one of the queues. {hint}")
    if config.language and config.language not in config.languages:
        known = ", ".join(config.languages) or "none yet"
        reader.complain(
            "language",
            f"{config.language} is not written here. Add [languages.{config.language}], or give one of: {known}",
        )
