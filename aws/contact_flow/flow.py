"""The contact flows as code: listen for the token, fetch the handover, put the caller into the right queue.

Three flows: the one that a number leads to, and two that it hooks on for the agent. `python3 -m aws.contact_flow`
renders them from `flow.toml`; `${...}` in the JSON are filled in at deployment.

Whatever fails, the caller ends in a queue: without context in the fallback queue, with `handover` set to ``missing`` so
that the agent's screen can say so. Shapes follow the Amazon Connect flow language, version 2019-10-30.
"""

from collections.abc import Callable, Mapping
from typing import Final

from aws.contact_flow import blocks
from aws.contact_flow.action import Action, FlowKind
from aws.contact_flow.config import FlowConfig, load_config
from aws.contact_flow.validator import Flow

RECORD_KEYS: Final = (
    "conversation_id",
    "caller_phone",
    "hubspot_contact_id",
    "hubspot_ticket_id",
    "hubspot_ticket_url",
    "summary",
    "intent",
    "priority",
    "escalation_reason",
    "route_to_queue",
    "matched_by",
)
"""What the Lambda returns about a handover, and what becomes attributes of the contact under the same names."""

LAMBDA_S: Final = 8
"""The most Connect allows; the function itself answers within five."""
ENTRY_LENGTH: Final = 11
"""One more than a token has: then its `#` ends the entry and is not left over for the next one."""
GUIDE_S: Final = 3_600
"""How long the agent's page waits for its last click. It closes with the contact."""
DETAIL_VIEW: Final = "arn:aws:connect:${Region}:aws:view/detail:1"
"""Amazon's own view of one thing with its facts."""


def inbound(config: FlowConfig) -> Flow:
    """What a number in Connect leads to. Raises `FlowRefusedError`."""
    return Flow.of([*_fetching(config), *_preparing(config), *_queueing(config), *_ending(config)])


def _fetching(config: FlowConfig) -> list[Action]:
    """From the first moment to the answer of the Lambda."""
    spoken = config.languages[config.language]
    return [
        blocks.touchtone_buffer("buffer-on", then="log-off"),
        # What is entered, and what it buys, stays out of the flow log.
        blocks.flow_log("log-off", on=False, then="voice"),
        blocks.voice("voice", spoken.voice, spoken.engine, then="tries"),
        blocks.loop("tries", times=config.tries, again="listen", done="look-up-by-phone"),
        # The caller was told no number, so the prompt asks for none.
        blocks.store_input(
            "listen",
            spoken.prompts["listening"],
            first_digit_s=config.first_digit_s,
            next_digit_s=config.next_digit_s,
            length=ENTRY_LENGTH,
            then="silent",
            failed="tries",
        ),
        # Silence is stored as a word, on the same way as digits. Nobody sends the digits twice, so it is final.
        blocks.compare(
            "silent", "$.StoredCustomerInput", {"Timeout": "look-up-by-phone"}, otherwise="look-up-by-token"
        ),
        _ask_lambda("look-up-by-token", {"token": "$.StoredCustomerInput"}),
        # The number it means is Connect's own; and unless the function is told to, it matches nothing by it.
        _ask_lambda("look-up-by-phone", {"match": "phone"}),
        blocks.compare("found", "$.External.success", {"true": "mark-ok"}, otherwise="worth-retrying"),
        blocks.compare("worth-retrying", "$.External.retry", {"true": "tries"}, otherwise="mark-missing"),
    ]


def _ask_lambda(identifier: str, parameters: Mapping[str, str]) -> Action:
    return blocks.invoke(identifier, "${LambdaArn}", parameters, limit_s=LAMBDA_S, then="found", failed="mark-missing")


def _preparing(config: FlowConfig) -> list[Action]:
    """What a handover that was found does to the contact."""
    record = {key: f"$.External.{key}" for key in RECORD_KEYS}
    after = "by-priority" if config.priorities else "by-queue"
    hooked = [name for name, wanted in (("guide", config.agent_guide), ("whisper", config.agent_whisper)) if wanted]
    ways = [*hooked, after]
    by_priority = {name: f"priority-{name}" for name in config.priorities}
    actions = [
        blocks.attributes("mark-ok", {**record, "handover": "ok"}, then=ways[0], failed="mark-missing"),
        *(blocks.hook(name, *_HOOKS[name], then=then) for name, then in zip(hooked, ways[1:], strict=True)),
        *(blocks.priority(f"priority-{name}", number, then="by-queue") for name, number in config.priorities.items()),
    ]
    if by_priority:
        actions.append(blocks.compare("by-priority", "$.Attributes.priority", by_priority, otherwise="by-queue"))
    return actions


_HOOKS: Final = {
    "guide": ("DefaultAgentUI", "${AgentGuideFlowArn}"),
    "whisper": ("AgentWhisper", "${AgentWhisperFlowArn}"),
}
"""The event of each hook, and the flow that is to run then."""


