from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe import sse
from coe.backends.passage import MAX_FRAME_BYTES, Passage, whole
from coe.errors import BackendProtocolError, BackendRejected, ContextTooLong
from coe.testing import wire
from coe.types import Call, Endpoint

ASK = wire.Ask(model="upstream/model-7b", prompt="p", stream=True)


def call(body: dict[str, Any] | None = None, endpoint: Endpoint = "chat/completions") -> Call:
    return Call(
        expert="exp", backend="b", model=ASK.model, body=body or {}, stream=True, endpoint=endpoint
    )


def frames_of(text: str = "one two three", ask: wire.Ask = ASK) -> list[bytes]:
    return [wire.frame(value) for value in wire.chunks(ask, text)]


def passed(pieces: Sequence[bytes], body: dict[str, Any] | None = None) -> tuple[bytes, Passage]:
    """Feed all, as the backend does; return what is delivered."""
    passage = Passage(call(body), "b", None)
    out = b""
    for piece in pieces:
        out += passage.feed(piece)
        if passage.done or passage.error is not None:
            return out, passage
    return out + passage.end(), passage


def values(block: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(sse.data(frame) or b"null") for frame in sse.frames(block)]


@given(
    st.sampled_from(["done", "finish", "truncated", "error", "crlf", "no-newline", "n"]),
    st.lists(st.integers(0)),
)
def test_any_chunking_gives_the_same_passage(kind: str, places: list[int]) -> None:
    error = sse.frame(wire.error_body("no", "server_error"))
    ask = wire.Ask(model=ASK.model, prompt="p", stream=True, n=3)
    stream = {
        "done": b"".join([*frames_of(), sse.DONE]),
        "finish": b"".join(frames_of()),
        "truncated": b"".join(frames_of()[:3]),
        "error": b"".join([*frames_of()[:3], error, sse.DONE]),
        "crlf": b"".join([*frames_of(), sse.DONE]).replace(b"\n", b"\r\n"),
        "no-newline": b"".join(frames_of()).removesuffix(b"\n\n"),
        "n": b"".join([*frames_of(ask=ask), sse.DONE]),
    }[kind]
    body = {"n": 3} if kind == "n" else {}
    marks = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(marks)]

    expected, one = passed([stream], body)
    out, many = passed([piece for piece in pieces if piece], body)

    assert values(out) == values(expected)
    assert {value["model"] for value in values(out)} == {"exp"}
    assert type(many.error) is type(one.error)
    assert (one.error is None) == (kind in {"done", "finish", "crlf", "no-newline", "n"})


def test_frames_before_the_first_content_are_held_back() -> None:
    passage = Passage(call(), "b", None)
    role, first, *_ = frames_of()

    assert passage.feed(b": ping\n\n" + role) == b""
    assert not passage.started
    block = passage.feed(first)

    assert passage.started
    assert block.startswith(b": ping\n\n")
    assert [v["choices"][0]["delta"] for v in values_of_data(block)] == [
        {"role": "assistant", "content": ""},
        {"content": "one"},
    ]


def values_of_data(block: bytes) -> list[dict[str, Any]]:
    payloads = [sse.data(frame) for frame in sse.frames(block)]
    return [orjson.loads(payload) for payload in payloads if payload is not None]


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"refusal": "x"},
        {"tool_calls": [{"index": 0}]},
    ],
)
def test_content_of_every_kind_starts_a_stream(delta: dict[str, Any]) -> None:
    passage = Passage(call(), "b", None)

    assert passage.feed(wire.frame(wire.chunk(ASK, delta)))
    assert passage.started


def test_a_finish_reason_starts_a_stream() -> None:
    passage = Passage(call(), "b", None)

    assert passage.feed(wire.frame(wire.chunk(ASK, {}, "stop")))


@pytest.mark.parametrize("frame", [b"data: nonsense\n\n", b"data: [1]\n\n", b"data: null\n\n"])
def test_garbage_before_content_raises(frame: bytes) -> None:
    with pytest.raises(BackendProtocolError, match="not a JSON object"):
        Passage(call(), "b", None).feed(frames_of()[0] + frame)


def test_an_error_before_content_raises_with_its_code() -> None:
    frame = sse.frame(wire.error_body("slow down", "rate_limit_error", "rate_limit_exceeded"))

    with pytest.raises(BackendRejected, match="slow down") as raised:
        Passage(call(), "b", None).feed(frame)

    assert (raised.value.status, raised.value.code) == (429, "rate_limit_exceeded")


