"""Codes that an encoder foretells while it is trained: which, and what is left of them."""

import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest

import generate_dataset
import pretrain_cpc
import results_table
import settings as defaults
import trans_train_cpc_multi
import trans_train_denoise_multi
from lib import configuration
from lib.command_line import stage_scripts
from lib.datasets import code_source, codes_file
from lib.datasets.codes_file import About, CodesOf
from lib.datasets.folds import Folds
from lib.errors import UserError
from lib.labels import TASKS
from lib.models import emotion_heads
from lib.transfer import teacher
from lib.transfer.transfer_plan import TransferPlan

RUN = "models_trans/speech_none_2_music_eng/model_cpc_nce.{tag}.it_0"
SMALL = "--epochs 3 --set network.maps=4 --set framewise.latent=8 --set transfer.batch_windows=24"
LINE = f"-s n -m e -mod model_cpc_nce -rel y --set augment.windows_per_epoch=96 {SMALL}"


def write(path, codes):
    """A codes file; codes : {recording: (codes, start_seconds)}; no starts: per recording."""
    per = "recording" if next(iter(codes.values()))[1] is None else "window"
    about = About(path.stem, path.stem, "1", "CC0-1.0", "made by a test", per)
    codes_file.write(path, about, list(codes), lambda left: (CodesOf(n, *codes[n]) for n in left))
    return path


def counted(recordings, rows, apart):
    """Codes that count: of recording n, row i, the number 100 n + i, twice."""
    starts = None if rows == 1 else np.arange(rows) * apart
    return {
        name: (np.repeat(100 * n + np.arange(rows), 2).reshape(rows, 2), starts)
        for n, name in enumerate(recordings)
    }


def targets_of(path, windows, features, dimensions=1, split=None):
    source = code_source.read([path], per_recording=False)
    return teacher.targets(source, split or {"train": windows}, features, dimensions)["train"]


def test_a_window_foretells_the_code_of_its_middle(tmp_path, windows, features):
    """A code each 0.7 s; a window's middle lies 0.496 s behind its start. Past the last code, and
    before the first, the nearest counts."""
    names = windows.table["recording"].tolist()
    given = targets_of(write(tmp_path / "t.codes", counted(names, 4, 0.7)), windows, features)
    middle = windows.start_seconds(features) + 15.5 * 512 / 16000
    row = np.clip(np.floor(middle / 0.7), 0, 3)
    assert given.shape == (len(windows), 1) and given.dtype == np.float32
    expected = 100 * windows.recording + row
    sign = np.sign(np.corrcoef(given[:, 0], expected)[0, 1])
    line = np.polyfit(expected, sign * given[:, 0], 1)
    np.testing.assert_allclose(np.polyval(line, expected), sign * given[:, 0], atol=1e-4)
    assert len(set(row)) == 4


def test_codes_per_recording_are_those_of_all_its_windows(tmp_path, windows, features):
    names = windows.table["recording"].tolist()
    given = targets_of(write(tmp_path / "t.codes", counted(names, 1, 0)), windows, features, 64)
    assert given.shape == (len(windows), 2)  # no more than the codes have
    for number in range(len(names)):
        assert len(np.unique(given[windows.recording == number], axis=0)) == 1


def test_the_clips_of_the_training_alone_decide_the_components(tmp_path, windows, features):
    names = windows.table["recording"].tolist()
    codes = counted(names, 4, 0.7)
    data = {"train": windows.subset(np.arange(6)), "val": windows.subset(np.array([6, 7]))}
    before = targets_of(write(tmp_path / "a.codes", codes), windows, features, split=data)
    for name in names[6:]:
        codes[name] = (codes[name][0] * -50.0, codes[name][1])
    after = targets_of(write(tmp_path / "b.codes", codes), windows, features, split=data)
    np.testing.assert_array_equal(before, after)


def test_a_pupil_shares_the_classifiers_layers(features):
    heads = emotion_heads.build(8, TASKS, emotion_heads.HeadSizes(units=4, dropout=0))
    inputs = keras.Input((128, 31, 1))
    encoder = keras.Model(
        inputs, keras.layers.Dense(8)(keras.layers.GlobalAveragePooling2D()(inputs))
    )
    model = emotion_heads.classifier(encoder, heads)
    taught = teacher.student(model, 3)
    x = np.random.default_rng(0).normal(size=(2, 128, 31, 1)).astype(np.float32)
    own, both = model(x), taught(x)
    assert set(both) == {*TASKS, teacher.NAME} and both[teacher.NAME].shape == (2, 3)
    for task in TASKS:
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (own[task], both[task])))
    assert len(taught.weights) == len(model.weights) + 2


@pytest.fixture(scope="module")
def taught(demo, tmp_path_factory):
    """A run with a teacher, and one without."""
    place, patch = tmp_path_factory.mktemp("taught"), pytest.MonkeyPatch()
    shutil.copytree(demo, place, dirs_exist_ok=True)
    for name in ("path_to_data", "path_to_models"):
        patch.setattr(defaults, name, str(place))
    assert generate_dataset.main(["-d", "m", "-l", "e"]) == 0
    names = pd.read_csv(place / "features/music/english/split.csv")["recording"]
    rng = np.random.default_rng(0)
    codes = {name: (rng.normal(size=(3, 5)), np.arange(3) * 1.0) for name in names}
    write(place / "t.codes", codes)
    teaches = ["--teacher", str(place / "t.codes")]
    assert trans_train_cpc_multi.main([*LINE.split(), "--tag", "taught", *teaches]) == 0
    assert trans_train_cpc_multi.main([*LINE.split(), "--tag", "alone"]) == 0
    yield place
    patch.undo()


