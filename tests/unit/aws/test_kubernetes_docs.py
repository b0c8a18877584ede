"""The manifest in the documents: valid for Kubernetes, and true of this gateway."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml
from fastapi import FastAPI

from voice_openai_connect import limits
from voice_openai_connect.config import load_settings
from voice_openai_connect.gateway.server import server_config

PAGE = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
MANIFEST: list[dict[str, Any]] = list(yaml.safe_load_all(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]))
OLDEST, NEWEST = "1.30", "1.36"


def kind(name: str) -> dict[str, Any]:
    return next(each for each in MANIFEST if each["kind"] == name)


@pytest.fixture
def pod() -> dict[str, Any]:
    return kind("Deployment")["spec"]["template"]["spec"]


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return only


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("resource", MANIFEST, ids=lambda resource: resource["kind"])
def test_kubernetes_takes_it(resource: dict[str, Any], version: str) -> None:
    untyped: Any = kubernetes_validate
    untyped.validate(resource, version, strict=True)


def test_kubernetes_would_refuse_something() -> None:
    untyped: Any = kubernetes_validate
    with pytest.raises(untyped.ValidationError):
        untyped.validate({**kind("Service"), "spec": {"ports": [{"port": "eighty"}]}}, NEWEST, strict=True)


def test_a_pod_has_time_to_move_its_calls_and_needs_no_hook(pod: Any, container: Any) -> None:
    config = server_config(FastAPI(), host="127.0.0.1", port=8000)
    drain_s = 2 * limits.SHUTDOWN_S + limits.NEXT_ASKED_S + (config.timeout_graceful_shutdown or 0)

    assert drain_s < pod["terminationGracePeriodSeconds"]
    assert "lifecycle" not in container


def test_a_pod_that_is_full_still_answers_the_callers_on_the_line_and_is_not_restarted(container: Any) -> None:
    """`/readyz` answers 503 when there is no room; once no pod has any, the service would answer nothing at all."""
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_gateway_starts_with_what_it_is_given(container: Any) -> None:
    env = {each["name"]: each["value"] for each in container["env"]}
    keys = re.findall(r"--from-literal=(\w+)=", PAGE)
    settings = load_settings({**env, **dict.fromkeys(keys, "simulated")}, None)

    assert settings.port == container["ports"][0]["containerPort"]


def test_a_pod_is_not_root_and_writes_nothing(pod: Any, container: Any) -> None:
    dockerfile = (Path(__file__).parents[3] / "Dockerfile").read_text(encoding="utf-8")

    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}" in dockerfile
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_everything_belongs_together(container: Any) -> None:
    labels = kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    paths = kind("Ingress")["spec"]["rules"][0]["http"]["paths"]

    assert kind("Service")["spec"]["selector"] == labels
    assert kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert {path["backend"]["service"]["name"] for path in paths} == {kind("Service")["metadata"]["name"]}
    assert [path["path"] for path in paths] == ["/twilio", "/healthz"]
    assert "resources" in container
