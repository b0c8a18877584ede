"""A whole call with marked secrets, in a gateway process of its own: none of them in its log, output or metrics."""

import base64
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from voice_openai_connect.simulator.caller import Caller, HangUp, Listen, Press, WaitForPerson
from voice_openai_connect.simulator.model_mind import Reply, Speech, ToolCall
from voice_openai_connect.simulator.town import AUTH_TOKEN, CALLER, Town

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
WORDS = ["canarycaller", "canarymodel", "canarysummary", "canaryreason", "canarytool"]
CONSOLE = "canary-console-token-0123456789abcdef"


async def test_no_transcript_token_key_number_or_audio_leaves_the_call(quick_town: OpenTown) -> None:
    wish = {"reason": "canaryreason", "intent": "general", "priority": "high", "summary": "canarysummary"}
    replies = [
        Reply([Speech("canarymodel speaks"), ToolCall("no_such_tool", '{"x": "canarytool"}')]),
        Reply([ToolCall("transfer_to_human", json.dumps(wish))]),
    ]
    town_ = quick_town(replies, own_process=True, settings={"LOG_LEVEL": "DEBUG", "CONSOLE_TOKEN": CONSOLE})
    async with town_ as town:
        assert town.gateway is not None
        caller = Caller([Listen(), Press("12345"), WaitForPerson(), HangUp()])
        call = await town.carrier.place_call(caller, from_=CALLER)
        session = await town.model.next_session()
        await session.until(lambda s: bool(s.sent("response.done")))
        session.caller_said("canarycaller says this")
        await call.ended
        metrics = await town.gateway.metrics()
        log = "\n".join(json.dumps(line, ensure_ascii=False) for line in town.gateway.log)
        everything = "\n".join([log, metrics, *town.gateway.other_output])

    (dial,) = call.dials
    token = dial.digits.removeprefix("wwww").removesuffix("#")
    audio = base64.b64encode(bytes(session.caller_audio[:160])).decode()
    answers = [request.body.decode() for request in call.asked("/twilio/voice")]
    forbidden = [*WORDS, token, CONSOLE, AUTH_TOKEN, town.model.api_key, CALLER, CALLER[1:], audio]
    forbidden += [town.crm.token, town.dynamo.secret_access_key + '"', "12345"]
    assert len(token) == 10
    assert town.center.contacts[0].attributes["summary"] == "canarysummary"
    assert '"call_started"' in log
    assert call.sid in log
    for secret in forbidden:
        assert secret not in everything, secret
    for answer in answers:
        ticket = answer.partition("/twilio/stream/")[2].partition('"')[0]
        assert ticket
        assert ticket.rpartition(".")[2] not in everything
