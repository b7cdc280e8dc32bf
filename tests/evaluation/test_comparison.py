"""Bootstrap comparisons by hand, and that their intervals hold what they promise."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from lib.evaluation import bootstrap


def counts_of(true, predicted, clips, k):
    found = np.zeros((clips.max() + 1, k, k), int)
    np.add.at(found, (clips, true, predicted), 1)
    return found


def test_macro_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    for k in (2, 4):
        true, predicted = rng.integers(0, k, (2, 50))
        found = counts_of(true, predicted, np.zeros(50, int), k)
        expected = f1_score(true, predicted, average="macro", labels=range(k), zero_division=0)
        assert bootstrap.macro_f1(found[0]) == pytest.approx(expected)
    assert bootstrap.macro_f1(np.diag([3, 0])) == 0.5  # a class that never occurs has 0


def test_a_draw_is_the_f1_of_the_clips_drawn():
    rng = np.random.default_rng(1)
    clips = np.repeat(np.arange(6), 5)
    runs = [counts_of(rng.integers(0, 4, 30), rng.integers(0, 4, 30), clips, 4) for _ in range(2)]
    weights = bootstrap.draws(6, 0, 50)
    assert (weights.sum(axis=1) == 6).all() and weights.std() > 0
    value, drawn = bootstrap.resampled(runs, weights)
    assert value == pytest.approx(np.mean([bootstrap.macro_f1(r.sum(axis=0)) for r in runs]))
    chosen = np.repeat(np.arange(6), weights[7].astype(int))
    by_hand = np.mean([bootstrap.macro_f1(r[chosen].sum(axis=0)) for r in runs])
    assert drawn[7] == pytest.approx(by_hand)


def test_the_same_predictions_do_not_differ():
    same = np.zeros(100)
    other = np.random.default_rng(0).normal(0.1, 0.02, 100)
    first, second = bootstrap.simultaneous([0.0, 0.1], [same, other])
    assert (first["low"], first["all_high"], first["p"]) == (0, 0, 1)
    assert second["all_low"] > 0 and second["p"] < 0.05
    assert bootstrap.simultaneous([], []) == []


def test_intervals_of_many_differences_are_wider_and_equal_that_of_one_alone():
    rng = np.random.default_rng(0)
    samples = list(rng.normal(0, 1, (20, 4000)))
    many = bootstrap.simultaneous([0.0] * 20, samples)
    one = bootstrap.simultaneous([0.0], samples[:1])[0]
    assert one["all_high"] == pytest.approx(1.96, abs=0.1)
    # 20 independent comparisons: the 97.5 % point of the largest of 20 is about 3.02
    assert many[0]["all_high"] == pytest.approx(3.02, abs=0.15)
    assert many[0]["high"] == pytest.approx(1.96, abs=0.15)
    # the same comparison twenty times costs nothing
    copies = bootstrap.simultaneous([0.0] * 20, samples[:1] * 20)
    assert copies[0]["all_high"] == pytest.approx(one["all_high"])


def test_without_a_difference_intervals_miss_0_in_five_of_a_hundred_cases():
    """Ten comparisons of runs that are equally good: how often is any of them called different?"""
    rng = np.random.default_rng(0)
    wrong, alone, cases = 0, 0, 120
    for case in range(cases):
        true = np.arange(80) % 4
        runs = []
        for _ in range(11):
            right = rng.random(80) < 0.6
            guess = np.where(right, true, rng.integers(0, 4, 80))
            runs.append([counts_of(true, guess, np.arange(80), 4)])
        weights = bootstrap.draws(80, case, 600)
        base, *others = (bootstrap.resampled(run, weights) for run in runs)
        values = [value - base[0] for value, _ in others]
        told = bootstrap.simultaneous(values, [drawn - base[1] for _, drawn in others])
        wrong += any(t["all_low"] > 0 or t["all_high"] < 0 for t in told)
        alone += any(t["low"] > 0 or t["high"] < 0 for t in told)
    assert wrong / cases < 0.12
    assert alone / cases > 0.2  # what the correction is for
