"""The real integrations have the shapes that the gateway asks for, although they do not import them."""

import inspect
from typing import Any

import pytest

from voice_openai_connect.call.model_settings import ToolSpec
from voice_openai_connect.call.settings import CallIdentity
from voice_openai_connect.gateway.outbox import CrmOutbox
from voice_openai_connect.gateway.ports import CallObserver, Crm, HandoverStore, ModelLeg, Outbox, OutboxShelf, Tool
from voice_openai_connect.integrations.dynamo_outbox import DynamoOutbox
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.integrations.openai_client import RealtimeLeg
from voice_openai_connect.metrics import Metrics
from voice_openai_connect.observers import CallWatch
from voice_openai_connect.own_tools import OwnTool

PORTS = [
    (ModelLeg, RealtimeLeg),
    (HandoverStore, DynamoRepository),
    (Crm, HubSpotClient),
    (Outbox, CrmOutbox),
    (OutboxShelf, DynamoOutbox),
    (CallObserver, CallWatch),
]


def fits(leg: RealtimeLeg, table: DynamoRepository, hubspot: HubSpotClient, outbox: CrmOutbox, own: OwnTool) -> None:
    """Never called: the type checker reads it, and refuses the whole check if one of them does not fit."""
    identity = CallIdentity("CA", "conv", "ho", "", "")
    _model: ModelLeg = leg
    _store: HandoverStore = table
    _crm: Crm = hubspot
    _outbox: Outbox = outbox
    _shelf: OutboxShelf = table.outbox
    _tool: Tool = own
    _observer: CallObserver = CallWatch(identity, Metrics())
    _spec: ToolSpec = own.spec


def methods(port: type[Any]) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(member)
        for name, member in vars(port).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


@pytest.mark.parametrize(("port", "kind"), PORTS, ids=lambda each: each.__name__)
def test_an_integration_has_every_method_of_its_port_with_the_same_parameters(port: type[Any], kind: type[Any]) -> None:
    wanted = methods(port)
    assert wanted
    for name, signature in wanted.items():
        had = inspect.signature(getattr(kind, name))
        assert [(p.name, p.kind) for p in had.parameters.values()] == [
            (p.name, p.kind) for p in signature.parameters.values()
        ], name


@pytest.mark.parametrize(("port", "kind"), PORTS, ids=lambda each: each.__name__)
def test_what_a_port_awaits_can_be_awaited(port: type[Any], kind: type[Any]) -> None:
    for name, method in vars(port).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            assert inspect.iscoroutinefunction(getattr(kind, name)) == inspect.iscoroutinefunction(method), name
