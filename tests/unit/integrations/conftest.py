"""What the tests of the integrations share."""

import pytest

from voice_openai_connect.call.handover import HandoverRecord


@pytest.fixture
def record() -> HandoverRecord:
    """A handover with everything in it but the ticket."""
    return HandoverRecord(
        handover_id="handover-1",
        conversation_id="conversation-1",
        call_sid="CA" + "1" * 32,
        caller_phone="+61412345678",
        summary="The caller cannot log in after changing the password.",
        intent="login",
        priority="high",
        escalation_reason="caller asked for a person",
        route_to_queue="Support",
        hubspot_contact_id="101",
    )
