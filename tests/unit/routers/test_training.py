from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from coe.errors import ConfigError
from coe.types import Category
from routers import artefact, training
from routers.encoders.hashed import HashedEncoder
from routers.linear import load
from routers.training import Judge, Recipe, rows_of, save, train
from routers.views import views_of

ENCODER = HashedEncoder(name="small", dim=64)
WORDS = ("red", "blue", "green", "wide", "tall", "old", "new", "warm")
ROWS = [
    (f"{verb} the {word} {noun}", name)
    for name, verb, noun in (
        ("paint", "paint", "wall"),
        ("play", "play me", "song"),
        ("book", "reserve", "table"),
    )
    for word in WORDS
]


def test_the_rows_of_a_composition_are_its_utterances() -> None:
    categories = [Category(name="a", utterances=("x", "y")), Category(name="b")]

    assert rows_of(categories) == [("x", "a"), ("y", "a")]


def test_the_report_is_of_rows_that_were_left_out() -> None:
    report = train([*ROWS, *ROWS], ENCODER).report

    assert report.rows == len(ROWS)
    assert report.categories == 3
    assert report.accuracy > 0.9
    assert report.ece < 0.05
    assert report.outside_auroc > 0.5
    assert 0 < report.threshold < 1


def test_labels_without_meaning_give_no_confidence() -> None:
    generator = np.random.default_rng(0)
    names = generator.permutation([name for _, name in ROWS])
    noise = [(text, str(name)) for (text, _), name in zip(ROWS, names, strict=True)]

    trained = train(noise, ENCODER)

    assert trained.report.accuracy < 0.7
    shares = trained.model.given_inside(views_of(ENCODER, [text for text, _ in ROWS]))
    assert shares.max(axis=1).mean() < 0.75


class Memory:
    """An encoder that knows the rows by heart, and says of them where they belong."""

    name, dim, fingerprint = "memory", 64, "memory"

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        self._known = dict(rows)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        names = [self._known.get(text, text) for text in texts]
        return ENCODER.encode(
            [name * 5 if name in self._known.values() else name for name in names]
        )


def test_what_an_encoder_knows_by_heart_is_judged_by_its_twin() -> None:
    """Labels without meaning: whoever has learnt them by heart must not be sure of others."""
    generator = np.random.default_rng(0)
    names = generator.permutation([name for _, name in ROWS])
    noise = [(text, str(name)) for (text, _), name in zip(ROWS, names, strict=True)]
    seen, unseen = noise[::2], noise[1::2]
    judge = Judge(encoder=Memory(seen), unseen=frozenset(unseen))

    alone = train(noise, Memory(noise))
    judged = train(noise, Memory(noise), judge=judge)

    assert alone.report.accuracy == 1.0
    assert judged.report.accuracy < 0.7
    assert judged.report.rows == alone.report.rows == len(noise)
    vectors = views_of(Memory(noise), [text for text, _ in noise])
    sure = [trained.model.given_inside(vectors).max(axis=1) for trained in (judged, alone)]
    assert sure[0].mean() < sure[1].mean() - 0.1
    np.testing.assert_array_equal(
        judged.model.logits(vectors).argmax(axis=1), alone.model.logits(vectors).argmax(axis=1)
    )


def test_two_categories_are_enough() -> None:
    rows = [row for row in ROWS if row[1] != "book"]

    trained = train(rows, ENCODER)

    assert trained.model.classifier.weights.shape == (64, 2)
    texts = ["paint the cold wall", "play me the cold song"]
    assert trained.model.logits(views_of(ENCODER, texts)).argmax(axis=1).tolist() == [0, 1]
    assert np.isnan(trained.report.outside_auroc)


def test_a_name_is_read_as_words_of_its_category() -> None:
    rows = [(text, {"paint": "buy_zebra"}.get(name, name)) for text, name in ROWS]
    vector = views_of(ENCODER, ["zebra"])

    shares = [
        train(rows, ENCODER, recipe=Recipe(names=names)).model.given_inside(vector)[0, 0]
        for names in (False, True)
    ]

    assert shares[1] > shares[0] + 0.1


