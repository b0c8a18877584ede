"""Sessions of AWS's client library, which share what it reads from disk."""

from functools import cache
from typing import Any, cast

from aiobotocore.session import get_session
from botocore.loaders import create_loader


def aws_session() -> Any:
    """A session of its own, with the ordinary chain of credentials. What makes clients of AWS's services.

    Their descriptions are read and parsed once a process (a tenth of a second for each client otherwise).
    Any, because its stubs know one service by name, and 400 others as unknown.
    """
    session = cast("Any", get_session())
    session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
    return session


@cache
def _descriptions(search_path: str | None) -> Any:
    return create_loader(search_path)
