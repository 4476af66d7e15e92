"""`coe panel` where nobody is asked: what becomes of drafts that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.composition import load
from coe.composition.revisions import revision
from coe.errors import ConfigError
from coe.mapping.outcomes import Outcome
from coe.panels.applied import applied_rates
from coe.panels.store import read_panels
from coe.stores import drafts, outcomes
from coe.stores.drafts import DraftStore, ScoredDraft
from coe.stores.outcomes import OutcomeStore

from .conftest import Coe

FILE = """\
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {ada: up/ada, bob: up/bob, eve: up/eve}
categories: {puzzles: {keywords: [puzzle], experts: [ada, bob, eve]}}
routers: {default: keyword}
aggregation:
  trio: {method: vote, experts: 3}
models: {coe/trio: {aggregate: trio}}
default: ada
"""
COUNT = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experts.yaml").write_text(FILE)
    return tmp_path


def keep(folder: Path) -> None:
    """Keep what experts wrote, once each: each errs on another third of the prompts."""
    composition = load(folder / "experts.yaml")
    rows = [
        ScoredDraft(
            prompt=f"p{i}",
            expert=name,
            revision=revision(composition, name),
            sample=0,
            text="no" if i % 3 == place else "yes",
            score=float(i % 3 != place),
            logprob=-0.5,
        )
        for i in range(COUNT)
        for place, name in enumerate(composition.experts)
    ]
    with OutcomeStore.open(folder / ".coe" / outcomes.FILE) as store:
        store.add(
            Outcome(
                prompt=row.prompt,
                expert=row.expert,
                revision=row.revision,
                score=row.score,
                category="puzzles",
            )
            for row in rows
        )
    with DraftStore.open(folder / ".coe" / drafts.FILE) as texts:
        texts.add(rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit",), "nothing was scored yet"),
        (("show",), "no panels were fitted"),
        (("diff",), "there is no proposal"),
        (("apply",), "there is no proposal"),
        (("rollback",), "there are none to go back to"),
    ],
)
def test_what_is_missing_is_said(coe: Coe, words: tuple[str, ...], said: str) -> None:
    done = coe("panel", *words)

    assert done.returncode == 2
    assert said in done.stderr


def test_without_drafts_it_is_said_how_to_keep_some(coe: Coe, folder: Path) -> None:
    keep(folder)
    (folder / ".coe" / drafts.FILE).unlink()

    done = coe("panel", "fit")

    assert done.returncode == 2
    assert "no drafts were kept; run `coe score FILE --samples 3`" in done.stderr


def test_a_composition_without_panels_has_nothing_to_fit(coe: Coe, folder: Path) -> None:
    text = FILE.replace("aggregation:\n  trio: {method: vote, experts: 3}\n", "")
    text = text.replace("models: {coe/trio: {aggregate: trio}}\n", "")
    (folder / "experts.yaml").write_text(text)

    assert "there is no panel to fit" in coe("panel", "fit").stderr


def test_a_test_of_aggregators_needs_the_prompts(coe: Coe, folder: Path) -> None:
    keep(folder)

    assert "name the files of prompts" in coe("panel", "fit", "--test-aggregators").stderr


def test_one_sample_of_each_proves_nothing(coe: Coe, folder: Path) -> None:
    keep(folder)

    fitted, applied = coe("panel", "fit"), coe("panel", "apply")

    assert "not measured: 3 samples of" in fitted.stdout
    assert "`coe panel apply` makes it live" in fitted.stderr
    assert applied.returncode == 0
    assert not load(folder / "experts.yaml").routing.panels
    assert applied_rates(load(folder / "experts.yaml")) is not None


def test_a_proposal_of_other_panels_is_refused(coe: Coe, folder: Path) -> None:
    keep(folder)
    coe("panel", "fit")
    (folder / "experts.yaml").write_text(FILE.replace("experts: 3}", "experts: 2}"))

    shown, refused, forced = (
        coe("panel", *words) for words in (("diff",), ("apply",), ("apply", "--force"))
    )

    assert "would refuse it: `aggregation` was edited since then" in shown.stdout
    assert refused.returncode == 1
    assert "`aggregation` was edited since then" in refused.stderr
    assert forced.returncode == 0
    fitted = read_panels(folder / "experts.panels")
    assert fitted is not None
    assert fitted.about["forced"].startswith("`aggregation` was edited")


def test_rates_of_an_expert_that_answers_differently_now_are_not_used(
    coe: Coe, folder: Path
) -> None:
    keep(folder)
    coe("panel", "fit")
    coe("panel", "apply")
    (folder / "experts.yaml").write_text(FILE.replace("bob: up/bob", "bob: up/bobby"))

    rates = applied_rates(load(folder / "experts.yaml"))

    assert rates is not None
    assert rates.experts == ("ada", "eve")
    assert "the panels are stale" in coe("panel", "show").stderr


def test_a_damaged_file_is_refused_with_the_fix(coe: Coe, folder: Path) -> None:
    keep(folder)
    coe("panel", "fit")
    coe("panel", "apply")
    path = folder / "experts.panels"
    path.write_text(path.read_text().replace('"strength": 20.0', '"strength": 2.0'))

    with pytest.raises(ConfigError, match="does not match its digest"):
        applied_rates(load(folder / "experts.yaml"))
    done = coe("panel", "show")
    assert done.returncode == 2
    assert "run `coe panel fit` and `coe panel apply` again" in done.stderr


def test_a_damaged_store_of_drafts_is_said_to_be(coe: Coe, folder: Path) -> None:
    keep(folder)
    (folder / ".coe" / drafts.FILE).write_text("drafts\n" * 1000)

    done = coe("panel", "fit")

    assert done.returncode == 2
    assert "drafts.sqlite: not a database, or damaged" in done.stderr
