"""Support vector machines per clip: on log-mel statistics, or on the codes of an encoder.

They are cheap and hard to beat with few clips: every network here is compared with them. Each task
has one machine with an RBF kernel, on standardised features, with balanced classes. Its C
is chosen by a cross-validation within the clips that it learns from, with groups kept together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from lib.datasets.code_source import mean_and_deviation
from lib.datasets.windows import Windows
from lib.training.batches import Take

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)  # values of C [ours]
INNER = 5  # folds that choose C; fewer if a class has fewer groups


def log_mel_statistics(windows: Windows) -> np.ndarray:
    """Mean, standard deviation and 90th percentile of each mel band of a clip, and the standard
    deviation of its differences from frame to frame : float64 (clips, 4 * n_mels)."""
    packing, clips = windows.packing, []
    for number in range(len(windows.table)):
        frames = packing.offset + packing.step * windows.frames_of(number).astype(float)
        high, change = np.percentile(frames, 90, axis=0), np.diff(frames, axis=0).std(axis=0)
        clips.append(np.concatenate([frames.mean(axis=0), frames.std(axis=0), high, change]))
    return np.stack(clips)


def code_statistics(windows: Windows, codes: Take) -> np.ndarray:
    """Mean and standard deviation of the codes of a clip's windows : float64 (clips, 2 d).

    codes : numbers of windows -> float32 (n, d)
    """
    clips = []
    for number in range(len(windows.table)):
        clips.append(mean_and_deviation(codes(windows.windows_of(np.array([number])))))
    return np.stack(clips)


def fit_predict(
    features: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    groups: np.ndarray,
    tasks: Mapping[str, int],
) -> tuple[dict[str, np.ndarray], dict[str, float | None]]:
    """Learn from `train`, predict `test`.

    Parameters
    ----------
    features : {"train", "test"}, float (clips, d)
    labels : {task: int (clips,)} of the clips of `train`
    groups : (clips,) of `train`; the clips of a group stay together when C is chosen
    tasks : {task: number of classes}

    Returns {task: float32 (clips, classes)} of the clips of `test`, 1 for the predicted class and 0
    for the others, and the C of each task.
    """
    predicted, penalties = {}, {}
    for task, classes in tasks.items():
        true = labels[task]
        machine = make_pipeline(StandardScaler(), SVC(kernel=_kernel, class_weight="balanced"))
        inner = _inner_folds(true, groups)
        if inner < 2:  # too few groups to choose C
            machine.set_params(svc__C=1.0)
        else:
            cv = StratifiedGroupKFold(inner, shuffle=True, random_state=0)
            grid = {"svc__C": PENALTIES}
            machine = GridSearchCV(machine, grid, scoring="f1_macro", cv=cv)
        machine.fit(features["train"], true, **({"groups": groups} if inner >= 2 else {}))
        predicted[task] = np.eye(classes, dtype=np.float32)[machine.predict(features["test"])]
        penalties[task] = machine.best_params_["svc__C"] if inner >= 2 else 1.0
    return predicted, penalties


def _kernel(features: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """SVC's own kernel with its own gamma : float64 (n, m); by matrix products, which are several
    times as fast with thousands of features."""
    return rbf_kernel(features, learnt, gamma=1 / (learnt.shape[1] * (learnt.var() or 1)))


def _inner_folds(true: np.ndarray, groups: np.ndarray) -> int:
    """The number of folds, at most INNER, that gives every class a group in each fold."""
    return min(INNER, *(len(np.unique(groups[true == label])) for label in np.unique(true)))
