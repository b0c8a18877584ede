"""The gateway's stack: settings that it takes, ways in that are meant, stops that lose no call, metrics that exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from voice_openai_connect import cloudwatch, limits
from voice_openai_connect.call.escalation import Reason
from voice_openai_connect.config import Settings, load_settings
from voice_openai_connect.gateway.server import server_config
from voice_openai_connect.integrations import connect_client, target_watch
from voice_openai_connect.simulator.ecs import TARGET_GROUP

DIAL_HOWS = {"with_token", "without_token"}
METRICS = {cloudwatch.GAUGE, cloudwatch.MODEL_DOWN, cloudwatch.HISTOGRAM, *cloudwatch.COUNTS}
SAMPLE = {
    "PublicHost": "voice.example.com",
    "TwilioAccountSid": "AC" + "1" * 32,
    "TwilioPhoneNumber": "+61255501234",
    "ConnectPhoneNumber": "+61255505678",
    "ConnectInstanceId": "11111111-2222-3333-4444-555555555555",
    "AWS::Region": "ap-southeast-2",
    "AWS::StackName": "voice-gateway",
    "Tasks": TARGET_GROUP,
}


@pytest.fixture
def stack(template: Any) -> dict[str, Any]:
    return template("gateway.yaml")


@pytest.fixture
def resources(stack: dict[str, Any]) -> dict[str, Any]:
    return {name: each.get("Properties", {}) for name, each in stack["Resources"].items()}


@pytest.fixture
def container(resources: Any) -> dict[str, Any]:
    (only,) = resources["Task"]["ContainerDefinitions"]
    return only


def met(listed: list[Any]) -> list[Any]:
    """With every condition taken as met."""
    return [each["Fn::If"][1] if "Fn::If" in each else each for each in listed]


def is_secret(name: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[name.lower()].annotation)


# --- Settings


def test_every_variable_is_a_setting_of_the_gateway(container: Any) -> None:
    given = {each["Name"].lower() for each in [*container["Environment"], *met(container["Secrets"])]}

    assert given <= set(Settings.model_fields)


def test_secrets_come_from_secrets_manager_and_nothing_else_does(container: Any) -> None:
    assert {each["Name"] for each in container["Environment"] if is_secret(each["Name"])} == set()
    for each in met(container["Secrets"]):
        assert is_secret(each["Name"])
        assert each["ValueFrom"] == {"Fn::Sub": f"${{SecretArn}}:{each['Name']}::"}


@pytest.mark.parametrize(
    ("parameter", "secret"), [("HubSpot", "HUBSPOT_ACCESS_TOKEN"), ("TwilioRotation", "TWILIO_AUTH_TOKEN_SECONDARY")]
)
def test_a_secret_that_not_everybody_has_is_read_only_when_it_is_asked_for(
    stack: Any, container: Any, parameter: str, secret: str
) -> None:
    """A task does not start when its secret lacks a key."""
    conditional = [each["Fn::If"] for each in container["Secrets"] if "Fn::If" in each]
    (found,) = [each for each in conditional if each[1]["Name"] == secret]

    assert stack["Conditions"][found[0]] == {"Fn::Equals": [{"Ref": parameter}, "yes"]}
    assert found[2] == {"Ref": "AWS::NoValue"}
    assert (stack["Parameters"][parameter]["Default"], stack["Parameters"][parameter]["AllowedValues"]) == (
        "no",
        ["yes", "no"],
    )


def test_the_gateway_starts_with_what_it_is_given(stack: Any, container: Any) -> None:
    defaults = {name: str(stated["Default"]) for name, stated in stack["Parameters"].items() if "Default" in stated}
    known = {**defaults, **SAMPLE}
    env = {each["Name"]: known[each["Value"]["Ref"]] if isinstance(each["Value"], dict) else each["Value"]
           for each in container["Environment"]}  # fmt: skip
    settings = load_settings({**env, **{each["Name"]: "simulated" for each in met(container["Secrets"])}}, None)

    assert settings.port == container["PortMappings"][0]["ContainerPort"]
    assert settings.cloudwatch_service == "voice-gateway"
    assert isinstance(settings.openai_api_key, SecretStr)
    assert settings.aws_access_key_id is None


@pytest.mark.parametrize("name", sorted(set(SAMPLE) - {"AWS::Region", "AWS::StackName", "Tasks"}))
def test_a_parameter_takes_what_the_gateway_takes(stack: Any, name: str) -> None:
    pattern = stack["Parameters"][name]["AllowedPattern"]

    assert re.fullmatch(pattern, SAMPLE[name])
    assert not re.fullmatch(pattern, "")
    assert not re.fullmatch(pattern, f"https://{SAMPLE[name]}/")


# --- The way in


def test_only_what_twilio_and_the_doctor_ask_for_is_reached_from_outside(resources: Any) -> None:
    (condition,) = resources["TwilioOnly"]["Conditions"]
    (default,) = resources["Listener"]["DefaultActions"]

    assert condition["PathPatternConfig"]["Values"] == ["/twilio/*", "/healthz"]
    assert default["FixedResponseConfig"]["StatusCode"] == "404"


def test_tasks_are_reached_from_the_load_balancer_only(resources: Any) -> None:
    assert "SecurityGroupIngress" not in resources["TaskFirewall"]
    assert resources["BalancerToTask"]["SourceSecurityGroupId"] == {"Fn::GetAtt": ["BalancerFirewall", "GroupId"]}
    assert [each["FromPort"] for each in resources["BalancerFirewall"]["SecurityGroupIngress"]] == [443]


def test_a_task_has_a_public_address_only_without_a_nat(resources: Any) -> None:
    public = resources["Service"]["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"]

    assert public == {"Fn::If": ["HasNat", "DISABLED", "ENABLED"]}


def test_a_quiet_socket_outlives_our_own_pings(resources: Any) -> None:
    attributes = {each["Key"]: each["Value"] for each in resources["Balancer"]["LoadBalancerAttributes"]}
    config = server_config(FastAPI(), host="127.0.0.1", port=8000)

    assert int(attributes["idle_timeout.timeout_seconds"]) > (config.ws_ping_interval or 0) + (
        config.ws_ping_timeout or 0
    )


def test_a_full_task_is_not_taken_for_a_broken_one(resources: Any, container: Any) -> None:
    """`/readyz` answers 503 when there is no room; ECS would end the task, with all its calls."""
    assert resources["Tasks"]["HealthCheckPath"] == "/healthz"
    assert "/healthz" in container["HealthCheck"]["Command"][-1]


# --- Stopping


def test_a_task_has_time_to_move_its_calls(container: Any) -> None:
    config = server_config(FastAPI(), host="127.0.0.1", port=8000)
    drain_s = 2 * limits.SHUTDOWN_S + limits.NEXT_ASKED_S + (config.timeout_graceful_shutdown or 0)

    assert drain_s < container["StopTimeout"] <= 120, "Fargate waits two minutes and no longer"


def test_calls_have_moved_before_the_load_balancer_cuts_them_off(stack: Any, resources: Any) -> None:
    attributes = {each["Key"]: each["Value"] for each in resources["Tasks"]["TargetGroupAttributes"]}

    assert attributes["deregistration_delay.timeout_seconds"] == {"Ref": "SecondsForCallsToEnd"}
    notice_s = limits.TARGET_RETRY_MAX_S + limits.TARGET_REQUEST_S
    drain_s = 2 * limits.SHUTDOWN_S + limits.NEXT_ASKED_S
    assert stack["Parameters"]["SecondsForCallsToEnd"]["Default"] > notice_s + drain_s


def test_a_task_knows_the_target_group_whose_word_it_waits_for(resources: Any, container: Any) -> None:
    (balanced,) = resources["Service"]["LoadBalancers"]
    given = {each["Name"]: each["Value"] for each in container["Environment"]}

    assert given["TARGET_GROUP_ARN"] == balanced["TargetGroupArn"] == {"Ref": "Tasks"}
    assert resources["Tasks"]["TargetType"] == "ip", "the target is asked for by the task's own address"
    assert balanced["ContainerPort"] == int(given["PORT"])


def test_new_tasks_come_before_old_ones_go(resources: Any) -> None:
    deployment = resources["Service"]["DeploymentConfiguration"]

    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (100, 200)
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}


def test_a_deployment_leaves_as_many_tasks_as_calls_have_made(resources: Any) -> None:
    """A count in the template is sent again whenever anything about the service changes."""
    assert "DesiredCount" not in resources["Service"]
    assert resources["Scaling"]["MinCapacity"] == {"Ref": "TasksAtLeast"}
    assert resources["Scaling"]["ResourceId"] == {"Fn::Sub": "service/${Cluster}/${Service.Name}"}


def test_a_new_account_gets_its_cluster(resources: Any) -> None:
    """With capacity providers, making it needs ECS's service-linked role in the moment in which that is made."""
    assert "CapacityProviders" not in resources["Cluster"]
    assert resources["Service"]["LaunchType"] == "FARGATE"
    assert "CapacityProviderStrategy" not in resources["Service"]


