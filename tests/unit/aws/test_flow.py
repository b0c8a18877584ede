"""The contact flows: the JSON is what the code renders, Connect would publish it, and its names agree everywhere."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws.connect_lambda import handler
from aws.contact_flow import flow
from aws.contact_flow.config import PROMPTS, load_config
from aws.contact_flow.validator import Flow

from voice_openai_connect.simulator import agent_screen

FOLDER = Path(__file__).parents[3] / "aws" / "contact_flow"
CONFIG = load_config()
INBOUND = flow.inbound(CONFIG)
ACTIONS = INBOUND.actions
COMMITTED = {name: (FOLDER / name).read_text(encoding="utf-8") for name in flow.FLOWS}


def parameters(kind: str) -> list[dict[str, Any]]:
    return [action.parameters for action in ACTIONS.values() if action.type == kind]


def names(kind: str) -> set[str]:
    return {name for name, action in ACTIONS.items() if action.type == kind}


def reached_without(*avoided: str) -> set[str]:
    """Every block one can come to without passing these."""
    return INBOUND.reachable(passing=lambda action: action.targets - set(avoided))


# --- The files


@pytest.mark.parametrize("name", flow.FLOWS)
def test_the_committed_json_is_what_the_code_renders(name: str) -> None:
    assert flow.render_all(CONFIG)[name] == COMMITTED[name], "run: python3 -m aws.contact_flow"


@pytest.mark.parametrize("name", flow.FLOWS)
def test_connect_would_publish_it(name: str) -> None:
    kind, _ = flow.FLOWS[name]

    assert Flow.load(COMMITTED[name], kind=kind).render() == COMMITTED[name]


def test_nothing_but_names_to_fill_in_stands_for_resources() -> None:
    assert not any("arn:" in COMMITTED[name] for name in ("inbound_handover.json", "agent_whisper.json"))
    assert set(re.findall(r"\$\{(\w+)\}", "".join(COMMITTED.values()))) == {
        "LambdaArn",
        "PriorityQueueArn",
        "EscalationQueueArn",
        "FallbackQueueArn",
        "AgentGuideFlowArn",
        "AgentWhisperFlowArn",
        "Region",
    }


@pytest.mark.parametrize("name", flow.FLOWS)
def test_the_json_is_plain_and_small(name: str) -> None:
    assert COMMITTED[name].isascii()
    assert len(json.dumps(json.loads(COMMITTED[name]))) < 256_000


@pytest.mark.parametrize("language", CONFIG.languages)
def test_every_language_makes_flows_that_connect_would_publish(language: str) -> None:
    rendered = flow.render_all(replace(CONFIG, language=language))
    spoken = json.dumps(CONFIG.languages[language].prompts["connecting"])

    assert spoken in rendered["inbound_handover.json"]
    assert f'"{CONFIG.languages[language].voice}"' in rendered["agent_whisper.json"]


# --- One source of truth for names


def test_lambda_flow_and_agent_screen_mean_the_same_keys() -> None:
    set_by_flow = {key for attributes in parameters("UpdateContactAttributes") for key in attributes["Attributes"]}

    assert set(flow.RECORD_KEYS) == {*handler.RECORD_KEYS, "matched_by"}
    assert set_by_flow == {*flow.RECORD_KEYS, "handover"} == set(agent_screen.ATTRIBUTES_SHOWN)


def test_everything_the_flow_reads_from_the_lambda_is_something_it_returns() -> None:
    read = set(re.findall(r"\$\.External\.(\w+)", COMMITTED["inbound_handover.json"]))

    assert read == set(handler.lambda_handler({}, None))


@pytest.mark.parametrize("name", ["agent_whisper.json", "agent_guide.json"])
def test_the_agents_flows_read_only_attributes_that_are_set(name: str) -> None:
    assert set(re.findall(r"\$\.Attributes\.(\w+)", COMMITTED[name])) <= set(flow.RECORD_KEYS)


def views() -> dict[str, dict[str, Any]]:
    actions = json.loads(COMMITTED["agent_guide.json"])["Actions"]
    return {each["Identifier"]: each["Parameters"] for each in actions if each["Type"] == "ShowView"}


def test_the_guide_gives_the_detail_view_what_it_cannot_do_without() -> None:
    """AWS on its managed views: `Sections` is required, and `Back` where there are no actions; labels have values."""
    assert views()
    for parameters in views().values():
        data = parameters["ViewData"]
        shown = [*data["AttributeBar"], *(item for section in data["Sections"] for item in section["Items"])]

        assert parameters["ViewResource"] == {"Id": "arn:aws:connect:${Region}:aws:view/detail:1"}
        assert data.keys() == {"Heading", "Description", "AttributeBar", "Sections", "Back"}
        assert data["Back"] == {"Label": "Close"}
        assert all(item["Label"] and item["Value"] for item in shown)


def test_the_guide_shows_the_rows_of_the_agents_screen_in_their_order() -> None:
    every = dict.fromkeys(agent_screen.ATTRIBUTES_SHOWN, "x") | {"handover": "ok", "matched_by": "phone"}
    link = "https://app.hubspot.com/contacts/1/record/0-5/2"
    screen = agent_screen.fields(every | {"hubspot_ticket_url": link}, caller="", queue="x")
    data = views()["show-unverified"]["ViewData"]
    sections = [item["Label"] for section in data["Sections"] for item in section["Items"]]
    bar = [item["Label"] for item in data["AttributeBar"]]

    # The bar keeps the ticket in sight, and the link is the ticket's; the queue is Connect's own to show.
    assert bar == ["Reason", "Intent", "Priority", "Ticket"]
    assert [*bar[:-1], sections[0], bar[-1], *sections[1:]] == [
        name for name in screen if name not in {"Caller", "Verify", "Queue", "Link"}
    ]
    assert data["Heading"] == "$.Attributes.caller_phone"
    assert data["Description"] == screen["Verify"]
    assert data["AttributeBar"][-1]["Url"] == "$.Attributes.hubspot_ticket_url"


def test_every_prompt_of_the_configuration_is_spoken_somewhere() -> None:
    spoken = CONFIG.languages[CONFIG.language].prompts

    assert all(json.dumps(spoken[prompt]) in "".join(COMMITTED.values()) for prompt in PROMPTS)


def test_the_lambda_is_asked_with_the_parameters_it_reads() -> None:
    by_token, by_phone = parameters("InvokeLambdaFunction")

    assert by_token["LambdaInvocationAttributes"] == {"token": "$.StoredCustomerInput"}
    assert by_phone["LambdaInvocationAttributes"] == {"match": "phone"}


# --- The course of it


def test_the_buffer_takes_digits_from_the_very_first_block_on() -> None:
    """Twilio sends them two seconds after the answer, whatever the flow is doing then."""
    assert ACTIONS[INBOUND.start].parameters == {"EnableDTMFBuffer": "True"}


def test_nothing_is_said_before_the_flow_listens() -> None:
    """Digits sent while a prompt plays that may not be interrupted would be lost on an instance without the buffer."""
    assert not reached_without("listen") & names("MessageParticipant") - {"connecting", "closed", "sorry"}
    before = INBOUND.reachable(passing=lambda action: () if action.identifier == "tries" else action.targets)
    assert not before & names("MessageParticipant")


def test_an_entry_is_one_longer_than_a_token_so_that_its_terminator_is_not_left_over() -> None:
    (listen,) = [found for found in parameters("GetParticipantInput") if "StoreInput" in found]

    assert listen["InputValidation"]["CustomValidation"]["MaximumLength"] == "11"


@pytest.mark.parametrize("name", flow.FLOWS)
def test_the_log_is_off_wherever_something_private_is_entered_or_read(name: str) -> None:
    """Connect writes a block's parameters into the log: what was entered, what the Lambda found.

    It may be on at the start: a flow takes that over from the one before it.
    """
    kind, _ = flow.FLOWS[name]
    made = Flow.load(COMMITTED[name], kind=kind)
    switches = {each: action for each, action in made.actions.items() if action.type == "UpdateFlowLoggingBehavior"}
    logged = made.reachable(passing=lambda action: () if action.identifier == "log-off" else action.targets)
    if "log-on" in switches:
        logged |= replace(made, start="log-on").reachable()
    private = {each for each, action in made.actions.items() if re.search(r"\$\.(Stored|External|Attr)", str(action))}

    assert switches["log-off"].parameters == {"FlowLoggingBehavior": "Disabled"}
    assert switches.keys() <= {"log-off", "log-on"}
    assert private
    assert not logged & private


def test_after_the_whisper_the_log_is_on_again_as_the_inbound_flow_left_it() -> None:
    """What a contact centre logs of its own flows is its own affair."""
    whisper = Flow.load(COMMITTED["agent_whisper.json"], kind="agent_whisper")

    assert ACTIONS["log-on"].parameters == whisper.actions["log-on"].parameters == {"FlowLoggingBehavior": "Enabled"}
    assert "end" not in whisper.reachable(passing=lambda action: action.targets - {"log-on"})


def _from(start: str) -> set[str]:
    return replace(INBOUND, start=start).reachable()


# --- Nobody is dropped


def test_every_way_to_a_disconnect_has_said_goodbye() -> None:
    assert {name for name, action in ACTIONS.items() if "bye" in action.targets} == {"closed", "sorry"}


def test_nobody_hears_a_goodbye_before_the_fallback_queue_was_tried() -> None:
    tried = {name for name in names("UpdateContactTargetQueue") if "${FallbackQueueArn}" in str(ACTIONS[name])}

    assert tried == {"queue-fallback", "after-hours", "overflow"}
    assert not reached_without(*tried) & {"closed", "sorry", "bye"}


def test_whatever_fails_before_a_queue_is_chosen_leads_on_to_one() -> None:
    """Of every block that can fail, the way of the error comes to a transfer."""
    for name, action in ACTIONS.items():
        for error, target in action.errors.items():
            if not {"sorry", "closed", "bye"} & {target, name}:
                assert _from(target) & names("TransferContactToQueue"), f"{name} on {error}"


def test_a_closed_or_full_queue_leads_to_the_fallback_queue() -> None:
    assert ACTIONS["hours"].conditions["False"] == "after-hours"
    assert set(ACTIONS["transfer"].errors.values()) == {"overflow"}
    assert ACTIONS["overflow-hours"].conditions == {"True": "overflow-transfer", "False": "sorry"}


def test_context_that_is_lost_is_marked_and_the_caller_goes_on() -> None:
    assert ACTIONS["mark-missing"].parameters["Attributes"] == {"handover": "missing"}
    assert ACTIONS["mark-missing"].targets == {"queue-fallback"}


# --- What a configuration changes


def test_hooks_that_are_not_wanted_are_not_set() -> None:
    for whisper, guide in [(True, True), (True, False), (False, True), (False, False)]:
        made = flow.inbound(replace(CONFIG, agent_whisper=whisper, agent_guide=guide)).actions

        assert ("whisper" in made, "guide" in made) == (whisper, guide)


def test_a_centre_without_priorities_does_not_ask_for_them() -> None:
    made = flow.inbound(replace(CONFIG, priorities={})).actions

    assert "by-priority" not in made
    assert "by-queue" in made["whisper"].targets


def test_queues_of_ones_own_are_chosen_by_their_names() -> None:
    arn = "arn:aws:connect:eu-central-1:123456789012:instance/i/queue/q"
    made = flow.inbound(replace(CONFIG, queues={"sales": arn, "care": "${CareArn}"}, default_queue="care")).actions

    assert made["by-queue"].conditions == {"sales": "queue-sales", "care": "queue-care"}
    assert made["by-queue"].next_action == "queue-care"
    assert made["queue-sales"].parameters == {"QueueId": arn}
