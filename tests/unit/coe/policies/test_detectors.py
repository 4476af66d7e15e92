"""What is found in texts, and what is not."""

from __future__ import annotations

import re
from importlib import import_module
from time import thread_time
from typing import Any

import pytest

from coe.composition.policy_values import Detector, Policies
from coe.policies import detectors, finders
from coe.policies.detectors import ASIDE, OVERLAP, PIECE, Detectors, pieces
from coe.policies.finders import Shape

pytestmark = pytest.mark.anyio

JWT = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."
    "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
)
SECRETS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "npm //registry.npmjs.org/:_authToken=" + "npm_" + "a1B2c3D4" * 4 + "abcd",
    "sk-" + "a1B2c3D4e5F6g7H8i9J0" + "T3BlbkFJ" + "a1B2c3D4e5F6g7H8i9J0",
    "-----BEGIN RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "xoxb-" + "123456789012-123456789012-" + "a1B2c3D4e5F6g7H8i9J0a1B2",
    "https://hooks.slack.com/services/" + "T12345678/B12345678/" + "a1B2c3D4e5F6g7H8i9J0a1B2",
    "sk_live_" + "a1B2c3D4e5F6g7H8i9J0a1B2",
    "SG." + "a1B2c3D4e5F6g7H8i9J0a1" + "." + "a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8i9J0a1B",
    "AccountKey=" + "a1B2c3D4" * 10 + "a1B2c3==",
    "postgres://bob:" + "hunter2@db.example.com/x",
    "pypi-" + "AgEIcHlwaS5vcmc" + "a1B2c3D4" * 10,
    "sq0csp-" + "a1B2c3D4" * 5 + "abc",
    "a1b2c3d4" * 4 + "-us12",
    "110201543:" + "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawx",
    "AC" + "a1b2c3d4" * 4,
    JWT,
]


def all_of(*names: Detector, countries: tuple[str, ...] = ()) -> Detectors:
    policies = Policies(
        classes=("low", "high"), detect=dict.fromkeys(names, "high"), countries=countries
    )
    return Detectors(policies)


async def found(text: str, *names: Detector, countries: tuple[str, ...] = ()) -> tuple[str, ...]:
    wanted: tuple[Detector, ...] = names or ("secrets", "pii")
    return await all_of(*wanted, countries=countries).look({"messages": [{"content": text}]})


@pytest.mark.parametrize("text", SECRETS)
async def test_tokens_of_a_known_shape_are_secrets(text: str) -> None:
    assert "secrets" in await found(f"what does this mean:\n{text}\n?")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("write to bob.smith+x@example.co.uk.", "email"),
        ("<jane@müller.de>", "email"),
        ("call +41 44 668 18 00 now", "phone"),
        ("tel:+1-415-555-2671", "phone"),
        ("card 4111 1111 1111 1111, 12/29", "card"),
        ("5555-5555-5555-4444", "card"),
        ("378282246310005", "card"),
        ("pay to DE89 3704 0044 0532 0130 00 AND THANKS", "iban"),
        ("GB33BUKB20201555555555", "iban"),
    ],
)
async def test_personal_data_is_found_and_named(text: str, name: str) -> None:
    assert await found(text) == (name,)


@pytest.mark.parametrize(
    "text",
    [
        "The committee met 12 times in 2024 and spent 3,400,000 on 17 projects (see p. 4-12).",
        "def load(path: str) -> dict:\n    return {k: v for k, v in data.items() if v != 'token'}",
        "@property\n@pytest.mark.parametrize('a', [1, 2])\nasync def test(self): ...",
        "password = getpass()  # never write it down",
        "4111 1111 1111 1112",  # the check digit is wrong
        "1234567890123456",
        "DE00 3704 0044 0532 0130 00",
        "bob@localhost, me@host.local, x@y",
        "version 1.2.3+4.5.6, +12 %, 1 + 2345678",
        "https://example.com/a/b?c=1#d",
        "044 668 18 00",  # in no country that is named
        "aws s3 ls; scroll-us; AC/DC; SKU",
    ],
)
async def test_ordinary_text_is_nothing(text: str) -> None:
    assert await found(text) == ()


async def test_numbers_are_dialled_as_in_the_countries_that_are_named() -> None:
    assert await found("ring 044 668 18 00", "phone", countries=("CH",)) == ("phone",)
    assert await found("ring 044 668 18 00", "phone", countries=("US",)) == ()


