"""What the tests of what runs at AWS share."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

AWS = Path(__file__).parents[3] / "aws"


@pytest.fixture(scope="session")
def aws_module() -> Callable[[str], Any]:
    """Loads a Python file below `aws/`, which is no package of ours."""

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(f"aws_{Path(name).stem}", AWS / name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def template() -> Callable[[str], dict[str, Any]]:
    """Reads a template; intrinsic functions become `{"Ref": …}` and `{"Fn::…": …}`."""
    from cfnlint import decode  # pyright: ignore[reportMissingTypeStubs]  # slow to import, and few workers need it

    def load(name: str) -> dict[str, Any]:
        read, problems = cast("Any", decode).decode(str(AWS / "templates" / name))
        assert not problems
        return cast("dict[str, Any]", read)

    return load
