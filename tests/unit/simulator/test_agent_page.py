"""The page that the demo leaves: the agent page itself, in one file. What a browser makes of it: tests/browser."""

import base64
import hashlib
import re

import pytest

from voice_openai_connect.simulator.agent_page import PAGE, saved_page

ATTRIBUTES = {"handover": "ok", "summary": "</script><script>hacked=1</script>", "caller_phone": "+61400000001"}


def the_page() -> str:
    return saved_page(ATTRIBUTES, caller="+61400000001", queue="escalation")


def hash_of(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def test_the_page_is_the_agent_page_with_its_rows() -> None:
    original = (PAGE / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r"<div data-field=.*", original)

    assert len(rows) > 10
    assert [row for row in rows if row not in the_page()] == []


def test_nothing_has_to_be_fetched() -> None:
    assert re.findall(r'(?:src|href)="[^"]*"|@import|url\(', the_page()) == []


@pytest.mark.parametrize(("element", "directive"), [("script", "script-src"), ("style", "style-src")])
def test_nothing_but_the_pages_own_code_and_style_may_run(element: str, directive: str) -> None:
    (content,) = re.findall(rf"<{element}[^>]*>(.*?)</{element}>", the_page(), re.DOTALL)

    assert f"{directive} 'sha256-{hash_of(content)}'" in the_page()
    assert the_page().count("Content-Security-Policy") == 1
    assert "unsafe" not in the_page()


def test_words_cannot_end_the_script_they_stand_in() -> None:
    assert "\\u003c/script>\\u003cscript>hacked=1" in the_page()
    assert "</script><script>" not in the_page()
