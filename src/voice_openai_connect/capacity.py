"""How much of everything so many calls at a time need. Pure arithmetic; the figures are `capacity_figures`."""

import math
from dataclasses import dataclass
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.capacity_figures import Figures

PER_MILLION: Final = 1e-6
READ_UNIT_KB: Final = 4
"""One consistent read of DynamoDB covers so much; one write covers 1 KB."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in: so many calls at a time, each so long, and new ones at such a rate."""

    calls: int
    minutes: float
    calls_per_s: float

    @classmethod
    def steady(cls, calls: int, minutes: float) -> "Load":
        """As many begin as end: Little's law."""
        return cls(calls, minutes, calls / (minutes * 60))


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one call. What is cached was sent before in the same call, and found again."""

    audio_in: float
    audio_cached: float
    audio_out: float
    text_in: float
    text_cached: float
    text_out: float

    @property
    def total(self) -> float:
        """All that count towards the model's limit: the cached ones do as well."""
        return self.audio_in + self.audio_cached + self.audio_out + self.text_in + self.text_cached + self.text_out

    def usd(self, figures: Figures) -> float:
        """What they cost."""
        prices = (
            (self.audio_in, figures.audio_in_usd),
            (self.audio_cached, figures.audio_cached_usd),
            (self.audio_out, figures.audio_out_usd),
            (self.text_in, figures.text_in_usd),
            (self.text_cached, figures.text_cached_usd),
            (self.text_out, figures.text_out_usd),
        )
        return sum(tokens * price for tokens, price in prices) * PER_MILLION


def answers_of_call(minutes: float, figures: Figures) -> int:
    """How often the model answers in a call; each time it is sent the whole conversation so far."""
    return max(1, round(minutes * figures.answers_per_minute))


def tokens_of_call(minutes: float, figures: Figures) -> Tokens:
    """What one call costs in tokens.

    Answer k of n is given the prompt, k turns of the caller and the k-1 answers before it. New in it are one turn and
    the last answer, in the first one the prompt; of the rest, `cached_share` is cached.
    """
    n = answers_of_call(minutes, figures)
    turn, answer, words = _tokens_of_turn(minutes, figures)
    older_audio = turn * n * (n - 1) / 2 + answer * (n - 1) * (n - 2) / 2
    older_text = figures.prompt_tokens * (n - 1) + words * (n - 1) * (n - 2) / 2
    new_audio, new_text = turn * n + answer * (n - 1), figures.prompt_tokens + words * (n - 1)
    cached, missed = figures.cached_share, 1 - figures.cached_share
    return Tokens(
        audio_in=new_audio + older_audio * missed,
        audio_cached=older_audio * cached,
        audio_out=answer * n,
        text_in=new_text + older_text * missed,
        text_cached=older_text * cached,
        text_out=words * n,
    )


def context_at_end(minutes: float, figures: Figures) -> float:
    """Tokens that the last answer is given: what the model's context has to hold."""
    n = answers_of_call(minutes, figures)
    turn, answer, words = _tokens_of_turn(minutes, figures)
    return figures.prompt_tokens + turn * n + (answer + words) * (n - 1)


def _tokens_of_turn(minutes: float, figures: Figures) -> tuple[float, float, float]:
    """Of one turn of the caller, of the answer's audio, and of its words."""
    seconds = minutes * 60 / answers_of_call(minutes, figures)
    spoken_s = seconds * figures.assistant_share
    return (
        seconds * figures.caller_share * figures.caller_tokens_per_s,
        spoken_s * figures.assistant_tokens_per_s,
        spoken_s * figures.assistant_text_tokens_per_s,
    )


@dataclass(frozen=True, slots=True)
class Gateway:
    """Processes, machines and memory."""

    workers: int
    instances: int
    memory_mb: float
    descriptors_per_worker: int
    calls_per_s_taken: float
    """New calls a second that all workers together take, as they are set by default."""


@dataclass(frozen=True, slots=True)
class Model:
    """What the model is asked for by all calls together."""

    tokens_per_minute: float
    responses_per_minute: float
    context_tokens: float
    calls_of_tier: dict[str, int]
    """How many calls of this kind each tier carries at a time, the smallest tier first."""
    tier: str
    """The smallest that is enough; empty when none is."""


