"""The caller's words while the model is not there yet."""

from voice_openai_connect import limits
from voice_openai_connect.call.waiting_audio import WaitingAudio

FRAME = b"x" * 160


def test_the_newest_two_seconds_are_kept_in_order_and_the_rest_is_counted() -> None:
    waiting = WaitingAudio()
    for n in range(200):
        waiting.add(b"%03d" % n + FRAME[3:])
    kept, dropped_ms = waiting.take()

    assert kept[-1].startswith(b"199")
    assert kept == sorted(kept)
    assert len(kept) * 20 == limits.CALLER_AUDIO_HELD_MS
    assert dropped_ms == 200 * 20 - limits.CALLER_AUDIO_HELD_MS


def test_taking_empties_it() -> None:
    waiting = WaitingAudio()
    waiting.add(FRAME)
    waiting.take()

    assert waiting.take() == ([], 0)


def test_what_was_dropped_before_counts_no_more_after_taking() -> None:
    waiting = WaitingAudio()
    for _ in range(200):
        waiting.add(FRAME)
    waiting.take()
    for _ in range(98):
        waiting.add(FRAME)

    kept, dropped_ms = waiting.take()
    assert len(kept) == 98
    assert dropped_ms == 0


def test_two_seconds_to_the_last_byte_are_kept() -> None:
    half = limits.CALLER_AUDIO_HELD_MS * limits.BYTES_PER_MS // 2
    waiting = WaitingAudio()
    for sound in (b"a", b"b"):
        waiting.add(sound * half)

    assert waiting.take() == ([b"a" * half, b"b" * half], 0)
