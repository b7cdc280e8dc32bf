"""Masks, shifts, smoothing; few labels; draws of windows; schedules and rates of the optimiser."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from lib.labels import TASKS
from lib.seeds import Seeds
from lib.training import augmentation
from lib.training.optimizer import DecayedAdam
from lib.transfer import transfer_job

RNG = np.random.default_rng


def test_masks_hide_whole_bands_or_frames_and_nothing_else():
    for axis, width in ((1, 24), (2, 8)):
        x = RNG(0).normal(size=(50, 128, 31, 1)).astype(np.float32)
        before, mean = x.copy(), x.mean()
        augmentation.mask(x, RNG(1), axis, 2, width)
        changed = (x != before).all(axis=(3 - axis, 3))  # (n, bands or frames)
        assert ((x != before).any(axis=(3 - axis, 3)) == changed).all()
        assert (x[x != before] == mean).all()
        assert 0 < changed.sum(axis=1).max() <= 2 * width
        assert changed.sum(axis=1).mean() == pytest.approx(width, rel=0.3)  # two of width / 2


def test_a_shift_moves_bands_and_repeats_the_outermost():
    x = np.arange(8, dtype=np.float32)[None, :, None, None].repeat(200, axis=0)
    augmentation.shift(x, RNG(0), 2)
    rows = {tuple(row) for row in x[:, :, 0, 0].astype(int).tolist()}
    assert rows == {
        (2, 3, 4, 5, 6, 7, 7, 7),
        (1, 2, 3, 4, 5, 6, 7, 7),
        (0, 1, 2, 3, 4, 5, 6, 7),
        (0, 0, 1, 2, 3, 4, 5, 6),
        (0, 0, 0, 1, 2, 3, 4, 5),
    }


def test_smoothing_by_hand():
    y = {"arousal": np.array([[0, 1]], np.float32)}
    np.testing.assert_allclose(augmentation.smooth(y, 0.1)["arousal"], [[0.05, 0.95]], rtol=1e-6)


def test_patches_hide_their_share_on_a_grid():
    hidden = augmentation.patches(RNG(0), (10, 128, 31), (16, 8), 0.5)
    cells = hidden[:, ::16, ::8]
    assert cells.shape == (10, 8, 4) and (cells.sum(axis=(1, 2)) == 16).all()
    np.testing.assert_array_equal(hidden, cells.repeat(16, axis=1).repeat(8, axis=2)[:, :128, :31])
    for share in (0.001, 0.999):
        few = augmentation.patches(RNG(0), (3, 128, 31), (64, 16), share)
        assert few.any(axis=(1, 2)).all() and not few.all(axis=(1, 2)).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_share_of_labels_lies_inside_a_larger_one(seed):
    pool = SimpleNamespace(table=pd.DataFrame({"quadrant": ["Q1", "Q2", "Q3", "Q4"] * 10}))
    rows = {"train": np.arange(40), "test": np.arange(2)}
    before = set(range(40))
    for share, each in ((1.0, 10), (0.27, 3), (0.01, 1)):  # to the nearest, at least one
        kept = transfer_job.select_labelled(pool, rows, share, Seeds(seed))
        assert kept["test"].tolist() == [0, 1]
        counts = pool.table["quadrant"][kept["train"]].value_counts()
        assert counts.to_dict() == dict.fromkeys(["Q1", "Q2", "Q3", "Q4"], each)
        assert set(kept["train"]) <= before
        before = set(kept["train"])


def test_windows_of_an_epoch_are_drawn_evenly_over_clips(windows):
    number = 14  # two of each clip, but for those two that have one
    chosen = windows.draw(number, RNG(0))
    assert len(set(chosen)) == number
    assert np.bincount(windows.recording[chosen]).tolist() == [1, 2, 2, 2, 2, 2, 1, 2]
    assert set(chosen) != set(windows.draw(number, RNG(1)))


def test_changes_are_those_of_the_settings():
    off = {"mel_masks": 0, "mel_width": 24, "time_masks": 0, "time_width": 8}
    off |= {"mel_shift": 0, "smoothing": 0.0}
    x = RNG(0).normal(size=(6, 128, 31, 1)).astype(np.float32)
    codes = RNG(0).normal(size=(6, 256)).astype(np.float32)
    y = {task: np.eye(len(c), dtype=np.float32)[[0] * 6] for task, c in TASKS.items()}
    changed, same = augmentation.change(off, x.copy(), y, RNG(0))
    assert (changed == x).all() and same is y
    for one in ({"mel_shift": 2}, {"mel_masks": 2}):
        left, same = augmentation.change(off | one, codes.copy(), y, RNG(0))
        assert (left == codes).all() and same is y  # codes have no bands
        changed, same = augmentation.change(off | one, x.copy(), y, RNG(0))
        assert (changed != x).any() and same is y
    smoothed = off | {"time_masks": 1, "smoothing": 0.2}
    changed, targets = augmentation.change(smoothed, x.copy(), y, RNG(0))
    assert (changed != x).any() and targets["arousal"][0].tolist() == pytest.approx([0.9, 0.1])


@pytest.mark.parametrize("name, axis", [("mel", 1), ("time", 2)])
def test_masks_of_the_settings_lie_along_their_axis(name, axis):
    section = {"mel_masks": 0, "mel_width": 24, "time_masks": 0, "time_width": 8}
    section |= {"mel_shift": 0, "smoothing": 0.0, f"{name}_masks": 1}
    x = RNG(0).normal(size=(6, 128, 31, 1)).astype(np.float32)
    changed = augmentation.change(section, x.copy(), {}, RNG(0))[0] != x
    assert changed.any() and not changed.all(axis=axis).any()
    np.testing.assert_array_equal(changed.all(axis=3 - axis), changed.any(axis=3 - axis))


def rates(**how):
    """How far a weight moves in each of four steps of a constant gradient: Adam's rate."""
    weight = keras.Variable(np.ones((2, 2), np.float32))
    if "factors" in how:
        how["factors"] = {id(weight): how["factors"]}
    optimiser = DecayedAdam(learning_rate=0.1, **how)
    optimiser.build([weight])
    found = []
    for _ in range(4):
        before = keras.ops.convert_to_numpy(weight).copy()
        optimiser.apply([keras.ops.ones((2, 2))], [weight])
        found.append(float((before - keras.ops.convert_to_numpy(weight))[0, 0]))
    return found


def test_cosine_schedule_and_slower_variables():
    assert rates() == pytest.approx([0.1] * 4, rel=1e-4)
    cosine = [0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert rates(cosine_steps=4) == pytest.approx(cosine, rel=1e-3)
    assert rates(factors=0.3) == pytest.approx([0.03] * 4, rel=1e-4)


def test_weight_decay_is_of_kernels_alone_and_times_the_rate():
    assert rates(kernel_decay=0.5)[0] == pytest.approx(0.1 + 0.1 * 0.5, rel=1e-4)
    bias = keras.Variable(np.ones(2, np.float32))
    optimiser = DecayedAdam(learning_rate=0.1, kernel_decay=0.5)
    optimiser.build([bias])
    optimiser.apply([keras.ops.zeros(2)], [bias])
    assert keras.ops.convert_to_numpy(bias).tolist() == [1, 1]
