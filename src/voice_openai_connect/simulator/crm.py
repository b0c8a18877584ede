"""HubSpot in the town: the CRM paths we use, over real HTTP, as strict and as awkward as the real one.

It checks the bearer token and scopes, keeps unique properties unique, lets its search index lag, counts calls
against the burst and search limits, and can be told to fail, to hang, or to do the work and then not say so.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self, cast
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voice_openai_connect.simulator.crm_store import Json, Portal, PortalError, Property, Record, timestamp
from voice_openai_connect.simulator.ports import free_port, listener
from voice_openai_connect.simulator.serving import QuietServer

VERSIONS: Final = ("2026-09", "2026-03")
TOKEN: Final = "pat-simulated"  # noqa: S105 - opens nothing but this
ALL_SCOPES: Final = frozenset(
    {
        "crm.objects.contacts.read",
        "crm.objects.contacts.write",
        "crm.objects.tickets.read",
        "crm.objects.tickets.write",
        "crm.schemas.contacts.write",
        "crm.schemas.tickets.write",
        "oauth",
    }
)
STOP_S: Final = 2
Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class _Fault:
    """What happens to the next request instead of, or after, the work."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    commit: bool = False
    hang: bool = False
    method: str = ""
    path: str = ""

    def concerns(self, request: Request) -> bool:
        return request.method == (self.method or request.method) and request.url.path.endswith(self.path)


