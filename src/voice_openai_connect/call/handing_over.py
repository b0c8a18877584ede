"""The way of one caller to a person: four things at once, each with its own deadline, and then the dial.

    the spoken sentence   until it has been heard, or `TRANSFER_SENTENCE_MS`
    the summary           until the model has written it, or `SUMMARY_MS`
    contact and ticket    the CRM's work, waited for until `CRM_MS`; what comes later is added to the record
    the record            saved once the summary is there and the ticket is, or is not waited for any more

When the sentence is over and the record is saved (or cannot be), the caller is dialled through.
"""

from dataclasses import replace
from typing import Final, Literal

from voice_openai_connect import limits
from voice_openai_connect.call.commands import (
    AttachTicket,
    CancelTimer,
    CloseStream,
    Command,
    DeliverTicketLater,
    DisconnectModel,
    FindContact,
    OpenTicket,
    RequestSummary,
    SaveHandover,
    SetTimer,
    Tell,
)
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.escalation import Reason
from voice_openai_connect.call.events import (
    ContactFound,
    ContactNotFound,
    Event,
    HandoverNotSaved,
    HandoverSaved,
    ModelResponseFinished,
    TicketNotOpened,
    TicketOpened,
)
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.handover import HandoverRecord, plain_text
from voice_openai_connect.call.instructions import summary_note
from voice_openai_connect.call.next_step import DialPerson
from voice_openai_connect.call.sentence import SENTENCE_TIMER, TransferSentence
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.call.tools import TransferWish

NO_CRM: Final = "crm_off"
"""Why a ticket is not opened when there is nobody who could."""
SUMMARY_TIMER: Final = "summary"
CRM_TIMER: Final = "crm"
SAVE_TIMER: Final = "save"
TIMERS: Final = frozenset({SENTENCE_TIMER, SUMMARY_TIMER, CRM_TIMER, SAVE_TIMER})
"""What `HandingOver.late` understands."""

_WHY: Final[dict[Reason, str]] = {
    Reason.CALLER_ASKED: "The caller asked for a person.",
    Reason.TOOL: "The assistant asked for a person to take over.",
    Reason.KEY: "The caller pressed the key for a person.",
    Reason.OPERATOR: "An operator moved this call.",
    Reason.STOPPING: "The assistant had to be stopped.",
    Reason.REPEATED_FAILURE: "The assistant failed repeatedly.",
    Reason.MODEL_LOST: "The assistant could not go on.",
    Reason.TIME_LIMIT: "The call reached its longest time with the assistant.",
    Reason.CONTEXT_LOST: "The call was interrupted, and what was said before it is not known any more.",
}


