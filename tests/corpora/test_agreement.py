"""Agreement of annotators: alpha is the library's, quadrants follow the mean."""

import json

import krippendorff
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.corpora import annotation_tables, annotator_agreement
from lib.errors import UserError
from lib.figures import agreement


def long(rows):
    table = pd.DataFrame(rows, columns=["song", "annotator", "arousal", "valence"])
    return table.astype({"arousal": float, "valence": float}).assign(group="")


@pytest.fixture
def ratings():
    rng = np.random.default_rng(0)
    mean = rng.uniform(-8, 8, (40, 2))
    rows = [
        (f"s{s}", f"a{a}", *np.round(mean[s] + rng.normal(0, 3, 2), 1))
        for s in range(40)
        for a in range(6)
        if rng.random() < 0.8
    ]
    return long(rows)


def test_krippendorffs_own_example():
    """Krippendorff 2011, "Computing Krippendorff's alpha-reliability": nominal 0.743, interval
    0.849 for the same four observers and twelve units."""
    nan = np.nan
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
            [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
        ]
    )
    all_songs = np.arange(12)[None]
    assert annotator_agreement._resampled(table, all_songs, "nominal")[0] == pytest.approx(
        0.743, abs=5e-4
    )
    assert annotator_agreement._resampled(table, all_songs, "interval")[0] == pytest.approx(
        0.849, abs=5e-4
    )


@hypothesis_settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), level=st.sampled_from(["interval", "nominal"]))
def test_the_closed_form_of_the_bootstrap_is_the_librarys(seed, level):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, (5, 12)).astype(float)
    table[rng.random(table.shape) < 0.3] = np.nan
    draw = rng.integers(0, 12, 12)
    try:
        expected = krippendorff.alpha(table[:, draw], level_of_measurement=level)
    except ValueError:  # one value, or no song with two ratings
        return
    found = annotator_agreement._resampled(table, draw[None], level)[0]
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_the_analysis_counts_and_names(ratings):
    found = annotator_agreement.analyse(ratings)
    assert found["songs"] == 40 and found["annotators"] == 6 and found["ratings"] == len(ratings)
    assert np.sum(found["confusion"]) == len(ratings)
    assert sum(q["songs"] for q in found["per_quadrant"].values()) == 40
    for alpha in found["alpha"].values():
        assert -1 <= alpha["low"] < alpha["value"] < alpha["high"] <= 1
    json.dumps(found)


def test_an_interval_holds_95_percent_of_the_draws(ratings, monkeypatch):
    even = np.linspace(0, 1, annotator_agreement.RESAMPLES)
    monkeypatch.setattr(annotator_agreement, "_resampled", lambda *_: even)
    for alpha in annotator_agreement.analyse(ratings)["alpha"].values():
        assert (alpha["low"], alpha["high"]) == pytest.approx((0.025, 0.975))


def test_agreement_is_the_share_in_the_songs_quadrant():
    rows = [("a", i, *pair) for i, pair in enumerate([(5, 5), (1, 1), (1, -1), (-1, 1)])]
    rows += [("b", i, *pair) for i, pair in enumerate([(-5, 0), (-1, 3), (-2, -1)])]
    songs = annotator_agreement.per_song(long(rows)).set_index("song")
    assert songs["quadrant"].tolist() == ["Q1", "Q4"]
    assert songs["agreement"].tolist() == [0.5, pytest.approx(2 / 3)]
    assert songs["annotators"].tolist() == [4, 3]
    found = annotator_agreement.analyse(long(rows))
    assert found["confusion"] == [[2, 1, 0, 1], [0] * 4, [0] * 4, [0, 0, 1, 2]]
    assert found["zeros"] == 1
    assert found["per_quadrant"]["Q2"] == {"songs": 0, "agreement": None}
    assert "Q2            0     0.00   0.00   0.00   0.00" in annotator_agreement.report(found)


def test_full_agreement_is_1_and_chance_is_near_0():
    rng = np.random.default_rng(0)
    means = rng.uniform(-9, 9, (50, 2)).round(1)
    same = long([(s, a, *means[s]) for s in range(50) for a in range(3)])
    assert all(
        a["value"] == pytest.approx(1) for a in annotator_agreement.analyse(same)["alpha"].values()
    )
    noise = long([(s, a, *rng.uniform(-9, 9, 2).round(1)) for s in range(200) for a in range(5)])
    for alpha in annotator_agreement.analyse(noise)["alpha"].values():
        assert alpha["low"] < 0.02 and abs(alpha["value"]) < 0.06


def test_one_rating_per_song_is_refused():
    with pytest.raises(UserError, match="at least two annotators"):
        annotator_agreement.analyse(long([("a", 1, 2, 3), ("b", 1, -2, 3)]))


def test_means_of_decimals_that_cancel_are_exactly_0():
    means = annotation_tables.mean_ratings(
        long([("a", 1, 0.1, 1), ("a", 2, 0.2, 1), ("a", 3, -0.3, 1)])
    )
    assert means["arousal"][0] == 0 and means["quadrant"][0] == "Q1"
    turned = long([("a", 1, -0.1, 1), ("a", 2, -0.2, 1), ("a", 3, 0.3, 1)])
    assert annotation_tables.mean_ratings(turned)["quadrant"][0] == "Q1"


def test_the_figure_is_drawn(ratings, tmp_path):
    agreement.agreement(annotator_agreement.analyse(ratings), tmp_path / "x.png", "title")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_a_scale_without_a_sign_is_refused(tmp_path):
    from lib.corpora import catalogue

    (tmp_path / "CH818").mkdir()
    (tmp_path / "CH818" / "r.csv").write_text("song,annotator,arousal,valence\na,1,3,1\na,2,4,2\n")
    with pytest.raises(UserError, match="never changes its sign"):
        catalogue.read_ratings("mandarin", tmp_path)
