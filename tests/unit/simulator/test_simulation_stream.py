from random import Random

from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.instructions import NO_PAUSE
from voice_openai_connect.call.next_step import FAIL_OPEN, HangUp
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.simulator.simulation_promises import Promises
from voice_openai_connect.simulator.simulation_stream import Scene, Stream
from voice_openai_connect.simulator.simulation_world import Agenda, Turns, Weather


class OneStream:
    """A stream whose call is told what to ask for."""

    def __init__(self, seed: int = 1) -> None:
        agenda = Agenda()
        weather = Weather.drawn(Random(seed))
        weather.store_fails = 0.0
        promises = Promises(seed, agenda, told=True)
        self.scene = Scene(agenda, Random(seed), weather, Turns(agenda), promises)
        self.closed = 0
        self.stream = Stream(self.scene, 1, None, self._closed)

    def _closed(self) -> None:
        self.closed += 1

    def ask(self, *commands: do.Command) -> None:
        """The call answers the next event with these; it has the timer that its phase wants."""
        answer = (do.SetTimer("model_ready", 5_000), *commands)
        self.stream.call.handle = lambda event, now: answer
        self.stream.post(ev.ModelErred("x"))

    def pass_time(self, until: int = 1_000) -> None:
        while self.scene.agenda.step(until):
            pass

    @property
    def broken(self) -> list[str]:
        return self.scene.promises.outcome.broken


def test_a_stream_begins_with_our_turn_unless_the_caller_is_speaking() -> None:
    one, other = OneStream(), OneStream()
    one.stream.start()
    other.scene.speaking = True
    other.stream.start()

    assert one.scene.turns.ours
    assert not other.scene.turns.ours


def test_a_checkpoint_takes_the_place_of_a_step_and_a_step_leaves_the_checkpoint() -> None:
    one, checkpoint = OneStream(), Checkpoint()
    one.ask(do.CloseStream(FAIL_OPEN))
    one.ask(do.SaveCheckpoint(checkpoint))
    assert (one.scene.item.step, one.scene.item.checkpoint) == (None, checkpoint)

    one.ask(do.CloseStream(HangUp(farewell=True)))
    assert (one.scene.item.step, one.scene.item.checkpoint) == (HangUp(farewell=True), checkpoint)


def test_a_decision_that_the_store_did_not_take_is_remembered_as_lost() -> None:
    one = OneStream()
    one.scene.weather.store_fails = 1.0
    one.ask(do.SaveCheckpoint(Checkpoint()))
    assert not one.scene.lost_a_decision

    one.ask(do.SaveCheckpoint(Checkpoint(person_needed=True)))
    assert one.scene.lost_a_decision
    assert one.scene.item.checkpoint is None


def test_a_stream_that_moves_is_closed_once() -> None:
    one = OneStream()
    one.ask(do.MoveStream(Checkpoint(resumes=0)))
    one.pass_time()

    assert one.closed == 1
    assert one.stream.line.closed


def test_an_instance_that_has_died_hears_nothing_and_leaves_nothing() -> None:
    one = OneStream()
    one.stream.start()
    one.stream.die()
    one.pass_time(60_000)

    assert one.stream.call.phase is Phase.STARTING
    assert one.stream.at_rest


def test_words_after_the_close_are_found() -> None:
    one = OneStream()
    one.ask(do.CloseStream(FAIL_OPEN), do.PlayAudio(b"\x01" * 160))

    assert one.broken == ["at 0 ms: played something after the close"]


def test_a_request_to_a_model_that_is_not_there_is_found() -> None:
    one = OneStream()
    one.ask(do.RequestResponse("reply"))

    assert one.broken == ["at 0 ms: asked for a response where no model is"]


def test_a_hang_up_without_a_word_is_found() -> None:
    one = OneStream()
    one.ask(do.CloseStream(HangUp()))

    assert one.broken == ["at 0 ms: hung up on a caller who had heard nothing since they spoke"]


class Speaking(OneStream):
    """A stream whose call plays whatever the model says, to a caller who speaks."""

    def __init__(self) -> None:
        super().__init__()
        timer = do.SetTimer("model_ready", 5_000)
        self.stream.call.handle = lambda event, now: (
            (timer, do.PlayAudio(event.audio)) if isinstance(event, ev.ModelAudio) else (timer,)
        )
        self.stream.post(ev.CallerSpeechStarted("u1"))

    def answer(self, purpose: ev.Purpose = "reply") -> None:
        self.stream.post(ev.ModelResponseStarted("r1", purpose))
        self.stream.post(ev.ModelAudio("r1", "i1", b"\x01" * 160))


def test_an_answer_that_is_spoken_over_the_caller_is_found() -> None:
    one = Speaking()
    one.answer()

    assert one.broken == ["at 0 ms: spoke over the caller's words"]


def test_what_must_be_said_may_be_spoken_over_the_caller() -> None:
    one = Speaking()
    one.answer("greeting")

    assert one.broken == []


def test_so_may_what_a_model_says_that_hears_no_pause() -> None:
    one = Speaking()
    speaking = one.stream.call.handle
    one.ask(do.ConnectModel())
    one.stream.post(ev.CallerSpeechStarted("u1"))
    one.ask(do.RequestResponse("reply", NO_PAUSE))
    one.stream.call.handle = speaking
    one.answer()

    assert one.broken == []
