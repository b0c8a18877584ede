"""Sessions of AWS's client library, which share what it reads from disk."""

from functools import cache
from typing import Any, cast

from aiobotocore.session import get_session
from botocore.loaders import create_loader

from voice_openai_connect.integrations.aws_keys import HeldCredentials


def aws_session() -> Any:
    """A session of its own, with the ordinary chain of credentials. What makes clients of AWS's services.

    Making a client asks nobody for credentials; its first request does. They are renewed beside the requests.
    Their descriptions are read and parsed once a process (a tenth of a second for each client otherwise).
    Any, because its stubs know one service by name, and 400 others as unknown.
    """
    session = cast("Any", get_session())
    session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
    session.register_component("credential_provider", _Chain(session.get_component("credential_provider")))
    return session


class _Chain:
    """The ordinary chain, which is gone through when a request needs it."""

    def __init__(self, ordinary: Any) -> None:
        self._ordinary = ordinary

    async def load_credentials(self) -> HeldCredentials:
        return HeldCredentials(self._ordinary.load_credentials)


@cache
def _descriptions(search_path: str | None) -> Any:
    return create_loader(search_path)
