import json
import wave
from pathlib import Path

import msgspec
import pytest

from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.call.model_settings import ToolSpec
from voice_openai_connect.config import DEFAULT_PROFILE, Settings, load_settings
from voice_openai_connect.profile import Profile, ProfileError, load_profiles, phrase_languages
from voice_openai_connect.wire.openai_realtime import session_update

NEEDED = {
    "PUBLIC_HOST": "voice.example.com",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "t",
    "OPENAI_API_KEY": "k",
    "AWS_REGION": "ap-southeast-2",
    "DYNAMODB_TABLE_NAME": "Handovers",
    "CONNECT_PHONE_NUMBER": "+61255501234",
}
LOOK_UP = ToolSpec("look_up_order", "Looks an order up.", {"type": "object", "properties": {}})


def settings(**changes: str) -> Settings:
    return load_settings({**NEEDED, **changes}, env_file=None)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def profile(folder: Path, text: str) -> Profile:
    return load_profiles(written(folder, f"[profile.default]\n{text}")).default


def test_a_number_of_its_own_gets_its_own_profile(tmp_path: Path) -> None:
    profiles = load_profiles(written(tmp_path, "[profile.sales]\nnumbers = ['+61 2 5550 1234']\n"))

    assert profiles.for_number("+61255501234").name == "sales"
    assert profiles.for_number("+61255505678").name == "default"
    assert profiles.for_number("").name == "default"


def test_a_call_hears_the_disclosure_first() -> None:
    call = load_profiles().default.call_settings(settings())

    assert call.greeting == (
        "Hello, you are speaking with an AI assistant, and this call may be recorded. How can I help you today?"
    )


def test_a_call_knows_what_the_profile_says(tmp_path: Path) -> None:
    mine = profile(
        tmp_path,
        """
        disclosure = ""
        greeting = "Hi."
        transfer_sentence = "Moment."
        goodbye = "Bye."
        person_key = "*"
        default_intent = "billing"
        escalation_phrases = ["the front desk"]
        transfer_when_closed = true
        turn_detection.interrupt_response = false
        """,
    )
    call = mine.call_settings(settings(), [LOOK_UP])

    assert (call.greeting, call.transfer_sentence, call.goodbye_sentence) == ("Hi.", "Moment.", "Bye.")
    assert (call.person_key, call.server_interrupts, call.audio_format) == ("*", False, "audio/pcmu")
    assert (call.default_intent.name, call.default_intent.queue) == ("billing", "escalation")
    assert call.tools == {"look_up_order"}
    assert call.transfer_when_closed
    assert not load_profiles().default.call_settings(settings()).transfer_when_closed
    assert call.phrases.wants_person("Could you get me the front desk?")
    assert call.phrases.wants_person("I want to speak to a human")
    assert not call.phrases.wants_person("What are your opening hours?")


