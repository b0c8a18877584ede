"""Every expectation here is reckoned by hand, in the comment beside it."""

import pytest

from voice_openai_connect import limits
from voice_openai_connect.capacity import Load, Tokens, answers_of_call, context_at_end, plan, tokens_of_call
from voice_openai_connect.capacity_figures import Figures

# One minute, two answers: a turn is 30 s, of which the caller speaks 15 s and the assistant 15 s.
SIMPLE = Figures(
    answers_per_minute=2,
    caller_share=0.5,
    assistant_share=0.5,
    caller_tokens_per_s=10,
    assistant_tokens_per_s=20,
    assistant_text_tokens_per_s=4,
    prompt_tokens=1_000,
    cached_share=0.5,
)


# --- tokens


def test_each_answer_is_given_the_whole_conversation_so_far() -> None:
    tokens = tokens_of_call(1, SIMPLE)

    # First answer: prompt 1000, turn 150. Second: the same again, the answer (300 audio, 60 text), and turn 150.
    assert tokens.audio_in + tokens.audio_cached == 150 + (150 + 300 + 150)
    assert tokens.text_in + tokens.text_cached == 1_000 + (1_000 + 60)
    assert (tokens.audio_out, tokens.text_out) == (600, 120)
    assert tokens.total == 750 + 2_060 + 720


def test_of_what_was_sent_before_the_cached_share_is_cheap() -> None:
    tokens = tokens_of_call(1, SIMPLE)

    assert (tokens.audio_cached, tokens.text_cached) == (75, 500)  # half of turn 150, half of prompt 1000


@pytest.mark.parametrize("minutes", [0.5, 1, 3, 10, 55])
def test_the_sums_are_those_of_answer_after_answer(minutes: float) -> None:
    n = answers_of_call(minutes, SIMPLE)
    seconds = minutes * 60 / n
    turn, answer, words = seconds * 0.5 * 10, seconds * 0.5 * 20, seconds * 0.5 * 4
    given = sum(1_000 + k * turn + (k - 1) * (answer + words) for k in range(1, n + 1))

    assert tokens_of_call(minutes, SIMPLE).total == pytest.approx(given + n * (answer + words))
    assert context_at_end(minutes, SIMPLE) == pytest.approx(1_000 + n * turn + (n - 1) * (answer + words))


def test_a_call_that_is_over_soon_has_one_answer() -> None:
    assert answers_of_call(0.1, SIMPLE) == 1
    assert tokens_of_call(0.1, SIMPLE).audio_cached == 0


def test_each_kind_of_token_has_its_own_price() -> None:
    prices = Figures(
        audio_in_usd=32, audio_cached_usd=0.4, audio_out_usd=64, text_in_usd=4, text_cached_usd=0.5, text_out_usd=24
    )
    # 32 + 0.8 + 192 + 16 + 2.5 + 144
    assert Tokens(1e6, 2e6, 3e6, 4e6, 5e6, 6e6).usd(prices) == pytest.approx(387.3)


# --- the plan


def test_as_many_calls_begin_as_end() -> None:
    assert Load.steady(1_200, minutes=4).calls_per_s == 5  # 1200 / 240 s


def test_cores_machines_and_memory_are_rounded_up() -> None:
    figures = Figures(calls_per_core=100, cores_per_instance=4, process_mb=100, call_kb=200)
    gateway = plan(Load.steady(1_001, minutes=4), figures).gateway

    assert (gateway.workers, gateway.instances) == (11, 3)
    assert gateway.memory_mb == pytest.approx(11 * 100 + 1_001 * 0.2)
    assert gateway.descriptors_per_worker == 91 * limits.DESCRIPTORS_A_CALL + limits.DESCRIPTORS_RESERVED
    assert gateway.calls_per_s_taken == 11 * limits.CALLS_PER_SECOND


