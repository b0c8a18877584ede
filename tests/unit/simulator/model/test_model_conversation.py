import pytest

from voice_openai_connect.simulator.model_conversation import Conversation, Item, Tokens, usage
from voice_openai_connect.simulator.model_protocol import RefusedError


def spoken(item_id: str, ms: int = 2_000) -> Item:
    content = [{"type": "output_audio", "transcript": "Good morning."}]
    return Item(item_id, role="assistant", content=content, audio_ms=ms)


def written(item_id: str, text: str = "Hello") -> Item:
    wire = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return Item.written_by_client(item_id, wire)


def test_items_are_added_at_the_end_after_another_or_first() -> None:
    conversation = Conversation()
    assert conversation.add(written("a")) is None
    assert conversation.add(written("b")) == "a"
    assert conversation.add(written("c"), after="a") == "a"
    assert conversation.add(written("d"), after="root") is None
    assert [item.id for item in conversation] == ["d", "a", "c", "b"]


def test_an_id_is_used_once_and_a_predecessor_must_exist() -> None:
    conversation = Conversation([written("a")])
    with pytest.raises(RefusedError, match="already exists"):
        conversation.add(written("a"))
    with pytest.raises(RefusedError, match="'gone' not found"):
        conversation.add(written("b"), after="gone")


def test_a_truncated_item_keeps_its_audio_up_to_there_and_no_words() -> None:
    conversation = Conversation([spoken("a")])
    item = conversation.truncate("a", 0, 1_500)
    assert (item.audio_ms, item.text) == (1_500, "")
    assert conversation.turns == []


@pytest.mark.parametrize("ms", [2_001, 60_000])
def test_nothing_can_be_truncated_beyond_its_end(ms: int) -> None:
    with pytest.raises(RefusedError, match=f"Audio content of 2000ms is already shorter than {ms}ms") as refused:
        Conversation([spoken("a")]).truncate("a", 0, ms)
    assert refused.value.code is None


@pytest.mark.parametrize(("item", "ms"), [(spoken("a"), 0), (spoken("a"), -1), (written("a"), 10), (spoken("a", 0), 1)])
def test_only_speech_of_the_model_can_be_truncated_and_not_to_nothing(item: Item, ms: int) -> None:
    with pytest.raises(RefusedError, match="Only model output audio") as refused:
        Conversation([item]).truncate("a", 0, ms)
    assert refused.value.code == "unsupported_content_type"


@pytest.mark.parametrize(("doing", "code"), [("delete", "item_delete_invalid_item_id")])
def test_an_unknown_item_is_refused_by_name(doing: str, code: str) -> None:
    with pytest.raises(RefusedError, match="Error deleting item: the item with id 'gone' does not exist") as refused:
        Conversation().get("gone", doing)
    assert refused.value.code == code


def test_audio_sent_with_an_item_is_not_echoed() -> None:
    wire = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_audio", "audio": "AAAA", "transcript": "Hi"}],
    }
    item = Item.written_by_client("a", wire)
    assert item.wire()["content"] == [{"type": "input_audio", "transcript": "Hi"}]
    assert item.text == "Hi"


def test_a_call_is_found_by_its_call_id() -> None:
    call = Item("a", "function_call", name="end_call", call_id="call_1", arguments="{}")
    conversation = Conversation([call])
    assert conversation.call("call_1") is call
    assert conversation.call("call_2") is None


def test_speech_costs_by_time_and_writing_by_length() -> None:
    caller = Item("u", role="user", content=[{"type": "input_audio", "transcript": "word"}], audio_ms=1_000)
    assert Conversation([caller, spoken("a"), written("w", "12345678")]).tokens() == Tokens(text=2, audio=10 + 40)


def test_usage_counts_cached_tokens_among_those_read() -> None:
    counted = usage(Tokens(text=100, audio=50), cached=128, made=Tokens(text=5, audio=20))
    assert (counted["input_tokens"], counted["output_tokens"], counted["total_tokens"]) == (150, 25, 175)
    cached = counted["input_token_details"]["cached_tokens_details"]
    assert (cached["text_tokens"], cached["audio_tokens"]) == (78, 50)
