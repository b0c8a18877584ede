"""One call's sockets, timers and tasks, around a call that says what the test wants it to say."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.next_step import FAIL_OPEN, DialPerson, HangUp
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.gateway.ports import Post
from voice_openai_connect.gateway.stream_handler import StreamHandler
from voice_openai_connect.wire.twilio_media import MediaReader

MakeStage = Callable[..., Any]
Does = Callable[[], Awaitable[None]]
DEADLINE_S = 10
CALL_SID = "CA" + "0" * 32
RECORD = HandoverRecord("ho-1", "conv-1", CALL_SID, "+61255501234", "why", "general", "normal", "key", "support")


async def answers() -> None:
    await asyncio.sleep(0)


async def raises() -> None:
    await asyncio.sleep(0)
    raise LookupError("not today")


async def hangs() -> None:
    await asyncio.Event().wait()


def on_start(*commands: do.Command) -> dict[type[ev.Event], tuple[do.Command, ...]]:
    """A call that asks for this when it begins, and for nothing more."""
    return {ev.StreamStarted: commands}


# --- commands


def subclasses(kind: type[do.Command]) -> set[type[do.Command]]:
    return {kind, *(deeper for each in kind.__subclasses__() for deeper in subclasses(each))}


def test_every_command_there_is_is_carried_out() -> None:
    abstract = {do.Command, do.ModelCommand}

    assert set(StreamHandler._carry_out) == subclasses(do.Command) - abstract  # pyright: ignore[reportPrivateUsage]


async def test_what_the_caller_is_to_hear_goes_out_in_order_and_exactly(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(do.PlayAudio(b"\x01" * 160), do.MarkPlayback("m1"), do.ClearPlayback()))
    await stage.whole_call()

    media, mark, clear = (json.loads(text) for text in stage.line.sent)
    assert base64.b64decode(media["media"]["payload"]) == b"\x01" * 160
    assert mark["mark"]["name"] == "m1"
    assert clear == {"event": "clear", "streamSid": "MZ1"}
    assert len(stage.watch.clears) == 1


async def test_what_the_model_is_to_do_reaches_the_model_in_order(make_stage: MakeStage) -> None:
    asked: list[do.ModelCommand] = [do.ConfigureModel(), do.SendCallerAudio(bytes(3)), do.RequestResponse("reply")]
    stage = make_stage(on_start(do.ConnectModel(), *asked, do.TruncateItem("i", 20), do.DeleteItem("j")))
    await stage.whole_call()

    assert stage.leg.sent == [*asked, do.TruncateItem("i", 20), do.DeleteItem("j")]


async def test_the_model_s_side_is_closed_when_the_call_says_so(make_stage: MakeStage) -> None:
    stage = make_stage({ev.StreamStarted: (do.ConnectModel(),), ev.KeyPressed: (do.DisconnectModel(),)})
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await asyncio.wait_for(stage.leg.closed.wait(), DEADLINE_S)
    stage.line.says("stop")
    await stage.over(served)


async def test_facts_and_frames_are_told(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(do.Tell(Fact.MODEL_READY)))
    served = await stage.begin()
    for chunk in (1, 2, 5):
        stage.line.says("media", media={"payload": "AAAA", "chunk": str(chunk)})
    stage.line.says("stop")
    await stage.over(served)

    assert stage.watch.facts == [do.Tell(Fact.MODEL_READY)]
    assert stage.watch.counted == [(3, 2)]
    assert stage.watch.stream == "MZ1"


# --- answers

ASKED: dict[type[do.Command], do.Command] = {
    do.ConnectModel: do.ConnectModel(),
    do.RunTool: do.RunTool("t1", "order_status", '{"order": "7"}'),
    do.FindContact: do.FindContact("+61255501234"),
    do.OpenTicket: do.OpenTicket(RECORD),
    do.SaveHandover: do.SaveHandover(RECORD),
}
ANSWERED_BY_THE_LEG = {do.ConfigureModel}
"""Sent to the model like any other; what comes back is the leg's business."""


def connecting(does: Does) -> Callable[[Post], Awaitable[None]]:
    async def life(post: Post) -> None:
        await does()
        post(ev.ModelConnected())

    return life