def test_texts_known_to_be_outside_teach_the_gate() -> None:
    outside = [f"reserve the {word} wall" for word in WORDS]
    vectors = views_of(ENCODER, outside)

    blind, taught = train(ROWS, ENCODER), train(ROWS, ENCODER, outside=outside)

    assert taught.model.inside(vectors).mean() < blind.model.inside(vectors).mean() - 0.05
    np.testing.assert_array_equal(taught.model.classifier.weights, blind.model.classifier.weights)


def test_the_same_rows_and_seed_give_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(tmp_path / name, train(ROWS, ENCODER))

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_progress_is_told_from_the_first_step_to_the_last() -> None:
    told: list[tuple[str, int, int]] = []

    train(ROWS, ENCODER, progress=lambda *step: told.append(step))

    fits = [(done, total) for what, done, total in told if what == "fit"]
    assert fits == [(done, 9) for done in range(10)]
    assert told[0] == ("encode utterances", 0, len(ROWS))


def test_an_interruption_ends_the_training() -> None:
    def stop(what: str, done: int, _: int) -> None:
        if what == "fit" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(ROWS, ENCODER, progress=stop)


def test_the_card_says_what_the_router_was_trained_on(tmp_path: Path) -> None:
    trained = train(ROWS, ENCODER)
    save(tmp_path / "a.npz", trained, utterances=ROWS)
    save(tmp_path / "b.npz", trained)

    bound, free = (artefact.read(tmp_path / f"{name}.npz", kind="linear").card for name in "ab")

    assert set(bound["utterances"]) == {"paint", "play", "book"}
    assert free["utterances"] == {}
    assert bound["encoder"] == ENCODER.fingerprint
    assert bound["report"]["rows"] == len(ROWS)


def test_one_category_is_refused() -> None:
    with pytest.raises(ConfigError, match="two categories at least, found 1"):
        train(ROWS[:8], ENCODER)


def test_a_category_with_too_few_rows_is_named() -> None:
    with pytest.raises(ConfigError, match=r"too few: lonely \(1\)"):
        train([*ROWS, ("alone", "lonely")], ENCODER)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)

    with pytest.raises(ConfigError, match=r"pip install 'coe-gateway\[train\]'"):
        train(ROWS, ENCODER)


def test_serving_never_imports_scikit_learn() -> None:
    """A gateway that loads an artefact pays neither its time nor its memory."""
    import subprocess

    program = "import sys, routers.linear, routers.artefact; print('sklearn' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "False"


MANY = [(f"{text} {number}", name) for text, name in ROWS for number in range(4)]


def test_of_many_rows_perceptrons_are_fitted_besides_and_saved(tmp_path: Path) -> None:
    trained = train(MANY, ENCODER, recipe=Recipe(perceptrons=2, hidden=8))
    save(tmp_path / "two.npz", trained)
    categories = [Category(name=name) for name in trained.categories]
    vectors = views_of(ENCODER, [text for text, _ in ROWS])

    names, loaded = load(tmp_path / "two.npz", ENCODER, categories, place="here")

    assert names == trained.categories
    assert loaded.classifier.votes == 2
    np.testing.assert_array_equal(loaded.read(vectors)[0], trained.model.read(vectors)[0])
    alone = replace(trained.model.classifier, others=None).logits(vectors)
    assert np.abs(loaded.logits(vectors) - alone).max() > 0.1
    assert trained.report.accuracy > 0.9


def test_of_few_rows_there_is_no_perceptron() -> None:
    assert train(ROWS, ENCODER).model.classifier.others is None


def test_no_more_is_left_out_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "ENOUGH_LEFT_OUT", 10)
    told: list[tuple[str, int, int]] = []

    trained = train(ROWS, ENCODER, progress=lambda *step: told.append(step))

    assert told[-1] == ("fit", 5, 5)  # some folds and groups, and all rows; else there are nine
    assert trained.report.rows == len(ROWS)
