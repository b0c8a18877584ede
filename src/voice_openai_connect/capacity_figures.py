"""What a plan is reckoned from: every figure with its unit and where it is from, each to be replaced by one's own.

Prices are list prices in US dollars, without tax and without discounts. Where a source is a page, look there before you
sign anything.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, Final


class FigureError(ValueError):
    """A figure of one's own that cannot be used; the text says why and what to do."""


def _figure(value: float, unit: str, source: str, *, least: float = 0, most: float = math.inf) -> Any:
    return field(default=value, metadata={"unit": unit, "source": source, "least": least, "most": most})


_OPENAI: Final = "OpenAI, model page gpt-realtime-2.1, 2026-11; per million"
_LIMITS: Final = "OpenAI, model page gpt-realtime-2.1 as copied 2026-10-09; look at your own account"
_AWS: Final = "us-east-1"
_ASSUMED: Final = "assumed; measure your own calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All of them. Names are what `voice-connect capacity --set NAME=VALUE` takes."""

    # The conversation
    caller_share: float = _figure(0.35, "of the time the caller speaks", _ASSUMED, most=1)
    assistant_share: float = _figure(0.35, "of the time the assistant speaks", _ASSUMED, most=1)
    answers_per_minute: float = _figure(4, "answers a minute", _ASSUMED)
    prompt_tokens: float = _figure(1_500, "text tokens of instructions and tools", _ASSUMED)
    handover_share: float = _figure(0.3, "of calls reach a person", _ASSUMED, most=1)
    person_minutes: float = _figure(6, "minutes with the person, waiting included", _ASSUMED)
    busy_hours: float = _figure(176, "hours a month as busy as this", "eight hours on 22 days", most=744)

    # The model
    caller_tokens_per_s: float = _figure(10, "audio tokens a second", "OpenAI, costs guide: 100 ms a token")
    assistant_tokens_per_s: float = _figure(20, "audio tokens a second", "OpenAI, costs guide: 50 ms a token")
    assistant_text_tokens_per_s: float = _figure(
        3.5, "text tokens a second", "assumed: 150 words a minute and some more"
    )
    cached_share: float = _figure(0.9, "of what was sent before is cached", _ASSUMED, most=1)
    context_tokens: float = _figure(128_000, "tokens a session holds", "OpenAI, model page gpt-realtime-2.1, 2026-11")
    audio_in_usd: float = _figure(32, "$ for audio in", _OPENAI)
    audio_cached_usd: float = _figure(0.40, "$ for audio in, cached", _OPENAI)
    audio_out_usd: float = _figure(64, "$ for audio out", _OPENAI)
    text_in_usd: float = _figure(4, "$ for text in", _OPENAI)
    text_cached_usd: float = _figure(0.40, "$ for text in, cached", _OPENAI)
    text_out_usd: float = _figure(24, "$ for text out", _OPENAI)
    transcription_usd: float = _figure(0.0045, "$ a minute of the caller", "OpenAI, gpt-transcribe, 2026-07-29")
    build_tokens_per_minute: float = _figure(200_000, "tokens a minute in tier Build", _LIMITS)
    build_responses_per_minute: float = _figure(400, "responses a minute in tier Build", _LIMITS)
    grow_tokens_per_minute: float = _figure(15_000_000, "tokens a minute in tier Grow", _LIMITS)
    grow_responses_per_minute: float = _figure(20_000, "responses a minute in tier Grow", _LIMITS)

    # The gateway
    calls_per_core: float = _figure(
        50,
        "calls on one core",
        "planned with room; measured 2026-11-23 (make bench): 50 calls take 9 to 20 % of a core, or 29 % if it sleeps",
        least=1,
    )
    cores_per_instance: float = _figure(
        1, "cores (workers) an instance", "a Fargate task of aws/templates/gateway.yaml", least=1
    )
    process_mb: float = _figure(112, "MB a worker without calls", "measured 2026-11-22: resident memory after a start")
    call_kb: float = _figure(181, "KB a call", "upper bound; measured 2026-11-23 (make bench): 134 with TLS")
    core_hour_usd: float = _figure(0.04048, "$ a vCPU an hour", f"AWS Fargate, {_AWS}, 2026-03")
    gb_hour_usd: float = _figure(0.004445, "$ a GB an hour", f"AWS Fargate, {_AWS}, 2026-03")

    # The table
    checkpoint_kb: float = _figure(3, "KB of a checkpoint", "assumed; 12 at the most (CHECKPOINT_CHARS)")
    checkpoints_per_answer: float = _figure(
        2, "checkpoints an answer", "counted: after the caller's words and after it"
    )
    writes_per_ending: float = _figure(2, "writes at the end of a call", "counted in a played call, 2026-11-22")
    writes_per_handover: float = _figure(6, "writes for a handover, the Lambda's included", "counted, 2026-11-22")
    reads_per_handover: float = _figure(5, "consistent reads for a handover", "counted, 2026-11-22")
    million_writes_usd: float = _figure(0.625, "$ a million write units", f"DynamoDB on demand, {_AWS}, since 2024-11")
    million_reads_usd: float = _figure(0.125, "$ a million read units", f"DynamoDB on demand, {_AWS}, since 2024-11")

    # Twilio and Amazon Connect
    inbound_usd: float = _figure(0.0085, "$ a minute of an inbound local call", "Twilio, United States, 2026")
    stream_usd: float = _figure(0.004, "$ a minute of a media stream", "Twilio, price list; check it")
    dial_usd: float = _figure(0.014, "$ a minute of the dial to the contact centre", "Twilio, United States, 2026")
    rounding_minutes: float = _figure(
        0.5, "minutes a leg, by rounding up", "Twilio bills whole minutes: half of one on average"
    )
    connect_usd: float = _figure(0.018, "$ a minute of voice", "Amazon Connect, price list; check it for your edition")
    connect_line_usd: float = _figure(
        0.0022, "$ a minute of an inbound line", "Amazon Connect, United States, price list; check it"
    )
    connect_contacts: float = _figure(
        10, "calls at a time of a new instance", "Amazon Connect, service quotas; can be raised"
    )
    hubspot_searches_per_s: float = _figure(5, "searches a second of an account", "HubSpot, CRM search limits, 2026")


