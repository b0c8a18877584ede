"""What a call is told about itself cannot change under it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest


def test_settings_and_identity_are_frozen(make_line: Callable[..., Any]) -> None:
    call = make_line().call
    for part in (call.settings, call.identity, call.settings.default_intent):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, dataclasses.fields(part)[0].name, "x")
