"""From who asks and what is asked to whom the request may not reach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coe.composition import Composition, load
from coe.errors import Forbidden, InvalidRequest
from coe.identity import FREE, Identity, Permit
from coe.policies.guard import Guard
from coe.policies.permits import BARRING, bars, beneath, refused, told_of
from coe.policies.rules import Asking, Rulebook
from coe.types import Decision, Evidence, Query

pytestmark = pytest.mark.anyio

BASE = """\
version: 1
backends:
  here: http://127.0.0.1:9001
  house: {url: "http://10.0.0.5:8000", trust: private}
  cloud: {url: "https://api.example.com/v1"}
encoders: {far: {type: http, url: "https://e.example.com/v1", model: x, dim: 8}}
experts:
  small: {backend: here, model: s, tags: [open]}
  middle: {backend: house, model: m, tags: [open]}
  big: {backend: cloud, model: b, tags: [dear]}
  tuned: {base: big, adapter: some/adapter, tags: [open]}
  wise: {recipe: {over: big, system: "Think."}}
  wiser: {recipe: {over: wise, system: "Think again."}}
  kept: {cached: {over: small}}
  hello: {constant: "Hello."}
  shown: {recipe: {over: small, examples: {file: rows.jsonl, encoder: far}}}
categories:
  law: {utterances: [l1, l2, l3, l4, l5], data: high, experts: [middle, small]}
  code: {utterances: [c1, c2, c3, c4, c5], experts: [big, small]}
default: small
"""
NEAR = "routers: {default: {type: embedding, encoder: minilm}}\n"
POLICIES = """
policies:
  data_classes: [low, middle, high]
  rules:
