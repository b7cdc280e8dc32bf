"""Metrics by hand; tasks cannot be exchanged unnoticed."""

import numpy as np
import pytest

from lib.evaluation import calibration, metrics
from lib.labels import TASKS


def one_hot(labels, classes):
    return np.eye(classes)[labels]


@pytest.fixture
def truth():
    """Labels of 12 windows of 4 clips, one per quadrant: Q1 ++, Q2 +-, Q3 --, Q4 -+."""
    quadrants = np.repeat([0, 1, 2, 3], 3)
    return {
        "quadrants": quadrants,
        "arousal": np.array([1, 1, 0, 0])[quadrants],
        "valence": np.array([1, 0, 0, 1])[quadrants],
    }


CLIPS = np.repeat([10, 11, 12, 13], 3)


def perfect(truth):
    return {task: one_hot(truth[task], len(classes)) for task, classes in TASKS.items()}


def test_perfect_predictions_score_one(truth):
    levels = metrics.evaluate(truth, perfect(truth), CLIPS, TASKS)
    for level, items in (("window", 12), ("clip", 4)):
        assert list(levels[level]) == list(TASKS)
        for task in TASKS:
            result = levels[level][task]
            assert result["macro_f1"] == result["weighted_f1"] == result["accuracy"] == 1
            assert result["items"] == items
            assert list(result["per_class"]) == list(TASKS[task])


def test_swapping_two_tasks_is_noticed(truth):
    swapped = perfect(truth)
    swapped["arousal"], swapped["valence"] = swapped["valence"], swapped["arousal"]
    levels = metrics.evaluate(truth, swapped, CLIPS, TASKS)
    assert levels["window"]["quadrants"]["accuracy"] == 1
    assert levels["window"]["arousal"]["accuracy"] == 0.5
    assert levels["window"]["valence"]["accuracy"] == 0.5


def test_measures_by_hand():
    true = np.array([0, 0, 0, 1])
    result = metrics.score(true, one_hot([0, 0, 1, 1], 2), ("negative", "positive"))
    assert result["accuracy"] == 0.75
    assert result["per_class"]["negative"]["precision"] == 1
    assert result["per_class"]["negative"]["recall"] == pytest.approx(2 / 3)
    assert result["per_class"]["positive"]["precision"] == 0.5
    assert result["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert result["weighted_f1"] == pytest.approx((3 * 0.8 + 2 / 3) / 4)
    assert result["confusion"] == [[2, 1], [0, 1]]


def test_a_class_that_never_occurs_counts_in_the_macro_average():
    result = metrics.score(np.zeros(4, int), one_hot([0, 0, 0, 0], 4), TASKS["quadrants"])
    assert result["macro_f1"] == 0.25 and result["weighted_f1"] == 1


def test_a_clip_is_the_mean_of_its_windows(truth):
    probabilities = perfect(truth)
    # one confident window outvotes two hesitant ones
    probabilities["arousal"][:3] = [[0.45, 0.55], [0.45, 0.55], [0.95, 0.05]]
    levels = metrics.evaluate(truth, probabilities, CLIPS, TASKS)
    assert levels["window"]["arousal"]["accuracy"] == pytest.approx(11 / 12)
    assert levels["clip"]["arousal"]["accuracy"] == 0.75


def test_calibration_by_hand():
    # ten answers with 0.9, of which five are right: off by 0.4; ten with 0.55, all right: 0.45
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.55, 0.45]] * 10)
    true = np.array([0] * 5 + [1] * 5 + [0] * 10)
    error, bins = calibration.calibration(true, probabilities)
    assert error == pytest.approx((0.4 + 0.45) / 2)
    assert [b["items"] for b in bins] == [10, 10]
    assert [b["accuracy"] for b in bins] == pytest.approx([1, 0.5])
    assert [b["confidence"] for b in bins] == pytest.approx([0.55, 0.9])
    assert all(b["low"] < b["confidence"] <= b["high"] for b in bins)
    sure = calibration.calibration(np.zeros(3, int), one_hot([0, 0, 0], 2))
    assert sure[0] == 0 and sure[1][0]["high"] == 1


def test_normalised_confusion_has_shares_of_the_true_class():
    true = np.array([0, 0, 0, 1])
    result = metrics.score(true, one_hot([0, 0, 1, 1], 3), ("a", "b", "c"))
    assert result["confusion_normalised"] == [[2 / 3, 1 / 3, 0], [0, 1, 0], [0, 0, 0]]


def test_folds_have_mean_and_standard_deviation(truth):
    good = metrics.evaluate(truth, perfect(truth), CLIPS, TASKS)
    swapped = perfect(truth)
    swapped["arousal"], swapped["valence"] = swapped["valence"], swapped["arousal"]
    bad = metrics.evaluate(truth, swapped, CLIPS, TASKS)
    found = metrics.over_folds([good, bad])["clip"]["arousal"]["accuracy"]
    assert found == {"mean": 0.75, "sd": pytest.approx(0.25 * 2**0.5), "folds": [1.0, 0.5]}
    text = metrics.report(good, "ten folds", metrics.over_folds([good, bad]))
    assert "arousal per clip   0.750 ± 0.354" in text


def test_chance_is_what_guessing_gives():
    assert metrics.chance([25, 25, 25, 25]) == {"precision": 0.25, "recall": 0.25, "f1": 0.25}
    items = [600, 200, 100, 100]
    expected = metrics.chance(items)
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(4), np.array(items) * 20)
    guess = metrics.score(true, rng.random((len(true), 4)), TASKS["quadrants"])
    for measure, value in expected.items():
        assert guess[f"macro_{measure}"] == pytest.approx(value, abs=0.01)


def test_the_report_names_what_it_shows(truth):
    text = metrics.report(metrics.evaluate(truth, perfect(truth), CLIPS, TASKS), "a run")
    for words in ("a run", "valence per window (12 windows)", "arousal per clip (4 clips)"):
        assert words in text
    assert text.count("macro") == text.count("weighted") == 6
    assert text.count("expected calibration error") == 6
