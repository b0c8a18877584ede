"""The numbers that promises rest on, held against each other; and that each of them says why it is what it is."""

import ast
from pathlib import Path

import pytest
from aws.connect_lambda import handler
from aws.contact_flow import flow

from voice_openai_connect import limits
from voice_openai_connect.wire.twilio_media import MediaWriter

SOURCE = Path(limits.__file__).read_text(encoding="utf-8")
NAMES = [name for name in vars(limits) if name.isupper()]


def reasons() -> dict[str, str]:
    """What stands beside each number: the string below it, or the comment at the end of its line."""
    lines, found, body = SOURCE.splitlines(), dict[str, str](), ast.parse(SOURCE).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        found[node.target.id] = lines[node.lineno - 1].partition("#")[2].strip()
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            found[node.target.id] = str(following.value.value)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_has_its_reason_beside_it(name: str) -> None:
    assert len(reasons()[name].split()) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_is_more_than_nothing(name: str) -> None:
    assert getattr(limits, name) > 0


def test_all_tries_at_a_call_that_comes_in_fit_into_what_twilio_takes_for_a_webhook() -> None:
    assert (1 + limits.CALL_RETRIES) * (limits.WEBHOOK_CONNECT_MS + limits.WEBHOOK_READ_MS) <= 15_000


def test_the_crm_leaves_time_to_store_the_record() -> None:
    assert limits.CRM_MS + limits.DYNAMODB_READ_S * 1_000 < limits.RECORD_MS
    assert limits.SAVE_MS < limits.RECORD_MS


def test_the_summary_is_there_before_the_crm_is_given_up_so_that_it_is_in_the_ticket() -> None:
    assert limits.SUMMARY_MS < limits.CRM_MS


def test_the_record_is_stored_before_the_transfer_sentence_can_be_cut() -> None:
    assert limits.RECORD_MS < limits.TRANSFER_SENTENCE_MS


def test_a_model_that_hangs_in_its_first_try_leaves_time_for_another() -> None:
    assert limits.MODEL_CONNECT_MS < limits.MODEL_READY_MS
    assert limits.MODEL_CONNECTS > 1


def test_a_try_at_the_table_that_hangs_ends_within_the_time_for_the_record() -> None:
    assert limits.DYNAMODB_CONNECT_S + limits.DYNAMODB_READ_S <= limits.SAVE_MS / 1_000
    assert limits.DYNAMODB_ATTEMPTS > 1


def test_a_dead_socket_of_the_model_is_found_out_as_soon_as_a_model_that_gives_no_sign() -> None:
    assert 2 * limits.MODEL_PING_S * 1_000 <= limits.MODEL_SILENT_MS


def test_an_open_connection_that_hangs_leaves_time_for_another_try_at_the_record() -> None:
    assert limits.DYNAMODB_READ_S < limits.SAVE_MS / 1_000


def test_a_late_ticket_is_waited_for_as_long_as_the_crm_may_take() -> None:
    assert limits.HUBSPOT_TOTAL_S <= limits.CRM_LATE_MS / 1_000


def test_a_ticket_that_is_given_up_waiting_for_can_still_be_kept() -> None:
    assert limits.TICKET_LATE_MS + limits.SAVE_MS < limits.CRM_LATE_MS
    assert limits.HUBSPOT_TOTAL_S <= limits.TICKET_LATE_MS / 1_000


def test_a_delivery_is_over_before_its_lease_is() -> None:
    assert limits.OUTBOX_DELIVERY_S < limits.OUTBOX_LEASE_S
    assert limits.HUBSPOT_TOTAL_S < limits.OUTBOX_DELIVERY_S


def test_an_entry_is_given_up_long_before_it_expires() -> None:
    waits = limits.OUTBOX_REFUSED_FIRST_S * (2 ** (limits.OUTBOX_REFUSALS - 1) - 1)
    assert waits < limits.OUTBOX_TTL_S / 10
    assert limits.OUTBOX_DENIED_S < limits.OUTBOX_TTL_S / 10


def test_an_index_item_of_the_outbox_stays_small() -> None:
    assert limits.OUTBOX_ENTRIES // limits.OUTBOX_SHARDS * 36 < 5_000  # ids of conversations are UUIDs


def test_how_a_call_ended_is_known_for_as_long_as_one_may_look_back() -> None:
    assert limits.RECONCILE_HOURS <= limits.RECONCILE_HOURS_MAX <= limits.ENDED_CALL_TTL_S / 3_600


def test_between_the_sentence_and_the_dial_the_line_is_dead_for_less_than_four_seconds() -> None:
    closing = limits.STEP_STORE_MS + 2 * limits.SOCKET_CLOSE_S * 1_000  # the queue is flushed, then the close is sent
    answering = limits.STEP_STORE_MS

    assert closing + answering < 4_000


