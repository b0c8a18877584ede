"""Making the agent page for an instance: the right one is let in, and mistakes are answered with what to write."""

import re
from pathlib import Path

import pytest
from aws.agent_page import __main__ as agent_page
from aws.agent_page import streams

CCP = "https://example-voice.my.connect.aws/ccp-v2/"


def policy(page: str) -> dict[str, str]:
    (content,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    return {name: rest for name, _, rest in (part.strip().partition(" ") for part in content.split(";"))}


@pytest.mark.parametrize(
    ("ccp", "origin"),
    [
        (CCP, "https://example-voice.my.connect.aws"),
        ("https://example-voice.my.connect.aws/ccp-v2", "https://example-voice.my.connect.aws"),
        ("https://old.awsapps.com/connect/ccp-v2/", "https://old.awsapps.com"),
        ("https://gov.govcloud.connect.aws/ccp-v2/", "https://gov.govcloud.connect.aws"),
    ],
)
def test_the_page_embeds_that_instance_and_nothing_else(ccp: str, origin: str) -> None:
    page = agent_page.built(ccp, "ap-southeast-2")

    assert policy(page)["frame-src"] == origin
    assert f'name="ccp-url" content="{ccp}"' in page
    assert 'name="connect-region" content="ap-southeast-2"' in page


def test_the_policy_lets_nothing_run_but_the_pages_own_files() -> None:
    allowed = policy(agent_page.built(CCP, "ap-southeast-2"))

    assert allowed["default-src"] == "'none'"
    assert (allowed["script-src"], allowed["style-src"]) == ("'self'", "'self'")
    assert allowed["require-trusted-types-for"] == "'script'"
    assert "connect-src" not in allowed


@pytest.mark.parametrize(
    "ccp",
    [
        "",
        "example-voice",
        "http://example-voice.my.connect.aws/ccp-v2/",
        "https://evil.example/ccp-v2/",
        "https://evil.example/.my.connect.aws/ccp-v2/",
        "https://example-voice.my.connect.aws.evil.example/ccp-v2/",
        "https://example-voice.my.connect.aws/agent-app-v2/",
        'https://example-voice.my.connect.aws/ccp-v2/"><script>',
    ],
)
def test_what_is_no_panel_is_refused_with_what_to_write(ccp: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent_page.main([ccp, "--region", "ap-southeast-2"]) == 2
    assert "write https://ALIAS.my.connect.aws/ccp-v2/" in capsys.readouterr().err


def test_what_is_no_region_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert agent_page.main([CCP, "--region", "Sydney"]) == 2
    assert "ap-southeast-2" in capsys.readouterr().err


def test_the_folder_has_every_file_that_the_page_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / streams.FILE
    cached.write_text("the library", encoding="utf-8")

    def present(_: Path) -> Path:
        return cached

    monkeypatch.setattr(agent_page, "library", present)
    out = tmp_path / "site"

    assert agent_page.main([CCP, "--region", "ap-southeast-2", "--out", str(out)]) == 0
    asked = re.findall(r'(?:src|href)="([^"]+)"', (out / "index.html").read_text(encoding="utf-8"))
    imported = re.findall(r'from "\./([^"]+)"', (out / "app.js").read_text(encoding="utf-8"))
    assert {*asked, *imported, "index.html"} == {file.name for file in out.iterdir()}


def test_without_the_library_no_page_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(_: Path) -> Path:
        raise streams.LibraryError("npm is needed")

    monkeypatch.setattr(agent_page, "library", absent)

    assert agent_page.main([CCP, "--region", "ap-southeast-2", "--out", str(tmp_path / "site")]) == 2
    assert capsys.readouterr().err == "npm is needed\n"
    assert not (tmp_path / "site").exists()
