import json

import pytest

from voice_openai_connect.call.instructions import word_for_word
from voice_openai_connect.simulator.model_conversation import Conversation
from voice_openai_connect.simulator.model_mind import (
    Reply,
    ResponseRequest,
    ScriptedMind,
    Speech,
    ToolCall,
    Written,
    call,
    fail,
    quoted_sentence,
    say,
)

NOTHING = Conversation()


@pytest.mark.parametrize(
    ("instructions", "sentence"),
    [
        (word_for_word("One moment please."), "One moment please."),
        ('Say exactly: "He said yes, didn\'t he?"', "He said yes, didn't he?"),
        ("Say “Goodbye.” and not “Bye”", "Goodbye."),
        ("Greet the caller.", ""),
        ("First line: 'intent: ' and the one that fits", ""),
    ],
)
def test_what_stands_in_quotes_is_what_to_say(instructions: str, sentence: str) -> None:
    assert quoted_sentence(instructions) == sentence


async def test_a_script_is_followed_to_its_end_and_then_something_is_said() -> None:
    mind = ScriptedMind(["One.", call("end_call", reason="bye")], otherwise="And so on.")
    replies = [await mind.reply(NOTHING, ResponseRequest()) for _ in range(3)]
    assert replies[0] == say("One.")
    [tool] = replies[1].outputs
    assert isinstance(tool, ToolCall)
    assert json.loads(tool.arguments) == {"reason": "bye"}
    assert replies[2] == Reply((Speech("And so on."),))


async def test_quotes_and_written_responses_do_not_use_the_script_up() -> None:
    mind = ScriptedMind(["One."], summary="A summary.")
    assert await mind.reply(NOTHING, ResponseRequest(instructions='Say "Welcome."')) == say("Welcome.")
    assert await mind.reply(NOTHING, ResponseRequest(modality="text")) == Reply((Written("A summary."),))
    assert await mind.reply(NOTHING, ResponseRequest()) == say("One.")
    assert len(mind.asked) == 3


def test_a_tool_is_found_among_those_that_may_be_called() -> None:
    request = ResponseRequest(tools=({"type": "function", "name": "end_call"},))
    assert request.tool("end_call") is not None
    assert request.tool("transfer_to_human") is None


def test_a_failure_carries_its_code_and_its_wait() -> None:
    reply = fail("rate_limit_exceeded", "Please try again in 166ms.")
    assert reply.failure is not None
    assert (reply.failure.code, "166ms" in reply.failure.message) == ("rate_limit_exceeded", True)
