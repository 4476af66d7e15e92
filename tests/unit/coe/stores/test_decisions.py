"""Which decision an id stands for, and for whom."""

from __future__ import annotations

from pathlib import Path

from coe.stores.decisions import FILE, SHADOW, DecisionStore, Feedback, Record


def test_an_answers_id_is_looked_for_among_ones_own(tmp_path: Path) -> None:
    with DecisionStore.open(tmp_path / FILE) as store:
        store.add(
            [
                Record(id="mine", at=1.0, tenant="a", response_id="same"),
                Record(id="mine.shadow", at=2.0, tenant="a", response_id="same", endpoint=SHADOW),
                Record(id="theirs", at=3.0, tenant="b", response_id="same"),
                Record(id="odd", at=4.0, tenant="a", response_id="mine"),
            ]
        )

        def found(name: str, tenant: str | None) -> str | None:
            record = store.find(name, tenant)
            return None if record is None else record.id

        assert found("same", "a") == "mine"
        assert found("same", "b") == "theirs"
        assert found("same", None) == "theirs"
        assert found("mine", "a") == "mine"  # an id of ours goes before an upstream's
        assert found("mine", "b") is None
        assert found("mine.shadow", "a") == "mine.shadow"


def test_what_is_replaced_is_told(tmp_path: Path) -> None:
    with DecisionStore.open(tmp_path / FILE) as store:
        first = Feedback(decision="d", at=1.0, value=1.0, key="k")
        second = Feedback(decision="d", at=2.0, value=0.0, key="k")
        assert store.say(first) is None
        assert store.say(second) == first
        assert store.say(Feedback(decision="d", at=2.0, value=0.0, key="other")) is None
        assert [one.value for one in store.said("d")] == [0.0, 0.0]
