"""What a task on ECS can ask about itself: its own address, and what the load balancer does with it.

The balancer's API holds requests against AWS's service model, the same that clients are made from, and refuses what
is not in it, as the service would.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.session import get_session
from botocore.validate import ParamValidator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voice_openai_connect.simulator.serving import serving

TARGET_GROUP: Final = (
    "arn:aws:elasticloadbalancing:ap-southeast-2:123456789012:targetgroup/voice-tasks/0123456789abcdef"
)
METADATA_PATH: Final = "/v4/5a1b"
"""Where the task asks about itself: `ECS_CONTAINER_METADATA_URI_V4` is the address served, and this."""
_ACTION: Final = "DescribeTargetHealth"
_DENIED: Final = frozenset({"AccessDenied", "InvalidClientTokenId"})


class _RefusedError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class SimulatedEcs:
    """One task with this address, and the target group it is registered in."""

    port: int
    state: str = "healthy"
    """Of the task as a target."""
    address: str = "10.0.12.34"
    denies: str = ""
    """An error's code that every question to the balancer gets."""
    asked: int = 0
    """Questions to the balancer, the denied ones included."""
    metadata_asked: int = 0

    def __post_init__(self) -> None:
        self._model = cast("Any", get_session()).get_service_model("elbv2")
        self._states = self._model.shape_for("TargetHealthStateEnum").enum

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        """Serve while the block lasts, at the address given."""
        routes = [
            Route("/", self._answer, methods=["POST"]),
            Route(f"{METADATA_PATH}/task", self._describe_task, methods=["GET"]),
        ]
        async with serving(Starlette(routes=routes)) as address:
            yield address

    async def _describe_task(self, _: Request) -> Response:
        self.metadata_asked += 1
        network = {"NetworkMode": "awsvpc", "IPv4Addresses": [self.address]}
        containers = [{"Name": name, "Networks": [network]} for name in ("gateway", "another")]
        return JSONResponse({"Family": "voice", "Revision": "1", "LaunchType": "FARGATE", "Containers": containers})

    async def _answer(self, request: Request) -> Response:
        self.asked += 1
        try:
            asked = self._read(request.headers.get("authorization", ""), await request.body())
            return self._xml(f"{_ACTION}Response", f"<{_ACTION}Result>{self._health(asked)}</{_ACTION}Result>")
        except _RefusedError as refused:
            why = f"<Code>{refused.code}</Code><Message>{escape(str(refused))}</Message>"
            return self._xml("ErrorResponse", f"<Error>{why}</Error>", 403 if refused.code in _DENIED else 400)

    def _read(self, authorization: str, body: bytes) -> dict[str, Any]:
        """What was asked, by its names in the model."""
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        if "/elasticloadbalancing/aws4_request" not in authorization:
            raise _RefusedError("InvalidClientTokenId", "not signed for this service")
        if (form.pop("Action", ""), form.pop("Version", "")) != (_ACTION, self._model.api_version):
            raise _RefusedError("InvalidAction", "no such action in this version")
        shape = self._model.operation_model(_ACTION).input_shape
        asked: dict[str, Any] = _value(shape, form, "") or {}
        if form:
            raise _RefusedError("ValidationError", f"unknown: {', '.join(sorted(form))}")
        report = cast("Any", ParamValidator()).validate(asked, shape)
        if report.has_errors():
            raise _RefusedError("ValidationError", report.generate_report())
        if self.denies:
            raise _RefusedError(self.denies, "no")
        return asked

    def _health(self, asked: dict[str, Any]) -> str:
        if asked["TargetGroupArn"] != TARGET_GROUP:
            raise _RefusedError("TargetGroupNotFound", "no such target group")
        targets = asked.get("Targets", [{"Id": self.address, "Port": self.port}])
        members = "".join(f"<member>{self._target(**each)}</member>" for each in targets)
        return f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"

    def _target(self, Id: str, Port: int) -> str:  # noqa: N803 - as AWS names them
        own = (Id, Port) == (self.address, self.port)
        state = self.state if own else "unused"
        assert state in self._states, state  # noqa: S101 - a mistake of the test's
        reason = "" if own else "<Reason>Target.NotRegistered</Reason>"
        target = f"<Target><Id>{escape(Id)}</Id><Port>{Port}</Port></Target>"
        return f"{target}<TargetHealth><State>{state}</State>{reason}</TargetHealth>"

    def _xml(self, name: str, inside: str, status: int = 200) -> Response:
        namespace = self._model.metadata["xmlNamespace"]
        return Response(f'<{name} xmlns="{namespace}">{inside}</{name}>', status, media_type="text/xml")


def _value(shape: Any, form: dict[str, str], name: str) -> Any:
    """The value of this shape from a form as AWS's query protocol writes it; what was read is taken out of the form."""
    match shape.type_name:
        case "structure":
            inner = {each: _value(of, form, f"{name}.{each}".lstrip(".")) for each, of in shape.members.items()}
            return {each: value for each, value in inner.items() if value is not None} or None
        case "list":
            found: list[Any] = []
            while (each := _value(shape.member, form, f"{name}.member.{len(found) + 1}")) is not None:
                found.append(each)
            return found or None
        case "integer":
            return int(text) if (text := form.pop(name, None)) is not None else None
        case _:
            return form.pop(name, None)
