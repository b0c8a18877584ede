"""Every template: nothing for cfn-lint to say, small enough to be deployed as it is, and no secret typed into it."""

import re
from pathlib import Path
from typing import Any, cast

import pytest

TEMPLATES = Path(__file__).parents[3] / "aws" / "templates"
EVERY = sorted(TEMPLATES.glob("*.yaml"))
TEMPLATE_BYTES = 51_200
"""What `aws cloudformation deploy` takes without a bucket."""
REGIONS = ["ap-southeast-2", "eu-central-1", "us-east-1", "us-west-2"]


def name(path: Path) -> str:
    return path.name


def complaints(path: Path) -> list[str]:
    # Slow to import, and few workers need them.
    from cfnlint import ConfigMixIn  # pyright: ignore[reportMissingTypeStubs]
    from cfnlint.runner import Runner  # pyright: ignore[reportMissingTypeStubs]

    asked = {"templates": [str(path)], "regions": REGIONS, "include_checks": ["I"]}
    found = cast("Any", Runner)(cast("Any", ConfigMixIn)(**asked)).run()
    return [f"{match.linenumber}: {match.rule.id} {match.message}" for match in found]


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_the_linter_has_nothing_to_say(path: Path) -> None:
    assert complaints(path) == []


def test_the_linter_would_say_something(tmp_path: Path) -> None:
    broken = (TEMPLATES / "data.yaml").read_text(encoding="utf-8").replace("KeyType: HASH", "KeyType: HASHED")
    (tmp_path / "broken.yaml").write_text(broken, encoding="utf-8")

    assert any("HASHED" in complaint for complaint in complaints(tmp_path / "broken.yaml"))


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_no_check_is_silenced_without_a_reason(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    silenced = [number for number, line in enumerate(lines) if re.search(r"- [WEI]\d{4}\b", line)]

    assert all(lines[number - 1].lstrip().startswith("#") for number in silenced)


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_a_template_is_deployed_without_a_bucket(path: Path) -> None:
    assert path.stat().st_size <= TEMPLATE_BYTES


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_no_secret_is_a_parameter(path: Path, template: Any) -> None:
    """A parameter is shown to everybody who may look at the stack, and stays in its history."""
    named = [each for each in template(path.name)["Parameters"] if re.search(r"(?i)token|password|apikey|secret", each)]

    assert [each for each in named if not each.endswith("Arn")] == []


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_every_parameter_says_what_it_is_for(path: Path, template: Any) -> None:
    assert [each for each, stated in template(path.name)["Parameters"].items() if not stated.get("Description")] == []


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_every_alarm_says_what_callers_notice_and_tells_somebody(path: Path, template: Any) -> None:
    resources = template(path.name)["Resources"].values()
    alarms = [each["Properties"] for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"]

    assert all(alarm["AlarmDescription"] and alarm["AlarmActions"] for alarm in alarms)
    assert all("TreatMissingData" in alarm for alarm in alarms)


def test_the_document_lists_every_alarm_there_is_and_no_other(template: Any) -> None:
    text = (TEMPLATES.parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    section = text.partition("## Alarms in CloudWatch")[2].partition("\n## ")[0]
    stacks = [template(path.name)["Resources"] for path in EVERY]
    alarms = [name for stack in stacks for name, each in stack.items() if each["Type"] == "AWS::CloudWatch::Alarm"]

    assert alarms
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(alarms)
