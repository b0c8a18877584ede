import asyncio
from collections.abc import Callable

import pytest

from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.caller import (
    Caller,
    HangUp,
    Hearing,
    InterruptAfter,
    Listen,
    Press,
    Say,
    Step,
    Wait,
    WaitForPerson,
)
from voice_openai_connect.simulator.telephone import RINGBACK, SILENCE, FrameClock, LineEnd, line

VOWEL = sound.ulaw_encode(sound.tone(300, 200, -20))
SPEECH = sound.frames(VOWEL)[1]


def hear(hearing: Hearing, *frames: bytes) -> Hearing:
    for frame in frames:
        hearing.hear(frame)
    return hearing


def test_speech_begins_with_the_second_loud_frame_and_counts_from_the_first() -> None:
    assert not hear(Hearing(), SPEECH).speaking
    hearing = hear(Hearing(), SPEECH, SPEECH)
    assert (hearing.speaking, hearing.spoken_ms, hearing.quiet_ms, hearing.utterances) == (True, 40, 0, 1)


def test_a_click_is_not_speech() -> None:
    assert hear(Hearing(), SILENCE, SPEECH, SILENCE, SPEECH).utterances == 0


def test_a_short_pause_does_not_end_an_utterance_and_a_long_one_counts_from_its_start() -> None:
    hearing = hear(Hearing(), *([SPEECH] * 5), *([SILENCE] * 5), *([SPEECH] * 5))
    assert (hearing.speaking, hearing.utterances, hearing.spoken_ms) == (True, 1, 300)
    hear(hearing, *([SILENCE] * 15))
    assert (hearing.speaking, hearing.spoken_ms, hearing.quiet_ms) == (False, 300, 300)


def test_a_level_between_the_two_thresholds_changes_nothing() -> None:
    murmur = sound.frames(sound.ulaw_encode(sound.tone(300, 200, -43)))[1]
    assert not hear(Hearing(), *([murmur] * 20)).speaking
    assert hear(Hearing(), *([SPEECH] * 3), *([murmur] * 20)).speaking


@pytest.mark.parametrize("tone", [RINGBACK, sound.frames(holding_sound())], ids=["it rings", "please wait"])
def test_a_tone_that_asks_for_patience_is_not_speech(tone: list[bytes]) -> None:
    hearing = hear(Hearing(), *tone)
    assert (hearing.utterances, hearing.quiet_ms) == (0, len(tone) * 20)


class Partner:
    """The other end of the line, stepped in real time: says what it is told, and keeps what it gets."""

    def __init__(self, end: LineEnd) -> None:
        self.end = end
        self.frames: list[bytes] = []
        self.keys = ""
        self.saying: list[bytes] = []
        self.at_first_sound: Callable[[], None] = lambda: None

    async def run(self) -> None:
        clock = FrameClock()
        while not self.end.hung_up:
            await clock.step()
            self.end.send(self.saying.pop(0) if self.saying else SILENCE)
            self.keys += "".join(self.end.keys_now())
            while (frame := self.end.receive_now()) is not None:
                self.frames.append(frame)
                if frame != SILENCE:
                    self.at_first_sound()

    @property
    def sounds(self) -> list[bytes]:
        return [frame for frame in self.frames if frame != SILENCE]


async def talk(caller: Caller, *, prepare: Callable[[Partner], None] = lambda _: None) -> Partner:
    """Let the caller act against a partner until one of them hangs up."""
    theirs, ours = line("+1", "+2")
    partner = Partner(ours)
    prepare(partner)
    async with asyncio.timeout(10):
        await asyncio.gather(caller.answer(theirs), partner.run())
    return partner


def person(*script: Step) -> Caller:
    return Caller(script)


async def test_a_caller_says_its_words_frame_by_frame_and_hangs_up() -> None:
    partner = await talk(person(Say(VOWEL), Wait(60), HangUp()))
    assert b"".join(partner.sounds) == b"".join(sound.frames(VOWEL))


async def test_a_text_is_spoken_by_the_voice_and_only_once_for_the_same_text() -> None:
    asked: list[str] = []

    def voice(text: str) -> bytes:
        asked.append(text)
        return VOWEL

    caller = Caller([Say("yes"), Say("yes"), Wait(60), HangUp()], voice=voice)
    await caller.prepare()
    partner = await talk(caller)
    assert asked == ["yes"]
    assert len(partner.sounds) == 20
    assert caller.timeline.said_by("caller") == ["says", "says", "hangs up"]


async def test_a_text_without_a_voice_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="pass voice="):
        await talk(person(Say("hello")))


async def test_a_caller_listens_until_the_other_side_has_spoken_and_is_silent() -> None:
    caller = person(Listen(ms=100), HangUp())
    partner = await talk(caller, prepare=lambda partner: partner.saying.extend([SILENCE] * 5 + [SPEECH] * 10))
    assert caller.hearing.utterances == 1
    assert caller.hearing.quiet_ms >= 100
    assert partner.saying == []


async def test_a_caller_who_interrupts_begins_while_the_other_side_still_speaks() -> None:
    def prepare(partner: Partner) -> None:
        partner.saying.extend([SPEECH] * 200)
        partner.at_first_sound = partner.saying.clear  # hears it, and stops

    caller = person(InterruptAfter(100, VOWEL), Listen(ms=40), HangUp())
    partner = await talk(caller, prepare=prepare)
    assert len(partner.sounds) == 10
    assert 100 <= caller.hearing.spoken_ms < 3_000


async def test_keys_are_pressed_beside_the_audio() -> None:
    partner = await talk(person(Press("10#"), HangUp()))
    assert partner.keys == "10#"
    assert partner.sounds == []


async def test_a_caller_waits_for_a_person() -> None:
    caller = person(WaitForPerson(), HangUp())
    await talk(caller, prepare=lambda partner: partner.end.introduce_person())
    assert caller.left_out == []


async def test_a_script_that_cannot_go_on_says_what_it_waited_for_and_hangs_up() -> None:
    with pytest.raises(TimeoutError, match=r"caller waited 0\.05 s for the other side to speak and then be silent"):
        await talk(person(Listen(within_s=0.05)))


async def test_when_the_line_goes_down_the_rest_of_the_script_is_left_out() -> None:
    later = Say(VOWEL)
    caller = person(Say(VOWEL), Listen(), later)
    await talk(caller, prepare=lambda partner: setattr(partner, "at_first_sound", partner.end.hang_up))
    assert caller.left_out[-1] is later


async def test_comfort_noise_is_faint_and_never_speech() -> None:
    caller = Caller([Wait(200), HangUp()], noise=True)
    partner = await talk(caller)
    assert len(set(partner.frames)) > 5
    assert hear(Hearing(), *partner.frames).utterances == 0
