"""What a support vector machine learns from: statistics of a clip, against sums by hand."""

import itertools

import numpy as np
import pytest
from sklearn.svm import SVC

from lib.transfer import clip_probe


def test_the_statistics_of_a_log_mel_clip(windows):
    found = clip_probe.log_mel_statistics(windows)
    assert found.shape == (8, 4 * 128)
    band = windows.packing.offset + windows.packing.step * windows.frames_of(2)[:, 5].astype(float)
    steps = [after - before for before, after in itertools.pairwise(band)]
    expected = [
        sum(band) / 61,
        (sum((x - band.mean()) ** 2 for x in band) / 61) ** 0.5,
        sorted(band)[54],  # 90 % of the way from the least of 61 to the greatest
        (sum((x - np.mean(steps)) ** 2 for x in steps) / 60) ** 0.5,
    ]
    assert found[2, 5::128] == pytest.approx(expected)


def test_the_statistics_of_codes_are_of_the_windows_of_each_clip(windows):
    codes = np.random.default_rng(0).normal(size=(len(windows), 3)).astype(np.float32)
    found = clip_probe.code_statistics(windows, lambda batch: codes[batch])
    own = codes[windows.recording == 4].astype(float)
    expected = [*own.mean(axis=0), *np.sqrt(((own - own.mean(axis=0)) ** 2).mean(axis=0))]
    assert found.shape == (8, 6) and found[4] == pytest.approx(expected, rel=1e-5)


def test_the_kernel_is_that_of_scikit_learns_machine():
    rng = np.random.default_rng(0)
    learnt, new, labels = rng.normal(size=(40, 9)), rng.normal(size=(5, 9)), np.arange(40) % 4
    learnt[:, 0] = new[:, 0] = 0  # as standardised features that are the same in all clips
    answers = [
        SVC(kernel=kernel).fit(learnt, labels).decision_function(new)
        for kernel in ("rbf", clip_probe._kernel)
    ]
    np.testing.assert_allclose(*answers, rtol=0, atol=1e-12)
    assert (clip_probe._kernel(learnt * 0, learnt * 0) == 1).all()
