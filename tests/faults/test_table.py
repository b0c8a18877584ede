"""The page about reliability says what the tests say."""

import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

TABLE = runpy.run_path(str(Path(__file__).with_name("table.py")))
rows = cast("Callable[[str], Iterator[Any]]", TABLE["rows"])
page = cast("Callable[[], str]", TABLE["page"])
PAGE = cast("Path", TABLE["PAGE"])


def test_the_committed_page_is_the_one_that_the_tests_write() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/faults/table.py"


def test_a_row_is_made_of_the_ids_in_the_name_and_the_words_in_the_docstring() -> None:
    source = 'async def test_O4_O7_it_breaks() -> None:\n    """Fault: a\n    b.\n\n    Hears: c|d.\n    """\n'
    (row,) = rows(source)

    assert row.ids == ("O4", "O7")
    assert str(row) == "| O4 O7 | A b. | C\\|d. | `test_O4_O7_it_breaks` |"


@pytest.mark.parametrize(
    "source",
    [
        'def test_it_breaks():\n    """Fault: a.\n\n    Hears: b."""\n',
        'def test_O4_it_breaks():\n    """It breaks."""\n',
        "def test_O4_it_breaks():\n    pass\n",
    ],
)
def test_a_test_that_says_too_little_about_itself_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="it_breaks"):
        list(rows(source))


MATRIX = {"O": 17, "T": 15, "D": 9, "H": 5, "C": 5, "S": 9}
"""How many faults of OpenAI, Twilio, DynamoDB, HubSpot, Connect and the process there are."""


def test_every_fault_of_the_matrix_is_in_the_name_of_a_test() -> None:
    tests = Path(__file__).parents[1].rglob("test_*.py")
    names = re.findall(r"def test_((?:[A-Z][0-9]+_)+)", "".join(path.read_text(encoding="utf-8") for path in tests))
    proved = {fault for name in names for fault in name.rstrip("_").split("_")}

    assert {f"{kind}{number}" for kind, last in MATRIX.items() for number in range(1, last + 1)} - proved == set()


def test_every_test_of_the_folder_is_in_the_page() -> None:
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")} - {Path(__file__).name}
    text = page()

    assert all(f"tests/faults/{name}" in text for name in files)
