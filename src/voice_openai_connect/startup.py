"""What a gateway starts from: settings, profiles, tools. Read together, so that all mistakes come in one list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from voice_openai_connect.config import ConfigError, Settings, own_files_from, settings_from, stated_settings
from voice_openai_connect.own_tools import OwnTool, ToolsError, load_tools
from voice_openai_connect.profile import Profiles, load_profiles

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Start:
    """Everything that a person has written down for a gateway, and found to be without mistakes."""

    settings: Settings
    profiles: Profiles
    tools: tuple[OwnTool, ...]


def load_start(env: Mapping[str, str] | None = None, env_file: Path | str | None = ".env") -> Start:
    """Read all three. Raises `ConfigError` with every mistake in any of them; its text holds no value of a setting."""
    mistakes: list[str] = []

    def loaded(load: Callable[[], T]) -> T | None:
        try:
            return load()
        except ConfigError as error:
            mistakes.extend(error.mistakes)
        except ToolsError as error:
            mistakes.append(str(error))
        return None

    stated = stated_settings(env, env_file)
    own = own_files_from(stated)
    settings = loaded(lambda: settings_from(stated))
    profiles = loaded(lambda: load_profiles(own.agent_profile))
    tools = loaded(lambda: load_tools(own.tools_module))
    if settings is None or profiles is None or tools is None:
        raise ConfigError(tuple(mistakes), "The gateway does not start. This needs your attention:")
    return Start(settings, profiles, tools)
