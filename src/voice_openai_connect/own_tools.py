"""Tools of your own: what the assistant can do for a caller beyond talking.

A tool is an async function with a description. `TOOLS_MODULE` names the module it stands in; docs/tools.md shows one.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from voice_openai_connect.call.model_settings import ToolSpec
from voice_openai_connect.gateway.ports import ToolContext
from voice_openai_connect.profile import BUILT_IN_TOOLS

Function = Callable[[Mapping[str, Any], ToolContext], Awaitable[str]]
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a model accepts as the name of a function."""


class ToolsError(Exception):
    """The tools module cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class OwnTool:
    """One tool: what the model is told about it, and the function that does it. Calling it calls the function."""

    spec: ToolSpec
    function: Function

    async def __call__(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """Run the tool. `arguments` is what the model wrote, a JSON object; the answer is text for the model."""
        return await self.function(arguments, context)


def tool(
    description: str,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    optional: frozenset[str] | set[str] = frozenset(),
) -> Callable[[Function], OwnTool]:
    """Make the async function below a tool under its own name.

    `description` tells the model when to use it. `parameters` has a JSON Schema for each argument; all are required
    but those in `optional`. Raises `ToolsError` for a function that is not async or whose name no model accepts.
    """
    schemas = dict(parameters or {})

    def make(function: Function) -> OwnTool:
        name = getattr(function, "__name__", "")
        if not inspect.iscoroutinefunction(function):
            raise ToolsError(f"the tool {name} must be an async function: `async def {name}(arguments, context)`")
        if not _NAME.fullmatch(name):
            raise ToolsError(f"the tool {name} needs a name of at most 64 letters, digits, _ and -")
        if unknown := sorted(set(optional) - set(schemas)):
            raise ToolsError(f"the tool {name} calls {unknown[0]!r} optional, which is not one of its parameters")
        schema = {
            "type": "object",
            "properties": schemas,
            "required": [each for each in schemas if each not in optional],
            "additionalProperties": False,
        }
        return OwnTool(ToolSpec(name, description, schema), function)

    return make


def load_tools(module_name: str) -> tuple[OwnTool, ...]:
    """Import the module and return its tools in the order they stand there; none for an empty name.

    The working directory is searched last, so nothing in it takes the place of a module that is installed. Raises
    `ToolsError` if the module cannot be imported, holds no tool, or gives a tool the name of another one.
    """
    if not module_name:
        return ()
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        problem = f"TOOLS_MODULE: {module_name} cannot be imported ({type(error).__name__}: {error})"
        raise ToolsError(f"{problem}. Start from the directory that holds it, or put it on PYTHONPATH") from error
    found = tuple({id(each): each for each in vars(module).values() if isinstance(each, OwnTool)}.values())
    if not found:
        raise ToolsError(f"TOOLS_MODULE: {module_name} holds no tool. Put @tool(...) above an async function")
    names = [each.spec.name for each in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ToolsError(f"TOOLS_MODULE: {module_name} has two tools called {twice[0]}. Rename one")
    if clash := BUILT_IN_TOOLS.intersection(names):
        raise ToolsError(f"TOOLS_MODULE: {module_name} has a tool called {min(clash)}, which is built in. Rename yours")
    return found


__all__ = ["OwnTool", "ToolContext", "ToolsError", "load_tools", "tool"]