# --- Rights


def test_the_gateway_may_use_the_table_and_ask_who_is_at_the_queues_and_whether_it_is_to_go(resources: Any) -> None:
    presence, target = resources["GatewayRole"]["Policies"]
    (statement,), (watch,) = (each["PolicyDocument"]["Statement"] for each in (presence, target))

    assert resources["GatewayRole"]["ManagedPolicyArns"] == [{"Ref": "GatewayPolicyArn"}]
    assert set(statement["Action"]) == set(connect_client.RIGHTS)
    assert all("/${ConnectInstanceId}" in resource["Fn::Sub"] for resource in statement["Resource"])
    assert (watch["Action"], watch["Resource"]) == (target_watch.RIGHT, "*")


def test_starting_a_task_needs_its_image_its_log_and_its_secret(resources: Any) -> None:
    (policy,) = resources["StarterRole"]["Policies"]
    statements = met(policy["PolicyDocument"]["Statement"])
    on_all = [each["Action"] for each in statements if each["Resource"] == "*"]

    assert on_all == ["ecr:GetAuthorizationToken"]
    assert {action.split(":")[0] for each in statements for action in listed(each["Action"])} == {
        "ecr", "logs", "secretsmanager", "kms",
    }  # fmt: skip


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


# --- Metrics


def asked_metrics(resources: Any) -> list[dict[str, Any]]:
    """Every metric of ours that an alarm or the scaling asks for, by name and dimensions."""
    tracked = resources["ByCalls"]["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
    asked = [tracked]
    for properties in resources.values():
        if "AlarmDescription" in properties:
            inner = [each["MetricStat"]["Metric"] for each in properties.get("Metrics", []) if "MetricStat" in each]
            asked += inner or [properties]
    return asked


def test_alarms_and_scaling_ask_for_the_metrics_that_the_gateway_writes_all_of_them(resources: Any) -> None:
    asked = asked_metrics(resources)

    assert {metric["MetricName"] for metric in asked} == METRICS
    for metric in asked:
        dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        count = cloudwatch.COUNTS.get(metric["MetricName"])
        assert metric["Namespace"] == cloudwatch.NAMESPACE
        assert dimensions.pop("service") == {"Ref": "AWS::StackName"}
        assert set(dimensions) <= {count.label if count else ""}
        assert set(dimensions.values()) <= {*Reason, *DIAL_HOWS}


def test_the_dashboard_shows_the_metrics_that_the_readme_says_to_watch(resources: Any) -> None:
    body = resources["Dashboard"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(re.sub(r"\$\{[\w:]+\}", "x", body))["widgets"]

    assert len(widgets) == 10
    for name in METRICS:
        assert sum(name in json.dumps(widget) for widget in widgets) == 1
    for name, label in re.findall(r"{voice-connect,service,(\w+)} MetricName=\\\"(\w+)", body):
        assert cloudwatch.COUNTS[label].label == name


def test_the_alarm_for_a_full_task_comes_before_it_is_full(resources: Any, stack: Any) -> None:
    assert resources["NearlyFull"]["Threshold"] < 100
    assert stack["Parameters"]["CallsWanted"]["Default"] < stack["Parameters"]["MaxCalls"]["Default"]


def test_the_document_reckons_with_as_many_metrics_as_are_paid_for(template: Any) -> None:
    """Those with a label come on top, in the hours in which they move."""
    kinds = [each["Type"] for each in template("data.yaml")["Resources"].values()]
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")

    assert len(METRICS) + kinds.count("AWS::Logs::MetricFilter") == 15
    assert "for each of fifteen metrics" in text


def alarm(resources: Any, metric: str) -> dict[str, Any]:
    (found,) = [
        each
        for each in resources.values()
        if each.get("MetricName") == metric and "AlarmDescription" in each and len(each["Dimensions"]) == 1
    ]
    return found


def rings(properties: dict[str, Any], minutes: list[float]) -> bool:
    """Whether the alarm has rung by the end of these minutes, of each of which one value is there (0 or more)."""
    of_period = {"Sum": sum, "Maximum": max}[properties["Statistic"]]
    period, periods = properties["Period"] // 60, properties["EvaluationPeriods"]
    needed = properties.get("DatapointsToAlarm", periods)
    padded = [0.0] * period * periods + minutes
    for now in range(period * periods, len(padded) + 1):
        window = padded[now - period * periods : now]
        points = [of_period(window[begin : begin + period]) for begin in range(0, len(window), period)]
        if sum(point >= properties["Threshold"] for point in points) >= needed:
            return True
    return False


def test_somebody_is_woken_when_the_model_is_down_for_two_minutes_and_not_for_one(resources: Any) -> None:
    down = alarm(resources, cloudwatch.MODEL_DOWN)

    assert down["Statistic"] == "Maximum", "every task writes it down, and one that knows is enough"
    assert rings(down, [0, 1, 1])
    assert not rings(down, [0, 1, 0])


def test_somebody_is_woken_when_a_model_without_credit_fails_a_caller_now_and_then(resources: Any) -> None:
    """It is down for seconds after each of them, so hardly ever for two minutes in a row."""
    assert rings(alarm(resources, cloudwatch.MODEL_DOWN), [1, *[0] * 8, 1])


@pytest.mark.parametrize("metric", ["transfers_failed", "context_not_delivered"])
def test_somebody_is_woken_when_connect_fails_the_few_callers_of_a_quiet_hour(resources: Any, metric: str) -> None:
    assert rings(alarm(resources, metric), [2, *[0] * 9, 2])
    assert not rings(alarm(resources, metric), [2, *[0] * 30, 0])


def test_somebody_is_woken_when_callers_go_past_the_assistant(resources: Any) -> None:
    assert rings(alarm(resources, "calls_refused"), [1, 1, 1, 1, 1])
    assert not rings(alarm(resources, "calls_refused"), [2, *[0] * 5, 2])
