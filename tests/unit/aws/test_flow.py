"""The contact flow: the JSON is what the code renders, Connect would publish it, and its names agree everywhere."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from voice_openai_connect.simulator import agent_screen
from voice_openai_connect.simulator.contact_flow_rules import Flow

AWS = Path(__file__).parents[3] / "aws"


def module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"aws_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


flow = module(AWS / "contact_flow" / "flow.py")
COMMITTED: str = (AWS / "contact_flow" / "inbound_handover.json").read_text(encoding="utf-8")
PUBLISHED = Flow.load(COMMITTED)


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    return module(AWS / "connect_lambda" / "handler.py")


def parameters(kind: str) -> list[dict[str, Any]]:
    return [action.parameters for action in PUBLISHED.actions.values() if action.type == kind]


def test_the_committed_json_is_what_the_code_renders() -> None:
    assert flow.render() == COMMITTED, "run: python aws/contact_flow/flow.py"


def test_nothing_but_names_to_fill_in_stands_for_resources() -> None:
    assert "arn:" not in COMMITTED
    assert set(re.findall(r"\$\{(\w+)\}", COMMITTED)) == {
        "LambdaArn",
        "PriorityQueueArn",
        "EscalationQueueArn",
        "FallbackQueueArn",
    }


def test_lambda_flow_and_agent_screen_mean_the_same_keys(handler: Any) -> None:
    set_by_flow = {key for attributes in parameters("UpdateContactAttributes") for key in attributes["Attributes"]}

    assert set(flow.RECORD_KEYS) == set(handler.RECORD_KEYS)
    assert set_by_flow == {*handler.RECORD_KEYS, "handover"} == set(agent_screen.ATTRIBUTES_SHOWN)


def test_everything_the_flow_reads_from_the_lambda_is_something_it_returns(handler: Any) -> None:
    read = set(re.findall(r"\$\.External\.(\w+)", COMMITTED))

    assert read == set(handler.lambda_handler({}, None))


def test_the_lambda_is_asked_with_the_parameter_it_reads() -> None:
    (invocation,) = parameters("InvokeLambdaFunction")

    assert invocation["LambdaInvocationAttributes"] == {"token": "$.StoredCustomerInput"}


def test_the_flow_listens_before_it_says_anything() -> None:
    """Digits sent while a prompt plays that may not be interrupted would be lost on an instance without the buffer."""
    first = list(PUBLISHED.actions)[: list(PUBLISHED.actions).index("listen")]

    assert [PUBLISHED.actions[name].type for name in first] == [
        "UpdateFlowLoggingBehavior",
        "GetParticipantInput",
        "Loop",
    ]


def test_an_entry_is_one_longer_than_a_token_so_that_its_terminator_is_not_left_over() -> None:
    (listen,) = [found for found in parameters("GetParticipantInput") if "StoreInput" in found]

    assert listen["InputValidation"]["CustomValidation"]["MaximumLength"] == "11"


def test_every_way_to_a_disconnect_has_said_goodbye_and_tried_a_queue() -> None:
    """From the start, without ever choosing a queue, one can only reach the end through the failing fallback queue."""
    queueing = {"UpdateContactTargetQueue", "DisconnectParticipant"}
    seen: set[str] = set()
    ahead = {PUBLISHED.start}
    while ahead:
        seen |= ahead
        onward = {name for name in ahead if PUBLISHED.actions[name].type not in queueing}
        ahead = {target for name in onward for target in PUBLISHED.actions[name].targets} - seen

    assert "bye" not in seen
    assert {name for name, action in PUBLISHED.actions.items() if "bye" in action.targets} == {"closed", "sorry"}


def test_logging_is_off_from_the_first_block_until_the_queue_is_chosen() -> None:
    assert PUBLISHED.start == "log-off"
    before = [name for name, action in PUBLISHED.actions.items() if "log-on" in action.targets]
    assert {PUBLISHED.actions[name].type for name in before} == {"UpdateContactTargetQueue"}


def test_the_json_is_plain_and_small() -> None:
    assert COMMITTED.isascii()
    assert len(json.dumps(json.loads(COMMITTED))) < 256_000
