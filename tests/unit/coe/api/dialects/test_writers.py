"""A streamed answer spells what the whole one says, in every dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe import sse
from coe.api.dialects.completions import parse as parse_completion
from coe.api.dialects.messages.writer import Writer as MessagesWriter
from coe.api.dialects.responses.writer import Writer as ResponsesWriter
from coe.api.dialects.speech import Reader, chunks
from coe.api.wire import NOBODY
from coe.errors import BackendProtocolError, BackendTimeout
from coe.settings import Settings

HEAD = {"id": "c1", "created": 1, "model": "m"}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 2},
}

_TEXT = st.text(max_size=12)
_CALLS = st.lists(
    st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 99) | _TEXT, max_size=2),
    max_size=3,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a completion, and chunks that spell it."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(_TEXT) or None}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if thought := draw(_TEXT):
        message["reasoning_content"] = thought
        deltas += [{"reasoning_content": piece} for piece in draw(pieces(thought))]
    deltas += [{"content": piece} for piece in draw(pieces(message["content"] or ""))]
    calls = []
    for index, arguments in enumerate(draw(_CALLS)):
        text = orjson.dumps(arguments).decode()
        function = {"name": f"f{index}", "arguments": text}
        call = {"id": f"call_{index}", "type": "function", "function": function}
        calls.append(call)
        opening = {**call, "index": index, "function": {**function, "arguments": ""}}
        deltas.append({"tool_calls": [opening]})
        for piece in draw(pieces(text)):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    if calls:
        message["tool_calls"] = calls
    finish = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    choice = {"index": 0, "message": message, "finish_reason": finish}
    whole = {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}
    said = [choice_of(delta) for delta in deltas]
    return whole, [*said, choice_of({}, finish), {**HEAD, "choices": [], "usage": USAGE}]


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """Cut a text."""
    places = draw(st.lists(st.integers(0, len(text)), max_size=3))
    edges = [0, *sorted(places), len(text)]
    return [text[begin:end] for begin, end in pairwise(edges)]


def choice_of(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [choice]}


def responses() -> ResponsesWriter:
    return ResponsesWriter("seed", {"id": "resp_seed", "model": "asked", "output": []})


def messages(*, thinks: bool = True, stops: tuple[str, ...] = ()) -> MessagesWriter:
    return MessagesWriter("seed", thinks=thinks, stops=stops)


def events(writer: Any, said: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of a stream, its end included."""
    frames = [frame for chunk in said for frame in writer.chunk(chunk)]
    return list(read(b"".join([*frames, *writer.end()])))


def read(block: bytes) -> Iterator[dict[str, Any]]:
    for frame in sse.frames(block):
        value = orjson.loads(sse.data(frame) or b"")
        assert frame.startswith(b"event: " + value["type"].encode() + b"\n")
        yield value


