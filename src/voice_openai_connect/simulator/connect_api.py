"""Amazon Connect's own API, as far as we ask it: numbers and flows for the setup, and who is at which queue.

Requests are held against AWS's service model, the same that the clients are made from: the method, the path, the
members of body and query, their types and bounds. Anything else is refused, as the service would.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, cast

from botocore.model import OperationModel
from botocore.session import get_session
from botocore.validate import ParamValidator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voice_openai_connect.simulator.serving import serving

_STATUSES: Final = {"ThrottlingException": 429, "TooManyRequestsException": 429, "InternalServiceException": 500}
"""Of the errors that are no refusal of who asks."""
PAGE: Final = 2
"""Entries of a page, so that even a short list has more than one."""


class _RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = JSONResponse({"Message": message}, status, {"x-amzn-ErrorType": code})


@dataclass
class SimulatedQueue:
    """One queue, with hours of operation of its own. Open around the clock unless `hours` says otherwise."""

    name: str
    staffed: int | None = 1
    """None: Connect has no figures for it."""
    hours: dict[str, list[tuple[str, str]]] | None = None
    """Opening and closing ("09:00") by date ("2026-11-23"), overrides applied; a date that is missing is closed."""
    time_zone: str = "Australia/Sydney"

    def on(self, day: date) -> dict[str, Any]:
        """What `GetEffectiveHoursOfOperations` says about a day."""
        whole = [("00:00", "00:00")]
        spans = whole if self.hours is None else self.hours.get(day.isoformat(), [])
        return {
            "Date": day.isoformat(),
            "OperationalHours": [{"Start": _slice(begin), "End": _slice(end)} for begin, end in spans],
        }


def _slice(clock: str) -> dict[str, int]:
    hours, minutes = clock.split(":")
    return {"Hours": int(hours), "Minutes": int(minutes)}


@dataclass
class SimulatedConnectApi:
    """One instance. `numbers` and `flows` are ids by number and by name; `leads_to` is where each number leads."""

    instance_id: str
    numbers: dict[str, str] = field(default_factory=dict[str, str])
    flows: dict[str, str] = field(default_factory=dict[str, str])
    leads_to: dict[str, str] = field(default_factory=dict[str, str])
    queues: list[SimulatedQueue] = field(default_factory=list[SimulatedQueue])
    denies: str = ""
    """An error's code that every request gets."""
    asked: Counter[str] = field(default_factory=Counter[str])
    """How often each operation was asked for, the denied ones included."""

    def __post_init__(self) -> None:
        model = cast("Any", get_session()).get_service_model("connect")
        self._answers = {
            "ListPhoneNumbersV2": self._list_numbers,
            "ListContactFlows": self._list_flows,
            "AssociatePhoneNumberContactFlow": self._associate,
            "ListQueues": self._list_queues,
            "DescribeQueue": self._describe_queue,
            "GetEffectiveHoursOfOperations": self._effective_hours,
            "GetCurrentMetricData": self._current_metrics,
        }
        self._operations: list[OperationModel] = [model.operation_model(name) for name in self._answers]

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        """Serve while the block lasts, at the address given."""
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "PUT", "POST", "DELETE"])])
        async with serving(app) as address:
            yield address

    async def _answer(self, request: Request) -> Response:
        try:
            operation, in_path = self._operation(request)
            asked = _members(operation, in_path, request, json.loads(await request.body() or b"{}"))
            return JSONResponse(self._answers[operation.name](asked))
        except _RefusedError as refused:
            return refused.answer

    def _operation(self, request: Request) -> tuple[OperationModel, dict[str, str]]:
        for operation in self._operations:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.http["requestUri"])
            if request.method == operation.http["method"] and (match := re.fullmatch(pattern, request.url.path)):
                self.asked[operation.name] += 1
                if self.denies:
                    raise _RefusedError(_STATUSES.get(self.denies, 403), self.denies, "no")
                return operation, match.groupdict()
        raise _RefusedError(404, "UnknownOperationException", f"{request.method} {request.url.path}")

    # --- what it does

    def _list_numbers(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._check_instance(asked["InstanceId"])
        entries = [{"PhoneNumber": number, "PhoneNumberId": id_} for number, id_ in self.numbers.items()]
        return _page(entries, "ListPhoneNumbersSummaryList", asked)

    def _list_flows(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._check_instance(asked["InstanceId"])
        arn = f"arn:aws:connect:ap-southeast-2:123456789012:instance/{self.instance_id}/contact-flow/"
        entries = [{"Id": id_, "Arn": arn + id_, "Name": name} for name, id_ in self.flows.items()]
        return _page(entries, "ContactFlowSummaryList", asked)

    def _associate(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._check_instance(asked["InstanceId"])
        if asked["PhoneNumberId"] not in self.numbers.values() or asked["ContactFlowId"] not in self.flows.values():
            raise _RefusedError(404, "ResourceNotFoundException", "no such number or flow")
        self.leads_to[asked["PhoneNumberId"]] = asked["ContactFlowId"]
        return {}

    def _list_queues(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._check_instance(asked["InstanceId"])
        entries = [
            {"Id": f"queue-{number}", "Arn": self._queue_arn(number), "Name": queue.name, "QueueType": "STANDARD"}
            for number, queue in enumerate(self.queues)
        ]
        return _page(entries, "QueueSummaryList", asked)

    def _describe_queue(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._check_instance(asked["InstanceId"])
        number = self._number(asked["QueueId"], "queue-")
        hours = {"HoursOfOperationId": f"hours-{number}", "Status": "ENABLED"}
        return {"Queue": {"QueueId": f"queue-{number}", "Name": self.queues[number].name, **hours}}

    def _effective_hours(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._check_instance(asked["InstanceId"])
        queue = self.queues[self._number(asked["HoursOfOperationId"], "hours-")]
        first, last = date.fromisoformat(asked["FromDate"]), date.fromisoformat(asked["ToDate"])
        if last < first:
            raise _RefusedError(400, "InvalidParameterException", "ToDate lies before FromDate")
        days = [queue.on(first + timedelta(days=more)) for more in range((last - first).days + 1)]
        return {"EffectiveHoursOfOperationList": days, "TimeZone": queue.time_zone}

    def _current_metrics(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Only what is asked for in the way that Connect wants it: by queue, and with a unit that fits."""
        self._check_instance(asked["InstanceId"])
        metrics, wanted = asked["CurrentMetrics"], asked["Filters"].get("Queues", [])
        if not wanted or asked.get("Groupings") != ["QUEUE"] or any(each["Unit"] != "COUNT" for each in metrics):
            raise _RefusedError(400, "InvalidParameterException", "queues, grouped by QUEUE, and counts")
        numbers = [self._number(each, "queue-") for each in wanted]
        results = [
            {
                "Dimensions": {"Queue": {"Id": f"queue-{number}", "Arn": self._queue_arn(number)}},
                "Collections": [{"Metric": each, "Value": float(self.queues[number].staffed or 0)} for each in metrics],
            }
            for number in numbers
            if self.queues[number].staffed is not None
        ]
        return {"MetricResults": results, "ApproximateTotalCount": len(results)}

    def _number(self, id_: str, kind: str) -> int:
        known = {f"{kind}{number}": number for number in range(len(self.queues))}
        if id_ not in known:
            raise _RefusedError(404, "ResourceNotFoundException", "no such queue or hours of operation")
        return known[id_]

    def _queue_arn(self, number: int) -> str:
        return f"arn:aws:connect:ap-southeast-2:123456789012:instance/{self.instance_id}/queue/queue-{number}"

    def _check_instance(self, instance_id: str) -> None:
        if instance_id != self.instance_id:
            raise _RefusedError(404, "ResourceNotFoundException", "no such instance")


def _members(
    operation: OperationModel, in_path: Mapping[str, str], request: Request, body: Mapping[str, Any]
) -> dict[str, Any]:
    """The request's members by their names in the model. Refuses what the model does not have, or has otherwise."""
    members = cast("Any", operation.input_shape).members
    in_query = {
        name: shape.serialization["name"]
        for name, shape in members.items()
        if shape.serialization.get("location") == "querystring"
    }
    unknown = {*request.query_params} - {*in_query.values()} | {*body} - {*members}
    if unknown:
        raise _RefusedError(400, "InvalidParameterException", f"unknown: {', '.join(sorted(unknown))}")
    asked = {**body, **in_path}
    for name, wire in in_query.items():
        given = request.query_params.getlist(wire)
        if given:
            asked[name] = _typed(members[name].type_name, given)
    report = cast("Any", ParamValidator()).validate(asked, operation.input_shape)
    if report.has_errors():
        raise _RefusedError(400, "InvalidParameterException", report.generate_report())
    for name, value in asked.items():
        _check_values(members[name], value)
    return asked


def _check_values(shape: Any, value: Any) -> None:
    """Refuse a value that is above its shape's bound, not in its list or not of its pattern: botocore looks at none."""
    size = value if shape.type_name == "integer" else len(value)
    if size > shape.metadata.get("max", size):
        raise _RefusedError(400, "InvalidParameterException", f"{shape.name} is more than {shape.metadata['max']}")
    if shape.type_name == "structure":
        for name, each in value.items():
            _check_values(shape.members[name], each)
    elif shape.type_name == "list":
        for each in value:
            _check_values(shape.member, each)
    elif shape.type_name == "string":
        pattern = shape.metadata.get("pattern")
        if (shape.enum and value not in shape.enum) or (pattern and not re.search(pattern, value)):
            raise _RefusedError(400, "InvalidParameterException", f"{shape.name} cannot be {value}")


def _typed(kind: str, given: list[str]) -> object:
    if kind == "list":
        return given
    return int(given[0]) if kind == "integer" else given[0]


def _page(entries: list[dict[str, str]], member: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    begin = int(asked.get("NextToken", "0"))
    rest = {"NextToken": str(begin + PAGE)} if begin + PAGE < len(entries) else {}
    return {member: entries[begin : begin + PAGE], **rest}
