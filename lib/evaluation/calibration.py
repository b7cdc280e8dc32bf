"""Calibration: whether items predicted with probability p are correct in a share p of cases."""

from __future__ import annotations

import numpy as np

BINS = 15  # of confidence, equally wide (Guo 2017)


def calibration(true: np.ndarray, probabilities: np.ndarray) -> tuple[float, list[dict]]:
    """Expected calibration error of the predicted class's probability (Guo 2017).

    true : int (n,); probabilities : float (n, classes)

    Returns the mean over all items of |accuracy - confidence| of their bin of confidence, and the
    bins that are not empty: {low, high, items, confidence, accuracy}.
    """
    confidence = probabilities.max(axis=1)
    right = np.argmax(probabilities, axis=1) == true
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence, "left") - 1, 0, BINS - 1)
    inside = {k: place == k for k in np.unique(place)}
    bins = [
        {
            "low": float(edges[k]),
            "high": float(edges[k + 1]),
            "items": int(items.sum()),
            "confidence": float(confidence[items].mean()),
            "accuracy": float(right[items].mean()),
        }
        for k, items in inside.items()
    ]
    error = sum(b["items"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / len(true)
    return float(error), bins
