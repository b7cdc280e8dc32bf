"""Splits are disjoint, exhaustive, stratified and seeded; draws go by duration."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib import splits
from lib.errors import UserError


def music(counts):
    quadrants = [q for q, n in zip(("Q1", "Q2", "Q3", "Q4"), counts, strict=True) for _ in range(n)]
    names = [f"song{i}" for i in range(len(quadrants))]
    return pd.DataFrame({"recording": names, "quadrant": quadrants})


@hypothesis_settings(deadline=None, max_examples=60)
@given(counts=st.lists(st.integers(10, 60), min_size=4, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_music_splits_are_disjoint_exhaustive_and_stratified(counts, seed):
    table = music(counts)
    parts = splits.split(table, stratify="quadrant", test=0.3, val=0.15, seed=seed)
    assert list(parts) == ["train", "val", "test"]
    names = [set(part["recording"]) for part in parts.values()]
    assert sum(map(len, names)) == len(set.union(*names)) == len(table)
    for quadrant, n in table["quadrant"].value_counts().items():
        inside = {k: int((p["quadrant"] == quadrant).sum()) for k, p in parts.items()}
        assert abs(inside["test"] - 0.3 * n) <= 1.5
        assert abs(inside["val"] - 0.15 * 0.7 * n) <= 1.5
    again = splits.split(table, stratify="quadrant", test=0.3, val=0.15, seed=seed)
    assert all(again[k].equals(parts[k]) for k in parts)


def test_another_seed_gives_another_split():
    tests = [
        frozenset(
            splits.split(music([25] * 4), stratify="quadrant", test=0.3, val=0.15, seed=s)["test"][
                "recording"
            ]
        )
        for s in range(5)
    ]
    assert len(set(tests)) == 5


def test_speech_has_no_test_split():
    table = pd.DataFrame({"recording": range(100), "language": ["e"] * 60 + ["m"] * 40})
    parts = splits.split(table, stratify="language", test=0, val=0.15, seed=0)
    assert {k: len(p) for k, p in parts.items()} == {"train": 85, "val": 15}
    assert (parts["val"]["language"] == "e").sum() == 9


def test_too_few_songs_are_named():
    with pytest.raises(UserError, match=r"too few recordings.*Q4: 1"):
        splits.split(music([20, 20, 20, 1]), stratify="quadrant", test=0.3, val=0.15, seed=0)


def speech(n, language="english"):
    names = [f"{language}{i}" for i in range(n)]
    return pd.DataFrame({"recording": names, "path": names, "language": language})


def seconds_of(path):
    return 5.0 + int(path.removeprefix("english").removeprefix("mandarin")) % 7


@hypothesis_settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), hours=st.floats(0.01, 0.3))
def test_draws_by_hours_are_long_enough_and_nested(seed, hours):
    table = speech(200)
    small = splits.draw_hours(table, hours, seconds_of, seed)
    large = splits.draw_hours(table, 2 * hours, seconds_of, seed)
    assert set(small["recording"]) <= set(large["recording"])
    excess = small["seconds"].sum() - hours * 3600
    assert 0 <= excess < 11 or len(small) == len(table)


def test_zero_hours_take_all():
    assert len(splits.draw_hours(speech(20), 0, seconds_of, 0)) == 20


def test_mixture_takes_equal_durations():
    english = splits.draw_hours(speech(300), 0, seconds_of, 0)
    mandarin = splits.draw_hours(speech(100, "mandarin"), 0, seconds_of, 0)
    for hours in (0.1, 0):
        mixed = splits.mixture([english, mandarin], hours, 0)
        totals = mixed.groupby("language")["seconds"].sum()
        assert abs(totals["english"] - totals["mandarin"]) < 11
        assert mixed["recording"].is_unique
        if hours:
            assert totals.sum() == pytest.approx(hours * 3600, abs=22)


def test_draw_is_random_in_order():
    drawn = splits.draw_hours(speech(200), 0.1, seconds_of, 3)["recording"].str[7:].astype(int)
    assert np.median(drawn) > 20  # not the first ones
