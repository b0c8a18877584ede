"""The facts a call states about itself. Names are stable: dashboards and log searches are built on them."""

from enum import StrEnum


class Fact(StrEnum):
    """One fact; the comment names the label it carries, if any."""

    CALL_STARTED = "call_started"
    CALL_ENDED = "call_ended"  # how: handed_over, goodbye, caller_left, line_lost, moved, call_back_promised
    OUTCOME = "outcome"  # how the call ended for the caller, as far as the assistant was in it: see `outcome.Outcome`
    RESUMED = "resumed"  # the call goes on from a checkpoint; label: how many times now
    MODEL_READY = "model_ready"
    MODEL_LOST = "model_lost"  # reason
    MODEL_RECOVERED = "model_recovered"  # value: lost → talking again, ms
    HOLD_PLAYED = "hold_played"
    MODEL_FORMAT_REFUSED = "model_format_refused"
    MARKS_MISSING = "marks_missing"  # what was heard is known by the clock alone
    FIRST_AUDIO = "first_audio"  # value: speech stopped → first audio to the caller, ms
    BARGE_IN = "barge_in"
    SPEECH_WITHOUT_END = "speech_without_end"  # the caller's turn did not end: noise, or a session that hears nobody
    RESPONSE_FAILED = "response_failed"  # code
    MODEL_ERROR = "model_error"  # code
    TRANSCRIPTION_FAILED = "transcription_failed"
    TOOL_CALLED = "tool_called"  # registered tool's name
    TOOL_REFUSED = "tool_refused"  # why
    ESCALATED = "escalated"  # reason
    NOBODY_FREE = "nobody_free"  # a person was asked for once more, after nobody had come; label: how
    NOBODY_THERE = "nobody_there"  # a person was needed, and their queue is known to have nobody; label: `Absence`
    SUMMARY_FELL_BACK = "summary_fell_back"  # why
    TRANSFER_SENTENCE_CUT = "transfer_sentence_cut"
    CONTACT_FOUND = "contact_found"
    CONTACT_MISSING = "contact_missing"  # why
    TICKET_OPENED = "ticket_opened"  # on_time, late
    TICKET_MISSING = "ticket_missing"  # why
    HANDOVER_SAVED = "handover_saved"
    HANDOVER_NOT_SAVED = "handover_not_saved"  # why
    DIALING = "dialing"  # with_token, without_token; value: decision → stream closed, ms
    FRAMES_DROPPED = "frames_dropped"  # where; value: ms of audio
    IGNORED = "ignored"  # event class: it was not legal in this phase
