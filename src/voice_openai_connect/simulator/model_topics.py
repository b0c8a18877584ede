"""What a caller of Northwind Broadband (there is no such company) may want, and what its assistant knows about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from voice_openai_connect.call.handover import Priority

OFFER: Final = "Shall I put you through?"
ANYTHING_ELSE: Final = "Is there anything else I can do for you?"


@dataclass(frozen=True)
class Topic:
    """Something people call about.

    `steps` are said one after the other while it is not solved; after the last one only a person can help. A topic
    without steps always needs a person. `tried` says in a note what each step was, `gist` what the caller wants.
    """

    name: str
    cues: str
    gist: str
    steps: Sequence[str] = ()
    tried: Sequence[str] = ()
    intents: Sequence[str] = ("general",)
    """Names of intents it may go by, best first; a part of the name is enough."""
    priority: Priority = "normal"

    def is_meant_by(self, text: str) -> bool:
        """Whether a caller who says this means this topic."""
        return re.search(rf"\b({self.cues})\b", text, re.IGNORECASE) is not None


TECHNICAL: Final = ("technical_support", "technical", "support", "outage")
BILLING: Final = ("billing", "bill", "payment", "account")

TOPICS: Final[Sequence[Topic]] = (
    Topic(
        "danger",
        r"emergency|danger(ous)?|medical|alarm|ambulance|life line|fire",
        "The caller speaks of an emergency.",
        intents=(*TECHNICAL, "general"),
        priority="urgent",
    ),
    Topic(
        "cancel",
        r"cancel(l?ing|l?ed|lation)?|terminate|end my (contract|subscription)|switch(ing)? provider",
        "The caller wants to cancel their contract.",
        intents=("cancellation", "cancel", "retention", *BILLING, "general"),
    ),
    Topic(
        "complaint",
        r"complain(t|ing)?|unacceptable|ridiculous|furious|terrible|disgrace(ful)?|fed up|outrageous",
        "The caller is unhappy and wants to complain.",
        intents=("complaint", "general"),
        priority="high",
    ),
    Topic(
        "outage",
        r"internet|wi-?fi|connection|connected|offline|router|broadband|network|outage|modem|no signal",
        "The caller's internet connection does not work.",
        steps=(
            "I am sorry to hear that. Let us find out what is wrong. Is the light on your router red, or is it green?",
            "Thank you. Please unplug the router, wait ten seconds, and plug it in again. Does the light turn green?",
            "I see. Please check that the cable to the wall socket is firmly in. Does that help?",
        ),
        tried=("asked for the router's light", "had the router restarted", "had the cable checked"),
        intents=TECHNICAL,
        priority="high",
    ),
    Topic(
        "billing",
        r"bills?|billed|invoices?|charged?|charges|pay(ment|ing)?|refund|expensive|fee",
        "The caller has a question about their bill.",
        steps=(
            "Let me see. The first bill has an activation fee of twenty dollars. Does that explain the difference?",
            f"I understand. A colleague in billing can look at the invoice with you. {OFFER}",
        ),
        tried=("explained the activation fee", "offered a colleague in billing"),
        intents=BILLING,
    ),
    Topic(
        "order",
        r"orders?|ordered|deliver(y|ed)?|parcel|package|shipp(ed|ing)|tracking|arrive[sd]?",
        "The caller wants to know where their order is.",
        steps=("Of course. What is your order number?", "I am sorry, I need the order number. Could you say it again?"),
        tried=("asked for the order number", "asked for the order number again"),
        intents=("order", "delivery", "sales", "general"),
    ),
    Topic(
        "hours",
        r"opening|open|hours|close[sd]?|what time",
        "The caller asked for the opening hours.",
        steps=(f"We are open Monday to Friday from 8am to 8pm, and on Saturday until 4pm. {ANYTHING_ELSE}",),
        tried=("told the opening hours",),
    ),
    Topic(
        "password",
        r"password|passcode|log ?in",
        "The caller cannot find their password.",
        steps=(f"You will find the password on the label under your router. {ANYTHING_ELSE}",),
        tried=("said where the password is",),
        intents=TECHNICAL,
    ),
    Topic(
        "plans",
        r"plans?|upgrade|faster|fib(re|er)|prices?|offers?|slow",
        "The caller is interested in a faster plan.",
        steps=(
            "Our fibre plan brings 500 megabits per second for 45 dollars a month. Would you like to change to it?",
            f"A colleague in sales can arrange that for you. {OFFER}",
        ),
        tried=("described the fibre plan", "offered a colleague in sales"),
        intents=("sales", "billing", "general"),
    ),
    Topic(
        "visit",
        r"technicians?|engineers?|visit|appointment|moving|move house",
        "The caller wants an appointment.",
        steps=(f"For an appointment I need a colleague who sees the calendar. {OFFER}",),
        tried=("offered a colleague who makes appointments",),
        intents=TECHNICAL,
    ),
)
"""In order of weight: what is named first is meant when several fit."""


def topic_of(text: str) -> Topic | None:
    """What a caller's sentence is about; None if it says nothing of its own, such as "yes"."""
    return next((topic for topic in TOPICS if topic.is_meant_by(text)), None)


_NUMBER_WORDS: Final = {
    word: str(digit)
    for digit, words in enumerate(("zero oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))
    for word in words.split()
}


def number_in(text: str) -> str:
    """The digits somebody says, in figures or one word each; empty if there are fewer than three."""
    words = re.findall(r"\d+|[a-z]+", text.lower())
    digits = "".join(word if word.isdigit() else _NUMBER_WORDS.get(word, "") for word in words)
    return digits if len(digits) >= 3 else ""
