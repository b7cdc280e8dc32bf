"""Metrics by hand; tasks cannot be exchanged unnoticed."""

import numpy as np
import pytest

from lib import evaluation
from lib.registry import TASKS


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
    levels = evaluation.evaluate(truth, perfect(truth), CLIPS, TASKS)
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
    levels = evaluation.evaluate(truth, swapped, CLIPS, TASKS)
    assert levels["window"]["quadrants"]["accuracy"] == 1
    assert levels["window"]["arousal"]["accuracy"] == 0.5
    assert levels["window"]["valence"]["accuracy"] == 0.5


def test_measures_by_hand():
    true = np.array([0, 0, 0, 1])
    result = evaluation.score(true, one_hot([0, 0, 1, 1], 2), ("negative", "positive"))
    assert result["accuracy"] == 0.75
    assert result["per_class"]["negative"]["precision"] == 1
    assert result["per_class"]["negative"]["recall"] == pytest.approx(2 / 3)
    assert result["per_class"]["positive"]["precision"] == 0.5
    assert result["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert result["weighted_f1"] == pytest.approx((3 * 0.8 + 2 / 3) / 4)
    assert result["confusion"] == [[2, 1], [0, 1]]


def test_a_class_that_never_occurs_counts_in_the_macro_average():
    result = evaluation.score(np.zeros(4, int), one_hot([0, 0, 0, 0], 4), TASKS["quadrants"])
    assert result["macro_f1"] == 0.25 and result["weighted_f1"] == 1


def test_a_clip_is_the_mean_of_its_windows(truth):
    probabilities = perfect(truth)
    # one confident window outvotes two hesitant ones
    probabilities["arousal"][:3] = [[0.45, 0.55], [0.45, 0.55], [0.95, 0.05]]
    levels = evaluation.evaluate(truth, probabilities, CLIPS, TASKS)
    assert levels["window"]["arousal"]["accuracy"] == pytest.approx(11 / 12)
    assert levels["clip"]["arousal"]["accuracy"] == 0.75


def test_chance_is_what_guessing_gives():
    assert evaluation.chance([25, 25, 25, 25]) == {"precision": 0.25, "recall": 0.25, "f1": 0.25}
    items = [600, 200, 100, 100]
    expected = evaluation.chance(items)
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(4), np.array(items) * 20)
    guess = evaluation.score(true, rng.random((len(true), 4)), TASKS["quadrants"])
    for measure, value in expected.items():
        assert guess[f"macro_{measure}"] == pytest.approx(value, abs=0.01)


def test_the_report_names_what_it_shows(truth):
    text = evaluation.report(evaluation.evaluate(truth, perfect(truth), CLIPS, TASKS), "a run")
    for words in ("a run", "valence per window (12 windows)", "arousal per clip (4 clips)"):
        assert words in text
    assert text.count("macro") == text.count("weighted") == 6
