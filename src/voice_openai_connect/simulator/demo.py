"""`voice-connect demo`: one whole call, told live in the terminal, with no account anywhere.

The gateway runs as it does for a company: `voice-connect serve` in a process of its own, configured by environment
variables alone. Around it are the town's services, on loopback. The caller's words reach the agent's screen by
speech alone: spoken, recognised, summarised, ticketed, stored under a token, the token decoded from tones.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.agent_page import saved_page
from voice_openai_connect.simulator.caller import Caller
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.model_senses import LiveSenses
from voice_openai_connect.simulator.narrator import Narrator
from voice_openai_connect.simulator.scenarios import SCENARIOS, Scenario
from voice_openai_connect.simulator.speech import SpeechUnavailableError, Voice, require_packages
from voice_openai_connect.simulator.timeline import Timeline
from voice_openai_connect.simulator.town import CALLER, Plan, Town, Voices, open_town

DEFAULT_SCENARIO: Final = "escalation"
CALL_S: Final = 150.0
CALLER_PITCH: Final = 1.18
CENTER_PITCH: Final = 0.88
_SAMPLE: Final = re.compile(r"^(voice_connect_\w+)(?:\{[^}]*\})? ([0-9.e+-]+)$", re.MULTILINE)


def run_demo(scenario: str = DEFAULT_SCENARIO, out: Path = Path("out")) -> int:
    """Play a scenario. 0 if the agent received the right context (or none was needed, and the call said goodbye)."""
    if scenario not in SCENARIOS:
        print(f"There is no scenario {scenario!r}. There are: {', '.join(SCENARIOS)}")
        return 2
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"The recording cannot be kept in {out} ({error.strerror}). Choose another directory with --out")
        return 2
    try:
        require_packages()
        # The gateway's log comes from its own process. What the town has to try twice is no part of the story.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        return asyncio.run(_play(SCENARIOS[scenario], out / f"{scenario}-{datetime.now(UTC):%Y%m%d-%H%M%S}.wav"))
    except SpeechUnavailableError as error:
        print(error)
        return 2


async def _play(scenario: Scenario, wav: Path) -> int:
    print(
        f"\n{scenario.title}\nBuilding the town (speech models, DynamoDB, CRM, contact centre, the gateway) …\n",
        flush=True,
    )
    timeline = Timeline()
    narrator = Narrator(timeline)
    voice, lower = Voice(pitch=CALLER_PITCH), Voice(pitch=CENTER_PITCH)
    senses = LiveSenses()
    model = SimulatedModel.live(senses)
    model.on_event, model.load_first = narrator.model_event, False
    caller = Caller(scenario.script, voice.say, timeline=timeline, noise=True)
    plan = Plan(own_process=True, on_log_line=narrator.gateway_line, settings={"LOG_LEVEL": "DEBUG"})
    voices = Voices(announcer=lambda text, _: senses.voice.say(text), center=lower.say)
    preparing = asyncio.gather(model.load(), caller.prepare(), asyncio.to_thread(lower.load))
    async with open_town(model, plan, timeline=timeline, voices=voices) as town:
        await preparing
        await scenario.happens(town.crm)
        timeline.begin()
        call = await town.carrier.place_call(caller, from_=CALLER)
        complaints = [*await until_over(call), *scenario.verdict(town, call), *map(str, call.violations)]
        assert town.gateway is not None  # noqa: S101 - asked for above
        _show(town, call, wav)
        print_figures(figures_in(await town.gateway.metrics()), call)
    return judge(complaints)


def judge(complaints: Sequence[str]) -> int:
    """Say how the call went, and return the exit status that says the same."""
    for complaint in complaints:
        print(f"WRONG: {complaint}")
    print("\nAll is as it should be." if not complaints else "\nThis call did not go as it should have.")
    return 1 if complaints else 0


async def until_over(call: CarriedCall) -> list[str]:
    """Wait for the end of the call. Returns what kept it from ending, such as a caller who waited in vain."""
    await asyncio.wait({call.ended}, timeout=CALL_S)
    if not call.ended.done():
        return [f"the call had not ended after {CALL_S:g} s"]
    error = call.ended.exception()
    return [str(error) or type(error).__name__] if error else []


def _show(town: Town, call: CarriedCall, wav: Path) -> None:
    """What is left of the call: the agent's screen, in the terminal and for a browser, the ticket, the recording."""
    for contact in town.center.contacts:
        print(f"\n{town.center.screen(contact)}")
        page = saved_page(contact.attributes, caller=contact.customer_number, queue=contact.queue)
        file = wav.with_suffix(".html")
        file.write_text(page, encoding="utf-8")
        print(f"\nThe same as agents see it in their browser: {file}")
    for ticket in town.crm.tickets.values():
        print(f"\nIn the CRM: ticket {ticket.id}, “{ticket.properties['subject']}”")
    call.recording.save(wav)
    print(f"\nThe whole call, left the caller, right what the caller heard: {wav}")


def print_figures(figures: Mapping[str, float], call: CarriedCall) -> None:
    """How long things took, as the gateway measured it and as the recording shows it."""
    for name, text in FIGURES.items():
        if count := figures.get(f"{name}_count"):
            ms = figures[f"{name}_sum"] / count * 1_000
            print(
                f"{text}: {f'{ms:.0f}' if ms >= 1 else 'less than 1'} ms{f', mean of {count:.0f}' if count > 1 else ''}"
            )
    quiet_ms = sound.longest_silence_ms(bytes(call.recording.sent), bytes(call.recording.heard))
    print(f"The longest time that neither side spoke: {quiet_ms} ms")


FIGURES: Final[Mapping[str, str]] = {
    "voice_connect_first_audio_seconds": "From the end of the caller's turn to the first sound of the answer",
    "voice_connect_speech_to_clear_seconds": "From the news that the caller speaks to silence on its way",
    "voice_connect_handover_seconds": "From the decision for a person to the dial, the spoken sentence included",
}


def figures_in(exposition: str) -> dict[str, float]:
    """The samples of the gateway's own metrics, labels added up."""
    totals: dict[str, float] = {}
    for name, value in _SAMPLE.findall(exposition):
        totals[name] = totals.get(name, 0.0) + float(value)
    return totals