@dataclass(frozen=True, slots=True)
class Table:
    """DynamoDB, in write and read units."""

    writes_per_call: float
    reads_per_call: float
    writes_per_s: float
    reads_per_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that so many calls need, and what they cost."""

    load: Load
    gateway: Gateway
    model: Model
    table: Table
    tokens: Tokens
    streams: int
    handovers_per_s: float
    contacts: float
    """Calls at a time with a person, or waiting for one."""
    usd_per_call: dict[str, float]
    calls_per_month: float

    @property
    def usd_per_month(self) -> dict[str, float]:
        """The same parts, of all calls of a month."""
        return {part: usd * self.calls_per_month for part, usd in self.usd_per_call.items()}


def plan(load: Load, figures: Figures) -> Plan:
    """Reckon all of it."""
    gateway, table = _gateway(load, figures), _table(load, figures)
    tokens = tokens_of_call(load.minutes, figures)
    handovers_per_s = load.calls_per_s * figures.handover_share
    calls_per_month = load.calls_per_s * 3_600 * figures.busy_hours
    return Plan(
        load=load,
        gateway=gateway,
        model=_model(load, tokens, figures),
        table=table,
        tokens=tokens,
        streams=load.calls,
        handovers_per_s=handovers_per_s,
        contacts=handovers_per_s * figures.person_minutes * 60,
        usd_per_call=_usd_per_call(load, tokens, table, gateway, figures),
        calls_per_month=calls_per_month,
    )


def _gateway(load: Load, figures: Figures) -> Gateway:
    workers = math.ceil(load.calls / figures.calls_per_core)
    per_worker = math.ceil(load.calls / workers)
    return Gateway(
        workers=workers,
        instances=math.ceil(workers / figures.cores_per_instance),
        memory_mb=workers * figures.process_mb + load.calls * figures.call_kb / 1_000,
        descriptors_per_worker=per_worker * limits.DESCRIPTORS_A_CALL + limits.DESCRIPTORS_RESERVED,
        calls_per_s_taken=workers * limits.CALLS_PER_SECOND,
    )


def _model(load: Load, tokens: Tokens, figures: Figures) -> Model:
    tokens_each = tokens.total / load.minutes
    responses_each = answers_of_call(load.minutes, figures) / load.minutes
    tiers = {
        "Build": (figures.build_tokens_per_minute, figures.build_responses_per_minute),
        "Grow": (figures.grow_tokens_per_minute, figures.grow_responses_per_minute),
    }
    carried = {
        tier: int(min(responses / responses_each, tokens_limit / tokens_each if tokens_each else math.inf))
        for tier, (tokens_limit, responses) in tiers.items()
    }
    return Model(
        tokens_per_minute=load.calls * tokens_each,
        responses_per_minute=load.calls * responses_each,
        context_tokens=context_at_end(load.minutes, figures),
        calls_of_tier=carried,
        tier=next((tier for tier, calls in carried.items() if load.calls <= calls), ""),
    )


def _table(load: Load, figures: Figures) -> Table:
    """Checkpoints are written whole, also those of several calls together, and to remove the last costs as much as to
    write it. The rest are small writes."""
    checkpoints = answers_of_call(load.minutes, figures) * figures.checkpoints_per_answer + 1
    units = checkpoints * max(1, math.ceil(figures.checkpoint_kb))
    writes = units + figures.writes_per_ending + figures.handover_share * figures.writes_per_handover
    unit = max(1, math.ceil(figures.checkpoint_kb / READ_UNIT_KB))
    reads = figures.handover_share * figures.reads_per_handover * unit
    return Table(writes, reads, writes * load.calls_per_s, reads * load.calls_per_s)


def _usd_per_call(load: Load, tokens: Tokens, table: Table, gateway: Gateway, figures: Figures) -> dict[str, float]:
    person, leg = figures.handover_share * figures.person_minutes, figures.rounding_minutes
    compute_usd_per_h = gateway.workers * figures.core_hour_usd + gateway.memory_mb / 1_000 * figures.gb_hour_usd
    return {
        "model": tokens.usd(figures),
        "transcription": load.minutes * figures.caller_share * figures.transcription_usd,
        "Twilio, inbound call": (load.minutes + person + leg) * figures.inbound_usd,
        "Twilio, media stream": (load.minutes + leg) * figures.stream_usd,
        "Twilio, dial to Connect": (person + figures.handover_share * leg) * figures.dial_usd,
        "Amazon Connect": person * (figures.connect_usd + figures.connect_line_usd),
        "DynamoDB": (
            table.writes_per_call * figures.million_writes_usd + table.reads_per_call * figures.million_reads_usd
        )
        * PER_MILLION,
        "compute": compute_usd_per_h / (load.calls_per_s * 3_600),
    }
