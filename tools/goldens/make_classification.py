#!/usr/bin/env python3
"""Golden detection metrics and calibration fits from scikit-learn and scipy.

Writes tests/goldens/classification.json. Run: .venv/bin/python tools/goldens/make_classification.py
"""
import json
import pathlib

import numpy as np
from scipy.optimize import minimize
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/classification.json"


def case(seed, n, ties):
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.3).astype(int)
    logits = random.normal(size=n) * 1.5 + labels * 1.8 - 0.4
    if ties:
        logits = np.round(logits)
    weights = random.integers(0, 4, size=n).astype(float)
    return labels, logits, weights


def detection(labels, logits, weights):
    fpr, tpr, _ = metrics.roc_curve(labels, logits, sample_weight=weights, drop_intermediate=False)
    precision, recall, _ = metrics.precision_recall_curve(labels, logits, sample_weight=weights)
    called = logits >= 0.25
    return {
        "auroc": metrics.roc_auc_score(labels, logits, sample_weight=weights),
        "recall_at_fpr10": tpr[fpr <= 0.10 + 1e-12].max(),
        "fpr_at_recall95": fpr[tpr >= 0.95 - 1e-12].min(),
        "precision_at_recall80": precision[recall >= 0.8 - 1e-12].max(),
        "accuracy": metrics.accuracy_score(labels, called, sample_weight=weights),
        "precision": metrics.precision_score(labels, called, sample_weight=weights),
        "recall": metrics.recall_score(labels, called, sample_weight=weights),
        "f1": metrics.f1_score(labels, called, sample_weight=weights),
    }


def calibration(labels, logits):
    probabilities = 1 / (1 + np.exp(-logits))

    def loss(scale, shift, target):
        z = scale * logits + shift
        return np.sum(np.logaddexp(0, z) - z * target)

    temperature = minimize(lambda x: loss(x[0], 0, labels), [1.0], method="BFGS", tol=1e-10).x
    positive, negative = labels.sum(), (1 - labels).sum()
    target = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    platt = minimize(lambda x: loss(x[0], x[1], target), [1.0, 0.0], method="BFGS", tol=1e-10).x
    grid = np.linspace(logits.min() - 1, logits.max() + 1, 101)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(logits, labels)
    bins = np.minimum((probabilities * 15).astype(int), 14)
    gaps = [abs(np.sum((probabilities - labels)[bins == b])) for b in range(15)]
    return {
        "temperature_scale": temperature[0],
        "platt_scale": platt[0],
        "platt_shift": platt[1],
        "grid": grid.tolist(),
        "isotonic": isotonic.predict(grid).tolist(),
        "ece": float(np.sum(gaps) / len(labels)),
        "brier": metrics.brier_score_loss(labels, probabilities),
    }


def main():
    cases = []
    for seed, n, ties in [(1, 200, False), (2, 200, True), (3, 60, False)]:
        labels, logits, weights = case(seed, n, ties)
        cases.append({
            "labels": labels.tolist(), "logits": logits.tolist(), "weights": weights.tolist(),
            "plain": detection(labels, logits, np.ones(n)),
            "weighted": detection(labels, logits, weights),
            "calibration": calibration(labels, logits),
        })
    OUT.write_text(json.dumps(cases, default=float) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