"""


@pytest.fixture
def compose(tmp_path: Path) -> Any:
    def made(rules: str = "", more: str = "") -> Composition:
        (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "answer": "b"}\n' * 4)
        file = tmp_path / "experts.yaml"
        rows = "".join(f"    - {{name: r{i}, else: refuse, {rule}}}\n" for i, rule in _each(rules))
        base = BASE if rules else BASE.replace("data: high, ", "")
        near = "" if "routers:" in more else NEAR
        file.write_text(base + near + (POLICIES + rows if rules else "") + more)
        return load(file)

    return made


def _each(rules: str) -> Any:
    return enumerate(rule.strip() for rule in rules.strip().splitlines())


def permit(composition: Composition, **asking: Any) -> Permit:
    asking.setdefault("identity", Identity())
    return Rulebook(composition).permit(Asking(**asking))


def barred(composition: Composition, **asking: Any) -> set[str]:
    return set(permit(composition, **asking).barred)


BIG_ONES = {"big", "tuned", "wise", "wiser"}
FAR_ONES = BIG_ONES | {"shown", "encoder far"}


def test_without_rules_and_lists_nobody_is_barred(compose: Any) -> None:
    assert permit(compose()) is FREE


def test_trust_bars_servers_and_all_that_stands_on_them(compose: Any) -> None:
    assert barred(compose("require: {trust: [local, private]}")) == FAR_ONES
    assert barred(compose("require: {trust: [local]}")) == FAR_ONES | {"middle"}
    assert barred(compose("require: {trust: [local, private, external]}")) == set()


def test_what_stands_on_an_expert_that_is_denied_is_denied(compose: Any) -> None:
    found = permit(compose("deny: {experts: [big]}"))

    assert set(found.barred) == BIG_ONES
    assert found.barred["wiser"] == ("policy", "rule `r0`: it stands on `big`: it is denied")
    assert not found.unlisted


def test_who_is_allowed_is_allowed_with_what_is_under_it(compose: Any) -> None:
    found = permit(compose("allow: {experts: [wiser]}"))

    assert "wiser" not in found.barred
    assert {"big", "wise"} <= found.unlisted
    assert beneath(found).barred == {}


def test_a_list_of_who_is_allowed_gives_nothing_back(compose: Any) -> None:
    found = permit(compose("allow: {experts: [wiser, small]}\ndeny: {experts: [big]}"))

    assert "wiser" in found.barred
    assert "big" in beneath(found).barred
    assert "small" not in found.barred


def test_a_class_holds_for_the_more_sensitive_ones_too(compose: Any) -> None:
    composition = compose("if: {data: middle}, deny: {tags: [dear]}")

    assert barred(composition, data="low") == set()
    assert barred(composition, data="middle") == barred(composition, data="high") == BIG_ONES


@pytest.mark.parametrize(
    ("rule", "does"),
    [
        ("if: {data: high}, deny: {tags: [dear]}", True),
        ("if: {data: middle, team: a}, deny: {tags: [dear]}", True),
        ("if: {data: low}, deny: {tags: [dear]}", False),  # it holds whatever the category
        ("if: {category: code}, deny: {tags: [dear]}", True),
        ("if: {team: a}, deny: {tags: [dear]}", False),
    ],
)
def test_whether_the_category_matters(compose: Any, rule: str, *, does: bool) -> None:
    assert Guard(compose(rule)).minds_category is does


def test_the_category_does_not_matter_without_policies_or_below_what_rules_ask(
    compose: Any,
) -> None:
    composition = compose("if: {data: high}, deny: {tags: [dear]}")
    law = replace(composition.categories["law"], data="middle")
    lower = replace(composition, categories={**composition.categories, "law": law})

    assert not Guard(compose()).minds_category
    assert not Guard(lower).minds_category


def test_a_class_of_another_file_counts_as_the_most_sensitive(compose: Any) -> None:
    composition = compose("if: {data: high}, deny: {tags: [dear]}")
    book = Rulebook(composition)

    assert book.sensitive("gone") == "high"
    assert book.sensitive() == book.sensitive("") == "low"
    assert barred(composition, data="gone") == BIG_ONES


@pytest.mark.parametrize(
    ("condition", "asking", "holds"),
    [
        ("team: a", {"identity": Identity(team="a")}, True),
        ("team: [a, b]", {"identity": Identity(team="b")}, True),
        ("team: a", {"identity": Identity()}, False),
        ("key: k", {"identity": Identity(key="k")}, True),
        ("key: k", {"identity": Identity(key="1", name="k")}, True),
        ("key: k", {"identity": Identity(key="1")}, False),
        ("category: law", {"category": "law"}, True),
        ("category: law", {"category": "code"}, False),
        ("category: law", {"category": None}, False),
        ("hours: '00:00-00:01 UTC'", {"now_s": 30.0}, True),
        ("hours: '00:00-00:01 UTC'", {"now_s": 90.0}, False),
        ("team: a, category: law", {"identity": Identity(team="a"), "category": "law"}, True),
        ("team: a, category: law", {"identity": Identity(team="a")}, False),
    ],
)
def test_a_rule_holds_where_all_its_conditions_do(
    compose: Any,
    condition: str,
    asking: dict[str, Any],
    holds: bool,  # noqa: FBT001
) -> None:
    composition = compose(f"if: {{{condition}}}, deny: {{experts: [hello]}}")

    assert (barred(composition, **asking) == {"hello"}) is holds


def test_the_first_rule_against_an_expert_is_named(compose: Any) -> None:
    found = permit(
        compose("deny: {experts: [hello]}\nrequire: {trust: [private]}"),
        identity=Identity(not_experts=("hello",)),
    )

    assert found.barred["hello"][1].startswith("rule `r0`")
    assert found.barred["kept"][1].startswith("rule `r1`")


def test_the_least_money_holds(compose: Any) -> None:
    found = permit(compose("max_cost: 2 USD\nmax_cost: 1 USD\nif: {team: x}, max_cost: 0.1 USD"))

    assert (found.max_cost, found.cost_rule) == (1.0, "r1")


def test_a_keys_own_lists_bar_without_policies(compose: Any) -> None:
    composition = compose()

    only = permit(composition, identity=Identity(experts=("wise", "tag:open")))
    without = permit(composition, identity=Identity(not_experts=("big",)))

    assert set(only.barred) == {"big", "wiser", "kept", "hello", "shown"}
    assert "big" not in beneath(only).barred
    assert set(without.barred) == BIG_ONES
    assert without.barred["big"] == ("key", "the key may not ask it")
    assert barred(composition, identity=Identity(experts=())) >= {"small", "hello"}


async def test_a_client_keeps_experts_out(compose: Any) -> None:
    guard = Guard(compose())
    query = _query(headers=[(b"x-coe-exclude", b"tag:dear, hello")])

    found = (await guard.admitted(query)).permit

    assert set(found.barred) == BIG_ONES | {"hello"}
    assert found.barred["hello"] == ("opt-out", "x-coe-exclude keeps it out")


@pytest.mark.parametrize("name", [b"bigg", b"tag:deer", b"encoder far", b"*"])
async def test_a_name_that_keeps_nobody_out_is_refused(compose: Any, name: bytes) -> None:
    with pytest.raises(InvalidRequest, match="there is no"):
        await Guard(compose()).admitted(_query(headers=[(b"x-coe-exclude", name)]))


async def test_a_client_raises_the_class_and_never_lowers_it(compose: Any) -> None:
    guard = Guard(compose("if: {data: high}, require: {trust: [local]}"))
    raised = await guard.admitted(_query(headers=[(b"x-coe-data-class", b"middle")]))
    in_law = guard.settled(raised, "law")
    lowered = guard.settled(
        await guard.admitted(_query(headers=[(b"x-coe-data-class", b"low")])), "law"
    )

    assert raised.permit.data == "middle"
    assert in_law.permit.data == lowered.permit.data == "high"
    assert "middle" in in_law.permit.barred
    assert guard.settled(in_law, "code").permit.data == "high"


@pytest.mark.parametrize("rules", ["", "deny: {experts: [hello]}"])
async def test_a_class_that_there_is_not_is_refused(compose: Any, rules: str) -> None:
    with pytest.raises(InvalidRequest, match="no data class `secret`"):
        await Guard(compose(rules)).admitted(_query(headers=[(b"x-coe-data-class", b"secret")]))


@pytest.mark.parametrize(
    ("may", "query", "words"),
    [
        ("exclude", {"headers": [(b"x-coe-exclude", b"big")]}, "keep experts out"),
        ("choose_expert", {"model": "big"}, "name an expert"),
        ("opt_out_experiment", {"headers": [(b"x-coe-experiment", b"off")]}, "experiments"),
    ],
)
async def test_clients_may_not_do_all_of_it_everywhere(
    compose: Any, may: str, query: dict[str, Any], words: str
) -> None:
    allowed = Guard(compose(more="policies: {}\n"))
    refusing = Guard(compose(more=f"policies: {{client_may: {{{may}: false}}}}\n"))

    await allowed.admitted(_query(**query))
    await refusing.admitted(_query())
    with pytest.raises(Forbidden, match=words):
        await refusing.admitted(_query(**query))


async def test_a_request_that_nothing_is_said_of_stays_as_it_is(compose: Any) -> None:
    guard = Guard(compose())
    query = _query(headers=[(b"x-session-id", b"1")])

    assert await guard.admitted(query) is query
    assert guard.settled(query, "law") is query


async def test_a_router_that_asks_whom_a_request_may_not_reach_is_silent(compose: Any) -> None:
    guard = Guard(
        compose(
            "if: {team: x}, deny: {experts: [big]}\nif: {team: y}, require: {trust: [local]}",
            "routers: {default: {type: chain, stages: [near, judge]},"
            " near: {type: embedding, encoder: far}, judge: {type: llm, expert: wise}}\n",
        )
    )

    async def silence(team: str) -> str:
        return guard.silence(await guard.admitted(_query(identity=Identity(team=team))))

    assert await silence("z") == ""
    assert await silence("x") == "rule `r0`: it stands on `big`: it is denied"
    assert (await silence("y")).startswith("rule `r1`: it runs where trust is external")


def test_many_kinds_of_exclusion_are_not_remembered_for_ever(compose: Any) -> None:
    from coe.composition.policy_values import Group
    from coe.policies import rules

    book = Rulebook(compose())
    for number in range(2 * rules._MOST_KNOWN):
        group = Group(experts=frozenset({"hello", f"x{number}"}))
        assert set(book.permit(Asking(Identity(), group)).barred) == {"hello"}

    assert len(book._known) <= rules._MOST_KNOWN


def test_bars_tells_whether_one_of_some_is_barred() -> None:
    held = Permit(barred={"a": ("policy", "rule `r`: it is denied")})

    assert bars(held, ["b", "a"])
    assert not bars(held, ["b"])
    assert not bars(held, [])
    assert not bars(FREE, ["a"])
    error = refused(held, "a")
    assert error.status == 403
    assert "rule `r`" in error.message
    assert {"policy", "key", "opt-out"} == BARRING


def test_a_decision_names_nobody_who_is_barred() -> None:
    def row(name: str, kind: Any = "expert") -> Evidence:
        return Evidence(kind=kind, category="c", text=name)

    decision = Decision(evidence=(row("a"), row("b"), row("a", "utterance")))
    held = Permit(barred={"a": ("policy", "")})

    assert told_of(decision, held).evidence == (row("b"), row("a", "utterance"))
    assert told_of(decision, FREE) is decision


def _query(**fields: Any) -> Query:
    body = {"messages": [{"role": "user", "content": "hello"}]}
    return Query(id="1", body=body, **{"model": "coe/auto", **fields})
