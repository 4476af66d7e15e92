"""The embedded engine on tiny random models that are made on the spot."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from coe.backends.local import LocalBackend, build
from coe.errors import (
    ArtefactError,
    BackendError,
    BackendRejected,
    BackendTimeout,
    ConfigError,
    ContextTooLong,
    ExpertLoadFailed,
)
from coe.protocols import BackendSpec, ExpertSite
from coe.types import Call, Dispatch, Timeouts

pytest.importorskip("torch")
pytest.importorskip("peft")

pytestmark = [
    pytest.mark.anyio,
    # peft 0.21 reads a property that transformers 5.23 has renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

CONTEXT = 256
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
SKILLS = ("red", "green", "blue")


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two bases, three adapters of the first, and one that fits neither."""
    folder = tmp_path_factory.mktemp("zoo")
    _save_base(folder / "base", hidden=64, seed=1)
    _save_base(folder / "other", hidden=48, seed=2)
    for seed, skill in enumerate(SKILLS):
        _save_adapter(folder / "base", folder / skill, seed=seed, rank=4 + 2 * seed)
    _save_adapter(folder / "other", folder / "misfit", seed=9, rank=4)
    return folder


def _save_base(folder: Path, *, hidden: int, seed: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat and then the hat"] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = TEMPLATE
    return fast


def _save_adapter(base: Path, folder: Path, *, seed: int, rank: int) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=32,
        target_modules=["q_proj", "v_proj", "down_proj"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, config).save_pretrained(folder)


def spec(zoo: Path, *sites: ExpertSite, **options: Any) -> BackendSpec:
    everyone = (
        ExpertSite(expert="plain", model="base"),
        *(ExpertSite(expert=skill, model="base", adapter=skill) for skill in SKILLS),
        ExpertSite(expert="else", model="other"),
    )
    return BackendSpec(
        name="local", type="local", experts=sites or everyone, options=options, folder=str(zoo)
    )


@asynccontextmanager
async def running(wanted: BackendSpec) -> AsyncIterator[LocalBackend]:
    backend = build(wanted)
    try:
        yield backend
    finally:
        await backend.aclose()


def dispatch(
    expert: str, prompt: str = "the cat", *, timeouts: Timeouts | None = None, **body: Any
) -> Dispatch:
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 24, **body}
    return Dispatch(
        query_id="q1",
        call=Call(
            expert=expert,
            backend="local",
            model="base",
            body=body,
            stream=bool(body.get("stream")),
            timeouts=timeouts or Timeouts(),
        ),
    )


async def ask(backend: LocalBackend, wanted: Dispatch) -> dict[str, Any]:
    items = [item async for item in backend.generate(wanted)]
    assert len(items) == 1
    answer: dict[str, Any] = json.loads(items[0])
    return answer


def text(answer: dict[str, Any], choice: int = 0) -> str:
    content = answer["choices"][choice]["message"]["content"]
    assert isinstance(content, str)
    return content


def chunks(items: Sequence[bytes]) -> list[dict[str, Any]]:
    """Parse items that must be whole frames."""
    found = []
    for item in items:
        assert item.endswith(b"\n\n")
        for frame in item.split(b"\n\n")[:-1]:
            assert frame.startswith(b"data: {")
            found.append(json.loads(frame.removeprefix(b"data: ")))
    return found