def test_an_error_event_is_an_error_whatever_it_holds() -> None:
    with pytest.raises(BackendRejected, match="overloaded"):
        Passage(call(), "b", None).feed(b'event: error\ndata: {"message": "overloaded"}\n\n')


def test_an_error_in_mid_stream_comes_after_what_was_sent() -> None:
    error = sse.frame(wire.error_body("broke", "server_error", "oops"))

    out, passage = passed([b"".join([*frames_of()[:3], error, *frames_of()[3:], sse.DONE])])

    assert len(values(out)) == 3
    assert isinstance(passage.error, BackendRejected)
    assert passage.error.code == "oops"


def test_the_word_error_in_a_text_is_no_error() -> None:
    out, passage = passed([b"".join([*frames_of('{"error": "said he"} "error"'), sse.DONE])])

    assert passage.error is None
    assert len(values(out)) == len(frames_of('{"error": "said he"} "error"'))


def test_an_error_field_that_is_null_is_no_error() -> None:
    chunks = [{**value, "error": None} for value in wire.chunks(ASK, "a b")]

    out, passage = passed([b"".join(wire.frame(value) for value in chunks)])

    assert passage.error is None
    assert len(values(out)) == len(chunks)


def test_the_models_name_in_a_text_is_left_alone() -> None:
    said = f'{{"model":"{ASK.model}"}}'

    out, _ = passed([b"".join([*frames_of(said), sse.DONE])])

    text = "".join(value["choices"][0]["delta"].get("content", "") for value in values(out))
    assert text == said


def test_every_spelling_before_the_content_is_replaced() -> None:
    first = wire.frame({**wire.chunk(ASK, {"role": "assistant"}), "model": ""})

    out, _ = passed([first + b"".join([*frames_of(), sse.DONE])])

    assert {value["model"] for value in values(out)} == {"exp"}


def test_a_name_that_needs_escapes_is_replaced() -> None:
    ask = wire.Ask(model='a"b\\c', prompt="p", stream=True)

    out, _ = passed([b"".join([*frames_of(ask=ask), sse.DONE])])

    assert {value["model"] for value in values(out)} == {"exp"}


def test_frames_without_a_model_are_left_as_they_are() -> None:
    chunks = wire.chunks(ASK, "a")
    for value in chunks:
        del value["model"]

    out, _ = passed([b"".join(wire.frame(value) for value in chunks)])

    assert values(out) == chunks


def test_with_several_choices_each_must_finish() -> None:
    ask = wire.Ask(model=ASK.model, prompt="p", stream=True, n=2)
    frames = frames_of(ask=ask)

    _, complete = passed(frames, {"n": 2})
    _, truncated = passed(frames[:-1], {"n": 2})

    assert complete.error is None
    assert isinstance(truncated.error, BackendProtocolError)


def test_an_odd_frame_in_mid_stream_is_passed_on() -> None:
    odd = b'data: "error"\n\n' + sse.frame(orjson.dumps({"choices": [{"index": 1}, "odd"]}))

    out, passage = passed([*frames_of(), odd, sse.DONE], {"n": 2})

    assert out.endswith(odd)
    assert passage.error is None


def test_a_finish_reason_before_usage_completes_a_stream_without_an_end_mark() -> None:
    ask = wire.Ask(model=ASK.model, prompt="p", stream=True, usage=True)

    out, passage = passed(frames_of("word " * 3000, ask=ask))

    assert passage.error is None
    assert values(out)[-1]["usage"]["completion_tokens"] == 3000


def test_a_last_frame_that_is_cut_off_is_not_delivered() -> None:
    frames = frames_of()

    out, passage = passed([b"".join(frames[:2]), frames[2][:-20]])

    assert len(values(out)) == 2
    assert isinstance(passage.error, BackendProtocolError)


@pytest.mark.parametrize("body", [b"", b"<html>\n\n</html>\n\n", b'{"hello": 1}', b": ping\n\n"])
def test_a_body_without_events_is_no_stream(body: bytes) -> None:
    with pytest.raises(BackendProtocolError, match="did not answer with an event stream"):
        passed([body] if body else [])