def test_every_command_with_an_answer_is_among_the_tests_below() -> None:
    assert set(do.ANSWERS) == set(ASKED) | ANSWERED_BY_THE_LEG


@pytest.mark.parametrize("kind", ASKED, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("does", [answers, raises])
async def test_a_command_has_exactly_one_answer_whatever_the_service_does(
    make_stage: MakeStage, kind: type[do.Command], does: Does
) -> None:
    success, failure = do.ANSWERS[kind]
    stage = make_stage(on_start(ASKED[kind]), does=does, life=connecting(does))
    served = await stage.begin()
    await stage.call.until(success, failure)
    stage.leg.closed.set()
    stage.line.says("stop")
    await stage.over(served)

    assert [type(event) for event in stage.call.saw(success, failure)] == [success if does is answers else failure]
    assert len(stage.watch.failures) == (does is raises)


@pytest.mark.parametrize("kind", ASKED, ids=lambda kind: kind.__name__)
async def test_a_service_that_hangs_posts_nothing_and_is_ended_with_the_call(
    make_stage: MakeStage, kind: type[do.Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CRM_LATE_MS", 20)
    stage = make_stage(on_start(ASKED[kind]), does=hangs, life=connecting(hangs))
    await stage.whole_call()

    assert stage.call.saw(*do.ANSWERS[kind]) == []
    assert stage.watch.failures == ["settle"]


async def test_the_answers_carry_what_the_services_said(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(*(command for kind, command in ASKED.items() if kind is not do.ConnectModel)))
    served = await stage.begin()
    found = [await stage.call.until(kind) for kind in (ev.ContactFound, ev.TicketOpened, ev.HandoverSaved)]
    finished = await stage.call.until(ev.ToolFinished)
    stage.line.says("stop")
    await stage.over(served)

    assert found[0] == ev.ContactFound("101")
    assert found[1] == ev.TicketOpened("201", "https://crm.example.com/201")
    assert found[2] == ev.HandoverSaved("0123456789")
    assert finished == ev.ToolFinished("t1", "7 of conv-1")


async def test_a_failure_is_named_by_the_short_reason_that_the_error_gives(make_stage: MakeStage) -> None:
    class Throttled(Exception):  # noqa: N818 - as the store has it
        reason = "throttled"

    async def throttles() -> None:
        raise Throttled

    stage = make_stage(on_start(do.SaveHandover(RECORD)), does=throttles)
    served = await stage.begin()
    assert await stage.call.until(ev.HandoverNotSaved) == ev.HandoverNotSaved("throttled")
    stage.line.says("stop")
    await stage.over(served)


async def test_without_a_crm_the_answer_is_that_it_is_off(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(do.FindContact("+61255501234"), do.OpenTicket(RECORD)), crm=False)
    await stage.whole_call()

    assert stage.call.saw(ev.ContactNotFound) == [ev.ContactNotFound("crm_off")]
    assert stage.call.saw(ev.TicketNotOpened) == [ev.TicketNotOpened("crm_off")]
    assert stage.watch.failures == []


async def test_a_tool_that_is_not_registered_fails_like_one_that_raises(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(do.RunTool("t1", "no_such_tool", "{}")))
    served = await stage.begin()
    assert await stage.call.until(ev.ToolFailed) == ev.ToolFailed("t1", "KeyError")
    stage.line.says("stop")
    await stage.over(served)


async def test_a_model_that_cannot_even_be_made_is_a_lost_model(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(do.ConnectModel()), makes_models=False)
    await stage.whole_call()

    assert stage.call.saw(ev.ModelLost) == [ev.ModelLost("not_opened", permanent=True)]


async def test_a_late_ticket_that_cannot_be_attached_is_told_and_nothing_else(make_stage: MakeStage) -> None:
    for does, expected in ((answers, []), (raises, ["attach ticket"])):
        stage = make_stage(on_start(do.AttachTicket("0123456789", "101", "201")), does=does)
        await stage.whole_call()

        assert stage.watch.failures == expected
        assert stage.service.attached == ([] if expected else ["201"])


# --- events


async def test_an_event_that_comes_while_another_is_handled_waits_its_turn(make_stage: MakeStage) -> None:
    """`FindContact` without a CRM is answered at once, from within the event that asked for it."""
    stage = make_stage(
        {
            ev.StreamStarted: (do.FindContact(""), do.OpenTicket(RECORD), do.Tell(Fact.CALL_STARTED)),
            ev.ContactNotFound: (do.Tell(Fact.CONTACT_MISSING),),
            ev.TicketNotOpened: (do.Tell(Fact.TICKET_MISSING),),
        },
        crm=False,
    )
    await stage.whole_call()

    assert [tell.fact for tell in stage.watch.facts] == [
        Fact.CALL_STARTED,
        Fact.CONTACT_MISSING,
        Fact.TICKET_MISSING,
    ]


async def test_a_slow_tool_does_not_delay_audio(make_stage: MakeStage) -> None:
    may_finish = asyncio.Event()

    async def slow() -> None:
        await may_finish.wait()

    stage = make_stage(
        {
            ev.StreamStarted: (do.ConnectModel(), ASKED[do.RunTool]),
            ev.CallerAudio: (do.SendCallerAudio(bytes(3)), do.PlayAudio(bytes(160))),
        },
        does=slow,
    )
    served = await stage.begin()
    for _ in range(3):
        stage.line.says("media", media={"payload": "AAAA"})
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await stage.call.until(ev.KeyPressed)

    assert stage.leg.sent == [do.SendCallerAudio(bytes(3))] * 3
    assert len(stage.line.sent) == 3
    assert stage.call.saw(ev.ToolFinished) == []
    may_finish.set()
    await stage.call.until(ev.ToolFinished)
    stage.line.says("stop")
    await stage.over(served)


async def test_a_timer_fires_once_the_later_one_of_a_name_counts_and_a_cancelled_one_never_fires(
    make_stage: MakeStage,
) -> None:
    now = int(asyncio.get_running_loop().time() * 1_000)
    far = now + 3_600_000
    stage = make_stage(
        on_start(
            do.SetTimer("replaced", now + 1),
            do.SetTimer("replaced", far),
            do.SetTimer("cancelled", now + 1),
            do.CancelTimer("cancelled"),
            do.CancelTimer("never set"),
            do.SetTimer("due", now + 2),
        )
    )
    served = await stage.begin()
    await stage.call.until(ev.TimerFired)
    stage.line.says("stop")
    await stage.over(served)

    assert stage.call.saw(ev.TimerFired) == [ev.TimerFired("due")]


# --- mistakes of ours


async def test_a_call_that_raises_is_taken_to_a_person(make_stage: MakeStage) -> None:
    stage = make_stage(broken=frozenset({ev.KeyPressed}))
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await stage.over(served)

    assert stage.steps == [FAIL_OPEN]
    assert stage.line.closed.is_set()
    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("broken")]
    assert stage.watch.failures == ["call"]


async def test_a_call_that_always_raises_is_asked_twice_and_its_model_is_closed_all_the_same(
    make_stage: MakeStage,
) -> None:
    stage = make_stage({ev.StreamStarted: (do.ConnectModel(),)}, broken=frozenset({ev.CallerAudio, ev.StreamLost}))
    served = await stage.begin()
    for _ in range(50):
        stage.line.says("media", media={"payload": "AAAA"})
    await stage.over(served)

    assert stage.steps == [FAIL_OPEN]
    assert [type(event) for event in stage.call.seen] == [ev.StreamStarted, ev.CallerAudio, ev.StreamLost]
    assert stage.watch.failures == ["call", "call"]
    assert stage.leg.closed.is_set()


async def test_a_command_that_cannot_be_carried_out_takes_the_caller_to_a_person(make_stage: MakeStage) -> None:
    stage = make_stage({ev.KeyPressed: (do.Command(),)})
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await stage.over(served)

    assert stage.steps == [FAIL_OPEN]


async def test_audio_that_cannot_be_passed_on_takes_the_caller_to_a_person_too(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage({ev.KeyPressed: (do.ConnectModel(),)})

    def fails(_: bytes) -> None:
        raise LookupError

    monkeypatch.setattr(stage.leg, "send_audio", fails)
    stage.call.passes_audio = True
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    stage.line.says("media", media={"payload": "AAAA"})
    await stage.over(served)

    assert stage.steps == [FAIL_OPEN]


async def test_a_step_that_was_decided_before_a_mistake_stays_decided(make_stage: MakeStage) -> None:
    step = DialPerson(token="0123456789")
    stage = make_stage({ev.KeyPressed: (do.CloseStream(step),)}, broken=frozenset({ev.TicketOpened}))
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await asyncio.wait_for(stage.line.closed.wait(), DEADLINE_S)
    stage.handler.post(ev.TicketOpened("201"))
    await stage.over(served)

    assert stage.steps == [step]


async def test_a_reader_that_raises_what_it_should_not_ends_the_stream_and_the_call_hears_of_it(
    make_stage: MakeStage,
) -> None:
    class Raises(MediaReader):
        def read(self, text: str | bytes) -> ev.Event:
            raise ZeroDivisionError

    stage = make_stage()
    stage.line.says("stop")
    await asyncio.wait_for(stage.handler.run(stage.line, Raises(), "MZ1"), DEADLINE_S)
    await asyncio.wait_for(stage.handler.settle(), DEADLINE_S)

    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("closed")]
    assert stage.watch.failures == ["listen"]
    assert stage.line.closed.is_set()


# --- what the CRM must still get


async def test_a_ticket_for_later_is_kept_before_the_call_is_settled(make_stage: MakeStage) -> None:
    stage = make_stage({ev.StreamStopped: (do.DeliverTicketLater(RECORD),)})
    await stage.whole_call()

    assert stage.service.owed == [RECORD]


async def test_without_a_crm_a_ticket_for_later_is_nobody_s(make_stage: MakeStage) -> None:
    stage = make_stage({ev.StreamStopped: (do.DeliverTicketLater(RECORD),)}, crm=False)
    await stage.whole_call()

    assert stage.watch.failures == []
    assert stage.service.owed == []


async def test_a_call_knows_from_its_first_moment_which_queues_have_nobody(make_stage: MakeStage) -> None:
    known = ev.QueuesUnattended(unstaffed=frozenset({"support"}))
    stage = make_stage(unattended=lambda: known)
    await stage.whole_call()

    assert stage.call.seen[:2] == [known, ev.StreamStarted("MZ1")]


# --- how a stream ends


async def test_a_stop_from_twilio_is_the_last_thing_the_call_hears(make_stage: MakeStage) -> None:
    stage = make_stage()
    await stage.whole_call()

    assert stage.call.seen == [ev.StreamStarted("MZ1"), ev.StreamStopped()]
    assert stage.line.closed.is_set()


async def test_a_socket_that_breaks_is_a_lost_line(make_stage: MakeStage) -> None:
    stage = make_stage()
    served = await stage.begin()
    stage.line.to_gateway.put_nowait(None)
    await stage.over(served)

    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("closed")]


async def test_a_line_that_has_fallen_silent_is_a_lost_line(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_SILENT_MS", 20)
    stage = make_stage()
    await stage.over(await stage.begin())

    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("silent")]
    assert stage.line.closed.is_set()


async def test_a_line_is_not_taken_for_silent_by_a_process_that_stood_still_itself(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_SILENT_MS", 1_000)
    stage = make_stage()
    served = await stage.begin()
    time.sleep(1.1)  # noqa: ASYNC251 - nothing here may run meanwhile
    for _ in range(3):  # what was due meanwhile comes before what has come meanwhile
        await asyncio.sleep(0)
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await stage.call.until(ev.KeyPressed)
    stage.line.says("stop")
    await stage.over(served)

    assert stage.call.saw(ev.StreamLost) == []


async def test_bad_messages_are_passed_over_until_there_are_too_many(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BAD_MESSAGES_MAX", 3)
    stage = make_stage()
    served = await stage.begin()
    for bad in ("{not json", "", '{"event": "media"}'):
        stage.line.to_gateway.put_nowait(bad)
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await stage.call.until(ev.KeyPressed)
    assert stage.call.saw(ev.StreamLost) == []

    stage.line.to_gateway.put_nowait("")  # what a binary message comes as
    await stage.over(served)
    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("garbage")]


async def test_a_peer_that_does_not_read_is_given_up_even_if_it_goes_on_talking(make_stage: MakeStage) -> None:
    stage = make_stage()
    served = await stage.begin()
    stage.handler.lose_stream("not_reading")
    await stage.over(served)

    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("not_reading")]
    assert stage.line.closed.is_set()


@pytest.mark.parametrize("deaf", [False, True], ids=["an ordinary peer", "a peer that ignores the close"])
async def test_our_own_close_remembers_the_step_first_and_is_no_lost_line(make_stage: MakeStage, *, deaf: bool) -> None:
    remembered = asyncio.Event()

    async def remember() -> None:
        await remembered.wait()

    stage = make_stage({ev.KeyPressed: (do.CloseStream(HangUp()),)}, remember=remember)
    stage.line.deaf = deaf
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await stage.call.until(ev.KeyPressed)
    stage.line.says("mark", mark={"name": "m1"})
    await stage.call.until(ev.PlaybackReached)
    assert stage.steps == [HangUp()]
    assert not stage.line.closed.is_set()

    remembered.set()
    await asyncio.wait_for(stage.line.closed.wait(), DEADLINE_S)
    await stage.end()
    await stage.over(served)
    assert stage.call.saw(ev.StreamLost) == []


async def test_the_stream_is_closed_even_if_the_step_cannot_be_remembered(make_stage: MakeStage) -> None:
    stage = make_stage({ev.KeyPressed: (do.CloseStream(HangUp()),)}, remember=raises)
    served = await stage.begin()
    stage.call.phase = Phase.ENDED
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await stage.over(served)

    assert stage.line.closed.is_set()
    assert stage.watch.failures == ["close stream"]


# --- what is left when a stream has ended


async def test_a_ticket_on_its_way_is_waited_for_after_the_stream(make_stage: MakeStage) -> None:
    may_answer = asyncio.Event()

    async def later() -> None:
        await may_answer.wait()

    stage = make_stage({ev.KeyPressed: (do.OpenTicket(RECORD), do.CloseStream(FAIL_OPEN))}, does=later)
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await asyncio.wait_for(stage.line.closed.wait(), DEADLINE_S)
    assert not served.done()

    may_answer.set()
    await stage.call.until(ev.TicketOpened)
    await stage.end()
    await stage.over(served)


async def test_no_timer_outlives_the_call_not_even_one_that_a_dying_task_asked_for(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CRM_LATE_MS", 20)
    later = int(asyncio.get_running_loop().time() * 1_000) + 3_600_000

    async def clings() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return  # and so it answers, when nobody asks any more

    begin = on_start(do.SetTimer("a", later), ASKED[do.RunTool], do.CloseStream(FAIL_OPEN))
    stage = make_stage(begin, does=clings)
    stage.call.answers[ev.ToolFinished] = (do.SetTimer("b", later),)
    await stage.over(await stage.begin())

    assert stage.call.saw(ev.ToolFinished) == []
    assert stage.handler._timers == {}  # pyright: ignore[reportPrivateUsage]


async def test_a_stream_that_is_cancelled_from_outside_closes_socket_and_model(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(do.ConnectModel()))
    served = await stage.begin()
    served.cancel()
    with pytest.raises(asyncio.CancelledError):
        await served
    await asyncio.wait_for(stage.handler.settle(), DEADLINE_S)

    assert stage.line.closed.is_set()
    assert stage.leg.closed.is_set()


async def test_a_handler_that_gives_way_ends_and_writes_over_nothing(make_stage: MakeStage) -> None:
    may_write = asyncio.Event()
    begin = on_start(do.ConnectModel(), do.SaveCheckpoint(Checkpoint()), do.CloseStream(FAIL_OPEN))
    stage = make_stage(begin, does=may_write.wait)
    served = await stage.begin()
    stage.handler.give_way()
    may_write.set()
    await stage.over(served)

    assert stage.service.checkpoints == stage.steps == []
    assert stage.call.seen[-1] == ev.StreamLost("taken_over")
    assert stage.leg.closed.is_set()
    assert stage.line.closed.is_set()
