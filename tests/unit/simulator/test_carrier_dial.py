import asyncio

import pytest

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.carrier_dial import Dialled, Leg
from voice_openai_connect.simulator.carrier_line import Bridge, Party, Ringing
from voice_openai_connect.simulator.carrier_twiml import Dial
from voice_openai_connect.simulator.dtmf import DtmfDetector
from voice_openai_connect.simulator.telephone import Busy, Canceled, Failed, LineEnd, NoAnswer, NotTaken, line

WORD = b"\x21" * 160


class Machine:
    """Answers, hears so many frames, says one word and hangs up."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.heard: list[bytes] = []
        self.caller = ""

    async def answer(self, end: LineEnd) -> None:
        self.caller = end.far
        end.pick_up()
        while len(self.heard) < self.frames and (frame := await end.receive()) is not None:
            self.heard.append(frame)
        end.send(WORD)


class Refuses:
    def __init__(self, how: NotTaken) -> None:
        self.how = how

    async def answer(self, end: LineEnd) -> None:
        raise self.how


class RingsForEver:
    async def answer(self, end: LineEnd) -> None:
        await end.until_hung_up()


class Breaks:
    async def answer(self, end: LineEnd) -> None:
        raise RuntimeError("a fault in the town")


class Desk:
    """Dials on behalf of a caller whose line is stepped as fast as it goes."""

    def __init__(self, digits: str = "") -> None:
        self.dialled = Dialled("+15550100", digits, "+15550001")
        self.parties: list[Party] = []
        self.kept: list[asyncio.Task[None]] = []
        _, self.end = line("+15550001", "+15550002")
        self.leg = Leg(self.dialled, self.end, self.parties.append, self.kept.append)
        self.said: list[bytes] = []

    async def run(self, subscriber: object, dial: Dial) -> dict[str, str]:
        running = asyncio.create_task(self.leg.run(dial, subscriber))  # pyright: ignore[reportArgumentType] - a test double by shape
        async with asyncio.timeout(30):
            while not running.done():
                if self.parties:
                    self.said.append(self.parties[-1].exchange(WORD, []))
                await asyncio.sleep(0)
        await running
        return self.dialled.params()


async def test_the_called_one_gets_the_digits_first_and_then_the_caller() -> None:
    machine, desk = Machine(200), Desk("w42#")
    posted = await desk.run(machine, Dial("+15550100", "w42#"))
    detector = DtmfDetector()
    assert "".join(detector.feed(frame) for frame in machine.heard) == "42#"
    assert machine.heard[-1] == WORD
    assert machine.caller == "+15550001"
    assert posted["DialCallStatus"] == "completed"
    assert posted["DialBridged"] == "true"
    assert posted["DialCallDuration"] == str(round(desk.dialled.tape.length_ms / 1000))
    assert posted["DialCallSid"].startswith("CA")
    assert [type(party) for party in desk.parties] == [Ringing, Bridge]


async def test_one_who_hangs_up_during_the_digits_was_answered_but_never_joined() -> None:
    desk = Desk("wwww1234567890#")
    posted = await desk.run(Machine(5), Dial("+15550100", "wwww1234567890#"))
    assert (posted["DialCallStatus"], posted["DialBridged"]) == ("completed", "false")
    assert posted["DialCallDuration"] == "0"


@pytest.mark.parametrize(
    ("how", "status"), [(Busy(), "busy"), (NoAnswer(), "no-answer"), (Canceled(), "canceled"), (Failed(), "failed")]
)
async def test_one_who_does_not_take_the_call_says_why(how: NotTaken, status: str) -> None:
    posted = await Desk().run(Refuses(how), Dial("+15550100"))
    assert posted["DialCallStatus"] == status
    assert posted["DialBridged"] == "false"
    assert "DialCallDuration" not in posted


async def test_it_rings_five_seconds_longer_than_the_timeout_and_then_nobody_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voice_openai_connect.simulator.carrier_dial.TIMEOUT_EXTRA_S", -4.95)
    desk = Desk()
    posted = await desk.run(RingsForEver(), Dial("+15550100", timeout_s=5))
    assert posted["DialCallStatus"] == "no-answer"
    assert sound.level_dbfs(sound.ulaw_decode(desk.said[0])) > -30
    await asyncio.wait_for(desk.kept[0], 30)


async def test_a_fault_of_the_called_one_is_a_failed_call_and_is_not_hidden() -> None:
    desk = Desk()
    posted = await desk.run(Breaks(), Dial("+15550100"))
    assert posted["DialCallStatus"] == "failed"
    with pytest.raises(RuntimeError, match="a fault in the town"):
        desk.kept[0].result()


async def test_a_dial_that_is_left_while_it_rings_is_canceled_and_hangs_up() -> None:
    desk = Desk()
    running = asyncio.create_task(desk.leg.run(Dial("+15550100"), RingsForEver()))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert desk.dialled.status == "canceled"
    await asyncio.wait_for(desk.kept[0], 30)
