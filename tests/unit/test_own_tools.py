import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from voice_openai_connect.own_tools import Function, ToolContext, ToolsError, load_tools, tool

CONTEXT = ToolContext(call_sid="CA" + "0" * 32, conversation_id="c", caller_phone="+61255501234")


@tool("Look an order up.", {"order": {"type": "string"}, "note": {"type": "string"}}, optional={"note"})
async def find_order(arguments: Mapping[str, Any], context: ToolContext) -> str:
    return f"order {arguments['order']} for {context.caller_phone}"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    yield tmp_path / "shop_tools_under_test.py"
    sys.modules.pop("shop_tools_under_test", None)


def load() -> list[str]:
    return [each.spec.name for each in load_tools("shop_tools_under_test")]


HEAD = "from voice_openai_connect.own_tools import tool\n"
ONE = "@tool('One.')\nasync def one(arguments, context):\n    return '1'\n"
TWO = "@tool('Two.')\nasync def two(arguments, context):\n    return '2'\n"


async def test_a_tool_still_works_as_a_function():
    assert await find_order({"order": "7"}, CONTEXT) == "order 7 for +61255501234"


def test_the_model_is_told_name_description_and_a_closed_schema():
    assert find_order.spec.name == "find_order"
    assert find_order.spec.description == "Look an order up."
    assert find_order.spec.parameters == {
        "type": "object",
        "properties": {"order": {"type": "string"}, "note": {"type": "string"}},
        "required": ["order"],
        "additionalProperties": False,
    }


def test_a_tool_without_parameters_takes_an_empty_object():
    @tool("Tell the time.")
    async def time_now(arguments: Mapping[str, Any], context: ToolContext) -> str:
        return "noon"

    assert time_now.spec.parameters["properties"] == {}


def test_a_function_that_is_not_async_is_refused():
    def slow(arguments: Mapping[str, Any], context: ToolContext) -> str:
        return ""

    with pytest.raises(ToolsError, match="async def slow"):
        tool("Slow.")(cast("Function", slow))


def test_a_name_that_no_model_accepts_is_refused():
    async def späť(arguments: Mapping[str, Any], context: ToolContext) -> str:  # noqa: PLC2401
        return ""

    with pytest.raises(ToolsError, match="at most 64 letters"):
        tool("Back.")(späť)


def test_an_optional_parameter_must_exist():
    async def one(arguments: Mapping[str, Any], context: ToolContext) -> str:
        return ""

    with pytest.raises(ToolsError, match="'note' optional"):
        tool("One.", optional={"note"})(one)


def test_no_module_means_no_tools():
    assert load_tools("") == ()


def test_tools_come_in_the_order_of_the_file(module: Path):
    module.write_text(HEAD + TWO + ONE)

    assert load() == ["two", "one"]


def test_a_second_name_for_a_tool_is_not_a_second_tool(module: Path):
    module.write_text(HEAD + ONE + "again = one\n")

    assert load() == ["one"]


def test_two_tools_of_one_name_are_refused(module: Path):
    module.write_text(HEAD + ONE + "first = one\n" + ONE)

    with pytest.raises(ToolsError, match="two tools called one"):
        load()


def test_a_module_without_tools_is_refused(module: Path):
    module.write_text("async def one(arguments, context):\n    return '1'\n")

    with pytest.raises(ToolsError, match="holds no tool"):
        load()


def test_a_module_that_breaks_is_named_with_its_error(module: Path):
    module.write_text("1 / 0\n")

    with pytest.raises(ToolsError, match=r"shop_tools_under_test cannot be imported .ZeroDivisionError"):
        load()


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ToolsError, match="no_such_module cannot be imported"):
        load_tools("no_such_module")


@pytest.mark.parametrize("name", ["end_call", "transfer_to_human"])
def test_the_name_of_a_built_in_tool_is_refused(module: Path, name: str):
    module.write_text(HEAD + ONE.replace("one", name))

    with pytest.raises(ToolsError, match=f"a tool called {name}, which is built in"):
        load()


def test_a_module_in_the_working_directory_is_found_but_hides_none_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "shop_of_this_directory.py").write_text(HEAD + ONE)
    importlib.invalidate_caches()

    assert [each.spec.name for each in load_tools("shop_of_this_directory")] == ["one"]
    assert sys.path[-1] == str(tmp_path)
    del sys.modules["shop_of_this_directory"]