def _queueing(config: FlowConfig) -> list[Action]:
    """Choose the queue: by name where there is a handover, otherwise the fallback queue."""
    by_queue = {name: f"queue-{name}" for name in config.queues}
    return [
        blocks.compare("by-queue", "$.Attributes.route_to_queue", by_queue, otherwise=f"queue-{config.default_queue}"),
        *(
            blocks.queue(f"queue-{name}", arn, then="log-on", failed="queue-fallback")
            for name, arn in config.queues.items()
        ),
        blocks.attributes("mark-missing", {"handover": "missing"}, then="queue-fallback", failed="queue-fallback"),
        blocks.queue("queue-fallback", config.fallback_queue, then="log-on", failed="sorry"),
        blocks.flow_log("log-on", on=True, then="hours"),
    ]


def _ending(config: FlowConfig) -> list[Action]:
    """Into the queue; into the fallback queue where that one is closed or full; a goodbye only where both are."""
    prompts = config.languages[config.language].prompts
    return [
        blocks.hours("hours", opened="connecting", closed="after-hours"),
        blocks.queue("after-hours", config.fallback_queue, then="fallback-hours", failed="closed"),
        blocks.hours("fallback-hours", opened="connecting", closed="closed"),
        blocks.say("connecting", prompts["connecting"], then="transfer"),
        blocks.transfer("transfer", full="overflow", failed="overflow"),
        blocks.queue("overflow", config.fallback_queue, then="overflow-hours", failed="sorry"),
        blocks.hours("overflow-hours", opened="overflow-transfer", closed="sorry"),
        blocks.transfer("overflow-transfer", full="sorry", failed="sorry"),
        blocks.say("closed", prompts["closed"], then="bye"),
        blocks.say("sorry", prompts["sorry"], then="bye"),
        blocks.disconnect("bye"),
    ]


def agent_whisper(config: FlowConfig) -> Flow:
    """What the agent hears before the caller does: an agent whisper flow. Raises `FlowRefusedError`."""
    spoken = config.languages[config.language]
    actions = [
        # The inbound flow has switched it on again, and what follows goes by that until somebody says otherwise.
        blocks.flow_log("log-off", on=False, then="voice"),
        blocks.voice("voice", spoken.voice, spoken.engine, then="verified"),
        blocks.compare("verified", "$.Attributes.matched_by", {"phone": "ask"}, otherwise="tell"),
        blocks.say("tell", spoken.prompts["whisper"], then="log-on"),
        blocks.say("ask", spoken.prompts["whisper_unverified"], then="log-on"),
        blocks.flow_log("log-on", on=True, then="end"),
        blocks.end_flow("end"),
    ]
    return Flow.of(actions, kind="agent_whisper")


def agent_guide(_: FlowConfig) -> Flow:
    """The page in the agent's workspace: a flow that Connect runs as a chat with the agent alone.

    The rows of the agent page in its order (`aws/agent_page`), as far as the view has places for them: its heading, a
    bar that stays in sight, and sections below. Connect's own frame names the queue.
    """
    actions = [
        # A contact takes over from the one before it whether its flows are logged, and the call's are by now.
        blocks.flow_log("log-off", on=False, then="verified"),
        blocks.compare("verified", "$.Attributes.matched_by", {"phone": "show-unverified"}, otherwise="show"),
        blocks.view("show", DETAIL_VIEW, _guide_data(FROM_ASSISTANT), limit_s=GUIDE_S, then="end"),
        blocks.view("show-unverified", DETAIL_VIEW, _guide_data(UNVERIFIED), limit_s=GUIDE_S, then="end"),
        blocks.disconnect("end"),
    ]
    return Flow.of(actions, kind="agent_guide")


FROM_ASSISTANT: Final = "Notes that the assistant made of the call."
UNVERIFIED: Final = "Found by the caller's number alone. Ask who is calling before you rely on these notes."
"""What stands under the caller's number."""


def _guide_data(description: str) -> dict[str, object]:
    """What Amazon's detail view is to show. It cannot do without `Sections`, and `Back` is the only way to close it."""
    ticket = {**_shown("Ticket", "hubspot_ticket_id"), "LinkType": "external", "Url": "$.Attributes.hubspot_ticket_url"}
    return {
        "Heading": "$.Attributes.caller_phone",
        "Description": description,
        "AttributeBar": [
            _shown("Reason", "escalation_reason"),
            _shown("Intent", "intent"),
            _shown("Priority", "priority"),
            ticket,
        ],
        "Sections": [
            {"Items": [_shown("Summary", "summary")]},
            {"Items": [_shown("Contact", "hubspot_contact_id"), _shown("Reference", "conversation_id")]},
        ],
        "Back": {"Label": "Close"},
    }


def _shown(label: str, attribute: str) -> dict[str, str]:
    return {"Label": label, "Value": f"$.Attributes.{attribute}"}


FLOWS: Final[Mapping[str, tuple[FlowKind, Callable[[FlowConfig], Flow]]]] = {
    "inbound_handover.json": ("inbound", inbound),
    "agent_whisper.json": ("agent_whisper", agent_whisper),
    "agent_guide.json": ("agent_guide", agent_guide),
}
"""Every file there is, with its kind of flow and how it is made."""


def render_all(config: FlowConfig | None = None) -> dict[str, str]:
    """The JSON of every flow, by file name. Raises `FlowRefusedError` and, without a `config`, `ConfigError`."""
    config = config or load_config()
    return {name: make(config).render() for name, (_, make) in FLOWS.items()}
