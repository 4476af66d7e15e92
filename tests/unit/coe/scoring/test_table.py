import pytest

from coe.mapping.outcomes import NONE, Outcome
from coe.scoring.table import category_of, tabulate


def outcome(expert: str, score: float, category: str | None = "sums", **keys: float) -> Outcome:
    return Outcome(prompt=f"{score}", expert=expert, score=score, category=category, **keys)  # type: ignore[arg-type]


ROWS = [
    *[outcome("one", 1.0, cost=0.002, latency_s=1.0) for _ in range(9)],
    outcome("one", 0.0, cost=None, latency_s=2.0),  # type: ignore[arg-type]
    outcome("two", 0.5, "trips"),
    outcome("gone", 1.0),
]


def test_means_have_intervals_and_counts() -> None:
    table = tabulate(ROWS, experts=["two", "one", "idle"], categories=["trips", "sums", "talk"])

    two, one = table.experts
    assert (two.expert, one.expert) == ("two", "one")
    assert table.categories == ("trips", "sums")
    cell = one.cells["sums"]
    assert (cell.count, cell.mean) == (10, 0.9)
    assert (cell.lower, cell.upper) == (
        pytest.approx(0.596, abs=1e-3),
        pytest.approx(0.982, abs=1e-3),
    )
    assert one.cost == pytest.approx(0.002)
    assert one.latency_s == pytest.approx(1.1)
    assert two.cost is None


def test_a_prompt_without_a_category_counts_for_its_most_probable_one() -> None:
    def routed(**shares: float) -> Outcome:
        return Outcome(prompt="p", expert="one", score=1.0, probabilities=shares)

    assert category_of(routed(sums=0.5, trips=0.3)) == "sums"
    assert category_of(routed(sums=0.3, trips=0.2)) == NONE
    assert category_of(routed()) == NONE


def test_the_table_fits_the_terminal() -> None:
    names = [f"category-{number}" for number in range(12)]
    rows = [outcome("one", 1.0, name) for name in names]

    table = tabulate(rows, experts=["one"], categories=names, currency="USD")

    for width in (40, 80, 200):
        text = table.text(width)
        assert max(map(len, text.splitlines())) <= width
        assert all(name in text for name in names)
    assert "1.000  n=1" in table.text()
    assert "USD/1000" in table.text()


def test_the_table_is_a_document() -> None:
    (row, _) = tabulate(ROWS, experts=["one", "two"], categories=["sums", "trips"]).document()[
        "experts"
    ]

    assert row["categories"]["sums"]["count"] == 10
    assert row["overall"]["mean"] == 0.9
