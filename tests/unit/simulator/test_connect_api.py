"""The simulated API of Amazon Connect refuses what AWS's own service model does not have."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from voice_openai_connect.simulator.connect_api import SimulatedConnectApi, SimulatedQueue

INSTANCE = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    flows = {"one": "flow-1", "two": "flow-2", "three": "flow-3"}
    api = SimulatedConnectApi(
        INSTANCE, numbers={"+61255505678": "number-1"}, flows=flows, queues=[SimulatedQueue("escalation", staffed=2)]
    )
    async with api.serving() as address, httpx2.AsyncClient(base_url=address) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/phone-numbers/list", {}),
        ("GET", "/phone-number/list", {}),
        ("PUT", "/phone-number/number-1/flow", {}),
    ],
)
async def test_an_operation_that_connect_does_not_have_is_unknown(
    http: httpx2.AsyncClient, method: str, path: str, body: dict[str, str]
) -> None:
    answer = await http.request(method, path, json=body)

    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"InstanceId": INSTANCE, "ContactFlowId": "flow-1", "FlowId": "flow-1"}, "unknown: FlowId"),
        ({"InstanceId": INSTANCE}, "Missing required parameter"),
        ({"InstanceId": INSTANCE, "ContactFlowId": 7}, "Invalid type"),
    ],
)
async def test_a_request_is_as_the_service_model_has_it(
    http: httpx2.AsyncClient, body: dict[str, object], complaint: str
) -> None:
    answer = await http.put("/phone-number/number-1/contact-flow", json=body)

    assert answer.status_code == 400
    assert complaint in answer.json()["Message"]


async def test_a_list_comes_in_pages(http: httpx2.AsyncClient) -> None:
    path = f"/contact-flows-summary/{INSTANCE}?contactFlowTypes=CONTACT_FLOW"
    first = (await http.get(path)).json()
    rest = (await http.get(f"{path}&nextToken={first['NextToken']}")).json()

    assert [flow["Name"] for page in (first, rest) for flow in page["ContactFlowSummaryList"]] == [
        "one",
        "two",
        "three",
    ]
    assert "NextToken" not in rest


STAFFED = {"Name": "AGENTS_STAFFED", "Unit": "COUNT"}
QUESTION = {
    "Filters": {"Queues": ["queue-0"], "Channels": ["VOICE"]},
    "Groupings": ["QUEUE"],
    "CurrentMetrics": [STAFFED],
}


async def test_figures_come_by_queue(http: httpx2.AsyncClient) -> None:
    (result,) = (await http.post(f"/metrics/current/{INSTANCE}", json=QUESTION)).json()["MetricResults"]

    assert result["Dimensions"]["Queue"]["Id"] == "queue-0"
    assert result["Collections"] == [{"Metric": STAFFED, "Value": 2.0}]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"CurrentMetrics": [{"Name": "STAFFED", "Unit": "COUNT"}]}, 400),
        ({"CurrentMetrics": [{"Name": "AGENTS_STAFFED", "Unit": "SECONDS"}]}, 400),
        ({"Groupings": ["QUEUES"]}, 400),
        ({"Groupings": []}, 400),
        ({"Filters": {"Queues": []}}, 400),
        ({"Filters": {"Queues": ["queue-0"], "Channels": ["PHONE"]}}, 400),
        ({"Filters": {"Queues": ["queue-9"]}}, 404),
        ({"MaxResults": 101}, 400),
    ],
)
async def test_figures_are_asked_for_as_connect_wants_it(
    http: httpx2.AsyncClient, change: dict[str, object], status: int
) -> None:
    assert (await http.post(f"/metrics/current/{INSTANCE}", json={**QUESTION, **change})).status_code == status


@pytest.mark.parametrize(
    ("first", "last", "status"),
    [("2026-11-22", "2026-11-24", 200), ("2026-11-24", "2026-11-22", 400), ("22.11.2026", "2026-11-24", 400)],
)
async def test_hours_are_asked_for_by_days(http: httpx2.AsyncClient, first: str, last: str, status: int) -> None:
    path = f"/effective-hours-of-operations/{INSTANCE}/hours-0?fromDate={first}&toDate={last}"

    assert (await http.get(path)).status_code == status


async def test_another_instance_has_no_queues(http: httpx2.AsyncClient) -> None:
    assert (await http.get(f"/queues-summary/{INSTANCE.replace('1', '9')}")).status_code == 404
