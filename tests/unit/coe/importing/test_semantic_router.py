"""semantic-router's export."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from coe.errors import CompositionError
from coe.importing import carry, parse_source

Bring = Callable[..., Any]

ROUTES = [
    {
        "name": "politics talk",
        "utterances": ["who should I vote for", "they saved us! \U0001f600", "c ${env:X}", "null"],
        "description": "all of\npolitics",
        "score_threshold": 0.3,
        "llm": None,
        "metadata": {},
    },
    {"name": "chitchat", "utterances": ["lovely weather", " Null", "- y: z # x"]},
]


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_routes_become_categories(bring: Bring, indent: str | int | None) -> None:
    text = json.dumps({"encoder_type": "openai", "routes": ROUTES}, indent=indent)
    entries = bring("semantic-router", text, "r.json").composition.categories
    categories = {name: entry.category for name, entry in entries.items()}

    assert set(categories) == {"politics-talk", "chitchat"}
    assert list(categories["politics-talk"].utterances) == ROUTES[0]["utterances"]
    assert categories["politics-talk"].description == "all of politics"
    assert list(categories["chitchat"].utterances) == ["lovely weather", "- y: z # x"]


def test_a_list_of_routes_is_a_file_too(bring: Bring) -> None:
    brought = bring("semantic-router", json.dumps(ROUTES))

    assert len(brought.composition.categories) == 2
    assert brought.notes("left out", "[0].score_threshold")


def test_one_expert_answers_until_others_are_named(bring: Bring) -> None:
    brought = bring("semantic-router", json.dumps(ROUTES))

    assert brought.composition.default == "general"
    assert brought.route("chitchat") == ["general"]
    assert len(brought.notes("to do")) == 2


def test_a_text_belongs_to_the_first_route_that_has_it(bring: Bring) -> None:
    brought = bring("semantic-router", json.dumps(ROUTES, indent=1))
    (note,) = brought.notes("left out", "[1].utterances")

    assert "`politics talk`" in note.message
    assert note.path == "[1].utterances[1]"


def test_routers_of_routers_and_their_probabilities(bring: Bring) -> None:
    text = """
router_type: chain
confidence_threshold: 0.5
routers:
  - router_type: indexed
    encoder: {type: fastembed, name: x}
    calibrator: {method: platt, params: {a: [9.1]}}
    routes:
      - {name: a, utterances: [one, two], confidence_threshold: 0.6}
      - {name: b, utterances: [three]}
  - router_type: decision
    routes: [{name: a, utterances: [two, four]}]
"""
    brought = bring("semantic-router", text)
    a, b = (brought.composition.categories[name].category for name in "ab")

    assert (a.threshold, b.threshold) == (0.6, 0.5)
    assert list(a.utterances) == ["one", "two", "four"]
    assert brought.notes("changed", "routers[1].routes[0]")
    assert {"routers[0].encoder", "routers[0].calibrator"} <= {
        note.path for note in brought.notes("left out")
    }


def test_a_route_without_a_name_is_a_mistake_with_its_line() -> None:
    with pytest.raises(CompositionError) as raised:
        carry("semantic-router", parse_source("routes:\n  - utterances: [a]\n", "r.yaml"))

    assert "r.yaml:2" in str(raised.value)
    assert "`name` is missing" in str(raised.value)
