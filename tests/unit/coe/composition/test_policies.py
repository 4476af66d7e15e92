"""Policies as the file writes them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coe.composition import expand, load
from coe.composition.hours import is_within, parse_hours
from coe.composition.loading import check
from coe.composition.policy_values import Group, Hours, Rule
from coe.composition.trust import trust_of

Write = Callable[[str], Path]

BASE = """\
version: 1
backends:
  here: http://127.0.0.1:9001
  house: {url: "http://10.0.0.5:8000", trust: private}
  cloud: {url: "https://api.example.com/v1"}
experts:
  small: {backend: here, model: s, tags: [open]}
  middle: {backend: house, model: m}
  big: {backend: cloud, model: b, cost: {input: 1 USD/M, output: 2 USD/M}}
  tuned: {base: big, adapter: some/adapter}
  wise: {recipe: {over: big, system: "Think."}}
categories:
  code: {utterances: [c1, c2, c3, c4, c5], experts: [big, small]}
  law: {utterances: [l1, l2, l3, l4, l5], experts: [middle, tuned, wise]}
default: small
"""


def test_policies_are_read_and_written_back(write: Write) -> None:
    path = write(
        BASE.replace("experts: [middle,", "data: confidential, experts: [middle,")
        + """
policies:
  data_classes: [public, internal, confidential]
  detect: {pii: internal, secrets: confidential}
  phone_countries: [CH]
  rules:
    - name: stays
      else: refuse
      if: {data: confidential, hours: "22:00-06:00 Europe/Zurich", team: legal, key: [k1, k2]}
      require: {trust: [local, private]}
    - {name: free, if: {category: code}, allow: {tags: open}, max_cost: 0.5 USD, else: refuse}
    - {name: never, if: {team: x}, deny: {experts: big, tags: [open]}, else: refuse}
  client_may: {exclude: false}
