"""What one call gets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from coe.protocols import ExpertSite

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("expert", ["plain", "red", "green", "blue"])
async def test_greedy_text_is_what_transformers_and_peft_generate(lab: Any, expert: str) -> None:
    async with lab.running() as backend:
        said = await lab.tell(backend, expert)

    assert said
    assert said == lab.oracle("base", None if expert == "plain" else expert)


async def test_streamed_pieces_spell_the_unstreamed_answer(lab: Any) -> None:
    async with lab.running() as backend:
        whole = await lab.tell(backend, "red")
        chunks = await lab.stream(backend, "red")

    *middle, last = chunks
    assert middle[0]["choices"][0]["delta"].keys() == {"role", "content"}
    assert lab.spelt(chunks) == whole
    assert last["choices"][0]["finish_reason"] == "length"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in middle)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {(chunk["model"], chunk["id"]) for chunk in chunks} == {("red", "chatcmpl-q1")}
    assert not any("usage" in chunk for chunk in chunks)


async def test_usage_comes_last_when_the_stream_includes_it(lab: Any) -> None:
    async with lab.running() as backend:
        *chunks, last = await lab.stream(backend, "red", stream_options={"include_usage": True})

    usage = last["usage"]
    assert last["choices"] == []
    assert usage["completion_tokens"] == 24
    assert usage["total_tokens"] == usage["prompt_tokens"] + 24
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_an_answer_has_openai_s_shape(lab: Any) -> None:
    async with lab.running() as backend:
        answer = await lab.ask(backend, "green")

    assert (answer["object"], answer["model"], answer["id"]) == (
        "chat.completion",
        "green",
        "chatcmpl-q1",
    )
    assert answer["usage"]["completion_tokens"] == 24
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_experts_have_fingerprints_of_their_own(lab: Any) -> None:
    async with lab.running() as backend:
        prints = {(await lab.ask(backend, name))["system_fingerprint"] for name in lab.skills}

    assert len(prints) == len(lab.skills)


async def test_n_choices_are_n_different_draws(lab: Any) -> None:
    async with lab.running() as backend:
        answer = await lab.ask(backend, "red", n=3, seed=1, temperature=1.0)

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({lab.text(answer, index) for index in range(3)}) == 3


async def test_a_stop_string_ends_the_answer_and_never_shows(lab: Any) -> None:
    async with lab.running() as backend:
        full = await lab.tell(backend, "red")
        stop = full[5:8]
        chunks = await lab.stream(backend, "red", stop=[stop, "never"])

    assert lab.spelt(chunks) == full[: full.index(stop)]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_an_end_token_ends_the_answer_and_never_shows(lab: Any, tmp_path: Path) -> None:
    shutil.copytree(lab.folder / "base", tmp_path, dirs_exist_ok=True)
    ends = {"eos_token_id": list(range(100, 278))}
    (tmp_path / "generation_config.json").write_text(json.dumps(ends))
    site = ExpertSite(expert="brief", model=str(tmp_path))

    async with lab.running(site, ExpertSite(expert="plain", model="base")) as backend:
        brief, full = await lab.ask(backend, "brief"), await lab.tell(backend, "plain")

    assert brief["choices"][0]["finish_reason"] == "stop"
    assert brief["usage"]["completion_tokens"] < 24
    assert full.startswith(lab.text(brief).rstrip("\ufffd"))


async def test_each_token_has_its_log_probability(lab: Any) -> None:
    async with lab.running() as backend:
        answer = await lab.ask(backend, "red", logprobs=True, top_logprobs=2)

    entries = answer["choices"][0]["logprobs"]["content"]
    assert len(entries) == 24
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    assert all(entry["logprob"] == entry["top_logprobs"][0]["logprob"] for entry in entries)


async def test_penalties_keep_tokens_from_repeating(lab: Any) -> None:
    async with lab.running() as backend:
        answer = await lab.ask(backend, "blue", logprobs=True, max_tokens=60, frequency_penalty=2)
        free = await lab.ask(backend, "blue", logprobs=True, max_tokens=60)

    def repeats(whole: Any) -> int:
        tokens = [entry["token"] for entry in whole["choices"][0]["logprobs"]["content"]]
        return len(tokens) - len(set(tokens))

    assert repeats(answer) <= repeats(free)
    assert lab.text(answer) != lab.text(free)


async def test_an_empty_prompt_is_answered(lab: Any) -> None:
    async with lab.running() as backend:
        assert await lab.tell(backend, "plain", "")


async def test_an_answer_is_cut_where_the_context_ends(lab: Any) -> None:
    async with lab.running() as backend:
        answer = await lab.ask(backend, "plain", "z" * (lab.context - 40), max_tokens=10_000)

    assert answer["usage"]["total_tokens"] == lab.context
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_the_composition_may_set_a_shorter_context(lab: Any) -> None:
    async with lab.running(ExpertSite(expert="short", model="base", context=20)) as backend:
        answer = await lab.ask(backend, "short")

    assert answer["usage"]["total_tokens"] == 20


async def test_the_model_s_own_generation_config_sets_the_defaults(
    lab: Any, tmp_path: Path
) -> None:
    lab.save_model(lab.config("gpt2"), tmp_path / "warm", seed=4)
    wishes = {"do_sample": True, "temperature": 1.0, "max_new_tokens": 5, "eos_token_id": [0, 1]}
    (tmp_path / "warm" / "generation_config.json").write_text(json.dumps(wishes))
    site = ExpertSite(expert="warm", model=str(tmp_path / "warm"))

    async with lab.running(site) as backend:
        answers = [await lab.ask(backend, "warm", seed=n, max_tokens=None) for n in range(4)]
        greedy = [await lab.tell(backend, "warm", seed=n, temperature=0) for n in range(2)]

    assert {answer["usage"]["completion_tokens"] for answer in answers} == {5}
    assert len({lab.text(answer) for answer in answers}) > 1
    assert len(set(greedy)) == 1


async def test_the_backend_s_option_wins_over_the_model_s_length(lab: Any) -> None:
    async with lab.running(max_new_tokens=3) as backend:
        answer = await lab.ask(backend, "plain", max_tokens=None)

    assert answer["usage"]["completion_tokens"] == 3


async def test_a_model_without_a_chat_template_gets_the_plain_one(lab: Any, tmp_path: Path) -> None:
    lab.save_model(lab.config("gpt2"), tmp_path / "bare", seed=4)
    (tmp_path / "bare" / "chat_template.jinja").unlink()
    site = ExpertSite(expert="bare", model=str(tmp_path / "bare"))

    async with lab.running(site) as backend:
        bare = await lab.ask(backend, "bare")

    # A token for each letter at most: "User: the cat", two newlines, "Assistant:".
    assert 0 < bare["usage"]["prompt_tokens"] <= len("User: the cat\n\nAssistant:")
    assert lab.text(bare)


async def test_an_adapter_may_bring_its_own_chat_template(lab: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    lab.save_adapter("base", tmp_path, seed=7, r=2)
    tokenizer = AutoTokenizer.from_pretrained(lab.folder / "base")
    tokenizer.chat_template = "{{ messages[-1].content }}"
    tokenizer.save_pretrained(tmp_path)
    site = ExpertSite(expert="own", model="base", adapter=str(tmp_path))

    async with lab.running(site) as backend:
        answer = await lab.ask(backend, "own", "a")

    assert answer["usage"]["prompt_tokens"] == 1
