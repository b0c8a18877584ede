"""Commands and their answers belong together."""

import inspect

from voice_openai_connect.call import commands, events


def test_every_answer_answers_one_command_only() -> None:
    successes = [success for success, _ in commands.ANSWERS.values()]

    assert len(set(successes)) == len(successes)


def test_every_answer_is_an_event_and_every_question_a_command() -> None:
    for command, answers in commands.ANSWERS.items():
        assert issubclass(command, commands.Command)
        assert all(issubclass(answer, events.Event) for answer in answers)


def test_every_command_says_in_one_sentence_what_it_asks_for() -> None:
    for _, cls in inspect.getmembers(commands, inspect.isclass):
        if issubclass(cls, commands.Command):
            assert (cls.__doc__ or "").strip().endswith((".", "answer."))