async def test_only_what_is_wanted_is_looked_for() -> None:
    text = f"bob@example.com {SECRETS[0]} 4111 1111 1111 1111"

    assert await found(text, "card") == ("card",)
    assert await found(text, "email", "secrets") == ("email", "secrets")


async def test_what_is_found_has_its_class_and_that_of_pii() -> None:
    policies = Policies(classes=("a", "b", "c"), detect={"pii": "b", "card": "c", "secrets": "a"})
    looks = Detectors(policies)

    assert sorted(looks.classes(("card",))) == ["b", "c"]
    assert looks.classes(("email",)) == ("b",)
    assert looks.classes(("secrets",)) == ("a",)


@pytest.mark.parametrize("place", [0, 5_000, PIECE - 10, PIECE, 3 * PIECE + 7, 200_000])
async def test_a_long_text_is_looked_at_to_its_end(place: int) -> None:
    filler = "lorem ipsum dolor " * 20_000
    text = f"{filler[:place]} {SECRETS[0]} {filler[:1000]}"

    assert await found(text, "secrets") == ("secrets",)


def test_pieces_overlap_and_leave_nothing_out() -> None:
    text = "".join(chr(0x100 + i % 5000) for i in range(5 * PIECE + 123))
    parts = list(pieces(text))

    assert parts[0] + "".join(part[OVERLAP:] for part in parts[1:]) == text
    assert all(len(part) <= PIECE for part in parts)


async def test_a_text_that_takes_too_long_counts_as_sensitive(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(detectors, "LONGEST_S", -1.0)

    assert await found("nothing", "email", "secrets") == ("email", "secrets")
    assert "nothing" not in caplog.text
    assert "took too long" in caplog.text


@pytest.mark.parametrize(
    "unit", ["a@bb.c ", "eyJ", "sk-", "//", "+1234567 ", "4 ", "AKIA", "://a:", "aws", "AA00 "]
)
async def test_no_text_makes_a_single_look_long(unit: str) -> None:
    text = f"{unit * (PIECE // len(unit))}T3BlbkFJ _authToken="
    looks = all_of("secrets", "pii", countries=("CH", "US"))
    started = thread_time()

    for piece in pieces(text):
        for find in looks._finders.values():
            find(piece)

    # A square of the piece's length would be minutes; this is a thousandth of that.
    assert thread_time() - started < 2.0


async def test_a_text_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = all_of("secrets")
    text = f"{'x ' * 300}{SECRETS[0]}"
    calls = []
    whole = looks._found

    def counted(text: str, until_s: float) -> Any:
        calls.append(len(text))
        return whole(text, until_s)

    monkeypatch.setattr(looks, "_found", counted)
    body = {"messages": [{"content": text}]}

    assert await looks.look(body) == await looks.look(body) == ("secrets",)
    assert calls == [len(text)]


async def test_nothing_that_was_found_is_kept() -> None:
    looks = all_of("secrets", "pii")
    await looks.look({"messages": [{"content": f"{SECRETS[0]} bob@example.com {'x ' * 300}"}]})

    kept = repr(vars(looks))
    assert SECRETS[0] not in kept
    assert "bob" not in kept


async def test_a_long_request_is_looked_at_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aside = []

    async def to_thread(work: Any, *args: Any) -> Any:
        aside.append(work.__name__)
        return work(*args)

    monkeypatch.setattr(detectors.asyncio, "to_thread", to_thread)  # type: ignore[attr-defined]
    await found("x " * 100, "secrets")
    assert not aside
    await found("x " * ASIDE, "secrets")
    assert aside == ["_look"]


@pytest.mark.parametrize("shape", finders.SHAPES, ids=lambda shape: shape.plugin)
def test_every_hit_of_a_plugin_holds_what_is_looked_for_first(shape: Shape) -> None:
    """A plugin of another version may find more; then the short cut would hide it."""
    module, _, name = shape.plugin.rpartition(".")
    plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()

    for pattern in plugin.denylist:
        written = re.sub(r"\\(.)|[(|](ghp|glpat|a|r)[|)]", r"\1\2", pattern.pattern).lower()
        heads = [need.rstrip("-_=") for need in shape.needs]
        assert any(head in written for head in heads), pattern.pattern


async def test_a_hit_in_capitals_that_grow_is_found() -> None:
    assert await found("\u0130" * 5 + " " + SECRETS[0], "secrets") == ("secrets",)
