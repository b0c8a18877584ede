from pathlib import Path

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.carrier_line import Announcement, Bridge, Ear, Nobody, Ringing, Tape
from voice_openai_connect.simulator.dtmf import DtmfDetector, tones
from voice_openai_connect.simulator.telephone import RINGBACK, SILENCE, line

WORD = b"\x21" * 160
REPLY = b"\x42" * 160


def keys_in(audio: bytes) -> str:
    detector = DtmfDetector()
    return "".join(detector.feed(frame) for frame in sound.frames(audio))


def test_nobody_is_silent_and_ringing_rings() -> None:
    assert Nobody().exchange(WORD, []) == SILENCE
    ringing = Ringing()
    assert [ringing.exchange(WORD, []) for _ in range(310)] == RINGBACK + RINGBACK[:10]


def test_an_announcement_is_finished_when_its_last_frame_has_been_heard() -> None:
    announcement = Announcement(WORD + b"\x21" * 80)
    assert announcement.exchange(SILENCE, []) == WORD
    assert announcement.exchange(SILENCE, []) == b"\x21" * 80 + SILENCE[:80]
    assert not announcement.finished.is_set()
    assert announcement.exchange(SILENCE, []) == SILENCE
    assert announcement.finished.is_set()


def test_a_frame_that_comes_a_little_late_tears_no_hole() -> None:
    here, there = line("+1", "+2")
    ear = Ear(there)
    here.send(b"\x01" * 160)
    heard = [ear.take()]
    for n in (2, 3):
        here.send(bytes([n]) * 160)
    heard += [ear.take(), ear.take()]  # the fourth frame is late here
    here.send(b"\x04" * 160)
    heard += [ear.take(), ear.take()]
    assert heard == [SILENCE, *(bytes([n]) * 160 for n in (1, 2, 3, 4))]


def test_a_sender_that_stops_is_silence() -> None:
    here, there = line("+1", "+2")
    ear = Ear(there)
    here.send(WORD)
    assert [ear.take() for _ in range(4)] == [SILENCE, WORD, SILENCE, SILENCE]


def test_the_called_one_hears_the_digits_before_the_two_are_joined() -> None:
    caller_end, _ = line("+1", "+2")
    near, far = line("+1", "+3")
    bridge = Bridge(near, caller_end, tones("w10#"))
    far.send(REPLY)
    steps = 0
    while not bridge.joined:
        assert bridge.exchange(WORD, []) == SILENCE
        steps += 1
    far.send(REPLY)
    far.send(REPLY)
    assert REPLY in [bridge.exchange(WORD, []) for _ in range(3)]
    assert keys_in(bytes(bridge.tape.sent)) == "10#"
    assert WORD not in sound.frames(bytes(bridge.tape.sent))[:steps]
    assert bytes(bridge.tape.sent).endswith(WORD)


def test_keys_pressed_on_a_joined_line_are_tones_to_the_called_one() -> None:
    caller_end, _ = line("+1", "+2")
    near, _ = line("+1", "+3")
    bridge = Bridge(near, caller_end, b"")
    for keys in (["4", "2"], *([[]] * 25)):
        bridge.exchange(WORD, list(keys))
    assert keys_in(bytes(bridge.tape.sent)) == "42"


def test_a_person_on_the_called_leg_is_introduced_to_the_caller() -> None:
    caller_end, phone = line("+1", "+2")
    near, far = line("+1", "+3")
    bridge = Bridge(near, phone, b"")
    far.introduce_person()
    bridge.exchange(WORD, [])
    assert caller_end.person_there


def test_a_tape_is_a_stereo_recording_of_both_sides(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(WORD, REPLY)
    tape.add(SILENCE, REPLY)
    assert tape.length_ms == 40
    tape.save(tmp_path / "call.wav")
    left, right = sound.read_stereo_wav(tmp_path / "call.wav")
    assert left.tolist() == sound.ulaw_decode(WORD + SILENCE).tolist()
    assert right.tolist() == sound.ulaw_decode(REPLY + REPLY).tolist()