class SimulatedCrm:
    """A HubSpot portal on 127.0.0.1: `async with SimulatedCrm() as crm`, then talk to `crm.base_url`.

    `clock` gives seconds since the epoch and drives the dates, the index lag and the limits. `index_lag_s` is how
    long a write stays invisible to searches. `contacts` and `tickets` are the records by id; `requests` is what
    was asked, as ``(method, path)``. `portal` holds the rules; it and the limits may be changed at any time.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        index_lag_s: float = 0.5,
        token: str = TOKEN,
        scopes: frozenset[str] = ALL_SCOPES,
        default_region: str | None = None,
    ) -> None:
        self.base_url = ""
        self.token = token
        self.scopes = scopes
        self.portal_id = 4_711
        self.ui_domain = "app.hubspot.com"
        self.searches_per_s = 5
        self.burst_per_10_s = 100
        self.requests: list[tuple[str, str]] = []
        self.hanging = asyncio.Event()
        """Set once a request hangs, with its work done if that was asked for."""
        self.portal = Portal(clock=clock, index_lag_s=index_lag_s, default_region=default_region)
        self._clock = clock
        self._faults: deque[_Fault] = deque()
        self._released = asyncio.Event()
        self._calls: deque[float] = deque()
        self._searches: deque[float] = deque()
        self._port = free_port()
        self._server: QuietServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._app = Starlette(routes=self._routes(), exception_handlers={404: _no_such_path})

    @property
    def contacts(self) -> dict[str, Record]:
        """The contacts by id."""
        return self.portal.records["contacts"]

    @property
    def tickets(self) -> dict[str, Record]:
        """The tickets by id."""
        return self.portal.records["tickets"]

    # --- Trouble, on request

    def fail_next(
        self, n: int = 1, *, status: int, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> None:
        """Answer the next `n` requests with `status`, without doing anything. A 429 comes with HubSpot's own body."""
        self._faults.extend(_Fault(status=status, headers=headers or {}, body=body) for _ in range(n))

    def hang(self, n: int = 1) -> None:
        """Do nothing and never answer the next `n` requests."""
        self._faults.extend(_Fault(hang=True) for _ in range(n))

    def commit_then_hang(self, n: int = 1, *, method: str = "", path: str = "") -> None:
        """Do the next `n` pieces of work, and never say so. With `method` or the end of a `path`, others go first."""
        self._faults.extend(_Fault(hang=True, commit=True, method=method, path=path) for _ in range(n))

    async def down(self) -> None:
        """Stop listening: connections are refused. What the portal knows stays."""
        server, self._server = self._server, None
        if server is None or self._serving is None:
            return
        self._released.set()
        server.stop()
        with suppress(asyncio.CancelledError):
            await self._serving

    async def up(self) -> None:
        """Listen again, at the same address."""
        self._released = asyncio.Event()
        sock = listener(self._port)
        self.base_url = f"http://127.0.0.1:{self._port}"
        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=STOP_S
        )
        self._server = QuietServer(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[sock]))

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.down()

    # --- The paths

    def _routes(self) -> list[Route]:
        objects, schema = "/crm/objects/{version}/{kind}", "/crm/properties/{version}/{kind}"
        table: list[tuple[str, str, Handler, str]] = [
            ("POST", f"{objects}/search", self._search, "crm.objects.{kind}.read"),
            ("GET", f"{objects}/{{id}}", self._read, "crm.objects.{kind}.read"),
            ("PATCH", f"{objects}/{{id}}", self._update, "crm.objects.{kind}.write"),
            ("GET", objects, self._list, "crm.objects.{kind}.read"),
            ("POST", objects, self._create, "crm.objects.{kind}.write"),
            (
                "PUT",
                f"{objects}/{{id}}/associations/default/{{other}}/{{other_id}}",
                self._associate,
                "crm.objects.{kind}.write",
            ),
            ("GET", f"{schema}/{{name}}", self._read_property, "crm.objects.{kind}.read"),
            ("GET", schema, self._list_properties, "crm.objects.{kind}.read"),
            ("POST", schema, self._add_property, "crm.schemas.{kind}.write"),
            ("GET", "/crm/pipelines/{version}/{kind}", self._list_pipelines, "crm.objects.{kind}.read"),
            ("GET", "/account-info/{version}/details", self._details, "oauth"),
        ]
        return [Route(path, self._guarded(handler, scope), methods=[method]) for method, path, handler, scope in table]

    def _guarded(self, handler: Handler, scope: str) -> Handler:
        """Everything that stands before and after the work: faults, the token, the scope, the limits."""

        async def guarded(request: Request) -> Response:
            self.requests.append((request.method, request.url.path))
            fault = self._faults.popleft() if self._faults and self._faults[0].concerns(request) else _Fault()
            if fault.hang and not fault.commit:
                return await self._never(request)
            if fault.status:
                return _failure(fault)
            try:
                self._check(request, scope)
                response = await handler(request)
            except PortalError as error:
                response = _reply(error.body, error.status)
            if fault.hang:
                return await self._never(request)
            return response

        return guarded

    async def _never(self, request: Request) -> Response:
        """Hang until the server goes down or the client gives up."""
        self.hanging.set()
        gone = asyncio.ensure_future(self._until_gone(request))
        released = asyncio.ensure_future(self._released.wait())
        _, pending = await asyncio.wait({gone, released}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return Response(status_code=504)

    @staticmethod
    async def _until_gone(request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    def _check(self, request: Request, scope: str) -> None:
        kind = _kind(request.path_params.get("kind", ""))
        if request.path_params["version"] not in VERSIONS or (
            "kind" in request.path_params and kind not in self.portal.records
        ):
            raise PortalError(404, "OBJECT_NOT_FOUND", "resource not found")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            message = "Authentication credentials not found or not valid."
            raise PortalError(401, "INVALID_AUTHENTICATION", message)
        needed = scope.format(kind=kind)
        if needed not in self.scopes:
            errors = [{"message": "missing scope", "context": {"requiredGranularScopes": [needed]}}]
            message = "This app hasn't been granted all required scopes to make this call."
            raise PortalError(403, "MISSING_SCOPES", message, errors=errors)
        self._count(self._calls, self.burst_per_10_s, 10.0, "TEN_SECONDLY_ROLLING")
        if request.url.path.endswith("/search"):
            self._count(self._searches, self.searches_per_s, 1.0, "SECONDLY")

    def _count(self, calls: deque[float], limit: int, window_s: float, policy: str) -> None:
        now = self._clock()
        while calls and calls[0] <= now - window_s:
            calls.popleft()
        if len(calls) >= limit:
            message = f"You have reached your {policy.lower()} limit."
            raise PortalError(429, "RATE_LIMITS", message, errorType="RATE_LIMIT", policyName=policy)
        calls.append(now)

    # --- The work

    async def _create(self, request: Request) -> Response:
        kind = _kind(request.path_params["kind"])
        return _reply(_written(self.portal.create(kind, await _body(request))), 201)

    async def _read(self, request: Request) -> Response:
        record = self._found(request)
        return _reply(_shown(record, request.query_params.getlist("properties")), 200)

    async def _update(self, request: Request) -> Response:
        kind, record = _kind(request.path_params["kind"]), self._found(request)
        return _reply(_written(self.portal.update(kind, record, await _body(request))), 200)

    def _found(self, request: Request) -> Record:
        """The record that the path names. A bare plus sign in a path is read as a space, as many servers do."""
        kind, name = _kind(request.path_params["kind"]), request.path_params["id"]
        if b"+" in request.scope.get("raw_path", b""):
            name = name.replace("+", " ")
        return self.portal.get(kind, name, request.query_params.get("idProperty"))

    async def _list(self, request: Request) -> Response:
        limit = int(request.query_params.get("limit", "10"))
        records = list(self.portal.records[_kind(request.path_params["kind"])].values())[:limit]
        return _reply({"results": [_shown(r, request.query_params.getlist("properties")) for r in records]}, 200)

    async def _search(self, request: Request) -> Response:
        asked = await _body(request)
        found = self.portal.search(_kind(request.path_params["kind"]), asked)
        page = found[: int(asked.get("limit") or 10)]
        return _reply({"total": len(found), "results": [_shown(r, asked.get("properties") or []) for r in page]}, 200)

    async def _associate(self, request: Request) -> Response:
        p = request.path_params
        self.portal.associate(_kind(p["kind"]), p["id"], _kind(p["other"]), p["other_id"])
        return _reply({"status": "COMPLETE", "results": []}, 200)

    async def _read_property(self, request: Request) -> Response:
        known = self.portal.properties[_kind(request.path_params["kind"])].get(request.path_params["name"])
        if known is None:
            raise PortalError(404, "OBJECT_NOT_FOUND", "property does not exist")
        return _reply(_property(known), 200)

    async def _list_properties(self, request: Request) -> Response:
        known = self.portal.properties[_kind(request.path_params["kind"])].values()
        return _reply({"results": [_property(p) for p in known]}, 200)

    async def _add_property(self, request: Request) -> Response:
        made = self.portal.add_property(_kind(request.path_params["kind"]), await _body(request))
        return _reply(_property(made), 201)

    async def _list_pipelines(self, _: Request) -> Response:
        return _reply({"results": [_pipeline(name, stages) for name, stages in self.portal.pipelines.items()]}, 200)

    async def _details(self, _: Request) -> Response:
        details: Json = {
            "portalId": self.portal_id,
            "uiDomain": self.ui_domain,
            "accountType": "DEVELOPER_TEST",
            "timeZone": "Australia/Sydney",
            "companyCurrency": "AUD",
            "additionalCurrencies": [],
            "utcOffset": "+10:00",
            "utcOffsetMilliseconds": 36_000_000,
            "dataHostingLocation": "na1",
        }
        return _reply(details, 200)


def _kind(name: str) -> str:
    """Paths take the object type in the singular or the plural."""
    return {"contact": "contacts", "ticket": "tickets"}.get(name, name)


async def _body(request: Request) -> Json:
    try:
        body: object = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise PortalError(400, "VALIDATION_ERROR", "Invalid input JSON")
    return cast("Json", body)


def _reply(body: Json, status: int) -> Response:
    correlation = str(uuid4())
    if status >= 400:
        body = {**body, "correlationId": correlation}
    return JSONResponse(body, status, {"X-HubSpot-Correlation-Id": correlation})


def _failure(fault: _Fault) -> Response:
    if fault.body is not None:
        return Response(fault.body, fault.status, fault.headers, media_type="application/json")
    body: Json = {"status": "error", "message": "simulated failure", "category": "INTERNAL_ERROR"}
    if fault.status == 429:
        message, more = "You have reached your secondly limit.", {"errorType": "RATE_LIMIT", "policyName": "SECONDLY"}
        body = {"status": "error", "message": message, **more}
    response = _reply(body, fault.status)
    response.headers.update(fault.headers)
    return response


async def _no_such_path(_: Request, __: Exception) -> Response:
    return _reply({"status": "error", "message": "no such path", "category": "OBJECT_NOT_FOUND"}, 404)


def _shown(record: Record, wanted: list[str]) -> Json:
    """A record as a read or a search shows it: the default properties, and those asked for."""
    names = {"createdate", "hs_object_id", *(name for part in wanted for name in part.split(","))}
    return _object(record, {n: v for n, v in record.properties.items() if n in names})


def _written(record: Record) -> Json:
    """A record as a write answers with it: all of it."""
    return _object(record, record.properties)


def _object(record: Record, properties: dict[str, str]) -> Json:
    dates = {"createdAt": timestamp(record.created), "updatedAt": timestamp(record.updated)}
    return {"id": record.id, "properties": properties, **dates, "archived": False}


def _property(known: Property) -> Json:
    return {
        "name": known.name,
        "label": known.label,
        "type": known.kind,
        "fieldType": known.field_type,
        "groupName": known.group,
        "description": known.description,
        "hasUniqueValue": known.unique,
        "options": [
            {"label": o.title(), "value": o, "displayOrder": i, "hidden": False, "description": ""}
            for i, o in enumerate(known.options)
        ],
    }


def _pipeline(name: str, stages: dict[str, str]) -> Json:
    dates = {"createdAt": timestamp(0), "updatedAt": timestamp(0), "archived": False}
    return {
        "id": name,
        "label": f"Pipeline {name}",
        "displayOrder": 0,
        **dates,
        "stages": [
            {
                "id": stage,
                "label": f"Stage {stage}",
                "displayOrder": i,
                "metadata": {"ticketState": state},
                "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
                **dates,
            }
            for i, (stage, state) in enumerate(stages.items())
        ],
    }
