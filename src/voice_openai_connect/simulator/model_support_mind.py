"""A small mind that can hold a believable support call for Northwind Broadband, by rules.

It remembers nothing of its own: where a conversation stands is read from the conversation each time, so it goes on
after a new session has been told the history.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from voice_openai_connect.call.handover import Priority
from voice_openai_connect.simulator.model_conversation import Conversation
from voice_openai_connect.simulator.model_mind import Reply, ResponseRequest, Written, call, quoted_sentence, say
from voice_openai_connect.simulator.model_protocol import Json, dig
from voice_openai_connect.simulator.model_topics import ANYTHING_ELSE, OFFER, Topic, number_in, topic_of

GREETING: Final = "Hello, this is the assistant of Northwind Broadband. How can I help you?"
NOT_UNDERSTOOD: Final = "I am sorry, I did not understand that. Could you say it in other words?"
STILL_THERE: Final = "Are you still there? How can I help you?"
I_AM_AN_AI: Final = "Yes, I am an AI assistant. If you would rather speak to a person, just say so."
GLAD: Final = f"I am glad to hear that. {ANYTHING_ELSE}"
GO_ON: Final = "All right. What can I do for you?"
NO_PERSON: Final = "I am sorry, I cannot reach anybody right now. Please tell me what it is about."

_PERSON: Final = re.compile(
    r"\b(humans?|agents?|operator|representative|receptionist|supervisor|manager"
    r"|(a|real|actual|another|live) (real )?(person|people|somebody|someone)|some ?(one|body) (else|real|who)"
    r"|put me through|transfer me|customer (service|care)|colleagues?"
    r"|(speak|talk|chat) (to|with) (a |the |your )?(person|people|someone|somebody|team|staff))\b",
    re.IGNORECASE,
)
_NOT_WANTED: Final = re.compile(
    r"\b(don'?t|do not|no|not|never|without)\b(?! (help|work)\w*)"
    r"[^.,;?!]{0,30}\b(need|want|speak|talk|human|agent|person)\b",
    re.IGNORECASE,
)
_GOODBYE: Final = re.compile(
    r"\b(good ?bye|bye( bye)?|that('s| is| was| will be) (all|it|everything)|have a (nice|good) day|hang up)\b",
    re.IGNORECASE,
)
_NO: Final = re.compile(r"^\W*(no|nope|nah|not (really|yet)|it (does|did)(n't| not))\b", re.IGNORECASE)
_YES: Final = re.compile(r"^\W*(yes|yeah|yep|sure|okay|ok|please|of course|go ahead|that would)\b", re.IGNORECASE)
_SOLVED: Final = re.compile(
    r"\b((it|that)('s| is| has| works| worked| helped| does)? ?(works?|worked|working|helped|green now|back|explains?)"
    r"|turned green|is green now|works (again|now|fine)|fixed|solved)\b",
    re.IGNORECASE,
)
_NOT_SOLVED: Final = re.compile(r"\b(not|n't|still|nothing|never|no)\b", re.IGNORECASE)
_ASKS_FOR_AI: Final = re.compile(
    r"\b(are you|am i (speaking|talking)|is this)\b.{0,20}\b(ai|a\.i|robot|bot|machine|human|real|computer)\b",
    re.IGNORECASE,
)
_REPEAT: Final = re.compile(r"\b(repeat|say (that|it) again|pardon|what did you say|come again)\b", re.IGNORECASE)
_HELLO: Final = re.compile(r"^\W*(hello|hi|hey|good (morning|afternoon|evening))( there)?\W*$", re.IGNORECASE)


@dataclass(frozen=True)
class Standing:
    """Where a conversation stands: what it is about, how often the caller has spoken about it, and how it went."""

    topic: Topic | None
    step: int
    puzzled: int
    """How many turns in a row made no sense."""
    last_topic: Topic | None
    """The last thing it was about, also when that is solved."""


def standing(conversation: Conversation) -> Standing:
    """Read where the conversation stands from the caller's turns."""
    topic: Topic | None = None
    last_topic: Topic | None = None
    step = puzzled = 0
    for text in caller_texts(conversation):
        about = topic_of(text)
        if about is not None and about is not topic:
            topic, step = about, 0
        elif topic is not None and _solved(text):
            topic, step = None, 0
        elif topic is not None:
            step += 1
        puzzled = 0 if topic or _makes_sense(text) else puzzled + 1
        last_topic = topic or last_topic
    return Standing(topic, step, puzzled, last_topic)


def caller_texts(conversation: Conversation) -> list[str]:
    """What the caller has said, a turn each; turns without words are empty."""
    return [item.text for item in conversation if item.role == "user"]


class SupportMind:
    """Answers questions, tries a few things, and hands over to a person when it should."""

    async def reply(self, conversation: Conversation, request: ResponseRequest) -> Reply:
        """The answer to the conversation so far."""
        if sentence := quoted_sentence(request.instructions):
            return say(sentence)
        if request.modality == "text":
            return Reply((Written(note(conversation, request.instructions)),))
        if request.asked_by == "silence":
            return say(STILL_THERE)
        last = next((item for item in reversed(conversation.items) if item.role != "system"), None)
        if last is not None and last.type == "function_call_output":
            return say(f"{_read_out(last.output)} {ANYTHING_ELSE}")
        texts = caller_texts(conversation)
        return _answer(texts[-1], conversation, request) if texts else say(GREETING)