@given(answers())
def test_a_response_is_the_same_streamed_and_whole(
    answer: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    whole, said = answer
    made = events(responses(), said)

    assert [one["sequence_number"] for one in made] == list(range(len(made)))
    assert made[-1]["response"] == responses().whole(orjson.dumps(whole))
    built: dict[str, str] = {}
    for one in made:
        if one["type"].endswith(".delta"):
            built[one["item_id"]] = built.get(one["item_id"], "") + one["delta"]
    for item in made[-1]["response"]["output"]:
        text = item.get("arguments") or item["content"][0]["text"]
        assert built.get(item["id"], "") == text


@given(answers())
def test_a_message_is_the_same_streamed_and_whole(
    answer: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    whole, said = answer
    content: list[dict[str, Any]] = []
    is_open = False
    made = events(messages(), said)
    for one in made:
        if one["type"] == "content_block_start":
            assert not is_open
            assert one["index"] == len(content)
            content.append({**one["content_block"], "json": ""})
            is_open = True
        elif one["type"] == "content_block_delta":
            assert is_open
            for key, value in one["delta"].items():
                if key != "type":
                    name = "json" if key == "partial_json" else key
                    content[one["index"]][name] += value
        elif one["type"] == "content_block_stop":
            is_open = False
            text = content[one["index"]].pop("json")
            if text:
                content[one["index"]]["input"] = orjson.loads(text)

    expected = messages().whole(orjson.dumps(whole))
    assert not is_open
    assert content == expected["content"]
    assert made[-2]["usage"] == expected["usage"]
    assert made[-2]["delta"]["stop_reason"] == expected["stop_reason"]
    assert made[-1] == {"type": "message_stop"}


def test_tokens_of_a_cache_are_not_counted_twice() -> None:
    said = [choice_of({"content": "a"}, "stop"), {**HEAD, "choices": [], "usage": USAGE}]

    usage = events(messages(), said)[-2]["usage"]
    told = events(responses(), said)[-1]["response"]["usage"]

    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (4, 5)
    assert told["input_tokens_details"]["cached_tokens"] == 5
    assert told["output_tokens_details"]["reasoning_tokens"] == 2


def test_a_server_that_tells_no_usage() -> None:
    said = [choice_of({"content": "x" * 40}, "stop")]
    writer = messages()
    writer.expect("m", 7)

    assert events(writer, said)[-2]["usage"] == {"input_tokens": 7, "output_tokens": 10}
    assert events(responses(), said)[-1]["response"]["usage"] is None


def test_calls_without_ids_get_some() -> None:
    call = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    made = events(messages(), [choice_of({"tool_calls": [call]}, "stop")])

    starts = [one["content_block"] for one in made if one["type"] == "content_block_start"]
    assert starts == [{"type": "tool_use", "id": "call_seed_1", "name": "f", "input": {}}]
    assert made[-2]["delta"]["stop_reason"] == "tool_use"  # though the server said `stop`


def test_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    calls = [
        {"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}} for name in "ab"
    ]
    made = events(messages(), [choice_of({"tool_calls": calls}, "tool_calls")])

    starts = [one["content_block"]["id"] for one in made if one["type"] == "content_block_start"]
    assert starts == ["a", "b"]


def test_pieces_of_calls_that_are_mixed_up_are_refused() -> None:
    calls = [{"index": i, "id": f"c{i}", "function": {"name": "f"}} for i in (0, 1)]
    late = {"index": 0, "function": {"arguments": "{}"}}

    with pytest.raises(BackendProtocolError, match="mixed up"):
        list(Reader("s").read(choice_of({"tool_calls": [*calls, late]})))


def test_arguments_that_are_cut_off_are_no_failure_and_nonsense_is_one() -> None:
    def whole(finish: str) -> bytes:
        function = {"name": "f", "arguments": '{"a": '}
        message = {"content": None, "tool_calls": [{"id": "c", "function": function}]}
        return orjson.dumps({**HEAD, "choices": [{"message": message, "finish_reason": finish}]})

    made = messages().whole(whole("length"))

    assert made["content"][0]["input"] == {}
    assert made["stop_reason"] == "max_tokens"
    with pytest.raises(BackendProtocolError, match="`f`"):
        messages().whole(whole("tool_calls"))


@pytest.mark.parametrize(("stop", "reason"), [("END", "stop_sequence"), ("OTHER", "end_turn")])
def test_a_stop_sequence_is_named_where_the_server_names_it(stop: str, reason: str) -> None:
    made = events(messages(stops=("END",)), [choice_of({"content": "a"}, "stop", stop_reason=stop)])

    assert made[-2]["delta"]["stop_reason"] == reason
    assert made[-2]["delta"]["stop_sequence"] == ("END" if reason == "stop_sequence" else None)


def test_other_choices_are_left_out() -> None:
    second = choice_of({"content": "second"})
    second["choices"][0]["index"] = 1
    made = events(messages(), [choice_of({"content": "first"}), second, choice_of({}, "stop")])

    assert [one["delta"]["text"] for one in made if "text" in one.get("delta", {})] == ["first"]


def test_a_stream_that_fails_before_its_first_chunk_says_so() -> None:
    error = BackendTimeout("too late")

    made = list(read(responses().broken(error)))
    told = list(read(messages().broken(error)))

    assert [one["type"] for one in made] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]
    assert made[-1]["response"]["error"] == {"code": "backend_timeout", "message": "too late"}
    assert told[-1]["error"] == {"type": "timeout_error", "message": "too late"}


@pytest.mark.parametrize("writer", [responses, messages])
def test_a_stream_without_a_finish_reason_is_not_whole(writer: Any) -> None:
    with pytest.raises(BackendProtocolError, match="finish reason"):
        events(writer(), [choice_of({"content": "half"})])


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": ["x"]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"delta": {"content": 5}}]},
        {"choices": [{"delta": {"tool_calls": ["x"]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": "x"}]}}]},
        {"choices": [{"delta": {"content": "a"}, "logprobs": "x"}]},
    ],
)
def test_what_is_no_chunk_is_the_experts_failure(chunk: dict[str, Any]) -> None:
    with pytest.raises(BackendProtocolError):
        list(Reader("s").read(chunk))


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", b'{"choices": []}', b'{"choices": [5]}', b'{"choices": [{"message": 5}]}'],
)
def test_what_is_no_completion_is_the_experts_failure(body: bytes) -> None:
    older = parse_completion(
        {"model": "m", "prompt": "hi"}, "q", Settings.model_construct(), NOBODY
    )

    for writer in (responses(), messages(), older.writer):
        with pytest.raises(BackendProtocolError):
            writer.whole(body)


def test_comments_pass_and_end_marks_do_not() -> None:
    block = b': wait\n\ndata: {"choices": []}\n\ndata: [DONE]\n\n'

    assert list(chunks(block)) == [b": wait\n\n", {"choices": []}]
