"""Metrics per window and per clip, addressed by task name; pure functions on arrays.

Conventions: labels are class indices in the order of lib.labels.TASKS; probabilities are
float (n, classes). Macro averages weigh classes equally, weighted ones by their number of items. A
class that is never predicted has precision 0. A clip's probabilities are the mean over its windows
(our choice; docs/reproduction.md has the alternatives that were tried). Standard deviations have
n - 1 in the denominator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from lib.evaluation.calibration import calibration

MEASURES = ("precision", "recall", "f1")


def score(true: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict:
    """Measures of one task.

    Parameters
    ----------
    true : int (n,)
    probabilities : float (n, len(classes))
    classes : names in the order of the columns

    Returns accuracy, items, macro_{precision,recall,f1}, weighted_{…}, ece, per_class {name:
    {precision, recall, f1, items}}, confusion (rows: true, columns: predicted; counts),
    confusion_normalised (shares of each true class), reliability (the bins of `calibration`).
    """
    predicted = np.argmax(probabilities, axis=1)
    labels = np.arange(len(classes))
    measure = partial(
        precision_recall_fscore_support, true, predicted, labels=labels, zero_division=0
    )
    confusion = partial(confusion_matrix, true, predicted, labels=labels)
    result = {"accuracy": float(np.mean(predicted == true)), "items": len(true)}
    for average in ("macro", "weighted"):
        for name, value in zip(MEASURES, measure(average=average), strict=False):
            result[f"{average}_{name}"] = float(value)
    *columns, items = (column.tolist() for column in measure())
    result["per_class"] = {
        name: dict(zip(MEASURES, values, strict=True)) | {"items": int(number)}
        for name, number, *values in zip(classes, items, *columns, strict=True)
    }
    result["confusion"] = confusion().tolist()
    result["confusion_normalised"] = confusion(normalize="true").tolist()
    result["ece"], result["reliability"] = calibration(true, probabilities)
    return result


def evaluate(
    true: Mapping[str, np.ndarray],
    probabilities: Mapping[str, np.ndarray],
    recording: np.ndarray,
    tasks: Mapping[str, Sequence[str]],
) -> dict:
    """Measures of every task, per window and per clip.

    Parameters
    ----------
    true : {task: int (n_windows,)}
    probabilities : {task: float (n_windows, classes)}
    recording : int (n_windows,), the clip of each window
    tasks : {task: names of its classes}

    Returns {"window": {task: measures}, "clip": {task: measures}}, measures as in `score`.
    """
    clips, first, inverse = np.unique(recording, return_index=True, return_inverse=True)
    levels = {"window": {}, "clip": {}}
    for task, classes in tasks.items():
        levels["window"][task] = score(true[task], probabilities[task], classes)
        clip = mean_by(probabilities[task], inverse, len(clips))
        levels["clip"][task] = score(true[task][first], clip, classes)
    return levels


def mean_by(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Mean of values : float (n, k) within each group : int (n,); float64 (groups, k)."""
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, group, values)
    return sums / np.bincount(group, minlength=groups)[:, None]


def over_folds(folds: Sequence[Mapping]) -> dict:
    """Mean and standard deviation over folds, each a result of `evaluate`.

    Returns {level: {task: {measure: {"mean", "sd", "folds": [value of each]}}}} for accuracy and
    the macro and weighted measures.
    """
    names = ["accuracy", *(f"{a}_{m}" for a in ("macro", "weighted") for m in MEASURES)]

    def over(level: str, task: str, name: str) -> dict:
        values = [fold[level][task][name] for fold in folds]
        mean, sd = np.mean(values), np.std(values, ddof=1)
        return {"mean": float(mean), "sd": float(sd), "folds": values}

    return {
        level: {task: {name: over(level, task, name) for name in names} for task in tasks}
        for level, tasks in folds[0].items()
    }


def chance(items: Sequence[int]) -> dict[str, float]:
    """Macro measures of guessing all classes with the same probability.

    items : number of items of each class. With K classes, expected precision of a class is its
    share, expected recall 1 / K; F1 is computed from those two.
    """
    shares = np.asarray(items, float) / np.sum(items)
    recall = 1 / len(shares)
    return {
        "precision": float(shares.mean()),
        "recall": recall,
        "f1": float(np.mean(2 * shares * recall / (shares + recall))),
    }


def report(
    levels: Mapping[str, Mapping[str, Mapping]], title: str, folds: Mapping | None = None
) -> str:
    """The measures of `evaluate` and of `over_folds` as text for the terminal."""
    lines = [title, "=" * len(title)]
    if folds:
        head = f"  {'':>20} {'accuracy':>13} {'macro F1':>15} {'weighted F1':>15}"
        lines += ["", "mean ± standard deviation over the folds", head]
        for level, tasks in folds.items():
            for task, result in tasks.items():
                names = ("accuracy", "macro_f1", "weighted_f1")
                cells = [f"   {result[m]['mean']:.3f} ± {result[m]['sd']:.3f}" for m in names]
                lines.append(f"  {f'{task} per {level}':>20}{''.join(cells)}")
        lines += ["", "below: the test predictions of all folds taken together"]
    for level, tasks in levels.items():
        for task, result in tasks.items():
            lines += ["", f"{task} per {level} ({result['items']} {level}s)", *_lines(result)]
    return "\n".join(lines) + "\n"


def _lines(result: Mapping) -> list[str]:
    """The measures of a task, from `score`, as lines of text."""
    rows = dict(result["per_class"])
    for average in ("macro", "weighted"):
        rows[average] = {m: result[f"{average}_{m}"] for m in MEASURES} | {"items": result["items"]}
    lines = [f"  {'':>14} precision  recall      F1   items"]
    for name, values in rows.items():
        numbers = "".join(f"{values[m]:8.3f}" for m in MEASURES)
        lines.append(f"  {name:>14}  {numbers}{values['items']:8d}")
    lines.append(f"  {'accuracy':>14}  {result['accuracy']:8.3f}")
    lines.append(f"  {'calibration':>14}  {result['ece']:8.3f} expected calibration error")
    lines.append("  confusion, shares of each true class (rows: true)")
    lines.append(f"  {'':>14}  " + "".join(f"{name:>9}" for name in result["per_class"]))
    for name, row in zip(result["per_class"], result["confusion_normalised"], strict=True):
        lines.append(f"  {name:>14}  " + "".join(f"{share:9.2f}" for share in row))
    return lines