"""
    )

    found = load(path).policies
    again = load(write(expand(load(path)))).policies

    assert found is not None
    assert found == again
    assert found.classes == ("public", "internal", "confidential")
    assert found.countries == ("CH",)
    assert not found.client_may.exclude
    assert found.client_may.choose_expert
    assert found.rules == (
        Rule(
            name="stays",
            data="confidential",
            teams=frozenset({"legal"}),
            keys=frozenset({"k1", "k2"}),
            hours=Hours(begin=1320, end=360, zone="Europe/Zurich"),
            trust=frozenset({"local", "private"}),
        ),
        Rule(
            name="free",
            categories=frozenset({"code"}),
            allow=Group(tags=frozenset({"open"})),
            max_cost=0.5,
        ),
        Rule(
            name="never",
            teams=frozenset({"x"}),
            deny=Group(experts=frozenset({"big"}), tags=frozenset({"open"})),
        ),
    )
    assert load(path).categories["law"].data == "confidential"


def test_how_far_away_an_expert_is_is_that_of_its_server(write: Write) -> None:
    sites = load(write(BASE)).sites

    trusts = {name: site.trust for name, site in sites.items() if site.kind == "expert"}
    assert trusts == {
        "small": "local",
        "middle": "private",
        "big": "external",
        "tuned": "external",
        "wise": "external",
    }
    assert sites["tuned"].under == sites["wise"].under == ("big",)


@pytest.mark.parametrize(
    ("kind", "url", "trust"),
    [
        ("local", None, "local"),
        ("litellm", None, "external"),
        ("openai", "http://localhost:8000", "local"),
        ("openai", "http://[::1]:8000/v1", "local"),
        ("openai", "http://127.0.0.9", "local"),
        ("openai", "http://127.0.0.1.example.com", "external"),
        ("openai", "http://localhost.example.com", "external"),
        ("openai", "http://10.0.0.5", "external"),
    ],
)
def test_trust_goes_by_the_address(kind: str, url: str | None, trust: str) -> None:
    assert trust_of(kind, url) == trust


@pytest.mark.parametrize(
    ("text", "utc", "expected"),
    [
        ("22:00-06:00 Europe/Zurich", "2026-01-10T21:30:00+00:00", True),  # 22:30 there
        ("22:00-06:00 Europe/Zurich", "2026-01-10T20:30:00+00:00", False),
        ("22:00-06:00 Europe/Zurich", "2026-07-10T20:30:00+00:00", True),  # summer: 22:30
        ("22:00-06:00 UTC", "2026-01-10T05:59:00+00:00", True),
        ("22:00-06:00 UTC", "2026-01-10T06:00:00+00:00", False),
        ("09:00-17:00 UTC", "2026-01-10T09:00:00+00:00", True),
        ("09:00-17:00 UTC", "2026-01-10T17:00:00+00:00", False),
    ],
)
def test_hours_are_those_of_the_place(text: str, utc: str, expected: bool) -> None:  # noqa: FBT001
    from datetime import datetime

    assert is_within(parse_hours(text), datetime.fromisoformat(utc).timestamp()) is expected


RULE = "policies: {data_classes: [low, high], rules: [%s]}"


@pytest.mark.parametrize(
    ("section", "place", "words"),
    [
        ("policies: {detect: {secrets: high}}", "policies.detect.secrets", "no data class `high`"),
        ("policies: {data_classes: [a, a]}", "policies.data_classes[1]", "twice"),
        ("policies: {data_classes: [a], detect: {secret: a}}", "detect.secret", "is not one of"),
        ("policies: {phone_countries: [CH]}", "phone_countries", "nothing looks for"),
        (
            "policies: {data_classes: [a], detect: {phone: a}, phone_countries: [XX]}",
            "phone_countries[0]",
            "is no country",
        ),
        (RULE % "{name: r}", "rules[0]", "takes nothing away"),
        (RULE % "{name: r, if: {data: hig}, deny: {tags: [open]}}", "if.data", "no data class"),
        (RULE % "{name: r, if: {dat: high}, deny: {tags: [open]}}", "if.dat", "unknown key"),
        (RULE % "{name: r, if: {category: cod}, deny: {tags: [open]}}", "if.category", "`cod`"),
        (RULE % "{name: r, deny: {tags: [opn]}, else: refuse}", "deny.tags[0]", "no expert has"),
        (RULE % "{name: r, deny: {experts: [bg]}}", "deny.experts[0]", "no expert `bg`"),
        (RULE % "{name: r, deny: {}}", "rules[0].deny", "nobody is named"),
        (RULE % "{name: r, require: {trust: [near]}}", "trust[0]", "is not one of"),
        (RULE % "{name: r, max_cost: 5 EUR}", "max_cost", "not in EUR"),
        (RULE % "{name: r, max_cost: 0.5}", "max_cost", "no currency"),
        (RULE % "{name: r, deny: {experts: big}, else: maybe}", "rules[0].else", "refuse"),
        (
            RULE % '{name: r, if: {hours: "22:00-06:00"}, deny: {experts: big}}',
            "if.hours",
            "expected times and a time zone",
        ),
        (
            RULE % '{name: r, if: {hours: "22:00-06:00 Europe/Nowhere"}, deny: {experts: big}}',
            "if.hours",
            "is not known here",
        ),
        (
            RULE % "{name: r, deny: {experts: big}}, {name: r, deny: {experts: big}}",
            "rules[1].name",
            "two rules",
        ),
        (RULE % "{name: r, budget: 5}", "rules[0].budget", "unknown key"),
        ("policies: {budgets: []}", "policies.budgets", "not supported yet"),
        ("policies: {client_may: {fly: true}}", "client_may.fly", "unknown key"),
    ],
)
def test_mistakes_name_their_place(write: Write, section: str, place: str, words: str) -> None:
    problems = check(write(BASE + section))

    errors = [problem for problem in problems if problem.severity == "error"]
    assert any(place in error.path and words in error.message for error in errors), errors
    assert all(error.line == BASE.count("\n") + 1 for error in errors)


@pytest.mark.parametrize(
    ("rule", "more", "words"),
    [
        ("deny: {experts: [small]}", "", "nobody for requests of no category"),
        ("if: {category: law}, require: {trust: [local]}", "", "nobody for the category `law`"),
        (
            "if: {team: x}, require: {trust: [local]}",
            "aggregation: {duo: {method: vote, experts: [big, tuned]}}\n",
            "nobody for the category `law`",
        ),
        (
            "if: {team: x}, deny: {experts: [middle]}",
            "aggregation: {duo: {method: best_of, experts: [big, small], judge: middle}}\n",
            "the judge of the panel `duo`",
        ),
        (
            "if: {team: x}, deny: {experts: [middle]}",
            "experiments: {e: {mode: shadow, judge: {expert: middle}, arms: {a: {}}}}\n",
            "the judge of the experiment `e`",
        ),
    ],
)
def test_a_rule_that_leaves_nobody_is_a_mistake_unless_it_is_meant(
    write: Write, rule: str, more: str, words: str
) -> None:
    found = check(write(BASE + more + RULE % f"{{name: r, {rule}}}"))
    errors = [problem for problem in found if problem.severity == "error"]
    meant = [
        p
        for p in check(write(BASE + more + RULE % f"{{name: r, {rule}, else: refuse}}"))
        if "leaves nobody" in p.message
    ]

    assert any(words in error.message and "else: refuse" in error.hint for error in errors), errors
    assert not meant


@pytest.mark.parametrize(
    ("router", "rule", "is_late"),
    [
        ("{type: llm, expert: big}", "if: {category: law}, deny: {experts: [big]}", True),
        ("{type: llm, expert: big}", "if: {data: high}, require: {trust: [local, private]}", True),
        ("{type: llm, expert: small}", "if: {data: high}, require: {trust: [local]}", False),
        ("{type: llm, expert: big}", "if: {team: x}, deny: {experts: [big]}", False),
        ("{type: embedding, encoder: far}", "if: {data: high}, require: {trust: [local]}", True),
    ],
)
def test_a_rule_about_what_the_router_finds_out_cannot_bar_whom_the_router_asks(
    write: Write,
    router: str,
    rule: str,
    is_late: bool,  # noqa: FBT001
) -> None:
    text = (
        BASE.replace("experts: [middle,", "data: high, experts: [middle,")
        + "encoders: {far: {type: http, url: 'https://e.example.com/v1', model: x, dim: 8}}\n"
        + f"routers: {{default: {router}}}\n"
        + RULE % f"{{name: r, {rule}, else: refuse}}"
    )

    late = [problem for problem in check(write(text)) if "too late" in problem.message]

    assert bool(late) is is_late


def test_a_detector_without_its_library_names_the_command(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coe.composition import check_policies

    monkeypatch.setattr(check_policies, "find_spec", lambda _: None)
    path = write(BASE + "policies: {data_classes: [a], detect: {pii: a}}")

    (error,) = [problem for problem in check(path) if problem.severity == "error"]

    assert "email_validator" in error.message
    assert error.hint == "pip install 'coe-gateway[policies]'"
    assert error.path == "policies.detect.pii"


def test_an_arm_of_an_experiment_may_not_change_policies(write: Write) -> None:
    path = write(
        BASE
        + "experiments: {e: {status: running, arms: {a: {share: 50%}, b: {share: 50%, set:"
        + " {policies.rules: []}}}}}\n"
        + RULE % "{name: r, if: {team: x}, deny: {experts: [big]}}"
    )

    assert any("policies" in p.message for p in check(path) if p.severity == "error")