def a_recording(path: Path, ms: int = 1_000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(b"\x00\x08\x00\xf8" * 4 * ms)


def test_callers_wait_to_the_sound_of_their_own_profile(tmp_path: Path) -> None:
    a_recording(tmp_path / "hold.wav")
    path = written(
        tmp_path,
        """
        [profile.default]
        holding_sound = "hold.wav"
        [profile.sales]
        numbers = ["+61255501234"]
        [profile.france]
        numbers = ["+33155501234"]
        holding_sound = ""
        """,
    )
    heard = {name: each.call_settings(settings()).holding_sound for name, each in load_profiles(path).by_name.items()}

    assert len(heard["default"]) == 8_000
    assert heard["sales"] == heard["default"] != holding_sound()
    assert heard["france"] == holding_sound()


def test_a_recording_that_will_not_do_is_named_with_its_line_and_the_remedy_and_once(tmp_path: Path) -> None:
    a_recording(tmp_path / "hold.wav", ms=100)
    text = """holding_sound = "hold.wav"
        [profile.sales]
        numbers = ["+61255501234"]
        [profile.france]
        numbers = ["+33155501234"]
        holding_sound = "gone.wav"
        """

    short, gone = mistakes(tmp_path, text)
    assert short.startswith("mine.toml:2: profile.default.holding_sound names hold.wav, which is 0.1 s long. Make it")
    assert gone.startswith("mine.toml:7: profile.france.holding_sound names gone.wav, which cannot be read")


def test_the_languages_listened_for_can_be_chosen(tmp_path: Path) -> None:
    mine = profile(tmp_path, 'phrase_languages = ["en", "es"]')

    assert mine.phrases.wants_person("quiero hablar con una persona")
    assert not load_profiles().default.phrases.wants_person("quiero hablar con una persona")
    assert mine.model_settings(settings()).languages == ("en", "es")


def test_the_model_is_set_up_as_the_profile_says(tmp_path: Path) -> None:
    mine = profile(
        tmp_path,
        """
        language = "de-DE"
        voice = "cedar"
        speed = 1.25
        instructions = "Be brief."
        keywords = ["Vertrag"]
        noise_reduction = "off"
        reasoning_effort = "minimal"
        max_output_tokens = 512
        turn_detection = { kind = "semantic_vad", eagerness = "low", idle_timeout_ms = 0 }
        """,
    )
    model = mine.model_settings(settings(OPENAI_AUDIO_FORMAT="pcm16"), [LOOK_UP])

    assert (model.model, model.voice, model.speed) == ("gpt-realtime-2.1", "cedar", 1.25)
    assert (model.instructions, model.languages, model.keywords) == ("Be brief.", ("de",), ("Vertrag",))
    assert (model.audio_format, model.noise_reduction, model.reasoning_effort) == ("audio/pcm", None, "minimal")
    assert (model.max_output_tokens, model.transcription_model) == (512, "gpt-transcribe")
    assert (model.turn_detection.kind, model.turn_detection.eagerness) == ("semantic_vad", "low")
    assert model.turn_detection.idle_timeout_ms is None
    assert [tool.name for tool in model.tools] == ["transfer_to_human", "end_call", "take_message", "look_up_order"]


def test_the_voice_of_the_settings_speaks_unless_the_profile_names_one() -> None:
    assert load_profiles().default.model_settings(settings(OPENAI_VOICE="sage")).voice == "sage"


def test_a_model_that_does_not_reason_is_not_asked_to() -> None:
    packaged = load_profiles().default

    assert packaged.model_settings(settings()).reasoning_effort == "low"
    assert packaged.model_settings(settings(OPENAI_REALTIME_MODEL="gpt-realtime-1.5")).reasoning_effort is None


def test_the_transfer_tool_offers_the_profile_s_intents(tmp_path: Path) -> None:
    mine = profile(
        tmp_path, "default_intent = 'order'\nintents.order = { queue = 'Orders', description = 'A purchase.' }"
    )
    tool = mine.model_settings(settings()).tools[0]
    properties = tool.parameters["properties"]

    assert list(properties) == ["reason", "intent", "priority", "summary"]
    assert properties["intent"]["enum"] == ["order"]
    assert "order: A purchase." in properties["intent"]["description"]
    assert properties["priority"]["enum"] == ["low", "normal", "high", "urgent"]
    assert tool.parameters["required"] == ["reason", "intent", "priority", "summary"]


def test_no_tool_takes_a_number_to_dial() -> None:
    tools = load_profiles().default.model_settings(settings()).tools

    assert "number" not in json.dumps([msgspec.to_builtins(tool.parameters) for tool in tools]).replace(
        "card number", ""
    )


def test_a_user_s_tool_cannot_stand_in_for_a_built_in_one() -> None:
    with pytest.raises(ValueError, match="end_call is built in"):
        load_profiles().default.model_settings(settings(), [ToolSpec("end_call", "", {})])


def test_what_the_model_gets_can_be_written_down_for_the_service() -> None:
    update = json.loads(session_update(load_profiles().default.model_settings(settings())))

    assert update["session"]["audio"]["output"]["voice"] == "marin"
    assert update["session"]["tools"][0]["name"] == "transfer_to_human"


def test_twilio_speaks_the_profile_s_sentences(tmp_path: Path) -> None:
    wording = profile(
        tmp_path, "language = 'en-AU'\ncall_back = 'We call you.'\nsay_voice = 'Polly.Olivia-Neural'"
    ).wording()

    assert (wording.language, wording.voice, wording.call_back) == ("en-AU", "Polly.Olivia-Neural", "We call you.")
    assert wording.transfer == load_profiles().default.options.transfer_sentence


@pytest.mark.parametrize(
    "rule",
    [
        "the company's phone assistant",
        "short spoken sentences",
        "Speak only the language",
        "Call transfer_to_human as soon as",
        "Say nothing before you call it",
        "call end_call",
        "call take_message",
        "unclear, cut off, silent or only noise",
        "Never invent",
        "Never ask for card numbers",
    ],
)
def test_the_default_instructions_keep_the_rules(rule: str) -> None:
    assert rule in load_profiles().default.options.instructions


def mistakes(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ProfileError) as caught:
        profile(folder, text)
    return caught.value.mistakes


def test_a_language_without_phrases_is_named_with_those_that_have_them(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "language = 'it-IT'")

    assert line.startswith("mine.toml:2: profile.default.language names it, for which there is no table")
    assert ", ".join(phrase_languages()) in line


def test_mistakes_in_the_lines_and_in_the_phrases_are_named_together(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "speed = 9\nphrase_languages = ['en', 'xx']\n[profile.a]\nescalation_phrases = ['!']\n")

    assert [line.split(":")[1] for line in found] == ["2", "3", "4", "5"]  # no number, no word


def test_a_sentence_too_long_for_twilio_is_named(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, f"call_back = '{'&' * 400}'")

    assert "Twilio cannot speak: call_back" in line


def test_a_mistake_that_is_taken_over_is_named_once(tmp_path: Path) -> None:
    wrong = f"language = 'it-IT'\nescalation_phrases = ['!']\ngoodbye = '{'&' * 400}'\n"
    found = mistakes(tmp_path, f"{wrong}[profile.a]\nnumbers = ['+61255501234']")

    assert [line.split(":")[1] for line in found] == ["1", "2", "3"]


def test_without_a_path_the_packaged_profile_answers() -> None:
    assert load_profiles(DEFAULT_PROFILE).default.options == load_profiles().default.options