MODELS: Final = {
    "gpt-realtime-2.1": Figures(),
    "gpt-realtime-2.1-mini": Figures(
        audio_in_usd=10,
        audio_cached_usd=0.30,
        audio_out_usd=20,
        text_in_usd=0.60,
        text_cached_usd=0.06,
        text_out_usd=2.40,
    ),
}
"""The models whose prices are known, from the same page as the rest. Their limits are taken to be the same."""


def with_own(figures: Figures, own: Iterable[str]) -> Figures:
    """The figures with some replaced, as typed: ``name=value``.

    Raises `FigureError`, which names every one that cannot be used.
    """
    mistakes: list[str] = []
    values: dict[str, float] = {}
    for text in own:
        name, _, value = text.partition("=")
        try:
            values[name.strip()] = _checked(name.strip(), value.strip())
        except FigureError as error:
            mistakes.append(str(error))
    if mistakes:
        raise FigureError("\n".join(mistakes))
    return replace(figures, **values)


def _checked(name: str, text: str) -> float:
    known = {each.name: each for each in fields(Figures)}
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        raise FigureError(
            f"{name}: is no figure. {f'Did you mean {near[0]}?' if near else 'They are listed at the end'}"
        )
    try:
        value = float(text)
    except ValueError:
        raise FigureError(f"{name}: {text} is not a number. Write it as 0.35 or 1500") from None
    least, most = known[name].metadata["least"], known[name].metadata["most"]
    if not least <= value <= most or not math.isfinite(value):
        bound = f"between {least:g} and {most:g}" if math.isfinite(most) else f"of {least:g} or more"
        raise FigureError(f"{name}: {text} cannot be. Give a number {bound}")
    return value