def test_a_run_says_what_taught_it_and_its_model_is_a_plain_classifier(taught):
    run = taught / RUN.format(tag="taught")
    inputs = json.loads((run / "run.json").read_text())["inputs"]
    assert inputs["teacher"] == defaults.teacher
    assert inputs["taught_by"] == {"t": codes_file.read(taught / "t.codes").digest}
    history = pd.read_csv(run / "history.csv")
    assert history["teacher_loss"].gt(0).all() and history["val_teacher_loss"].notna().all()
    assert not list(run.glob("*.png"))  # run.figures is off in tests
    outputs = keras.models.load_model(run / "model.keras").output
    assert set(outputs) == set(TASKS)
    other = taught / RUN.format(tag="alone")
    assert (
        not {"teacher", "taught_by"} & json.loads((other / "run.json").read_text())["inputs"].keys()
    )
    assert "teacher_loss" not in pd.read_csv(other / "history.csv")


def test_tables_call_a_taught_run_by_its_own_encoder(taught, tmp_path):
    assert results_table.main(["--out", str(tmp_path)]) == 0
    assert "CPC-NCE, taught" in (tmp_path / "table.md").read_text()
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert len(runs) == 2 and runs["encoder"].isna().all()


def test_another_teacher_is_another_training(taught, capsys):
    line = [*LINE.split(), "--tag", "taught", "--teacher", str(taught / "t.codes")]
    assert trans_train_cpc_multi.main(line) == 0
    assert "is finished already" in capsys.readouterr().out
    assert trans_train_cpc_multi.main([*line, "--set", "teacher.weight=1"]) == 2
    assert "finished, with other inputs" in capsys.readouterr().err
    assert trans_train_cpc_multi.main([*LINE.split(), "--tag", "taught"]) == 2
    assert "finished, with other inputs" in capsys.readouterr().err


@pytest.mark.slow
def test_a_pretrained_encoder_is_taught_once_it_is_released(taught):
    assert generate_dataset.main(["-d", "s", "-l", "e"]) == 0
    small = SMALL.replace("--epochs 3", "--epochs 1").split()
    assert pretrain_cpc.main(["-s", "e", "-mod", "model_cpc_nce", *small]) == 0
    line = [*LINE.replace("-s n", "-s e").split(), "--teacher", str(taught / "t.codes")]
    assert trans_train_cpc_multi.main(line) == 0
    pair = taught / "models_trans/speech_eng_2_music_eng"
    frozen, full = (
        json.loads((pair / f"model_cpc_nce.{mode}.it_0/run.json").read_text())["inputs"]
        for mode in ("feat_ext", "full")
    )
    assert not {"teacher", "taught_by"} & frozen.keys()
    assert full["taught_by"].keys() == {"t"}


@pytest.mark.slow
def test_the_baseline_is_taught_too(taught):
    line = [*f"-s n -m e -mod model_cnn -rel n {SMALL}".split(), "--epochs", "1"]
    teaches = ["--teacher", str(taught / "t.codes")]
    assert trans_train_denoise_multi.main([*line, *teaches]) == 0
    run = taught / "models_trans/speech_none_2_music_eng/model_cnn.it_0"
    assert "taught_by" in json.loads((run / "run.json").read_text())["inputs"]
    assert pd.read_csv(run / "history.csv")["teacher_loss"].gt(0).all()


def test_the_weight_of_a_teacher_is_chosen_on_inner_folds(tmp_path):
    grid, settings = tmp_path / "grid.txt", configuration.load("model_cpc_nce")
    grid.write_text("teacher.weight=0.5\nteacher.weight=5\n")
    codes = write(tmp_path / "t.codes", {"a": (np.ones((1, 4)), None)})
    alone = TransferPlan.from_flags("model_cpc_nce", "n", "e", release=True, folds=Folds(2))
    with pytest.raises(UserError, match="teacher.weight=0.5 changes nothing in these runs"):
        stage_scripts._with_grid(alone, grid, settings)
    plan = stage_scripts._with_grid(alone.with_teacher([codes]), grid, settings)
    weights = [recipe.applied(settings)["teacher"]["weight"] for recipe in plan.grid]
    assert weights == [0.5, 5]
    # recipes that share a step share its runs: these share none
    sections = plan.sections_until("scratch")
    assert len({recipe.within(sections).key for recipe in plan.grid}) == 2


@pytest.mark.slow
def test_a_taught_training_goes_on_where_it_was(taught, monkeypatch):
    """Stopped after its first epoch; the second is that of the run that was not stopped."""
    from lib.training import progress

    line = [*LINE.split(), "--tag", "stopped", "--teacher", str(taught / "t.codes")]
    save = progress.SavedStates.save

    def stop(self):
        save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.SavedStates, "save", stop)
        assert trans_train_cpc_multi.main(line) == 130
    assert trans_train_cpc_multi.main(line) == 0
    whole, parts = (
        pd.read_csv(taught / RUN.format(tag=tag) / "history.csv") for tag in ("taught", "stopped")
    )
    losses = [name for name in whole if "loss" in name]
    assert "val_teacher_loss" in losses
    np.testing.assert_allclose(parts[losses], whole[losses], rtol=1e-5)
