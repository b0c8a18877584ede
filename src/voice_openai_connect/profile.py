"""How the assistant speaks and whom it transfers to: one TOML file, one profile for each number or for all.

`load_profiles` reads the file (see the packaged `agent.toml`, which explains every line) and builds what the other
rooms need from it: a call's settings, a model's settings, and the sentences that Twilio speaks.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from voice_openai_connect.call.escalation import EscalationPhrases, PhraseTable
from voice_openai_connect.call.handover import PRIORITIES
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.call.model_settings import ModelSettings, ToolSpec, TurnDetection
from voice_openai_connect.call.settings import CallSettings, Intent
from voice_openai_connect.call.tools import BUILT_IN, END_CALL, TAKE_MESSAGE, TRANSFER
from voice_openai_connect.config import DEFAULT_PROFILE, Settings
from voice_openai_connect.profile_file import DEFAULT, ProfileError, ProfileFile, ProfileTable, read_profile_file
from voice_openai_connect.sound_file import SoundError, read_holding_sound
from voice_openai_connect.wire.openai_models import speaks_reasoning
from voice_openai_connect.wire.twiml import Wording

PHRASES: Final = Path(__file__).with_name("phrases")
"""One file for each language in which a wish for a person is understood."""
BUILT_IN_TOOLS: Final = BUILT_IN

AudioFormat = Literal["audio/pcmu", "audio/pcm"]
_AUDIO_FORMATS: Final[dict[str, AudioFormat]] = {"pcmu": "audio/pcmu", "pcm16": "audio/pcm"}


@dataclass(frozen=True, slots=True)
class Profile:
    """One way of answering the phone. `options` is the profile's table, with everything filled in."""

    name: str
    options: ProfileTable
    phrases: EscalationPhrases
    holding_sound: bytes = field(default_factory=holding_sound, repr=False)
    """One round of what callers hear while they wait: µ-law, whole frames."""

    def intents(self) -> Mapping[str, Intent]:
        """Where each wish leads, by the intent's name."""
        tables = self.options.intents
        return {name: Intent(name, each.queue, each.priority, each.description) for name, each in tables.items()}

    def call_settings(self, settings: Settings, user_tools: Sequence[ToolSpec] = ()) -> CallSettings:
        """What a call is told about itself."""
        options, intents = self.options, self.intents()
        return CallSettings(
            greeting=f"{options.disclosure} {options.greeting}".strip(),
            transfer_sentence=options.transfer_sentence,
            goodbye_sentence=options.goodbye,
            phrases=self.phrases,
            intents=intents,
            default_intent=intents[options.default_intent],
            audio_format=_AUDIO_FORMATS[settings.openai_audio_format],
            server_interrupts=options.turn_detection.interrupt_response,
            tools=frozenset(tool.name for tool in user_tools),
            holding_sound=self.holding_sound,
            person_key=options.person_key,
            checkpoints=settings.checkpoints,
            transfer_when_closed=options.transfer_when_closed,
        )

    def model_settings(self, settings: Settings, user_tools: Sequence[ToolSpec] = ()) -> ModelSettings:
        """One session of the model, with the three tools that every profile has.

        Raises ValueError if a user's tool has the name of a built-in one.
        """
        if clash := BUILT_IN_TOOLS.intersection(tool.name for tool in user_tools):
            raise ValueError(f"the tool {min(clash)} is built in. Give yours another name")
        options, effort = self.options, self.options.reasoning_effort
        return ModelSettings(
            model=settings.openai_realtime_model,
            voice=options.voice or settings.openai_voice,
            instructions=options.instructions,
            tools=(transfer_tool(self.intents()), end_call_tool(), message_tool(), *user_tools),
            audio_format=_AUDIO_FORMATS[settings.openai_audio_format],
            speed=options.speed,
            noise_reduction=None if options.noise_reduction == "off" else options.noise_reduction,
            transcription_model=settings.openai_transcription_model,
            languages=tuple(dict.fromkeys((_short(options.language), *options.phrase_languages))),
            keywords=options.keywords,
            turn_detection=self._turn_detection(),
            reasoning_effort=effort if effort != "off" and speaks_reasoning(settings.openai_realtime_model) else None,
            max_output_tokens=options.max_output_tokens,
        )

    def _turn_detection(self) -> TurnDetection:
        turns = self.options.turn_detection
        return TurnDetection(
            kind=turns.kind,
            threshold=turns.threshold,
            prefix_padding_ms=turns.prefix_padding_ms,
            silence_ms=turns.silence_ms,
            idle_timeout_ms=turns.idle_timeout_ms or None,
            eagerness=turns.eagerness,
            interrupt_response=turns.interrupt_response,
        )

    def wording(self) -> Wording:
        """The sentences that Twilio speaks when the model cannot."""
        return _wording(self.options)