def test_an_error_body_in_the_place_of_a_stream_is_an_error() -> None:
    body = orjson.dumps(
        {"error": {"message": "no", "type": "invalid_request_error"}},
        option=orjson.OPT_INDENT_2,
    )

    with pytest.raises(BackendRejected, match="no") as raised:
        passed([body])

    assert raised.value.status == 400


@pytest.mark.parametrize("end", [b"", sse.DONE])
def test_an_answer_without_content_raises(end: bytes) -> None:
    with pytest.raises(BackendProtocolError, match="before any content"):
        passed([frames_of()[0] + end])


def test_a_frame_without_end_is_given_up() -> None:
    passage = Passage(call(), "b", None)
    piece = b"data: " + b"x" * (1 << 20)

    with pytest.raises(BackendProtocolError, match="a frame without end"):
        for _ in range(MAX_FRAME_BYTES >> 19):
            passage.feed(piece)


# An answer that is not streamed


def answer(**more: Any) -> bytes:
    return orjson.dumps({**wire.completion(wire.Ask(model="m/7b", prompt="p"), "hi"), **more})


@pytest.mark.parametrize("indent", [None, orjson.OPT_INDENT_2])
def test_the_name_is_replaced_in_place(indent: int | None) -> None:
    body = orjson.dumps(orjson.loads(answer()), option=indent)

    assert whole(body, call(), "b", None) == body.replace(b'"m/7b"', b'"exp"')


def test_numbers_are_not_rewritten_on_the_way() -> None:
    body = b'{"id":"x","model":"m","choices":[],"score":1.10,"big":123456789012345678901234567890}'

    assert whole(body, call(), "b", None) == body.replace(b'"m"', b'"exp"')


def test_an_inner_model_is_not_taken_for_the_answers() -> None:
    body = b'{"choices":[{"model":"inner"}],"model":"m"}'

    rewritten = orjson.loads(whole(body, call(), "b", None))

    assert rewritten == {"choices": [{"model": "inner"}], "model": "exp"}


def test_a_model_that_is_missing_is_added() -> None:
    assert orjson.loads(whole(b'{"choices":[]}', call(), "b", None))["model"] == "exp"


def test_a_key_that_ends_like_the_models_is_left_alone() -> None:
    body = b'{"a\\"model":"trap","choices":[],"model":"m"}'

    assert orjson.loads(whole(body, call(), "b", None)) == {
        'a"model': "trap",
        "choices": [],
        "model": "exp",
    }


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers(0, 9), max_size=4))
def test_only_the_model_changes(more: dict[str, Any]) -> None:
    body = orjson.dumps(
        {**more, "model": "m", "choices": [{"message": {"content": '"model":"m"'}}]}
    )
    if orjson.loads(body).get("error") or more.get("object") == "error":
        return

    rewritten = orjson.loads(whole(body, call(), "b", None))

    assert rewritten == {**orjson.loads(body), "model": "exp"}


def test_embeddings_are_known_by_their_data() -> None:
    ask = wire.Ask(model="m", inputs=("a",), endpoint="embeddings")
    body = wire.embeddings(ask, 4)

    rewritten = orjson.loads(whole(body, call(endpoint="embeddings"), "b", None))

    assert rewritten == {**orjson.loads(body), "model": "exp"}


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[1]", b"null", b"<html></html>", b"{"])
def test_what_is_no_object_is_no_answer(body: bytes) -> None:
    with pytest.raises(BackendProtocolError, match="not a JSON object"):
        whole(body, call(), "b", None)


@pytest.mark.parametrize("body", [b"{}", b'{"choices": 3}', b'{"data": []}'])
def test_an_object_without_choices_is_no_answer(body: bytes) -> None:
    with pytest.raises(BackendProtocolError, match="without"):
        whole(body, call(), "b", None)


def test_broken_json_is_no_answer() -> None:
    with pytest.raises(BackendProtocolError, match="broken JSON"):
        whole(b'{"a": }', call(), "b", None)


def test_an_error_with_status_200_is_an_error() -> None:
    with pytest.raises(BackendRejected, match="no luck") as raised:
        whole(b'{"error": {"message": "no luck", "code": 503}}', call(), "b", None)

    assert (raised.value.backend_status, raised.value.retryable) == (503, True)


def test_a_prompt_that_is_too_long_is_told_apart_with_status_200_too() -> None:
    body = wire.error_body("too long", "invalid_request_error", "context_length_exceeded")

    with pytest.raises(ContextTooLong):
        whole(body, call(), "b", None)
