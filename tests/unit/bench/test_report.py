import json
from pathlib import Path

from bench.load.carrier import Break
from bench.load.report import Report, gaps, to_stream
from bench.load.spread import Spread

BACK = Break("dropped", at=10.0, on="first", streams=1, stream_at=10.1, then_on="second", sound_at=10.4, voice_at=10.5)
GONE = Break("dropped", at=10.0, on="first", streams=1)


def test_a_gap_lasts_from_the_end_of_the_stream_to_the_model_s_voice():
    assert gaps([BACK, GONE]).worst == 500
    assert gaps([BACK, GONE], until_voice=False).count == 1
    assert round(to_stream([BACK, GONE]).worst) == 100


def test_one_wrong_thing_fails_the_run_and_a_late_generator_voids_it():
    report = Report("a run")
    assert report.status == 0

    report.void.append("late")
    assert report.status == 3

    report.expect(False, "nobody may be lost")
    assert report.status == 1
    assert "  WRONG: nobody may be lost" in report.lines()
    assert report.lines()[-1] == "  verdict: failed"


def test_what_is_saved_can_be_read_by_a_program(tmp_path: Path):
    report, spread = Report("a run"), Spread()
    spread.add(7.0)
    report.note("gap", spread)
    report.note("calls", 4)
    report.save(tmp_path / "run.json")

    saved = json.loads((tmp_path / "run.json").read_text())
    assert saved["figures"] == {"gap": {"count": 1, "p50": 7.0, "p99": 7.0, "worst": 7.0}, "calls": 4}