def test_gathering_takes_nothing_of_the_time_that_the_table_has_for_a_checkpoint() -> None:
    assert limits.CHECKPOINT_MS - limits.CHECKPOINTS_GATHERED_MS >= limits.STEP_STORE_MS


def test_checkpoints_of_the_longest_kind_fit_into_one_request() -> None:
    longest = 6 * limits.CHECKPOINT_CHARS + 4_000  # \u0000 in JSON; names, and the rest of the item

    assert limits.CHECKPOINTS_TOGETHER <= 25
    assert longest < 400_000
    assert limits.CHECKPOINTS_TOGETHER * longest < 16_000_000


def test_a_call_that_breaks_as_often_as_it_may_still_finds_its_checkpoint() -> None:
    assert limits.STREAMS_LOOKED_BACK > limits.RESUMES


def test_a_handover_that_a_drain_orders_is_over_before_the_drain_is() -> None:
    longest = limits.TRANSFER_SENTENCE_MS + limits.STEP_STORE_MS + 2 * limits.SOCKET_CLOSE_S * 1_000

    assert longest < limits.SHUTDOWN_S * 1_000


def test_a_token_outlives_every_dial_it_could_be_sent_in() -> None:
    assert limits.DIAL_ATTEMPTS * limits.DIAL_SECONDS < limits.TOKEN_TTL_S


def test_a_step_is_remembered_longer_than_the_longest_call_of_ours() -> None:
    assert limits.CALL_ITEM_TTL_S * 1_000 > limits.CALL_MS


def test_a_call_ends_before_openai_ends_its_session() -> None:
    assert limits.CALL_MS + limits.TRANSFER_SENTENCE_MS < 60 * 60_000


def test_the_redeeming_function_ends_before_connect_stops_waiting_and_connect_allows_it() -> None:
    second_try_ends = handler.ANOTHER_TRY_BEFORE_S + handler.CONNECT_S + handler.READ_S

    assert second_try_ends < float(flow.LAMBDA_S) <= 8


def test_marks_are_whole_frames_apart() -> None:
    assert limits.FRAME_BYTES % limits.BYTES_PER_MS == 0
    frame_ms = limits.FRAME_BYTES // limits.BYTES_PER_MS
    assert limits.MARK_INTERVAL_MS % frame_ms == limits.UNSURE_MARK_INTERVAL_MS % frame_ms == 0


def test_what_is_held_for_a_stuck_peer_is_more_than_the_longest_reply_needs() -> None:
    """A reply of a minute, if every frame came alone and got its own mark."""
    writer = MediaWriter("MZ" + "0" * 32)
    frame = writer.media(bytes(limits.FRAME_BYTES)) + writer.mark("m100000")
    frames = limits.UNHEARD_AUDIO_MS // (limits.FRAME_BYTES // limits.BYTES_PER_MS)

    assert frames * len(frame) < limits.OUTBOX_BYTES


def test_a_line_that_catches_up_after_seconds_of_standing_still_is_no_flood() -> None:
    frame_ms = limits.FRAME_BYTES // limits.BYTES_PER_MS
    a_second = 1_000 // frame_ms + 1_000 // limits.MARK_INTERVAL_MS

    assert a_second < limits.STREAM_MESSAGES_PER_S
    assert 4 * a_second <= limits.STREAM_MESSAGES_BURST


def test_one_caller_s_tries_are_not_enough_to_call_the_model_down() -> None:
    assert limits.MODEL_CONNECTS < limits.MODEL_FAILURES


def test_a_process_that_has_calmed_down_is_far_from_busy() -> None:
    assert 2 * limits.LAG_CALM_MS < limits.LAG_BUSY_MS


def test_the_usual_number_of_calls_fits_under_the_usual_limit_of_descriptors() -> None:
    assert limits.MAX_CALLS * limits.DESCRIPTORS_A_CALL + limits.DESCRIPTORS_RESERVED < 1_024 / 2


def test_calls_that_come_at_once_fit_into_what_is_reserved() -> None:
    """Each has its two sockets to open when the next is let in."""
    assert limits.CALLS_PER_SECOND * limits.CALLS_BURST_S * 2 < limits.DESCRIPTORS_RESERVED


def test_the_largest_form_message_and_document_fit_their_bounds() -> None:
    assert 2 * limits.SPOKEN_SENTENCE_CHARS < limits.TWIML_CHARS
    assert limits.SENTENCE_CHARS <= limits.SPOKEN_SENTENCE_CHARS
    assert limits.SUMMARY_CHARS < limits.HUBSPOT_CONTENT_CHARS
