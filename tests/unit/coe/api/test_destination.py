"""Which fields of a body say where it is to go; through the whole gateway: tests/requirements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.api import destination
from coe.errors import InvalidRequest

ALL_KNOWN = [
    *("audio", "logprobs", "top_logprobs", "modalities", "prediction", "prompt_cache_key"),
    *("prompt_cache_retention", "safety_identifier", "service_tier", "verbosity", "top_k", "min_p"),
    *(
        "web_search_options",
        "functions",
        "function_call",
        "thinking",
        "guided_json",
        "guided_regex",
    ),
    *("structured_outputs", "chat_template_kwargs", "add_generation_prompt", "ignore_eos"),
    *("repetition_penalty", "length_penalty", "min_tokens", "priority", "request_id", "cache_salt"),
    *("mm_processor_kwargs", "keep_alive", "options", "format", "dimensions", "echo", "suffix"),
    *("skip_special_tokens", "include_reasoning", "include_stop_str_in_output", "best_of"),
    *(
        "cache_prompt",
        "n_predict",
        "mirostat",
        "grammar",
        "json_schema",
        "id_slot",
        "return_tokens",
    ),
]


@pytest.mark.parametrize("name", [*sorted(destination.USUAL), *ALL_KNOWN])
def test_what_servers_take_and_is_no_destination_is_taken(name: str) -> None:
    destination.refuse({name: 1})


@given(
    st.sampled_from(["api_base", "base_url", "api_key", "extra_headers", "litellm_params"]),
    st.data(),
)
def test_no_spelling_gets_by(name: str, data: st.DataObject) -> None:
    spelt = "".join(
        data.draw(st.sampled_from([letter, letter.upper(), chr(ord(letter) + 0xFEE0)]))
        + data.draw(st.sampled_from(["", "-", "_", " ", "\u200b", "."]))
        for letter in name.replace("_", "")
    )

    with pytest.raises(InvalidRequest) as refused:
        destination.refuse({"model": "m", spelt: "x"})
    assert refused.value.param == spelt


@given(st.text(max_size=80))
def test_any_name_is_looked_at_without_trouble(name: str) -> None:
    try:
        destination.refuse({name: None})
    except InvalidRequest as refused:
        assert refused.param == name  # noqa: PT017 - most names are taken


def test_a_name_that_nobody_has_is_not_looked_at() -> None:
    destination.refuse({"x" * 8_000_000 + "api_key": 1})