@dataclass(frozen=True, slots=True)
class Profiles:
    """All profiles of one file."""

    by_name: Mapping[str, Profile]
    by_number: Mapping[str, Profile]

    @property
    def default(self) -> Profile:
        """The profile of every number that no other profile claims."""
        return self.by_name[DEFAULT]

    @property
    def queues_that_may_be_empty(self) -> frozenset[str]:
        """The queues of which it matters whether anyone is there."""
        asked = (each for each in self.by_name.values() if not each.options.transfer_when_closed)
        return frozenset(intent.queue for each in asked for intent in each.intents().values())

    def for_number(self, called: str) -> Profile:
        """The profile that answers calls to `called` (E.164 as Twilio sends it)."""
        return self.by_number.get(called, self.default)


def load_profiles(path: Path = DEFAULT_PROFILE) -> Profiles:
    """Read a profile file. Raises `ProfileError`, which names every mistake with its line and what to do."""
    file = read_profile_file(path, None if path == DEFAULT_PROFILE else _packaged())
    heard = {name: _phrases(file, name) for name in file.tables}
    sounds = {name: _holding_sound(file, name) for name in file.tables}
    for name, table in file.tables.items():
        _look_whether_it_can_be_spoken(file, name, table)
    file.raise_mistakes()
    by_name = {name: Profile(name, table, heard[name], sounds[name]) for name, table in file.tables.items()}
    return Profiles(by_name, {number: each for each in by_name.values() for number in each.options.numbers})


def _look_whether_it_can_be_spoken(file: ProfileFile, name: str, table: ProfileTable) -> None:
    try:
        _wording(table)
    except ValueError as error:
        if file.answers_for(name, "transfer_sentence", "second_try", "call_back", "goodbye"):
            file.complain(("profile", name), f"has a sentence that Twilio cannot speak: {error}")


def _holding_sound(file: ProfileFile, name: str) -> bytes:
    """The company's own recording, or our two notes. Mistakes are noted in `file`; a path begins where the file is."""
    own = file.tables[name].holding_sound
    if not own:
        return holding_sound()
    try:
        return read_holding_sound(file.path.parent / own)
    except SoundError as error:
        if file.answers_for(name, "holding_sound"):
            file.complain(("profile", name, "holding_sound"), f"names {own}, which {error}")
        return holding_sound()


def _packaged() -> ProfileTable:
    """The defaults of all defaults."""
    file = read_profile_file(DEFAULT_PROFILE)
    file.raise_mistakes()
    return file.tables[DEFAULT]


def _wording(options: ProfileTable) -> Wording:
    return Wording(
        language=options.language,
        transfer=options.transfer_sentence,
        second_try=options.second_try,
        call_back=options.call_back,
        goodbye=options.goodbye,
        voice=options.say_voice,
    )


# --- Hearing a wish for a person -------------------------------------------------------------------------------


def phrase_languages() -> tuple[str, ...]:
    """The languages in which a wish for a person is understood."""
    return tuple(sorted(path.stem for path in PHRASES.glob("*.toml")))


