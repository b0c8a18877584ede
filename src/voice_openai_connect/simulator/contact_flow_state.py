"""What a contact carries through a flow, and the blocks that take no time: they look at it, change it and branch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from voice_openai_connect.simulator.contact_flow_rules import REFERENCE, Action

ATTRIBUTES_BYTES: Final = 32_768
"""Of keys and values, for all attributes of a contact together. Beyond it nothing is set."""
DEFAULT_PRIORITY: Final = 5
DEFAULT_VOICE: Final = "Joanna"


@dataclass
class Contact:
    """One call, as Connect keeps it."""

    contact_id: str
    customer_number: str = ""
    """The caller's, empty when withheld."""
    system_number: str = ""
    """The number that was dialled."""
    attributes: dict[str, str] = field(default_factory=dict[str, str])
    queue_arn: str = ""
    """The target queue, empty until one is chosen."""
    priority: int = DEFAULT_PRIORITY
    """1 is served first."""
    event_hooks: dict[str, str] = field(default_factory=dict[str, str])
    """The ARN of the flow that runs on each event."""
    states: list[str] = field(default_factory=list[str])
    """What became of it so far, in order: ``flow``, ``queued``, ``connected``, ``ended`` and the like."""

    @property
    def queue(self) -> str:
        """The queue's name: the last part of its ARN."""
        return self.queue_arn.rpartition("/")[2]


@dataclass
class FlowState:
    """Everything `$.` can refer to, and the counters of loops."""

    contact: Contact
    queue_arns: frozenset[str]
    """The queues there are."""
    open_now: bool = True
    at_capacity: bool = False
    """Of every queue; the next two are for some."""
    closed_queues: frozenset[str] = frozenset()
    full_queues: frozenset[str] = frozenset()
    """By the name of the queue."""
    stored_input: str = ""
    external: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the latest function answered."""
    logging: bool = False
    voice: str = DEFAULT_VOICE
    _loops: dict[str, int] = field(default_factory=dict[str, int])

    def decide(self, action: Action) -> str:
        """Carry out a block that takes no time; return the next one's identifier, empty after a transfer."""
        match action.type:
            case "Loop":
                return self._loop(action)
            case "Compare":
                value = self.resolve(action.parameters["ComparisonValue"])
                return action.conditions.get(value, action.errors["NoMatchingCondition"])
            case "UpdateContactAttributes":
                return self._set_attributes(action)
            case "UpdateContactTargetQueue":
                return self._set_queue(action)
            case "CheckHoursOfOperation":
                return self._check_hours(action)
            case "TransferContactToQueue":
                return self._transfer(action)
            case _:
                return self._set(action)

    def _set(self, action: Action) -> str:
        """Blocks that only note something."""
        match action.type:
            case "UpdateFlowLoggingBehavior":
                self.logging = action.parameters["FlowLoggingBehavior"] == "Enabled"
            case "UpdateContactRoutingBehavior":
                self.contact.priority = int(action.parameters["QueuePriority"])
            case "UpdateContactEventHooks":
                self.contact.event_hooks |= self.filled_in(action.parameters["EventHooks"])
            case "UpdateContactTextToSpeechVoice":
                self.voice = self.resolve(action.parameters["TextToSpeechVoice"])
            case _:
                raise action.refuse("this block takes time and is not decided here")
        return action.next_action

    def _loop(self, action: Action) -> str:
        done = self._loops.get(action.identifier, 0)
        again = done < int(action.parameters["LoopCount"])
        self._loops[action.identifier] = done + 1 if again else 0
        return action.conditions["ContinueLooping" if again else "DoneLooping"]

    def _set_attributes(self, action: Action) -> str:
        together = {**self.contact.attributes, **self.filled_in(action.parameters["Attributes"])}
        if sum(len(text.encode(errors="replace")) for pair in together.items() for text in pair) > ATTRIBUTES_BYTES:
            return action.errors["NoMatchingError"]
        self.contact.attributes = together
        return action.next_action

    def _set_queue(self, action: Action) -> str:
        arn = self.resolve(action.parameters["QueueId"])
        if arn not in self.queue_arns:
            return action.errors["NoMatchingError"]
        self.contact.queue_arn = arn
        return action.next_action

    def _check_hours(self, action: Action) -> str:
        if not self.contact.queue_arn:
            return action.errors["NoMatchingError"]
        opened = self.open_now and self.contact.queue not in self.closed_queues
        return action.conditions["True" if opened else "False"]

    def _transfer(self, action: Action) -> str:
        if not self.contact.queue_arn:
            return action.errors["NoMatchingError"]
        full = self.at_capacity or self.contact.queue in self.full_queues
        return action.errors["QueueAtCapacity"] if full else ""

    def resolve(self, text: str) -> str:
        """The value that a `$.` reference stands for, empty when there is none; any other text is itself."""
        if not REFERENCE.fullmatch(text):
            return text
        value: object = {
            "StoredCustomerInput": self.stored_input,
            "ContactId": self.contact.contact_id,
            "CustomerEndpoint": {"Address": self.contact.customer_number},
            "SystemEndpoint": {"Address": self.contact.system_number},
            "Attributes": self.contact.attributes,
            "External": self.external,
        }
        for key in text.split(".")[1:]:
            value = cast("Mapping[str, object]", value).get(key) if isinstance(value, Mapping) else None
        return value if isinstance(value, str) else "" if value is None else json.dumps(value)

    def spoken(self, text: str) -> str:
        """A prompt with its references filled in, wherever they stand in it."""
        return REFERENCE.sub(lambda found: self.resolve(found[0]), text)

    def filled_in(self, parameters: Any) -> Any:
        """Parameters with every reference resolved."""
        if isinstance(parameters, dict):
            return {key: self.filled_in(value) for key, value in cast("dict[str, Any]", parameters).items()}
        return self.resolve(parameters) if isinstance(parameters, str) else parameters

    def event(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """What a function is invoked with."""
        contact = self.contact
        data = {
            "Attributes": dict(contact.attributes),
            "Channel": "VOICE",
            "ContactId": contact.contact_id,
            "InitialContactId": contact.contact_id,
            "PreviousContactId": contact.contact_id,
            "CustomerEndpoint": _endpoint(contact.customer_number),
            "SystemEndpoint": _endpoint(contact.system_number),
            "InitiationMethod": "INBOUND",
            "InstanceARN": "arn:aws:connect:ap-southeast-2:000000000000:instance/simulated",
            "LanguageCode": "en-US",
            "Queue": None,
        }
        return {
            "Name": "ContactFlowEvent",
            "Details": {"ContactData": data, "Parameters": self.filled_in(dict(parameters))},
        }


def _endpoint(number: str) -> dict[str, str] | None:
    return {"Address": number, "Type": "TELEPHONE_NUMBER"} if number else None