def _answer(text: str, conversation: Conversation, request: ResponseRequest) -> Reply:
    """What to say to the caller's last words."""
    where = standing(conversation)
    asked = _last_said(conversation)
    if _ASKS_FOR_AI.search(text):
        return say(I_AM_AN_AI)
    if wants_person(text) or (OFFER in asked and _YES.search(text)):
        return _transfer("The caller asked for a person.", conversation, request)
    if where.topic is not None and not where.topic.steps:
        return _transfer(where.topic.gist, conversation, request)
    if _GOODBYE.search(text) or (ANYTHING_ELSE in asked and _NO.search(text) and topic_of(text) is None):
        return _end(request)
    if _REPEAT.search(text) and asked:
        return say(asked)
    if where.topic is not None:
        return _next_step(where.topic, where.step, text, conversation, request)
    if _solved(text):
        return say(GLAD)
    if where.puzzled > 1:
        return _transfer("The assistant could not understand the caller.", conversation, request)
    return say(NOT_UNDERSTOOD if where.puzzled else GREETING if _HELLO.search(text) else GO_ON)


def _next_step(topic: Topic, step: int, text: str, conversation: Conversation, request: ResponseRequest) -> Reply:
    number = number_in(text) if topic.name == "order" else ""
    if number:
        return _look_up(number, request)
    if step < len(topic.steps):
        return say(topic.steps[step])
    return _transfer("What the assistant can do did not help.", conversation, request)


def _look_up(number: str, request: ResponseRequest) -> Reply:
    """Ask the company's own tool for the order if the session has one, otherwise make something up."""
    tool = next((tool for tool in request.tools if "order" in tool["name"]), None)
    if tool is not None:
        required: list[str] = dig(tool, "parameters.required") or ["order_number"]
        return call(tool["name"], **{required[0]: number})
    return say(f"Thank you. Order {number} left our warehouse yesterday and arrives within two days. {ANYTHING_ELSE}")


def _transfer(reason: str, conversation: Conversation, request: ResponseRequest) -> Reply:
    tool = request.tool("transfer_to_human")
    if tool is None:
        return say(NO_PERSON)
    topic = standing(conversation).last_topic
    allowed = cast("list[str]", dig(tool, "parameters.properties.intent.enum") or [])
    priority: Priority = topic.priority if topic else "normal"
    summary = " ".join(_note_sentences(conversation))
    return call("transfer_to_human", reason=reason, intent=_intent(topic, allowed), priority=priority, summary=summary)


def _end(request: ResponseRequest) -> Reply:
    if request.tool("end_call") is None:
        return say("Thank you for calling. Goodbye.")
    return call("end_call", reason="The caller said goodbye.")


def wants_person(text: str) -> bool:
    """Whether the caller asks for a person, and does not say that they want none."""
    return _PERSON.search(text) is not None and _NOT_WANTED.search(text) is None


def _solved(text: str) -> bool:
    return _SOLVED.search(text) is not None and _NOT_SOLVED.search(text) is None


def _makes_sense(text: str) -> bool:
    known = (_PERSON, _GOODBYE, _YES, _NO, _SOLVED, _ASKS_FOR_AI, _REPEAT, _HELLO)
    return any(pattern.search(text) for pattern in known)


def _last_said(conversation: Conversation) -> str:
    return next((turn.text for turn in reversed(conversation.turns) if turn.role == "assistant"), "")


def _read_out(output: str) -> str:
    """A tool's answer as a sentence: text as it is, an object as "key is value"."""
    try:
        value: Any = json.loads(output)
    except ValueError:
        return output
    if not isinstance(value, dict):
        return str(value)
    fields = cast("Json", value).items()
    return ", ".join(f"the {key.replace('_', ' ')} is {told}" for key, told in fields).capitalize() + "."


# --- The note for the person who takes over ---------------------------------------------------------------------


def note(conversation: Conversation, instructions: str) -> str:
    """Two or three sentences; above them a line `intent: …` if the instructions list intents to choose from."""
    listed = re.search(r"intent: .*?:\s*([\w-]+(?:, [\w-]+)*)\.", instructions, re.DOTALL)
    head = [f"intent: {_intent(standing(conversation).last_topic, listed[1].split(', '))}"] if listed else []
    return "\n".join([*head, " ".join(_note_sentences(conversation))])


def _note_sentences(conversation: Conversation) -> list[str]:
    where = standing(conversation)
    topic = where.last_topic
    texts = [text for text in caller_texts(conversation) if text]
    sentences = [topic.gist if topic else "The caller did not say what it is about."]
    if own_words := next((text for text in texts if topic and topic.is_meant_by(text)), ""):
        sentences[0] += f" In their words: “{own_words.strip()}”"
    if topic and (tried := _tried(topic, conversation)):
        outcome = "it did not help" if where.topic else "that settled it"
        sentences.append(f"The assistant {_listed(tried)}; {outcome}.")
    if texts and wants_person(texts[-1]):
        sentences.append("They want to speak to a person.")
    return sentences


def _tried(topic: Topic, conversation: Conversation) -> list[str]:
    """What has been tried: only what was said to the end. A sentence that was cut off has lost its words."""
    said = " ".join(turn.text for turn in conversation.turns if turn.role == "assistant")
    return [what for step, what in zip(topic.steps, topic.tried, strict=True) if step in said]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _intent(topic: Topic | None, allowed: Sequence[str]) -> str:
    """The allowed intent that fits the topic best; the most general one if none does."""
    wanted = [*(topic.intents if topic else ()), "general", "other"]
    fitting = (name for wish in wanted for name in allowed if wish in name.lower())
    return next(fitting, allowed[0] if allowed else wanted[0])
