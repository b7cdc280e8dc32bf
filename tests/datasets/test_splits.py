"""Splits are disjoint, exhaustive, stratified, grouped and seeded; draws go by duration."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from lib.datasets import splits
from lib.errors import UserError

SHARES = {"train": 0.595, "val": 0.105, "test": 0.3}


def music(counts, artists=None):
    quadrants = [q for q, n in zip(("Q1", "Q2", "Q3", "Q4"), counts, strict=True) for _ in range(n)]
    table = pd.DataFrame({"recording": [f"song{i}" for i in range(len(quadrants))]})
    table["quadrant"] = quadrants
    table["group"] = "" if artists is None else artists
    return table


def divided(table, seed=0, by=None, same=None, **shares):
    together = splits.kept_together(table, by, table["recording"] if same is None else same)
    shares = splits.shares_of(**({"test": 0.3, "val": 0.15} | shares))
    return splits.assign(table["quadrant"], together, shares, seed)


@hypothesis_settings(deadline=None, max_examples=60)
@given(counts=st.lists(st.integers(10, 60), min_size=4, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_music_splits_are_disjoint_exhaustive_and_stratified(counts, seed):
    table = music(counts)
    where = divided(table, seed)
    assert set(where) == {"train", "val", "test"} and len(where) == len(table)
    off, _, _ = splits.deviation(table["quadrant"], where, SHARES)
    assert off <= 1.5
    assert divided(table, seed).equals(where)


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(20, 60), min_size=4, max_size=4),
    artists=st.integers(30, 80),
    seed=st.integers(0, 2**32 - 1),
)
def test_artists_and_copies_stay_on_one_side(counts, artists, seed):
    rng = np.random.default_rng(seed)
    table = music(counts)
    table["group"] = [f"artist {a}" for a in rng.integers(0, artists, len(table))]
    table.loc[rng.random(len(table)) < 0.1, "group"] = ""
    same = table["recording"].to_numpy().copy()
    copies = rng.choice(len(table), 6, replace=False)
    same[copies[:3]] = same[copies[3:]]
    where = divided(table, seed, "group", same)
    assert table[table["group"] != ""].assign(w=where).groupby("group")["w"].nunique().max() == 1
    assert pd.Series(where.to_numpy()).groupby(same).nunique().max() == 1
    assert pd.crosstab(table["quadrant"], where).to_numpy().min() >= 1


def test_sets_that_share_a_copy_are_one():
    table = music([1, 1, 1, 1], ["a", "a", "b", "c"])
    together = splits.kept_together(table, "group", ["1", "2", "2", "3"])
    assert together.nunique() == 2 and together[0] == together[1] == together[2]
    alone = splits.kept_together(table, None, ["1", "2", "2", "3"])
    assert alone.nunique() == 3 and alone[1] == alone[2]


def test_another_seed_gives_another_split():
    tests = {tuple(divided(music([25] * 4), seed)) for seed in range(5)}
    assert len(tests) == 5


def test_speech_has_no_test_split():
    table = pd.DataFrame({"recording": [f"r{i}" for i in range(100)]})
    table["quadrant"] = ["e"] * 60 + ["m"] * 40
    where = divided(table, test=0)
    assert where.value_counts().to_dict() == {"train": 85, "val": 15}
    assert (where[:60] == "val").sum() == 9


def test_two_speakers_still_make_two_splits():
    table = pd.DataFrame({"recording": [f"r{i}" for i in range(100)], "quadrant": "e"})
    table["group"] = ["a"] * 60 + ["b"] * 40
    assert divided(table, test=0, by="group").value_counts().to_dict() == {"train": 60, "val": 40}


@pytest.mark.parametrize("counts", [[20, 20, 20, 1], [20, 20, 20, 2]])
def test_too_few_songs_are_named(counts):
    with pytest.raises(UserError, match=rf"no recording of Q4 .*Q4: {counts[3]}"):
        divided(music(counts))


def test_one_artist_of_all_cannot_be_divided():
    with pytest.raises(UserError, match="no recording of Q1"):
        divided(music([20] * 4, "a"), by="group")


@pytest.mark.parametrize("k", [5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_folds_are_as_even_as_scikit_learns(k, seed):
    rng = np.random.default_rng(seed)
    table = music([80, 60, 50, 70], [f"a{a}" for a in rng.integers(0, 120, 260)])
    together = splits.kept_together(table, "group", table["recording"])
    shares = splits.fold_shares(k, len(table))
    fold = splits.assign(table["quadrant"], together, shares, seed)
    assert set(fold) == set(range(1, k + 1))
    assert pd.DataFrame({"g": table["group"], "f": fold}).groupby("g")["f"].nunique().max() == 1
    reference = np.zeros(len(table), int)
    theirs = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(theirs.split(table, table["quadrant"], together)):
        reference[test] = number + 1
    ours, theirs = (
        splits.deviation(table["quadrant"], pd.Series(f, index=table.index), shares)[0]
        for f in (fold, reference)
    )
    assert ours <= theirs + 0.5


def test_the_deviation_is_the_largest():
    classes = pd.Series(["a"] * 10 + ["b"] * 10)
    where = pd.Series((["train"] * 7 + ["val"] * 3) + (["train"] * 9 + ["val"]))
    off, name, part = splits.deviation(classes, where, {"train": 0.75, "val": 0.25})
    assert (off, name) == (1.5, "b") and part in ("train", "val")


def speech(n, language="english", speakers=1):
    names = [f"{language}{i}" for i in range(n)]
    table = pd.DataFrame({"recording": names, "path": names, "language": language})
    return table.assign(group=[f"s{i % speakers}" for i in range(n)])


def seconds_of(path):
    return 5.0 + int(path.removeprefix("english").removeprefix("mandarin")) % 7


@hypothesis_settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), hours=st.floats(0.01, 0.3), by=st.sampled_from([None, "group"]))
def test_draws_by_hours_are_long_enough_and_nested(seed, hours, by):
    table = speech(200, speakers=9)
    small = splits.draw_hours(table, hours, seconds_of, seed, by)
    large = splits.draw_hours(table, 2 * hours, seconds_of, seed, by)
    assert set(small["recording"]) <= set(large["recording"])
    excess = small["seconds"].sum() - hours * 3600
    assert 0 <= excess < 11 or len(small) == len(table)


@pytest.mark.parametrize("speakers", [5, 40, 300])
def test_speakers_are_covered_evenly(speakers):
    table = speech(600, speakers=speakers)
    table["group"] = table["group"].where(table.index % 2 == 0, "s0")  # one speaks half of it
    drawn = splits.draw_hours(table, 0.25, seconds_of, 0, "group")
    each = drawn.groupby("group")["seconds"].sum()
    assert each.max() - each.min() <= 22
    everyone = table["group"].nunique()
    assert len(each) == min(everyone, len(each)) and len(each) >= min(everyone, 75)


def test_draws_do_not_depend_on_order_or_on_what_else_there_is():
    table = speech(200)
    first = splits.draw_hours(table, 0.1, seconds_of, 3)
    turned = splits.draw_hours(table[::-1], 0.1, seconds_of, 3)
    assert set(first["recording"]) == set(turned["recording"])
    without = table[~table["recording"].isin(first["recording"][:5])]
    less = splits.draw_hours(without, 0.1, seconds_of, 3)
    assert len(set(less["recording"]) - set(first["recording"])) <= 6


def test_zero_hours_take_all():
    assert len(splits.draw_hours(speech(20), 0, seconds_of, 0)) == 20


def test_mixture_takes_equal_durations_inside_the_single_draws():
    tables = [speech(300, speakers=8), speech(100, "mandarin", speakers=3)]
    drawn = [splits.draw_hours(table, 0, seconds_of, 0, "group") for table in tables]
    for hours in (0.1, 0):
        mixed = splits.mixture(drawn, hours, 0, "group")
        totals = mixed.groupby("language")["seconds"].sum()
        assert abs(totals["english"] - totals["mandarin"]) < 11
        assert mixed["recording"].is_unique
        if hours:
            assert totals.sum() == pytest.approx(hours * 3600, abs=22)
        for table, language in zip(tables, ("english", "mandarin"), strict=True):
            alone = splits.draw_hours(table, totals[language] / 3600, seconds_of, 0, "group")
            part = mixed.loc[mixed["language"] == language, "recording"]
            assert set(part) == {f"{language}/{name}" for name in alone["recording"]}


def test_draw_is_random_in_order():
    drawn = splits.draw_hours(speech(200), 0.1, seconds_of, 3)["recording"].str[7:].astype(int)
    assert np.median(drawn) > 20  # not the first ones
