import re
import xml.etree.ElementTree as ET
from dataclasses import fields
from typing import Any

import pytest
from twilio.twiml import voice_response  # pyright: ignore[reportMissingTypeStubs]

from voice_openai_connect import limits
from voice_openai_connect.call.next_step import AskAgain, DialPerson, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.simulator.carrier_twiml import SEND_DIGITS_MAX
from voice_openai_connect.wire.twiml import Wording, connect_stream, render

HOSTILE = '"><Dial>+19005550100</Dial><x a="&amp;\n'
PERSON = "+14155550199"
WORDING = Wording(
    language="en-GB",
    transfer="One moment, I am connecting you & the team.",
    second_try="I am trying once more.",
    call_back='A person will call you back: <today>, "soon".',
    goodbye="Goodbye.",
)
TOKEN = "0123456789"
twilio: Any = voice_response
"""Twilio's own builder; it has no types."""


def written(step: NextStep, wording: Wording = WORDING, person_number: str = PERSON, **more: int) -> str:
    return render(
        step,
        wording=wording,
        person_number=person_number,
        dial_action_url=lambda attempt: f"https://voice.example.com/twilio/after-dial?attempt={attempt}&x=1",
        ask_again_url=lambda asked: f"https://voice.example.com/twilio/next/{asked}",
        dial_seconds=30,
        **more,
    )


def same(ours: str, theirs: Any) -> bool:
    """Whether two documents are one tree."""
    return ET.canonicalize(ours) == ET.canonicalize(str(theirs))


class TestConnectStream:
    URL = "wss://voice.example.com/twilio/stream/a-ticket"
    ACTION = "https://voice.example.com/twilio/after-stream?a=1&b=2"

    def test_it_is_what_twilios_own_builder_writes(self) -> None:
        parameters = {"conversation": "c-1", "note": HOSTILE}
        theirs = twilio.VoiceResponse()
        connect = twilio.Connect(action=self.ACTION)
        stream = connect.stream(url=self.URL, status_callback="https://voice.example.com/twilio/stream-status")
        for name, value in parameters.items():
            stream.parameter(name=name, value=value)
        theirs.append(connect)
        ours = connect_stream(
            stream_url=self.URL,
            action_url=self.ACTION,
            parameters=parameters,
            status_url="https://voice.example.com/twilio/stream-status",
        )
        assert same(ours, theirs)

    def test_a_status_url_is_said_only_if_there_is_one(self) -> None:
        ours = connect_stream(stream_url=self.URL, action_url=self.ACTION, parameters={}, status_url=None)
        assert "statusCallback" not in ours

    @pytest.mark.parametrize(
        "url", ["https://h/x", "wss://h/x?token=1", "wss://h/x#rc=1", "wss://", "/x", "wss://h/a b"]
    )
    def test_a_url_that_twilio_would_fail_on_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="wss://"):
            connect_stream(stream_url=url, action_url=self.ACTION, parameters={}, status_url=None)

    def test_a_parameter_that_twilio_would_refuse_is_refused(self) -> None:
        def write(value: str) -> str:
            return connect_stream(
                stream_url=self.URL, action_url=self.ACTION, parameters={"name": value}, status_url=None
            )

        assert write("x" * 495)
        with pytest.raises(ValueError, match="500 characters"):
            write("x" * 496)

    def test_a_document_that_twilio_would_refuse_is_refused(self) -> None:
        parameters = {f"name{i}": "x" * 480 for i in range(9)}
        with pytest.raises(ValueError, match="4000 characters"):
            connect_stream(stream_url=self.URL, action_url=self.ACTION, parameters=parameters, status_url=None)


