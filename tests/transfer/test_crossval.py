"""Folds: every recording is tested once, artists and equal sounds stay together, runs resume."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import FIGURES, SMALL, predictions

import results_table
import settings as defaults
import trans_train_cpc_multi
import trans_train_denoise_multi
from lib import configuration
from lib.artefacts import files as artefacts_files
from lib.datasets import folds
from lib.datasets.folds import Folds
from lib.datasets.windows import OnDisk, pooled
from lib.errors import UserError
from lib.evaluation import predictions_table
from lib.transfer import cross_validation
from lib.transfer.transfer_plan import TransferPlan


@pytest.fixture
def pool(windows):
    """40 recordings of 10 artists; the last two have the same samples."""
    n = 40
    table = pd.DataFrame(
        {
            "recording": [f"r{i:02d}" for i in range(n)],
            "group": [f"artist {i // 4}" for i in range(n)],
            "quadrant": ["Q1", "Q2", "Q3", "Q4"] * (n // 4),
            "digest": [f"d{min(i, n - 2)}" for i in range(n)],
            "length": 31,
        }
    )
    numbers = np.arange(n)
    frames = np.repeat(numbers, 31)[:, None] * np.ones((1, 128), np.float32)
    return windows.__class__(frames, table, numbers * 31, numbers, numbers * 0, 31, "0" * 64)


@pytest.mark.parametrize("groups", [None, "artist"])
def test_every_recording_is_tested_once_and_stays_on_one_side(pool, tmp_path, groups):
    for seed in range(5):
        tested = []
        for part in folds.divide(pool, Folds(5, groups), tmp_path, 0.2, seed):
            rows = np.concatenate(list(part.rows.values()))
            assert sorted(rows) == list(range(40))
            tested += list(part.rows["test"])
            table = pool.table.assign(split="")
            for name, numbers in part.rows.items():
                table.loc[numbers, "split"] = name
                assert set(table.loc[numbers, "quadrant"]) == {"Q1", "Q2", "Q3", "Q4"}
            by = ["digest", "group"] if groups else ["digest"]
            for column in by:
                assert (table.groupby(column)["split"].nunique() == 1).all()
        assert sorted(tested) == list(range(40))


def test_folds_are_the_same_for_the_same_seed_and_others_for_another(pool, tmp_path):
    def drawn(seed):
        parts = folds.divide(pool, Folds(4), tmp_path, 0.2, seed)
        return [part.rows["test"].tolist() for part in parts]

    assert drawn(0) == drawn(0) != drawn(1)


def test_folds_of_the_data_set_are_used(pool, tmp_path, capsys):
    fold = np.arange(40) // 4 % 2 + 1
    table = pool.table[["recording"]].assign(fold=fold)
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "split.csv", index=False)
    parts = list(folds.divide(pool, Folds(2, "artist"), tmp_path, 0.2, 0))
    assert "folds as in" in capsys.readouterr().out
    np.testing.assert_array_equal(parts[0].rows["test"], np.flatnonzero(fold == 1))
    list(folds.divide(pool, Folds(3), tmp_path, 0.2, 0))
    assert "others are drawn" in capsys.readouterr().out
    table["fold"] = np.arange(40) % 2 + 1
    table.to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(UserError, match="divide 10 artists: leave out --groups, ask for another"):
        list(folds.divide(pool, Folds(2, "artist"), tmp_path, 0.2, 0))
    with pytest.raises(UserError, match="divide 1 sets of equal recordings: ask for another"):
        list(folds.divide(pool, Folds(2), tmp_path, 0.2, 0))


def test_what_cannot_be_divided_is_told(pool, tmp_path):
    with pytest.raises(UserError, match="--folds 41: there are 40 recordings"):
        next(folds.divide(pool, Folds(41), tmp_path, 0.2, 0))
    pool.table["group"] = ""
    with pytest.raises(UserError, match="no artist is known"):
        next(folds.divide(pool, Folds(2, "artist"), tmp_path, 0.2, 0))
    with pytest.raises(UserError, match="no recording of Q"):
        list(folds.divide(pool, Folds(30), tmp_path, 0.2, 0))


def test_an_older_data_set_with_a_group_per_spelling_is_named(pool, tmp_path, capsys):
    next(folds.divide(pool, Folds(4, "artist"), tmp_path, 0.2, 0))
    assert capsys.readouterr().out == ""
    pool.table.loc[:3, "group"] = ["Ella", "Ella & Louis", "ELLA feat. Joe", "The Jam"]
    next(folds.divide(pool, Folds(4), tmp_path, 0.2, 0))
    assert capsys.readouterr().out == ""
    next(folds.divide(pool, Folds(4, "artist"), tmp_path, 0.2, 0))
    assert "2 more names than artists" in capsys.readouterr().out


def test_a_subset_has_its_own_windows_and_identity(windows):
    part = windows.subset(np.array([1, 4, 7]))
    assert part.table["recording"].tolist() == ["r1", "r4", "r7"]
    kept = np.flatnonzero(np.isin(windows.recording, [1, 4, 7]))
    np.testing.assert_array_equal(windows.windows_of(np.array([1, 4, 7])), kept)
    np.testing.assert_array_equal(part.take(np.arange(len(part))), windows.take(kept))
    np.testing.assert_array_equal(part.local, windows.local[kept])
    np.testing.assert_array_equal(part.labels()["quadrants"], windows.labels()["quadrants"][kept])
    assert len({windows.sha256, part.sha256, windows.subset(np.array([1, 4])).sha256}) == 3
    frames = np.concatenate([windows.frames_of(i) for i in (1, 4, 7)]).astype(float)
    mean, deviation = part.mean_and_deviation()
    assert (mean, deviation) == pytest.approx((frames.mean(), frames.std()))


@pytest.mark.parametrize("on_disk", [False, True])
def test_pooled_splits_are_their_parts_end_to_end(windows, on_disk):
    from dataclasses import replace

    parts = [windows.subset(np.arange(3)), windows.subset(np.arange(3, 8))]
    # as files of their own, whose frames begin at 0
    own = []
    for part in parts:
        frames = np.concatenate([part.frames_of(i) for i in range(len(part.table))])
        own.append(replace(part, frames=frames, starts=part.starts - part.starts[0], first=None))
    if on_disk:
        last = own[1]
        lengths = last.table["length"].to_numpy()
        own[1] = replace(last, frames=OnDisk(last.frames_of, lengths, keep=200))
    pool = pooled(own)
    assert pool.on_disk == on_disk
    np.testing.assert_array_equal(
        pool.take(np.arange(len(pool))), windows.take(np.arange(len(pool)))
    )
    np.testing.assert_array_equal(pool.recording, windows.recording)
    some = pool.subset(np.array([2, 5]))
    expected = windows.subset(np.array([2, 5]))
    np.testing.assert_array_equal(
        some.take(np.arange(len(some))), expected.take(np.arange(len(expected)))
    )
    np.testing.assert_array_equal(some.frames_of(1), windows.frames_of(5))


FOLDS = "-s e -m e -mod model_cpc --folds 2 --groups artist".split()
FOLDS += [*SMALL, "--epochs", "1"]
PAIR_FOLDS = "models_trans/speech_eng_2_music_eng/model_cpc.{}.artist_folds_2.it_0"


@pytest.fixture(scope="module")
def validated(pipeline, tmp_path_factory):
    """A cross-validation of heads through the script, on the pipeline's data and encoder."""
    models = tmp_path_factory.mktemp("folds")
    shutil.copytree(pipeline.models / "models", models / "models")
    patch = pytest.MonkeyPatch()
    patch.setattr(defaults, "path_to_models", str(models))
    assert trans_train_cpc_multi.main([*FOLDS, "-rel", "n"]) == 0
    yield models
    patch.undo()


