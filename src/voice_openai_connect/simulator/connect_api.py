"""Amazon Connect's own API, as far as the setup needs it: numbers, flows, and which number leads where.

Requests are held against AWS's service model, the same that the clients are made from: the method, the path, the
members of body and query, their types and bounds. Anything else is refused, as the service would.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

from botocore.model import OperationModel
from botocore.session import get_session
from botocore.validate import ParamValidator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voice_openai_connect.simulator.serving import serving

PAGE: Final = 2
"""Entries of a page, so that even a short list has more than one."""


class _RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = JSONResponse({"Message": message}, status, {"x-amzn-ErrorType": code})


@dataclass
class SimulatedConnectApi:
    """One instance. `numbers` and `flows` are ids by number and by name; `leads_to` is where each number leads."""

    instance_id: str
    numbers: dict[str, str] = field(default_factory=dict[str, str])
    flows: dict[str, str] = field(default_factory=dict[str, str])
    leads_to: dict[str, str] = field(default_factory=dict[str, str])
    denies: str = ""
    """An error's code that every request gets."""

    def __post_init__(self) -> None:
        model = cast("Any", get_session()).get_service_model("connect")
        self._answers = {
            "ListPhoneNumbersV2": self._list_numbers,
            "ListContactFlows": self._list_flows,
            "AssociatePhoneNumberContactFlow": self._associate,
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
        if self.denies:
            raise _RefusedError(403, self.denies, "no")
        for operation in self._operations:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.http["requestUri"])
            if request.method == operation.http["method"] and (match := re.fullmatch(pattern, request.url.path)):
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
    return asked


def _typed(kind: str, given: list[str]) -> object:
    if kind == "list":
        return given
    return int(given[0]) if kind == "integer" else given[0]


def _page(entries: list[dict[str, str]], member: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    begin = int(asked.get("NextToken", "0"))
    rest = {"NextToken": str(begin + PAGE)} if begin + PAGE < len(entries) else {}
    return {member: entries[begin : begin + PAGE], **rest}