class TestRender:
    def test_a_dial_is_what_twilios_own_builder_writes(self) -> None:
        theirs = twilio.VoiceResponse()
        dial = twilio.Dial(action="https://voice.example.com/twilio/after-dial?attempt=1&x=1", timeout=30)
        dial.number(PERSON, send_digits=f"wwww{TOKEN}#")
        theirs.append(dial)
        assert same(written(DialPerson(token=TOKEN)), theirs)

    @pytest.mark.parametrize(("after_ms", "lead"), [(0, ""), (500, "w"), (4_000, "w" * 8), (10_000, "w" * 20)])
    def test_the_tones_begin_as_long_after_the_answer_as_is_said(self, after_ms: int, lead: str) -> None:
        digits = f"{lead}{TOKEN}#"
        assert len(digits) <= SEND_DIGITS_MAX
        assert f'sendDigits="{digits}"' in written(DialPerson(token=TOKEN), digits_after_ms=after_ms)

    def test_without_a_token_no_digits_are_sent(self) -> None:
        text = written(DialPerson())
        assert "sendDigits" not in text
        assert f"<Number>{PERSON}</Number>" in text

    def test_the_transfer_sentence_is_said_if_the_model_could_not(self) -> None:
        theirs = twilio.VoiceResponse()
        theirs.say(WORDING.transfer, language="en-GB")
        dial = twilio.Dial(action="https://voice.example.com/twilio/after-dial?attempt=1&x=1", timeout=30)
        dial.number(PERSON, send_digits=f"wwww{TOKEN}#")
        theirs.append(dial)
        assert same(written(DialPerson(token=TOKEN, announce=True)), theirs)

    def test_a_second_try_says_so_and_is_counted(self) -> None:
        text = written(DialPerson(attempt=2, apologise=True))
        assert text.index(WORDING.second_try) < text.index("<Dial")
        assert "attempt=2" in text

    def test_a_promise_is_spoken_and_ends_the_call(self) -> None:
        theirs = twilio.VoiceResponse()
        theirs.say(WORDING.call_back, language="en-GB")
        theirs.say(WORDING.goodbye, language="en-GB")
        theirs.hangup()
        assert same(written(PromiseCallBack()), theirs)

    def test_a_question_is_put_off_by_a_second(self) -> None:
        theirs = twilio.VoiceResponse()
        theirs.pause(length=1)
        theirs.redirect("https://voice.example.com/twilio/next/2")
        assert same(written(AskAgain(2)), theirs)

    def test_a_goodbye_that_the_model_could_not_say_is_spoken(self) -> None:
        theirs = twilio.VoiceResponse()
        theirs.say(WORDING.goodbye, language="en-GB")
        theirs.hangup()
        assert same(written(HangUp(farewell=True)), theirs)

    def test_hanging_up_says_nothing_more(self) -> None:
        theirs = twilio.VoiceResponse()
        theirs.hangup()
        assert same(written(HangUp()), theirs)

    def test_a_chosen_voice_speaks_every_sentence(self) -> None:
        wording = Wording("es-MX", "Un momento.", "Otra vez.", "Le llamamos.", "Adiós.", voice="Polly.Mia-Neural")
        says = ET.fromstring(written(PromiseCallBack(), wording)).findall("Say")  # noqa: S314 - our own text
        assert [say.attrib for say in says] == [{"language": "es-MX", "voice": "Polly.Mia-Neural"}] * 2
        assert says[1].text == "Adiós."

    @pytest.mark.parametrize("token", ["123456789", "01234567890", "012345678a", "0123456789\n", "٠١٢٣٤٥٦٧٨٩", HOSTILE])
    def test_a_token_is_ten_ascii_digits(self, token: str) -> None:
        with pytest.raises(ValueError, match="10 ASCII digits") as error:
            written(DialPerson(token=token))
        assert token not in str(error.value)

    @pytest.mark.parametrize("number", ["", "4155550199", "+1415555019a", "sip:x@y", HOSTILE])
    def test_only_a_telephone_number_is_dialled(self, number: str) -> None:
        with pytest.raises(ValueError, match=r"E\.164"):
            written(DialPerson(), person_number=number)

    def test_no_word_becomes_an_instruction(self) -> None:
        hostile = Wording(*[HOSTILE] * len(fields(Wording)))
        for step in (DialPerson(announce=True, apologise=True), PromiseCallBack()):
            tags = [element.tag for element in ET.fromstring(written(step, hostile)).iter()]  # noqa: S314
            assert tags.count("Dial") == isinstance(step, DialPerson)

    def test_characters_that_xml_cannot_carry_are_left_out(self) -> None:
        wording = Wording("en", "a\x00b\x0b\ud800c\ufffe", "x", "x", "x")
        say = ET.fromstring(written(DialPerson(announce=True), wording).encode()).find("Say")  # noqa: S314
        assert say is not None
        assert say.text == "abc"

    def test_the_longest_sentences_fit_into_one_document(self) -> None:
        longest = Wording("en-GB", *["&" * (limits.SPOKEN_SENTENCE_CHARS // 5)] * 4, voice="Polly.Mia-Neural")
        for step in (DialPerson(token=TOKEN, announce=True, apologise=True), PromiseCallBack()):
            assert len(written(step, longest)) < limits.TWIML_CHARS

    def test_a_sentence_that_would_not_fit_is_named_when_it_is_set(self) -> None:
        with pytest.raises(ValueError, match=re.escape("call_back is longer than 1000")):
            Wording("en", "x", "x", "&" * 201, "x")

    def test_a_step_that_nobody_wrote_down_is_an_error(self) -> None:
        with pytest.raises(TypeError, match="NextStep"):
            written(NextStep())
