import json
from typing import Any

import pytest

from voice_openai_connect.call.instructions import word_for_word
from voice_openai_connect.simulator.model_conversation import Conversation, Item
from voice_openai_connect.simulator.model_mind import Reply, ResponseRequest, Speech, ToolCall, Written
from voice_openai_connect.simulator.model_support_mind import (
    ANYTHING_ELSE,
    GREETING,
    NO_PERSON,
    NOT_UNDERSTOOD,
    STILL_THERE,
    SupportMind,
    wants_person,
)

INTENTS = ["general", "billing", "technical_support", "complaint"]
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "transfer_to_human",
        "parameters": {"type": "object", "properties": {"intent": {"type": "string", "enum": INTENTS}}},
    },
    {"type": "function", "name": "end_call", "parameters": {"type": "object"}},
]
LOOK_UP: dict[str, Any] = {
    "type": "function",
    "name": "look_up_order",
    "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
}


class Call:
    """A conversation with the mind: what the caller says goes in, what the mind says comes out."""

    def __init__(self, *tools: dict[str, Any]) -> None:
        self.conversation = Conversation()
        self.request = ResponseRequest(tools=tools or TOOLS)
        self._mind = SupportMind()
        self._ids = iter(range(1_000))

    def add(self, role: str, text: str) -> None:
        part = {"type": "input_audio" if role == "user" else "output_audio", "transcript": text}
        self.conversation.add(Item(f"item_{next(self._ids)}", role=role, content=[part]))

    async def reply(self, request: ResponseRequest | None = None) -> Reply:
        return await self._mind.reply(self.conversation, request or self.request)

    async def says(self, text: str) -> str:
        """What the mind says to this; a tool call is told as its name."""
        self.add("user", text)
        [output] = (await self.reply()).outputs
        if isinstance(output, ToolCall):
            return output.name
        self.add("assistant", output.text)
        return output.text

    async def tool_call(self, text: str) -> dict[str, str]:
        """The arguments of the tool that this makes the mind call."""
        self.add("user", text)
        [output] = (await self.reply()).outputs
        assert isinstance(output, ToolCall)
        return {"name": output.name, **json.loads(output.arguments)}


@pytest.fixture
def phone() -> Call:
    return Call()


async def test_it_greets_a_caller_who_has_not_spoken(phone: Call) -> None:
    assert (await phone.reply()).outputs == (Speech(GREETING),)


async def test_it_says_what_it_is_told_to_say_and_calls_nothing(phone: Call) -> None:
    phone.add("user", "I want a human")
    request = ResponseRequest(instructions=word_for_word("One moment please."), tools=TOOLS)
    assert (await phone.reply(request)).outputs == (Speech("One moment please."),)


async def test_an_outage_is_worked_through_step_by_step_and_then_handed_over(phone: Call) -> None:
    assert "red, or is it green" in await phone.says("My internet has been down since this morning.")
    assert "unplug the router" in await phone.says("It is red and it keeps blinking.")
    assert "cable" in await phone.says("No, it is still red.")
    handed = await phone.tool_call("No, that did not help.")
    assert (handed["name"], handed["intent"], handed["priority"]) == ("transfer_to_human", "technical_support", "high")
    assert "My internet has been down" in handed["summary"]


async def test_a_solved_problem_is_not_worked_on_further(phone: Call) -> None:
    await phone.says("My internet is down.")
    await phone.says("It is red.")
    assert ANYTHING_ELSE in await phone.says("Yes, it works again.")
    assert await phone.says("No, thank you.") == "end_call"


@pytest.mark.parametrize(
    "text",
    [
        "I want to speak to a human, please.",
        "Can I talk to someone else?",
        "Give me a real person.",
        "Transfer me.",
        "No, that did not help. I want to speak a human plea.",
        "I would like an agent",
    ],
)
async def test_whoever_asks_for_a_person_gets_one(phone: Call, text: str) -> None:
    assert wants_person(text)
    assert (await phone.tool_call(text))["name"] == "transfer_to_human"


@pytest.mark.parametrize("text", ["I don't need a human.", "No agent, please do not talk to an agent.", "My router"])
def test_whoever_does_not_want_a_person_is_not_given_one(text: str) -> None:
    assert not wants_person(text)


