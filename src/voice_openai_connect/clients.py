"""The outside services' clients, made from the settings. For the gateway, the doctor and the setup commands alike."""

from collections.abc import Callable

from voice_openai_connect.config import Settings
from voice_openai_connect.integrations.connect_client import ConnectClient
from voice_openai_connect.integrations.connect_setup import point_number_at_flow
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.integrations.hubspot_client import HubSpotClient, Pipeline
from voice_openai_connect.integrations.target_watch import OwnTarget, TargetWatch
from voice_openai_connect.integrations.twilio_client import TwilioClient


def dynamo_repository(settings: Settings, *, on_throttle: Callable[[], None] = lambda: None) -> DynamoRepository:
    """The handover table. Without keys in the settings, the ordinary AWS chain finds the credentials."""
    return DynamoRepository(
        settings.dynamodb_table_name,
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url_dynamodb or None,
        key=_aws_key(settings),
        on_throttle=on_throttle,
    )


def hubspot_client(settings: Settings, *, on_trouble: Callable[[str], None] = lambda _: None) -> HubSpotClient | None:
    """The CRM, or None when it is off."""
    token = settings.hubspot_access_token
    if token is None:
        return None
    return HubSpotClient(
        token.get_secret_value,
        base_url=settings.hubspot_api_base_url,
        pipeline=Pipeline(settings.hubspot_pipeline, settings.hubspot_pipeline_stage),
        portal_id=settings.hubspot_portal_id,
        ui_domain=settings.hubspot_ui_domain,
        on_trouble=on_trouble,
    )


def connect_client(settings: Settings) -> ConnectClient | None:
    """Amazon Connect's own word on its queues, or None when no instance is set."""
    if not settings.connect_instance_id:
        return None
    return ConnectClient(
        settings.connect_instance_id,
        region=settings.aws_region,
        names=settings.queue_names,
        endpoint_url=settings.aws_endpoint_url_connect or None,
        key=_aws_key(settings),
    )


def target_watch(
    settings: Settings, *, port: int, on_draining: Callable[[], None], on_trouble: Callable[[str], None]
) -> TargetWatch | None:
    """Who asks the load balancer whether this process is to go, or None when no target group is set."""
    if not settings.target_group_arn:
        return None
    return TargetWatch(
        OwnTarget(settings.target_group_arn, port, settings.ecs_container_metadata_uri_v4),
        region=settings.aws_region,
        on_draining=on_draining,
        on_trouble=on_trouble,
        key=_aws_key(settings),
    )


async def point_connect_number(settings: Settings, flow: str) -> list[str]:
    """Let Amazon Connect's number lead to the flow. What was done, as sentences. Raises `ConnectSetupError`."""
    return await point_number_at_flow(
        region=settings.aws_region,
        instance_id=settings.connect_instance_id,
        phone_number=settings.connect_phone_number,
        flow=flow,
        key=_aws_key(settings),
    )


def twilio_client(settings: Settings) -> TwilioClient:
    """Twilio's REST API."""
    token = settings.twilio_auth_token.get_secret_value()
    return TwilioClient(settings.twilio_account_sid, token, base_url=settings.twilio_api_base_url)


def _aws_key(settings: Settings) -> AwsKey | None:
    parts = (settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token)
    return AwsKey(*(part.get_secret_value() if part else None for part in parts)) if parts[0] else None