@pytest.fixture(scope="module")
def released(validated):
    """The same, the encoder released."""
    assert trans_train_cpc_multi.main([*FOLDS, "-rel", "y"]) == 0
    return validated


def test_a_cross_validation_tests_every_clip_of_the_data_set(validated, pipeline):
    every_clip_is_tested(validated / PAIR_FOLDS.format("feat_ext"), pipeline.data)


@pytest.mark.slow
def test_a_released_fold_starts_from_its_own_frozen_one(released, pipeline):
    full, frozen = (released / PAIR_FOLDS.format(mode) for mode in ("full", "feat_ext"))
    every_clip_is_tested(full, pipeline.data)
    for number in (1, 2):
        inputs = json.loads((full / f"fold_{number}/run.json").read_text())["inputs"]
        first = artefacts_files.file_hash(frozen / f"fold_{number}/model.keras")
        assert inputs["feat_ext"] == first


def every_clip_is_tested(run, data):
    split = pd.read_csv(data / "features/music/english/split.csv")
    table = pd.read_csv(run / "predictions.csv")
    assert sorted(table["recording"].unique()) == sorted(split["recording"])
    assert (table.groupby("recording")["fold"].nunique() == 1).all()
    groups = split.set_index("recording")["group"].reindex(table["recording"]).to_numpy()
    assert (table["fold"].groupby(groups).nunique() == 1).all()
    metrics = json.loads((run / "metrics.json").read_text())
    f1 = [
        predictions_table.measures(part)["clip"]["arousal"]["macro_f1"]
        for _, part in table.groupby("fold")
    ]
    told = metrics["folds"]["clip"]["arousal"]["macro_f1"]
    assert told["folds"] == pytest.approx(f1)
    assert told["mean"] == pytest.approx(np.mean(f1))
    assert told["sd"] == pytest.approx(np.std(f1, ddof=1))
    assert metrics["clip"]["quadrants"]["items"] == len(split)
    assert "mean ± standard deviation over the folds" in (run / "report.txt").read_text()
    assert not (run / "curves.png").exists() and not (run / "confusion.png").exists()
    record = json.loads((run / "run.json").read_text())
    assert len(record["inputs"]["folds"]) == 2
    for number in (1, 2):
        assert (run / f"fold_{number}" / "model.keras").is_file()


