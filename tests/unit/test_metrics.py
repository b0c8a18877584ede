import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from voice_openai_connect.call.commands import Tell
from voice_openai_connect.call.escalation import Reason
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.metrics import FILES, LABELS_MAX, Labels, Metrics, forget_what_was_live, make_room


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample as it is scraped."""
    return scraped(metrics.render().decode())


def scraped(text: str) -> dict[tuple[str, ...], float]:
    """Name and label values (in the order of the labels' names) → value."""
    return {
        (sample.name.removeprefix("voice_connect_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.mark.parametrize("fact", list(Fact))
def test_every_fact_moves_a_metric(fact: Fact) -> None:
    metrics = Metrics()
    before = samples(metrics)

    metrics.observe(Tell(fact, "something", 250))

    assert samples(metrics) != before


@pytest.mark.parametrize("fact", list(Fact))
def test_a_fact_without_label_and_value_breaks_nothing(fact: Fact) -> None:
    metrics = Metrics()
    metrics.observe(Tell(fact))
    metrics.observe(Tell(fact, "\n", -1))

    assert metrics.render()


def test_active_calls_go_up_and_down() -> None:
    metrics = Metrics()
    metrics.observe(Tell(Fact.CALL_STARTED))
    metrics.observe(Tell(Fact.CALL_STARTED))
    metrics.observe(Tell(Fact.CALL_ENDED, "goodbye"))

    assert samples(metrics)["active_calls",] == 1
    assert samples(metrics)["calls_started_total",] == 2
    assert samples(metrics)["calls_ended_total", "goodbye"] == 1


def test_times_are_in_seconds() -> None:
    metrics = Metrics()
    metrics.observe(Tell(Fact.FIRST_AUDIO, value_ms=700))
    metrics.observe(Tell(Fact.FRAMES_DROPPED, "unheard_limit", 1_500))
    metrics.observe(Tell(Fact.DIALING, "with_token", 4_200))
    metrics.cleared(0.002)
    metrics.call_lasted(90)

    seen = samples(metrics)
    assert seen["first_audio_seconds_sum",] == 0.7
    assert seen["audio_dropped_seconds_total", "unheard_limit"] == 1.5
    assert seen["handover_seconds_sum",] == 4.2
    assert seen["dials_total", "with_token"] == 1
    assert seen["speech_to_clear_seconds_bucket", "0.0025"] == 1
    assert seen["call_seconds_sum",] == 90


def test_a_reason_is_counted_without_its_detail() -> None:
    metrics = Metrics()
    metrics.observe(Tell(Fact.MODEL_LOST, "closed_4000:invalid_request_error.missing_model"))
    metrics.observe(Tell(Fact.MODEL_LOST, "closed_4000:another"))

    assert samples(metrics)["model_failures_total", "closed_4000"] == 2


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_for_a_person_has_its_label(reason: Reason) -> None:
    metrics = Metrics()
    metrics.observe(Tell(Fact.ESCALATED, reason.value))

    assert samples(metrics)["escalations_total", reason.value] == 1


@pytest.mark.parametrize("outcome", sorted(DialOutcome))
def test_every_outcome_of_a_dial_has_its_label_and_a_short_conversation_is_counted_apart(outcome: str) -> None:
    metrics = Metrics()
    metrics.transfer_ended(outcome, suspicious=False)
    metrics.transfer_ended(outcome, suspicious=True)

    assert samples(metrics)["transfers_total", outcome] == 2
    assert samples(metrics)["transfers_suspicious_total",] == 1


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_every_outcome_of_a_call_is_counted_whoever_knows_it(outcome: str) -> None:
    metrics = Metrics()
    metrics.observe(Tell(Fact.OUTCOME, outcome))
    metrics.call_outcome(outcome)

    assert samples(metrics)["call_outcomes_total", outcome] == 2


def test_what_became_of_callers_after_the_assistant_is_counted() -> None:
    metrics = Metrics()
    metrics.person_reached(7.0)
    metrics.context_not_delivered()
    metrics.caller_lost()
    metrics.observe(Tell(Fact.NOBODY_FREE, "key"))
    metrics.observe(Tell(Fact.NOBODY_THERE, "closed"))

    assert samples(metrics)["time_to_person_seconds_sum",] == 7.0
    assert samples(metrics)["context_not_delivered_total",] == 1
    assert samples(metrics)["callers_lost_total",] == 1
    assert samples(metrics)["nobody_free_total", "key"] == 1
    assert samples(metrics)["nobody_there_total", "closed"] == 1


def test_what_belongs_to_no_call_is_counted() -> None:
    metrics = Metrics()
    metrics.refused("webhook", "bad_signature")
    metrics.frames(received=100, lost=2)
    metrics.throttled()
    metrics.crm_failed("contact_not_linked", "forbidden")
    metrics.broke("call")
    metrics.loop_lag(0.125)
    metrics.model_is_down(down=True)
    metrics.model_limit_left("tokens", 0.9)
    metrics.model_limit_left("tokens", 0.5)
    metrics.model_limit_left("a_new_one", 0.1)

    seen = samples(metrics)
    assert (seen["model_limit_left_ratio", "tokens"], seen["model_limit_left_ratio", "other"]) == (0.5, 0.1)
    assert seen["refused_total", "bad_signature", "webhook"] == 1
    assert (seen["caller_frames_total",], seen["caller_frames_lost_total",]) == (100, 2)
    assert seen["dynamodb_throttles_total",] == 1
    assert (seen["loop_lag_seconds",], seen["model_down",]) == (0.125, 1)
    assert seen["crm_failures_total", "forbidden", "contact_not_linked"] == 1
    assert seen["errors_total", "call"] == 1


def test_a_model_that_goes_down_and_comes_back_leaves_an_outage_behind() -> None:
    metrics = Metrics()
    before = samples(metrics)["model_outages_total",]
    for down in (True, False, True, False):
        metrics.model_is_down(down=down)

    assert (before, samples(metrics)["model_outages_total",], samples(metrics)["model_down",]) == (0, 2, 0)


def test_contacts_and_tickets_that_are_missing_are_failures_of_the_crm() -> None:
    metrics = Metrics()
    metrics.observe(Tell(Fact.CONTACT_MISSING, "timeout"))
    metrics.observe(Tell(Fact.TICKET_MISSING, "forbidden"))

    seen = samples(metrics)
    assert seen["crm_failures_total", "timeout", "contact"] == 1
    assert seen["crm_failures_total", "forbidden", "ticket"] == 1


@pytest.mark.parametrize("reason", ["crm_off", "withheld", "no_number"])
def test_a_crm_that_was_not_asked_has_not_failed(reason: str) -> None:
    metrics = Metrics()
    metrics.observe(Tell(Fact.CONTACT_MISSING, reason))

    assert samples(metrics)["crm_skipped_total", reason, "contact"] == 1
    assert not [name for name, *_ in samples(metrics) if name == "crm_failures_total"]


def test_an_unknown_label_of_a_known_set_is_other() -> None:
    keep = Labels(frozenset({"goodbye"}))

    assert (keep("goodbye"), keep("+61255501234"), keep("")) == ("goodbye", "other", "other")


@pytest.mark.parametrize("hostile", ["", "+61255501234", "0123456789", 'a"b', "a b", "ä", "a" * 65, "a\n"])
def test_what_is_no_short_name_is_other(hostile: str) -> None:
    assert Labels()(hostile) == "other"


def test_names_beyond_the_limit_are_other_and_the_first_ones_stay() -> None:
    keep = Labels()
    names = [f"code_{n}" for n in range(LABELS_MAX + 10)]

    assert [keep(name) for name in names] == names[:LABELS_MAX] + ["other"] * 10
    assert keep("code_0") == "code_0"


def test_two_gateways_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.observe(Tell(Fact.CALL_STARTED))

    assert samples(other)["active_calls",] == 0


def test_names_follow_the_conventions() -> None:
    families = list(text_string_to_metric_families(Metrics().render().decode()))

    assert all(family.name.startswith("voice_connect_") and family.documentation for family in families)
    assert all(family.type in {"counter", "gauge", "histogram"} for family in families)
    assert all(family.name.endswith("_seconds") for family in families if family.type == "histogram")


# --- several processes that count together

WORKER = """
import os, signal, sys
from pathlib import Path
from voice_openai_connect.call.commands import Tell
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.metrics import Metrics, count_in

folder, number, calls, lag = Path(sys.argv[1]), *map(int, sys.argv[2:])
count_in(folder, number)
metrics = Metrics(folder)
for call in range(calls):
    metrics.observe(Tell(Fact.CALL_STARTED))
    metrics.observe(Tell(Fact.ESCALATED, "key"))
    metrics.observe(Tell(Fact.FIRST_AUDIO, value_ms=700))
metrics.loop_lag(lag)
metrics.model_limit_left("tokens", 1 / (1 + calls))
print(metrics.render().decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def after_a_worker(folder: Path, number: int, *, calls: int, lag: int = 0) -> dict[tuple[str, ...], float]:
    """What a worker shows that has these calls, before it is killed."""
    words = [str(folder), str(number), str(calls), str(lag)]
    seen = subprocess.run([sys.executable, "-c", WORKER, *words], capture_output=True, text=True, check=False)
    assert seen.returncode == -signal.SIGKILL, seen.stderr
    return scraped(seen.stdout)


def test_whichever_worker_is_asked_shows_the_sum_of_all(tmp_path: Path) -> None:
    make_room(tmp_path, 2)
    after_a_worker(tmp_path, 0, calls=2, lag=3)
    seen = after_a_worker(tmp_path, 1, calls=5, lag=1)

    assert seen["active_calls",] == seen["calls_started_total",] == 7
    assert seen["escalations_total", "key"] == 7
    assert seen["first_audio_seconds_count",] == seen["first_audio_seconds_bucket", "0.8"] == 7
    assert seen["first_audio_seconds_sum",] == pytest.approx(4.9)
    assert seen["loop_lag_seconds",] == 3


def test_of_what_all_workers_are_told_the_latest_counts(tmp_path: Path) -> None:
    make_room(tmp_path, 3)
    after_a_worker(tmp_path, 0, calls=3)
    after_a_worker(tmp_path, 1, calls=0)
    seen = after_a_worker(tmp_path, 2, calls=1)

    assert seen["model_limit_left_ratio", "tokens"] == 0.5


def test_what_a_killed_worker_counted_stays_and_what_was_live_in_it_goes(tmp_path: Path) -> None:
    make_room(tmp_path, 2)
    after_a_worker(tmp_path, 1, calls=5, lag=9)
    forget_what_was_live(tmp_path, 1)
    seen = after_a_worker(tmp_path, 0, calls=2)

    assert (seen["active_calls",], seen["calls_started_total",]) == (2, 7)
    assert seen["loop_lag_seconds",] == 0


ALL_LABELS = """
import sys
from pathlib import Path
from voice_openai_connect.metrics import LABELS_MAX, Metrics, count_in

count_in(Path(sys.argv[1]), 1)
metrics = vars(Metrics(Path(sys.argv[1])))
for metric in [each for each in metrics.values() if getattr(each, "_labelnames", ())]:
    for number in range(LABELS_MAX + 2):
        one = metric.labels(*(f"{label}-of-a-rather-long-name-{number}" for label in metric._labelnames))
        next(getattr(one, name) for name in ("observe", "set", "inc") if hasattr(one, name))(1)
"""


def test_a_worker_finds_all_the_room_it_will_need_so_that_a_disk_that_fills_up_does_not_end_it(tmp_path: Path) -> None:
    make_room(tmp_path, 3)
    before = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    subprocess.run([sys.executable, "-c", ALL_LABELS, str(tmp_path)], check=True)
    forget_what_was_live(tmp_path, 1)

    assert {file.name: file.stat().st_size for file in tmp_path.iterdir()} == before
    assert len(before) == 3 * len(FILES)
    assert all(file.stat().st_blocks * 512 >= file.stat().st_size for file in tmp_path.iterdir())


def test_a_worker_counts_on_where_the_one_before_it_stopped(tmp_path: Path) -> None:
    after_a_worker(tmp_path, 11, calls=1)
    after_a_worker(tmp_path, 1, calls=5)
    forget_what_was_live(tmp_path, 1)
    seen = after_a_worker(tmp_path, 1, calls=2)

    assert (seen["active_calls",], seen["calls_started_total",]) == (3, 8)
    assert len(list(tmp_path.glob("counter_*"))) == 2
