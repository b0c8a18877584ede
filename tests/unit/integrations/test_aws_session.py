import json
from pathlib import Path

import pytest

from voice_openai_connect.integrations.aws_session import aws_session


def descriptions(session: object) -> object:
    return session.get_component("data_loader")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def test_what_services_look_like_is_read_once() -> None:
    assert descriptions(aws_session()) is descriptions(aws_session())


def test_nothing_else_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    first = aws_session()
    assert first.get_config_variable("region") == "ap-southeast-2"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    assert aws_session().get_config_variable("region") == "eu-central-1"


def test_a_folder_of_ones_own_descriptions_is_still_looked_into(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "ours" / "2026-01-01"
    own.mkdir(parents=True)
    (own / "service-2.json").write_text(json.dumps({"metadata": {}}), encoding="utf-8")
    assert "ours" not in aws_session().get_available_services()
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))

    assert "ours" in aws_session().get_available_services()
