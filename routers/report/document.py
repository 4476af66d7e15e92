"""An evaluation as plain values, for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from routers.findings import Choices, Evaluation, Mistake

MOST_POINTS = 200  # of the risk-coverage curve


def render(evaluation: Evaluation) -> dict[str, Any]:
    """Return all of it; numbers that are undefined or infinite are None."""
    scope = evaluation.out_of_scope
    calibration = evaluation.calibration
    found = {
        "router": evaluation.router,
        "calibrated": evaluation.is_calibrated,
        "rows": {
            "all": evaluation.rows,
            "inside": evaluation.inside,
            "outside": evaluation.outside,
            "digest": evaluation.rows_digest,
        },
        "accuracy": evaluation.best.accuracy,
        "macro_f1": evaluation.best.macro_f1,
        "decided": {
            "accuracy": evaluation.decided.accuracy,
            "inside_accuracy": evaluation.decided.inside_accuracy,
            "macro_f1": evaluation.decided.macro_f1,
            "margin": evaluation.margin,
            **asdict(evaluation.outcomes),
        },
        "out_of_scope": scope
        and {
            "auroc": scope.auroc,
            "fpr_at_95": scope.fpr,
            "recall_at_95": scope.recall,
            "threshold_at_95": scope.threshold,
            "joint_accuracy_at_95": scope.joint_accuracy,
        },
        "calibration": {
            "ece": calibration.ece,
            "ece_all": calibration.ece_all,
            "brier": calibration.brier,
            "nll": calibration.nll,
            "bins": [
                {"confidence": confidence, "accuracy": accuracy, "count": count}
                for confidence, accuracy, count in zip(
                    calibration.diagram.confidence.tolist(),
                    calibration.diagram.accuracy.tolist(),
                    calibration.diagram.count.tolist(),
                    strict=True,
                )
            ],
        },
        "risk_coverage": {"area": evaluation.aurc, "points": _points(evaluation)},
        "categories": _categories(evaluation),
        "confusion": {
            "names": [*evaluation.categories, None],
            "counts": evaluation.decided.confusion.tolist(),
        },
        "stages": dict(evaluation.stages),
        "stability": [
            {**asdict(row), "unchanged_share": row.unchanged_share} for row in evaluation.stability
        ],
        "latency": asdict(evaluation.latency),
        "suggestions": [asdict(suggestion) for suggestion in evaluation.suggestions],
        "wrong": [_mistake(mistake) for mistake in evaluation.wrong],
    }
    plain: dict[str, Any] = _finite(found)
    return plain


def _categories(evaluation: Evaluation) -> list[dict[str, Any]]:
    best, decided = _rates(evaluation.best), _rates(evaluation.decided)
    return [
        {
            "name": name,
            "threshold": evaluation.thresholds[column],
            "rows": int(evaluation.decided.rates.support[column]),
            **decided[column],
            "best": best[column],
        }
        for column, name in enumerate(evaluation.categories)
    ]


def _rates(choices: Choices) -> list[dict[str, float]]:
    rates = choices.rates
    return [
        {"precision": precision, "recall": recall, "f1": f1}
        for precision, recall, f1 in zip(
            rates.precision.tolist(), rates.recall.tolist(), rates.f1.tolist(), strict=True
        )
    ]


def _points(evaluation: Evaluation) -> list[dict[str, float]]:
    curve = evaluation.risk_coverage
    places = np.unique(np.linspace(0, len(curve.risk) - 1, MOST_POINTS).astype(int))
    return [
        {
            "coverage": float(curve.coverage[place]),
            "risk": float(curve.risk[place]),
            "threshold": float(curve.threshold[place]),
        }
        for place in places
    ]


def _mistake(mistake: Mistake) -> dict[str, Any]:
    return {**asdict(mistake), "evidence": [asdict(item) for item in mistake.evidence]}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
