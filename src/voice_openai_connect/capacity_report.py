"""A capacity plan as text: what is needed, where limits are met, what it costs, and what it was reckoned from."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Final

from voice_openai_connect.capacity import Plan
from voice_openai_connect.capacity_figures import Figures

NOT_COUNTED: Final = "load balancer, NAT and data transfer, logs, phone numbers, HubSpot, agents, tax."


def report(plan: Plan, figures: Figures) -> str:
    """The whole of it, for a terminal."""
    sections = {
        "Load": _load(plan),
        "Gateway": _gateway(plan, figures),
        "Model": _model(plan, figures),
        "Twilio, Amazon Connect, HubSpot": _outside(plan, figures),
        "DynamoDB": _table(plan),
        "Money, $": _money(plan),
        "Reckoned from (--set NAME=VALUE)": _figures(figures),
    }
    return "\n\n".join(_section(title, dict(rows)) for title, rows in sections.items())


def _section(title: str, rows: Mapping[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join([title, *(f"  {name.ljust(width)}  {text}".rstrip() for name, text in rows.items())])


def _load(plan: Plan) -> Iterator[tuple[str, str]]:
    load = plan.load
    yield "calls at a time", f"{load.calls:,}"
    yield "length of a call", f"{load.minutes:g} minutes"
    yield "new calls", f"{load.calls_per_s:.2f} a second"
    yield "calls a month", f"{plan.calls_per_month:,.0f}"


def _gateway(plan: Plan, figures: Figures) -> Iterator[tuple[str, str]]:
    gateway = plan.gateway
    yield "cores, one worker each", f"{gateway.workers:,}, at {figures.calls_per_core:g} calls a core"
    yield "instances", f"{gateway.instances:,}, and one more so that one may be lost"
    yield "memory", f"{gateway.memory_mb / 1_000:.1f} GB in all"
    yield "file descriptors", f"{gateway.descriptors_per_worker:,} for each worker (ulimit -n)"
    enough = gateway.calls_per_s_taken >= plan.load.calls_per_s
    yield (
        "new calls taken",
        f"{gateway.calls_per_s_taken:g} a second as MAX_CALLS_PER_SECOND is by default"
        + ("" if enough else ": TOO FEW, raise it or add workers"),
    )


def _model(plan: Plan, figures: Figures) -> Iterator[tuple[str, str]]:
    model, tokens = plan.model, plan.tokens
    yield "tokens a call", f"{tokens.total:,.0f}, of which {tokens.audio_cached + tokens.text_cached:,.0f} cached"
    yield "tokens a minute", f"{model.tokens_per_minute:,.0f}"
    yield "responses a minute", f"{model.responses_per_minute:,.0f}"
    yield (
        "tier",
        f"{model.tier} is enough"
        if model.tier
        else f"MORE THAN Grow ({figures.grow_tokens_per_minute:,.0f} tokens a minute): agree on more with OpenAI",
    )
    yield "a tier carries", ", ".join(f"{tier} {calls:,} calls" for tier, calls in model.calls_of_tier.items())
    room = "fits" if model.context_tokens <= figures.context_tokens else "DOES NOT FIT: the oldest turns are dropped"
    yield "context at the end", f"{model.context_tokens:,.0f} tokens, {room}"


def _outside(plan: Plan, figures: Figures) -> Iterator[tuple[str, str]]:
    yield "media streams", f"{plan.streams:,}; Twilio sets no bound for accounts with an approved business profile"
    yield "inbound calls", f"{plan.load.calls_per_s:.2f} a second; Twilio sets no bound on inbound calls and on dials"
    raised = (
        "" if plan.contacts <= figures.connect_contacts else f": MORE THAN {figures.connect_contacts:g}, have it raised"
    )
    yield "contacts in Connect", f"{plan.contacts:,.0f} at a time{raised}"
    slow = "" if plan.handovers_per_s <= figures.hubspot_searches_per_s else ": TOO MANY, tickets will come late"
    yield "HubSpot searches", f"{plan.handovers_per_s:.2f} a second at the most{slow}"


def _table(plan: Plan) -> Iterator[tuple[str, str]]:
    table = plan.table
    yield (
        "write units",
        f"{table.writes_per_call:g} a call, {table.writes_per_s:,.0f} a second, {_month(plan, table.writes_per_call)}",
    )
    yield (
        "read units",
        f"{table.reads_per_call:g} a call, {table.reads_per_s:,.1f} a second, {_month(plan, table.reads_per_call)}",
    )


def _month(plan: Plan, per_call: float) -> str:
    return f"{per_call * plan.calls_per_month / 1e6:,.1f} million a month"


def _money(plan: Plan) -> Iterator[tuple[str, str]]:
    per_month = plan.usd_per_month
    for part, usd in plan.usd_per_call.items():
        yield part, _row(usd, per_month[part])
    yield "all of it", _row(sum(plan.usd_per_call.values()), sum(per_month.values()))
    yield "not counted", NOT_COUNTED


def _row(per_call: float, per_month: float) -> str:
    return f"{per_call:9.5f} a call  {per_month:14,.0f} a month"


def _figures(figures: Figures) -> Iterator[tuple[str, str]]:
    for each in fields(Figures):
        value = getattr(figures, each.name)
        source = each.metadata["source"] if value == each.default else "yours, or the model's"
        yield each.name, f"{value:<11,.8g} {each.metadata['unit']} ({source})"