@pytest.mark.parametrize(
    ("calls", "tier"),
    # A call is 3530 tokens and 2 responses a minute.
    [(1, "Build"), (56, "Build"), (57, "Grow"), (4_249, "Grow"), (4_250, "")],
)
def test_the_tier_is_the_smallest_that_is_enough(calls: int, tier: str) -> None:
    model = plan(Load.steady(calls, minutes=1), SIMPLE).model

    assert model.tokens_per_minute == calls * 3_530
    assert model.responses_per_minute == calls * 2
    assert model.tier == tier
    assert model.calls_of_tier == {"Build": 56, "Grow": 4_249}  # 200,000 / 3530 and 15,000,000 / 3530


def test_many_short_answers_can_be_too_many_responses() -> None:
    few_tokens = Figures(answers_per_minute=10, prompt_tokens=0, caller_share=0, assistant_share=0)

    assert plan(Load.steady(41, minutes=1), few_tokens).model.tier == "Grow"  # 410 a minute, Build has 400


def test_the_table_is_written_in_every_turn_and_some_more_at_the_end() -> None:
    figures = Figures(
        answers_per_minute=2,
        checkpoint_kb=4.5,
        checkpoints_per_answer=3,
        writes_per_ending=2,
        handover_share=0.5,
        writes_per_handover=6,
        reads_per_handover=3,
    )
    table = plan(Load(100, minutes=3, calls_per_s=10), figures).table

    assert table.writes_per_call == 19 * 5 + 2 + 3  # 18 checkpoints of five KB, and the removal of one
    assert table.reads_per_call == 0.5 * 3 * 2  # two read units of 4 KB
    assert (table.writes_per_s, table.reads_per_s) == (1_000, 30)


def test_contacts_are_those_who_are_with_a_person_at_a_time() -> None:
    figures = Figures(handover_share=0.25, person_minutes=5)
    found = plan(Load(400, minutes=4, calls_per_s=2), figures)

    assert found.handovers_per_s == 0.5
    assert found.contacts == 150  # half a call a second, 300 seconds each


def test_every_part_of_the_price_is_reckoned() -> None:
    figures = Figures(
        answers_per_minute=2,
        caller_share=0.5,
        assistant_share=0.5,
        assistant_text_tokens_per_s=4,
        prompt_tokens=1_000,
        cached_share=0.5,
        handover_share=0.5,
        person_minutes=4,
        rounding_minutes=0.5,
        transcription_usd=0.004,
        inbound_usd=0.01,
        stream_usd=0.004,
        dial_usd=0.02,
        connect_usd=0.018,
        connect_line_usd=0.002,
        calls_per_core=60,
        process_mb=940,
        call_kb=1_000,
        core_hour_usd=0.04,
        gb_hour_usd=0.005,
        busy_hours=100,
        checkpoint_kb=1,
        checkpoints_per_answer=2,
        writes_per_ending=2,
        writes_per_handover=6,
        million_writes_usd=1,
        million_reads_usd=0.5,
    )
    found = plan(Load(60, minutes=1, calls_per_s=1), figures)

    assert found.usd_per_call == pytest.approx(
        {
            # 675 * 32 + 75 * 0.4 + 600 * 64 + 1560 * 4 + 500 * 0.4 + 120 * 24, by the million
            "model": 0.06935,
            "transcription": 0.5 * 0.004,
            "Twilio, inbound call": (1 + 2 + 0.5) * 0.01,
            "Twilio, media stream": 1.5 * 0.004,
            "Twilio, dial to Connect": (2 + 0.25) * 0.02,
            "Amazon Connect": 2 * 0.02,
            "DynamoDB": (10 + 2.5 * 0.5) * 1e-6,  # 4 checkpoints, one removed, 2 at the end, 3 of a handover; 2.5 reads
            "compute": (0.04 + 1 * 0.005) / 3_600,  # one core and one GB, 3600 calls an hour
        }
    )
    assert found.calls_per_month == 360_000
    assert found.usd_per_month["transcription"] == pytest.approx(720)