def oracle(zoo: Path, adapter: str | None, prompt: str = "the cat", tokens: int = 24) -> str:
    """What transformers' and peft's own generate says, greedily, alone in its batch."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(zoo / "base")
    model = AutoModelForCausalLM.from_pretrained(zoo / "base")
    if adapter is not None:
        model = PeftModel.from_pretrained(model, zoo / adapter)
    prefix = f"<|user|>{prompt}<|end|><|assistant|>"
    ids = tokenizer(prefix, return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        whole = model.eval().generate(
            **ids, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.eos_token_id
        )
    decoded: str = tokenizer.decode(whole[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    return decoded


# ---------------------------------------------------------------------- answers


@pytest.mark.parametrize("expert", ["plain", *SKILLS])
async def test_greedy_text_is_what_transformers_and_peft_generate(zoo: Path, expert: str) -> None:
    async with running(spec(zoo)) as backend:
        answer = await ask(backend, dispatch(expert))

    assert text(answer) == oracle(zoo, None if expert == "plain" else expert)
    assert text(answer)


async def test_a_row_does_not_depend_on_what_shares_its_batch(zoo: Path) -> None:
    asked = [
        dispatch(expert, prompt, max_tokens=tokens)
        for expert, prompt, tokens in [
            ("plain", "the cat", 40),
            ("red", "", 7),
            ("green", "the hat sat on the mat and then the cat sat on the hat " * 3, 30),
            ("blue", "a", 40),
            ("red", "then the mat", 21),
            ("else", "the hat", 17),
            ("green", "on", 33),
            ("plain", "sat on the mat", 12),
            ("blue", "cat and hat", 26),
            ("red", "mat", 19),
        ]
    ]

    async with running(spec(zoo, max_batch=4)) as backend:
        alone = [text(await ask(backend, one)) for one in asked]
        together = [
            text(answer) for answer in await asyncio.gather(*(ask(backend, one) for one in asked))
        ]

    assert together == alone
    assert len(set(alone)) == len(alone)


async def test_streamed_pieces_spell_the_unstreamed_answer(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        whole = await ask(backend, dispatch("red"))
        items = [item async for item in backend.generate(dispatch("red", stream=True))]

    parts = chunks(items)
    assert parts[0]["choices"][0]["delta"].keys() == {"role", "content"}
    assert all(part["object"] == "chat.completion.chunk" for part in parts)
    assert {part["model"] for part in parts} == {"red"}
    assert len({part["id"] for part in parts}) == 1
    spelt = "".join(part["choices"][0]["delta"].get("content", "") for part in parts)
    assert spelt == text(whole)
    assert [
        part["choices"][0]["finish_reason"] for part in parts if part["choices"][0]["finish_reason"]
    ] == ["length"]
    assert not any("usage" in part for part in parts)


async def test_usage_comes_last_when_the_stream_includes_it(zoo: Path) -> None:
    wanted = dispatch("red", stream=True, stream_options={"include_usage": True})

    async with running(spec(zoo)) as backend:
        parts = chunks([item async for item in backend.generate(wanted)])

    assert parts[-1]["choices"] == []
    usage = parts[-1]["usage"]
    assert usage["completion_tokens"] == 24
    assert usage["total_tokens"] == usage["prompt_tokens"] + 24
    assert all(part["usage"] is None for part in parts[:-1])


async def test_an_answer_has_openai_s_shape(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        answer = await ask(backend, dispatch("green"))

    assert answer["object"] == "chat.completion"
    assert answer["model"] == "green"
    assert answer["id"] == "chatcmpl-q1"
    assert answer["system_fingerprint"].startswith("fp_")
    assert answer["usage"]["completion_tokens"] == 24
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_experts_have_fingerprints_of_their_own(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        prints = {(await ask(backend, dispatch(name)))["system_fingerprint"] for name in SKILLS}

    assert len(prints) == len(SKILLS)


async def test_the_same_seed_gives_the_same_text_whoever_shares_the_batch(zoo: Path) -> None:
    wanted = dispatch("red", seed=7, temperature=1.0)

    async with running(spec(zoo)) as backend:
        alone = text(await ask(backend, wanted))
        crowd = [dispatch("blue", seed=seed, temperature=1.0) for seed in range(5)]
        first, *_ = await asyncio.gather(*(ask(backend, one) for one in (wanted, *crowd)))
        other = text(await ask(backend, dispatch("red", seed=8, temperature=1.0)))

    assert text(first) == alone
    assert other != alone


async def test_n_choices_are_n_different_draws(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        answer = await ask(backend, dispatch("red", n=3, seed=1, temperature=1.0))

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({text(answer, index) for index in range(3)}) == 3
    assert answer["usage"]["completion_tokens"] == 72


async def test_more_choices_than_the_batch_holds_are_all_answered(zoo: Path) -> None:
    async with running(spec(zoo, max_batch=2)) as backend:
        answer = await ask(backend, dispatch("red", n=5, max_tokens=4))

    assert len(answer["choices"]) == 5
    assert len({text(answer, index) for index in range(5)}) == 1


async def test_a_stop_string_ends_the_answer_and_never_shows(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        full = text(await ask(backend, dispatch("red")))
        stop = full[5:8]
        items = [item async for item in backend.generate(dispatch("red", stream=True, stop=stop))]

    parts = chunks(items)
    spelt = "".join(part["choices"][0]["delta"].get("content", "") for part in parts)
    assert spelt == full[: full.index(stop)]
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"


async def test_log_probabilities_match_the_tokens_of_the_text(zoo: Path) -> None:
    wanted = dispatch("red", logprobs=True, top_logprobs=2)

    async with running(spec(zoo)) as backend:
        answer = await ask(backend, wanted)

    entries = answer["choices"][0]["logprobs"]["content"]
    assert len(entries) == 24
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    assert all(entry["logprob"] == entry["top_logprobs"][0]["logprob"] for entry in entries)


async def test_penalties_keep_a_token_from_repeating(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        plain = await ask(backend, dispatch("blue", logprobs=True, max_tokens=60))
        varied = await ask(
            backend,
            dispatch("blue", logprobs=True, max_tokens=60, frequency_penalty=2, presence_penalty=2),
        )

    def distinct(answer: dict[str, Any]) -> int:
        return len(
            {
                str(entry)
                for entry in (one["token"] for one in answer["choices"][0]["logprobs"]["content"])
            }
        )

    assert distinct(varied) >= distinct(plain)


async def test_an_empty_prompt_is_answered(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        answer = await ask(backend, dispatch("plain", ""))

    assert text(answer)


async def test_an_answer_is_cut_where_the_context_ends(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        answer = await ask(backend, dispatch("plain", max_tokens=10_000))

    assert answer["usage"]["total_tokens"] <= CONTEXT
    assert answer["choices"][0]["finish_reason"] in {"length", "stop"}


# ---------------------------------------------------------------------- fairness and cancelling


async def test_a_long_answer_does_not_block_a_short_one(zoo: Path) -> None:
    async with running(spec(zoo, ExpertSite(expert="plain", model="base"))) as backend:
        long = backend.generate(dispatch("plain", stream=True, max_tokens=230))
        async with aclosing(long):
            first = await anext(long)
            short = await ask(backend, dispatch("plain", "on", max_tokens=2))
            rest = [item async for item in long]

    assert text(short)
    assert len(rest) > 1
    assert first


async def test_closing_the_generator_frees_its_row(zoo: Path) -> None:
    async with running(spec(zoo, max_batch=1)) as backend:
        long = backend.generate(dispatch("plain", stream=True, max_tokens=230))
        await anext(long)
        await long.aclose()
        # With room for one row only, this answer needs the row that was freed.
        short = await ask(backend, dispatch("plain", max_tokens=2))

    assert text(short)


async def test_closing_the_backend_fails_the_calls_in_flight_and_ends_the_thread(zoo: Path) -> None:
    backend = build(spec(zoo))
    stream = backend.generate(dispatch("plain", stream=True, max_tokens=230))
    await anext(stream)

    await backend.aclose()

    with pytest.raises(BackendError, match="was closed"):
        await _drain(stream)
    assert not any(thread.name == "coe-local" for thread in threading.enumerate())
    with pytest.raises(BackendError, match="is closed"):
        await ask(backend, dispatch("plain"))
    with pytest.raises(BackendError, match="is closed"):
        await backend.models()


async def _drain(stream: AsyncGenerator[bytes, None]) -> None:
    async for _ in stream:
        pass


async def test_a_late_first_token_is_a_timeout_that_names_the_limit(zoo: Path) -> None:
    hurry = dispatch("plain", timeouts=Timeouts(first_token_s=0.0))

    async with running(spec(zoo)) as backend:
        with pytest.raises(BackendTimeout, match="first_token limit of 0 s"):
            await ask(backend, hurry)
        assert text(await ask(backend, dispatch("plain")))


# ---------------------------------------------------------------------- loading


async def test_start_loads_every_expert_and_models_lists_them(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        await backend.start()

        assert await backend.models() == ("plain", *SKILLS, "else")


async def test_an_adapter_of_another_base_is_refused_and_the_others_serve(zoo: Path) -> None:
    sites = (
        ExpertSite(expert="wrong", model="base", adapter="misfit"),
        ExpertSite(expert="red", model="base", adapter="red"),
    )

    async with running(spec(zoo, *sites)) as backend:
        with pytest.raises(ExpertLoadFailed, match=r"'wrong'.*misfit.*made for the base"):
            await backend.start()

        assert await backend.models() == ("red",)
        assert text(await ask(backend, dispatch("red"))) == oracle(zoo, "red")
        with pytest.raises(ExpertLoadFailed, match="misfit"):
            await ask(backend, dispatch("wrong"))


async def test_an_adapter_whose_shapes_differ_is_refused(zoo: Path, tmp_path: Path) -> None:
    config = json.loads((zoo / "misfit" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/elsewhere/base"
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    weights = (zoo / "misfit" / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    site = ExpertSite(expert="wrong", model="base", adapter=str(tmp_path))

    async with running(spec(zoo, site)) as backend:
        with pytest.raises(ExpertLoadFailed, match=r"maps \d+ values to \d+ at the layer"):
            await ask(backend, dispatch("wrong"))


async def test_an_adapter_that_cannot_be_mixed_is_merged_into_a_copy(
    zoo: Path, tmp_path: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    config = LoraConfig(
        r=4,
        lora_alpha=16,
        target_modules=["q_proj"],
        use_dora=True,
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    get_peft_model(AutoModelForCausalLM.from_pretrained(zoo / "base"), config).save_pretrained(
        tmp_path
    )
    sites = (
        ExpertSite(expert="dora", model="base", adapter=str(tmp_path)),
        ExpertSite(expert="plain", model="base"),
    )

    async with running(spec(zoo, *sites)) as backend:
        dora, plain = await asyncio.gather(
            ask(backend, dispatch("dora")), ask(backend, dispatch("plain"))
        )

    assert text(dora) == oracle(zoo, str(tmp_path))
    assert text(plain) == oracle(zoo, None)


async def test_a_damaged_model_is_an_error_that_names_it(zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((zoo / "base" / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    site = ExpertSite(expert="hurt", model=str(tmp_path))

    async with running(spec(zoo, site)) as backend:
        with pytest.raises(ExpertLoadFailed, match=f"'hurt': cannot load the model {tmp_path}"):
            await ask(backend, dispatch("hurt"))


def test_a_name_is_found_in_the_cache_or_told_apart_from_a_folder(
    zoo: Path, tmp_path: Path
) -> None:
    """In a process of its own, because the hub's library reads its environment when imported."""
    repository = tmp_path / "models--nobody--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    shutil.copytree(zoo / "base", repository / "snapshots" / "abc")
    program = f"""
import asyncio
from coe.backends.local import build
from coe.errors import ExpertLoadFailed
from coe.protocols import BackendSpec, ExpertSite

async def main():
    sites = (ExpertSite(expert="near", model="nobody/tiny"),
             ExpertSite(expert="far", model="nobody/nothing"))
    backend = build(BackendSpec(name="l", type="local", folder={str(zoo)!r}, experts=sites))
    try:
        await backend.start()
    except ExpertLoadFailed as error:
        print(error)
    print(await backend.models())
    await backend.aclose()

asyncio.run(main())
"""
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    failure, models = done.stdout.splitlines()
    assert "expert 'far': nobody/nothing is neither a folder here nor in the" in failure
    assert models == "('near',)"