@lru_cache
def phrase_table(language: str) -> PhraseTable:
    """How callers ask for a person in `language`, one of `phrase_languages()`."""
    path = PHRASES / f"{language}.toml"
    return PhraseTable.from_mapping(tomllib.loads(path.read_text(encoding="utf-8")), source=path.name)


def _short(language: str) -> str:
    """``en-AU`` as ISO 639-1: ``en``."""
    return language.partition("-")[0]


def _phrases(file: ProfileFile, name: str) -> EscalationPhrases:
    """What this profile listens for. Mistakes are noted in `file`."""
    table, known = file.tables[name], phrase_languages()
    wanted = table.phrase_languages or (_short(table.language),)
    unknown = [language for language in wanted if language not in known]
    if unknown and file.answers_for(name, "language", "phrase_languages"):
        key = "phrase_languages" if table.phrase_languages else "language"
        remedy = f"Set phrase_languages to some of {', '.join(known)}, and add your own words as escalation_phrases"
        file.complain(("profile", name, key), f"names {unknown[0]}, for which there is no table of phrases. {remedy}")
    # With no table left, any will do to look at the profile's own phrases: the file has been found wanting already.
    tables = [phrase_table(language) for language in wanted if language in known] or [phrase_table(known[0])]
    heard = EscalationPhrases(tables)
    try:
        return heard.extended_with(table.escalation_phrases)
    except ValueError as error:
        if file.answers_for(name, "escalation_phrases"):
            file.complain(("profile", name, "escalation_phrases"), f"cannot be used: {error}. Write words in quotes")
        return heard


# --- The tools that every profile has ----------------------------------------------------------------------------


def transfer_tool(intents: Mapping[str, Intent]) -> ToolSpec:
    """The tool with which the model asks for a person."""
    leads = "; ".join(
        f"{each.name}: {each.description}" if each.description else each.name for each in intents.values()
    )
    return ToolSpec(
        name=TRANSFER,
        description=(
            "Move this call to a person. Call it as soon as the caller asks for a person in any words, is upset, or "
            "needs something you cannot do yourself. Say nothing before you call it: the caller hears a sentence about "
            "the transfer by itself. Call it once; the transfer cannot be taken back."
        ),
        parameters=_object(
            reason=_text("Why a person is needed, in a few words, for the person who takes over."),
            intent={"type": "string", "enum": list(intents), "description": f"What the call is about. {leads}"},
            priority={
                "type": "string",
                "enum": list(PRIORITIES),
                "description": "How soon it matters. urgent only if somebody is in danger or great harm is near.",
            },
            summary=_text(
                "Two or three plain sentences for the person who takes over: what the caller wants, what was tried, "
                "what is still open. Only what was said in this call; no card numbers or passwords."
            ),
        ),
    )


def end_call_tool() -> ToolSpec:
    """The tool with which the model says that the conversation is over."""
    return ToolSpec(
        name=END_CALL,
        description=(
            "End this call. Call it only after the caller has what they need and has said goodbye, or asks you to hang "
            "up. Say nothing before it: the goodbye is spoken by itself. Never call it because you cannot help: then "
            "a person is needed."
        ),
        parameters=_object(reason=_text("Why the call is over, in a few words.")),
    )


def message_tool() -> ToolSpec:
    """The tool with which the model takes a message. Whom it reaches is not for the model to say."""
    return ToolSpec(
        name=TAKE_MESSAGE,
        description=(
            "Take a message so that a person calls back. Call it when nobody can take the call now, or when the caller "
            "would rather be called back, once they have said what it is about. The number they are calling from is "
            "noted by itself."
        ),
        parameters=_object(
            message=_text(
                "What the caller wants and what they asked to be passed on, in two or three plain sentences, with a "
                "better time to call if they named one. Only what was said; no card numbers or passwords."
            )
        ),
    )


def _text(description: str) -> Mapping[str, Any]:
    return {"type": "string", "description": description}


def _object(**properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


__all__ = ["Profile", "ProfileError", "Profiles", "load_profiles"]