@pytest.mark.slow
def test_a_cross_validation_goes_on_with_the_fold_that_is_missing(released, capsys):
    run = released / PAIR_FOLDS.format("full")
    before = (run / "metrics.json").read_text()
    (run / "run.json").unlink()
    shutil.rmtree(run / "fold_2")
    assert trans_train_cpc_multi.main([*FOLDS, "-rel", "y"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("training model_cpc, full") == 1
    assert "artist_folds_2.it_0/fold_1 is finished already" in printed
    assert (run / "run.json").is_file()
    old, new = (json.loads(text)["folds"] for text in (before, (run / "metrics.json").read_text()))
    assert new["window"]["quadrants"]["accuracy"]["folds"] == pytest.approx(
        old["window"]["quadrants"]["accuracy"]["folds"], abs=0.05
    )


@pytest.mark.slow
def test_the_baseline_is_cross_validated_and_stands_in_the_table(validated, capsys, tmp_path):
    line = [*"-s e -m e -mod model_cnn -rel n --folds 2".split(), *SMALL, *FIGURES]
    assert trans_train_denoise_multi.main(line) == 0
    assert "2 folds, macro F1 per clip" in capsys.readouterr().out
    run = validated / "models_trans/speech_none_2_music_eng/model_cnn.folds_2.it_0"
    for name in ("curves.png", "confusion.png", "reliability.pdf", "fold_2/curves.png"):
        assert (run / name).stat().st_size > 10_000
    assert results_table.main(["--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"CNN +from scratch +\(no speech\) eng +folds_2 +0 +clip +quadrants", printed)
    table = pd.read_csv(tmp_path / "folds.csv")
    assert set(table["protocol"]) == {"folds_2", "artist_folds_2"}
    assert (table["folds"] == 2).all()


def test_folds_and_groups_go_together(capsys):
    with pytest.raises(SystemExit):
        trans_train_cpc_multi.main("-s e -m e -mod model_cpc -rel n --groups artist".split())
    assert "--groups needs --folds" in capsys.readouterr().err


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("lost", [[0], [3], [7], [2, 3, 7], [0, 1, 2, 3, 4, 5, 6]])
def test_a_recording_without_windows_keeps_its_frames(windows, lost, on_disk):
    """The first, one between, the last; through subset and pooled, in memory and on disk."""
    from dataclasses import replace

    keep = ~np.isin(windows.recording, lost)
    names = ("starts", "recording", "local")
    part = replace(windows, **{name: getattr(windows, name)[keep] for name in names})
    if on_disk:
        lengths = windows.table["length"].to_numpy()
        part = replace(part, frames=OnDisk(windows.frames_of, lengths, keep=200))
    for number in range(8):
        np.testing.assert_array_equal(part.frames_of(number), windows.frames_of(number))
    rows = np.array([0, 2, 3, 6, 7])
    some, both = part.subset(rows), pooled([part, part])
    for place, number in enumerate(rows):
        np.testing.assert_array_equal(some.frames_of(place), windows.frames_of(number))
        np.testing.assert_array_equal(both.frames_of(8 + number), windows.frames_of(number))
    again = both.subset(8 + rows)
    for place, number in enumerate(rows):
        np.testing.assert_array_equal(again.frames_of(place), windows.frames_of(number))
    frames = np.concatenate([windows.frames_of(i) for i in rows]).astype(float)
    assert some.mean_and_deviation() == pytest.approx((frames.mean(), frames.std()))
    stretches = part.stretches(20)
    for i in range(len(stretches)):
        own, at = windows.frames_of(stretches.recording[i]), stretches.local[i]
        np.testing.assert_array_equal(stretches.take(np.array([i]))[0, ..., 0].T, own[at : at + 20])


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_recording_without_frames_has_none(windows, on_disk):
    """As one of the authors' files that holds no window."""
    from dataclasses import replace

    for place in (0, 3, 8):
        row = windows.table.iloc[:1].assign(recording="none", length=0)
        table = pd.concat([windows.table[:place], row, windows.table[place:]], ignore_index=True)
        recording = windows.recording + (windows.recording >= place)
        part = replace(windows, table=table, recording=recording, first=None)
        if on_disk:
            of = part.frames_of
            part = replace(part, frames=OnDisk(of, table["length"].to_numpy(), keep=200))
        rows = np.setdiff1d(np.arange(9), [place])
        for number in (part, part.subset(np.arange(9)), pooled([part])):
            assert number.frames_of(place).shape == (0, 128)
            for i, row in enumerate(rows):
                np.testing.assert_array_equal(number.frames_of(row), windows.frames_of(i))


def with_split(pool, folder, hashed=True):
    """The split.csv of a data set with two folds, and its dataset.json."""
    table = pool.table[["recording"]].assign(fold=np.arange(40) // 4 % 2 + 1)
    table.to_csv(folder / "split.csv", index=False)
    files = {"split.csv": artefacts_files.file_hash(folder / "split.csv")} if hashed else {}
    artefacts_files.write_json(folder / "dataset.json", {"inputs": {}, "files": files})
    return table


def divide(pool, folder):
    return list(folds.divide(pool, Folds(2), folder, 0.2, 0))


def swapped(text):
    head, *rows = text.splitlines(keepends=True)
    return head + "".join(rows[::-1])


CHANGES = {
    "a fold edited": lambda text: text.replace("r07,2", "r07,1"),
    "cut at a line end": lambda text: text[: text.index("r30")],
    "cut within a line": lambda text: text[: text.index("r30") + 2],
    "rows swapped": swapped,
    "a row doubled": lambda text: text + "r07,2\n",
    "empty": lambda text: "",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_split_that_was_changed_is_refused(pool, tmp_path, change):
    with_split(pool, tmp_path)
    assert len(divide(pool, tmp_path)) == 2
    path = tmp_path / "split.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match="split.csv: cut, changed or gone"):
        divide(pool, tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="split.csv: cut, changed or gone"):
        divide(pool, tmp_path)


def test_a_split_without_a_hash_is_used_if_it_is_whole(pool, tmp_path, capsys):
    """Of a data set of an older version."""
    table = with_split(pool, tmp_path, hashed=False)
    parts = divide(pool, tmp_path)
    np.testing.assert_array_equal(parts[0].rows["test"], np.flatnonzero(table["fold"] == 1))
    path = tmp_path / "split.csv"
    whole = path.read_text()
    path.write_text(swapped(whole) + "r07,2\n")  # the same folds
    np.testing.assert_array_equal(divide(pool, tmp_path)[0].rows["test"], parts[0].rows["test"])
    for change, message in (
        (CHANGES["cut at a line end"], "lacks 10 recordings, such as r30"),
        (lambda text: text + "r07,1\n", "has r07 in several folds"),
        (lambda text: "", "is empty"),
    ):
        path.write_text(change(whole))
        with pytest.raises(UserError, match=message):
            divide(pool, tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(UserError, match="dataset.json is damaged: make the data set again"):
        divide(pool, tmp_path)


def test_what_folds_give_is_written_again_where_it_was_changed(tmp_path):
    plan = TransferPlan.from_flags("model_svm", "n", "e", release=False, folds=Folds(2))
    job = SimpleNamespace(
        plan=plan, path=lambda name: tmp_path / "run", settings=configuration.load("model_svm")
    )
    parts, probe = [tmp_path / "run" / f"fold_{number}" for number in (1, 2)], plan.name("probe", 0)

    def summarise():
        return cross_validation.summarise(job, probe, parts, began=0.0)

    for number, part in enumerate(parts):
        part.mkdir(parents=True)
        predictions(0.9, number).to_csv(part / "predictions.csv", index=False)
        record = {"inputs": {"seed": number}, "outcome": {"synthetic": True}, "execution": {}}
        artefacts_files.write_json(part / "run.json", record)
    run = tmp_path / "run"
    levels = summarise()
    outcome = artefacts_files.read_json(run / "run.json")["outcome"]
    assert outcome == {"folds": [{"synthetic": True}] * 2, "synthetic": True}
    times = {name: (run / name).stat().st_mtime_ns for name in ("predictions.csv", "metrics.json")}
    summarise()
    assert times == {name: (run / name).stat().st_mtime_ns for name in times}
    whole = (run / "predictions.csv").read_bytes()
    for name in times:
        (run / name).write_text((run / name).read_text()[:500])
        assert summarise() == levels
        assert (run / "predictions.csv").read_bytes() == whole
    (run / "confusion.png").touch()  # of these folds
    predictions(0.3, 1).to_csv(parts[1] / "predictions.csv", index=False)  # trained again
    assert summarise() != levels
    assert (run / "predictions.csv").read_bytes() != whole
    assert not (run / "confusion.png").exists()  # it is of the earlier folds