class HandingOver:
    """The state of one handover, from the decision until the record is complete."""

    def __init__(
        self,
        reason: Reason,
        wish: TransferWish,
        identity: CallIdentity,
        settings: CallSettings,
        conversation: Conversation,
        sentence: TransferSentence,
    ) -> None:
        self.reason = reason
        self.sentence = sentence
        self.decided_at = 0
        self._conversation = conversation
        intent = settings.intents.get(wish.intent, settings.default_intent)
        self._settings = settings
        self.record = HandoverRecord(
            handover_id=identity.handover_id,
            conversation_id=identity.conversation_id,
            call_sid=identity.call_sid,
            caller_phone=identity.caller_phone,
            summary=wish.summary,
            intent=intent.name,
            priority=wish.priority or intent.priority,
            escalation_reason=f"{reason.value}: {wish.reason}" if wish.reason else reason.value,
            route_to_queue=intent.queue,
        )
        self._intent_known = wish.intent in settings.intents
        self.has_summary = bool(wish.summary)
        self._contact_settled = False
        self._ticket: Literal["not asked", "asked", "settled"] = "not asked"
        self._crm_awaited = True
        self._save: Literal["not asked", "asked", "settled"] = "not asked"
        self.token = ""
        self.token_awaited = False
        """Whether a token may still come: it is being stored, also when nobody waits for it any longer."""

    def begin(self, now: int, *, model_ready: bool) -> list[Command]:
        """Start everything. Without a model, Twilio will say the sentence, and the turns make the summary."""
        self.decided_at = now
        commands: list[Command] = [
            FindContact(self.record.caller_phone),
            SetTimer(CRM_TIMER, now + limits.CRM_MS),
        ]
        if not model_ready:
            return commands + self.go_on_without_model(now)
        commands += self.sentence.ask(now, until=self._sentence_until)
        if not self.has_summary:
            commands += [
                SetTimer(SUMMARY_TIMER, now + limits.SUMMARY_MS),
                RequestSummary(summary_note(self._settings)),
            ]
        return commands + self.advance(now)

    # --- the sentence

    @property
    def _sentence_until(self) -> int:
        return self.decided_at + limits.TRANSFER_SENTENCE_MS

    def sentence_finished(self, event: ModelResponseFinished, now: int) -> list[Command]:
        """The model has made the sentence, or has failed to."""
        return self.sentence.response_finished(event, now, until=self._sentence_until)

    def go_on_without_model(self, now: int) -> list[Command]:
        """The model cannot speak or write any more."""
        return self.fall_back("model_lost", now) + self.sentence.lose_model()

    # --- the summary

    def summary_finished(self, event: ModelResponseFinished, now: int) -> list[Command]:
        """The model has written the summary, or has failed to."""
        if event.status != "completed":
            return self.fall_back(event.status, now)
        return self.summarised(event.text, now)

    def summarised(self, text: str, now: int) -> list[Command]:
        """The model wrote a summary; its first line may name the intent. An empty one is no summary."""
        if self.has_summary:
            return []
        first, _, rest = text.strip().partition("\n")
        label, _, name = first.partition(":")
        if label.strip().lower() == "intent":
            self._take_intent(name.strip().lower())
            text = rest
        summary = plain_text(text, limits.SUMMARY_CHARS)
        if not summary:
            return self.fall_back("empty", now)
        return self._with_summary(summary, now)

    def _take_intent(self, name: str) -> None:
        intent = self._settings.intents.get(name)
        if intent is None or self._intent_known:
            return
        self.record = replace(self.record, intent=intent.name, priority=intent.priority, route_to_queue=intent.queue)

    def fall_back(self, why: str, now: int) -> list[Command]:
        """No summary came from the model: make one from the turns."""
        if self.has_summary:
            return []
        summary = self._conversation.summary(_WHY[self.reason])
        return [Tell(Fact.SUMMARY_FELL_BACK, why), *self._with_summary(summary, now)]

    def _with_summary(self, summary: str, now: int) -> list[Command]:
        self.has_summary = True
        self.record = replace(self.record, summary=summary)
        return [CancelTimer(SUMMARY_TIMER), *self.advance(now)]

    # --- contact, ticket, record

    def on(self, event: Event, now: int) -> list[Command]:
        """An answer to one of our commands."""
        match event:
            case ContactFound(contact_id=contact_id):
                told = Tell(Fact.CONTACT_FOUND)
                self._contact_settled = True
                self.record = replace(self.record, hubspot_contact_id=contact_id)
            case ContactNotFound(reason=reason):
                told = Tell(Fact.CONTACT_MISSING, reason)
                self._contact_settled = True
            case TicketOpened(ticket_id=ticket_id, url=url):
                told = Tell(Fact.TICKET_OPENED, "on_time" if self._save == "not asked" else "late")
                self._ticket = "settled"
                self.record = replace(self.record, hubspot_ticket_id=ticket_id, hubspot_ticket_url=url)
                return [told, *self._attach(), *self.advance(now)]
            case TicketNotOpened(reason=reason):
                owed = [] if reason == NO_CRM else self.owed()
                self._ticket = "settled"
                return [Tell(Fact.TICKET_MISSING, reason), *owed, *self.advance(now)]
            case HandoverSaved(token=token):
                told = Tell(Fact.HANDOVER_SAVED)
                late = self._save == "settled"
                self._save, self.token, self.token_awaited = "settled", token, False
                saved: list[Command] = [told, CancelTimer(SAVE_TIMER)]
                return saved if late else [*saved, *self._attach_if_missed()]
            case HandoverNotSaved(reason=reason):
                told = Tell(Fact.HANDOVER_NOT_SAVED, reason)
                self._save, self.token_awaited = "settled", False
                return [told, CancelTimer(SAVE_TIMER)]
            case _:
                return []
        return [told, *self.advance(now)]

    def advance(self, now: int) -> list[Command]:
        """Whatever has become possible."""
        commands: list[Command] = []
        if self.has_summary and self._contact_settled and self._ticket == "not asked":
            self._ticket = "asked"
            commands.append(OpenTicket(self.record))
        if self.has_summary and self._save == "not asked" and (self._ticket == "settled" or not self._crm_awaited):
            self._save, self.token_awaited = "asked", True
            self._saved_record = self.record
            waited = min(now - self.decided_at, limits.CRM_MS)
            until = now + min(limits.SAVE_MS, limits.RECORD_MS - waited)
            commands += [CancelTimer(CRM_TIMER), SaveHandover(self.record), SetTimer(SAVE_TIMER, until)]
        return commands

    def owed(self) -> list[Command]:
        """What must be done later because this call cannot wait for it: a ticket, if it is not settled."""
        if self._ticket == "settled":
            return []
        self._ticket = "settled"
        summary = self.record.summary or self._conversation.summary(_WHY[self.reason])
        return [DeliverTicketLater(replace(self.record, summary=summary))]

    def _attach(self) -> list[Command]:
        """A ticket that came after the record was stored."""
        if not self.token:
            return []
        record = self.record
        return [
            AttachTicket(self.token, record.hubspot_contact_id, record.hubspot_ticket_id, record.hubspot_ticket_url)
        ]

    def _attach_if_missed(self) -> list[Command]:
        """A ticket that came while the record was being stored without it."""
        missed = self.record.hubspot_ticket_id and not self._saved_record.hubspot_ticket_id
        return self._attach() if missed else []

    # --- deadlines

    def late(self, timer: str, now: int) -> list[Command]:
        """Something has had its time; the rest goes on without it."""
        match timer:
            case "summary":
                return self.fall_back("late", now)
            case "sentence" if not self.sentence.over:
                return self.sentence.give_up(now)
            case "crm":
                self._crm_awaited = False
                return self.advance(now)
            case "save" if self._save == "asked":
                self._save = "settled"
                return [Tell(Fact.HANDOVER_NOT_SAVED, "late")]
            case _:
                return []

    def dial(self, now: int) -> list[Command]:
        """The caller's line moves on to a person, with the token if there is one."""
        label = "with_token" if self.token else "without_token"
        return [
            Tell(Fact.DIALING, label, now - self.decided_at),
            Tell(Fact.CALL_ENDED, "handed_over"),
            CloseStream(DialPerson(token=self.token, announce=not self.sentence.spoken)),
            DisconnectModel(),
        ]

    @property
    def ready(self) -> bool:
        """Whether the caller can be dialled through: the sentence heard, the record stored, or both given up."""
        return self.sentence.over and self._save == "settled"

    @property
    def complete(self) -> bool:
        """Whether nothing more can come that the record waits for."""
        return self._save == "settled" and self._ticket == "settled"
