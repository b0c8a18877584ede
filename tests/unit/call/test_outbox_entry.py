"""What the CRM is owed about one conversation."""

from voice_openai_connect.call.outbox_entry import Expired, NotDue, OutboxEntry


def test_an_entry_that_nothing_was_added_to_owes_nothing() -> None:
    entry = OutboxEntry("conv-1")

    assert (entry.record, entry.notes, entry.refusals) == (None, (), 0)


def test_a_lease_that_was_not_got_says_why() -> None:
    assert NotDue(30) != NotDue(31)
    assert Expired() == Expired()