def test_building_imports_nothing_heavy(zoo: Path) -> None:
    program = f"""
import sys
from coe.backends.local import build
from coe.protocols import BackendSpec, ExpertSite
build(BackendSpec(name="l", type="local", folder={str(zoo)!r},
                  experts=(ExpertSite(expert="red", model="base", adapter="red"),)))
heavy = {{"torch", "transformers", "peft", "tokenizers"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"temperature": "warm"}, "temperature"),
    ],
)
async def test_what_would_change_the_meaning_is_refused(
    zoo: Path, body: dict[str, Any], param: str
) -> None:
    async with running(spec(zoo)) as backend:
        with pytest.raises(BackendRejected) as caught:
            await ask(backend, dispatch("red", **body))

    assert caught.value.status == 400
    assert caught.value.param == param


async def test_an_image_is_refused_with_its_place(zoo: Path) -> None:
    parts = [{"type": "text", "text": "what is"}, {"type": "image_url", "image_url": {"url": "x"}}]

    async with running(spec(zoo)) as backend:
        with pytest.raises(BackendRejected) as caught:
            await ask(backend, dispatch("red", messages=[{"role": "user", "content": parts}]))

    assert caught.value.param == "messages.0.content.1"


async def test_a_prompt_that_fills_the_context_is_told_both_numbers(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        with pytest.raises(ContextTooLong, match=rf"\d+ tokens.*context of {CONTEXT}"):
            await ask(backend, dispatch("red", "zzz " * CONTEXT))


async def test_an_expert_that_it_does_not_have_is_a_404(zoo: Path) -> None:
    async with running(spec(zoo)) as backend:
        with pytest.raises(BackendRejected) as caught:
            await ask(backend, dispatch("nobody"))

    assert caught.value.status == 404


def test_a_missing_folder_is_told_when_the_backend_is_built(zoo: Path) -> None:
    site = ExpertSite(expert="lost", model="base", adapter="./lost")

    with pytest.raises(ArtefactError, match=r"'lost'.*no adapter folder ./lost"):
        build(spec(zoo, site))


def test_an_unknown_option_is_refused_with_the_nearest_name(zoo: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean `threads`"):
        build(spec(zoo, thread=2))
