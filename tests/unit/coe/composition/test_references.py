"""Secrets: followed, refused as literals, and never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coe.composition import check, expand, load
from coe.composition.references import Resolved, heads_a_secret, names_a_secret
from coe.errors import CompositionError

Write = Callable[[str], Path]

SECRET = "sk-very-secret"
FILE = """\
version: 1
backends:
  cloud:
    url: ${env:CLOUD_URL:-https://api.example.com}
    api_key: ${env:CLOUD_KEY}
    headers: {x-org: acme, authorization: "Bearer ${file:token.txt}"}
    options: {region: "${env:REGION:-}", deep: [{token: "${env:CLOUD_KEY}"}]}
encoders:
  remote: {type: http, url: "${env:ENCODER_URL:-http://e}/v1", api_key: "${env:CLOUD_KEY}"}
experts:
  one: {backend: cloud, model: "${env:MODEL:-small}"}
default: one
"""
ENV = {"CLOUD_KEY": SECRET}


@pytest.fixture
def path(write: Write) -> Path:
    file = write(FILE)
    (file.parent / "token.txt").write_text(f"{SECRET}-token\n", encoding="utf-8")
    return file


def test_references_are_replaced_by_what_they_name(path: Path) -> None:
    composition = load(path, ENV)

    cloud = composition.backends["cloud"]
    assert cloud.api_key == SECRET
    assert cloud.url == "https://api.example.com/v1"
    assert cloud.headers == {"x-org": "acme", "authorization": f"Bearer {SECRET}-token"}
    assert cloud.options == {"region": "", "deep": [{"token": SECRET}]}
    assert composition.encoders["remote"].options["url"] == "http://e/v1"
    assert composition.experts["one"].model == "small"


def test_the_environment_wins_over_a_default(path: Path) -> None:
    env = {**ENV, "CLOUD_URL": "http://10.0.0.1:9000", "MODEL": "large"}

    composition = load(path, env)

    assert composition.backends["cloud"].url == "http://10.0.0.1:9000/v1"
    assert composition.experts["one"].model == "large"


def test_the_process_environment_is_read_where_none_is_given(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_KEY", SECRET)

    assert load(path).backends["cloud"].api_key == SECRET


def test_a_secret_is_in_no_text_about_the_composition(path: Path) -> None:
    composition = load(path, ENV)

    assert SECRET not in repr(composition)
    assert SECRET not in repr(composition.backends["cloud"].headers)
    assert SECRET not in repr(composition.encoders["remote"])
    assert SECRET not in expand(composition)
    assert "${env:CLOUD_KEY}" in expand(composition)


def test_the_fingerprint_does_not_depend_on_secrets(path: Path) -> None:
    one = load(path, ENV)
    two = load(path, {"CLOUD_KEY": "another"})

    assert one.fingerprint == two.fingerprint


def test_an_empty_key_is_no_key(write: Write) -> None:
    file = write(FILE.replace("${env:CLOUD_KEY}\n", "${env:LOCAL_KEY:-}\n"))
    (file.parent / "token.txt").write_text("t", encoding="utf-8")

    assert load(file, ENV).backends["cloud"].api_key is None


def test_what_is_missing_forbids_to_load_and_names_path_and_variable(path: Path) -> None:
    (path.parent / "token.txt").unlink()

    with pytest.raises(CompositionError) as refused:
        load(path, {"CLOUD_KEY": ""})

    told = {p.path: p.message for p in refused.value.problems}
    assert told["backends.cloud.api_key"] == "the environment variable CLOUD_KEY is empty"
    assert "cannot read the file" in told["backends.cloud.headers.authorization"]
    assert set(told) == {
        "backends.cloud.api_key",
        "backends.cloud.headers.authorization",
        "backends.cloud.options.deep[0].token",
        "encoders.remote.api_key",
    }


def test_what_is_missing_is_a_warning_where_the_file_is_only_checked(path: Path) -> None:
    problems = check(path, {})

    assert {p.severity for p in problems} == {"warning"}
    assert "backends.cloud.api_key" in {p.path for p in problems}


def test_an_empty_secret_file_is_refused(path: Path) -> None:
    (path.parent / "token.txt").write_text("\n", encoding="utf-8")

    with pytest.raises(CompositionError, match="is empty"):
        load(path, ENV)


def test_an_address_from_the_environment_is_checked_and_not_repeated(path: Path) -> None:
    with pytest.raises(CompositionError) as refused:
        load(path, {**ENV, "CLOUD_URL": f"ftp://me:{SECRET}@h"})

    (problem,) = refused.value.problems
    assert problem.path == "backends.cloud.url"
    assert SECRET not in str(problem)


def test_a_text_that_is_no_reference_is_kept_in_texts_for_people(write: Write) -> None:
    file = write(
        "version: 1\nbackends: {a: http://h}\nexperts: {one: a/m}\ndefault: one\n"
        "categories: {shell: {utterances: ['what is ${HOME}', b, c, d, e], experts: one}}\n"
    )

    composition = load(file, {})

    assert composition.categories["shell"].category.utterances[0] == "what is ${HOME}"


def test_a_resolved_text_is_a_text_that_shows_its_reference() -> None:
    key = Resolved(SECRET, "${env:K}")

    assert key == SECRET
    assert f"Bearer {key}" == f"Bearer {SECRET}"
    assert repr(key) == "'${env:K}'"


@pytest.mark.parametrize("name", ["api_key", "openai_api_key", "auth-token", "password", "secret"])
def test_an_option_is_known_to_be_secret_by_its_name(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["pad_token", "cache_key", "max_tokens", "model", "secretary"])
def test_an_option_that_only_sounds_secret_may_be_written_out(name: str) -> None:
    assert not names_a_secret(name)


def test_a_header_is_known_to_be_secret_by_its_name() -> None:
    assert all(map(heads_a_secret, ["Authorization", "x-api-key", "Proxy-Authorization", "cookie"]))
    assert not any(map(heads_a_secret, ["x-org", "user-agent", "x-keyboard"]))