@pytest.mark.parametrize(
    ("text", "intent", "priority"),
    [
        ("I want to cancel my contract.", "billing", "normal"),
        ("This is unacceptable, I want to complain.", "complaint", "high"),
        ("It is an emergency, my alarm is down.", "technical_support", "urgent"),
    ],
)
async def test_some_things_need_a_person_at_once(phone: Call, text: str, intent: str, priority: str) -> None:
    handed = await phone.tool_call(text)
    assert (handed["name"], handed["intent"], handed["priority"]) == ("transfer_to_human", intent, priority)


async def test_an_offered_person_is_taken_with_a_yes(phone: Call) -> None:
    await phone.says("Why is my bill so high?")
    assert "Shall I put you through?" in await phone.says("No, it does not.")
    assert await phone.says("Yes, please.") == "transfer_to_human"


async def test_a_goodbye_ends_the_call(phone: Call) -> None:
    await phone.says("When are you open?")
    assert await phone.says("Thank you, goodbye.") == "end_call"


async def test_an_order_is_looked_up_with_the_companys_own_tool() -> None:
    phone = Call(*TOOLS, LOOK_UP)
    assert "order number" in await phone.says("Where is my order?")
    assert await phone.tool_call("It is 447-193.") == {"name": "look_up_order", "order_id": "447193"}
    phone.conversation.add(Item("call", "function_call", name="look_up_order", call_id="c"))
    phone.conversation.add(Item("out", "function_call_output", call_id="c", output='{"status": "on its way"}'))
    [spoken] = (await phone.reply()).outputs
    assert isinstance(spoken, Speech)
    assert spoken.text.startswith("The status is on its way.")


async def test_an_order_without_such_a_tool_is_answered_all_the_same(phone: Call) -> None:
    await phone.says("Where is my order?")
    assert "Order 447193 left" in await phone.says("four four seven one nine three")


async def test_twice_not_understood_is_a_person(phone: Call) -> None:
    assert await phone.says("Banana.") == NOT_UNDERSTOOD
    assert await phone.says("") == "transfer_to_human"


async def test_it_says_that_it_is_an_ai(phone: Call) -> None:
    assert "AI assistant" in await phone.says("Are you a robot?")


async def test_it_repeats_itself_on_request(phone: Call) -> None:
    asked = await phone.says("My internet is down.")
    assert await phone.says("Could you repeat that?") == asked


async def test_it_asks_a_silent_caller(phone: Call) -> None:
    assert (await phone.reply(ResponseRequest(asked_by="silence"))).outputs == (Speech(STILL_THERE),)


async def test_without_tools_it_calls_none() -> None:
    phone = Call(LOOK_UP)
    assert await phone.says("I want a human.") == NO_PERSON
    assert "Goodbye" in await phone.says("Goodbye.")


async def test_the_note_names_the_intent_when_asked_and_tells_the_story_in_brief(phone: Call) -> None:
    await phone.says("My internet has been down since this morning.")
    await phone.says("It is red.")
    await phone.tool_call("I want to speak to a human.")
    wanted = f"First line: 'intent: ' and the one of these that fits best: {', '.join(INTENTS)}. Then two sentences."
    [written] = (await phone.reply(ResponseRequest(instructions=wanted, modality="text", out_of_band=True))).outputs
    assert isinstance(written, Written)
    intent, _, story = written.text.partition("\n")
    assert intent == "intent: technical_support"
    assert "My internet has been down since this morning." in story
    assert "had the router restarted" in story
    assert story.endswith("They want to speak to a person.")


async def test_the_note_tells_of_nothing_that_was_not_said_to_the_end(phone: Call) -> None:
    phone.add("user", "My internet is down.")
    phone.add("assistant", "")  # as the service leaves a sentence that the caller has interrupted
    handed = await phone.tool_call("Sorry, can I speak to a real person?")
    assert "router" not in handed["summary"]
    assert handed["summary"].endswith("They want to speak to a person.")


async def test_the_note_does_not_take_a_wish_for_a_person_for_an_answer(phone: Call) -> None:
    await phone.says("My internet is down.")
    handed = await phone.tool_call("I want to speak to a human.")
    assert "asked for the router's light; it did not help" in handed["summary"]
    assert "restarted" not in handed["summary"]


async def test_the_note_of_an_empty_call_says_so(phone: Call) -> None:
    [written] = (await phone.reply(ResponseRequest(modality="text"))).outputs
    assert isinstance(written, Written)
    assert written.text == "The caller did not say what it is about."
