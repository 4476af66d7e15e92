import json

import pytest

from benches.answers import completion_text, stream_text


def event(delta: dict[str, object], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


def test_a_stream_is_the_text_of_its_deltas() -> None:
    content = (
        event({"role": "assistant", "content": ""})
        + event({"content": "one "})
        + event({"content": "two"})
        + event({}, "stop")
        + 'data: {"choices": [], "usage": {}}\n\n'
        + "data: [DONE]\n\n"
    )

    assert stream_text(content) == "one two"


def test_a_stream_without_done_is_refused() -> None:
    with pytest.raises(ValueError, match="DONE"):
        stream_text(event({"content": "one"}) + event({}, "stop"))


def test_a_stream_without_finish_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="finish reason"):
        stream_text(event({"content": "one"}) + "data: [DONE]\n\n")


def test_an_error_frame_is_refused() -> None:
    with pytest.raises(KeyError):
        stream_text('data: {"error": {"message": "gone"}}\n\ndata: [DONE]\n\n')


def test_a_completion_is_the_text_of_its_message() -> None:
    assert completion_text('{"choices": [{"message": {"content": "hi"}}]}') == "hi"
