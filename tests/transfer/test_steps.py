"""The steps of a transfer, without training: which are kept, what their records say, what is asked
before the work."""

import json
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import small

from lib import configuration
from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName
from lib.errors import UserError
from lib.labels import MEASURE, TASKS
from lib.models import classifiers, emotion_heads, saved_models
from lib.transfer import classifier_run, transfer_stage
from lib.transfer.transfer_job import Job, Step
from lib.transfer.transfer_plan import TransferPlan


@pytest.fixture
def job(windows, tmp_path, monkeypatch):
    """Makes the job of a line; what is trained is written down instead."""
    trained = []

    def train(job, step):
        section = "release" if step.name.mode == "full" else "transfer"
        trained.append((step.name.mode, job.settings[section]["epochs"]))
        with files.whole_folder(job.path(step.name)) as new:
            (new / "model.keras").write_text(str(trained))
            run_record.write_run(new, step.inputs, {}, execution={}, began=0.0)

    monkeypatch.setattr(classifier_run, "train", train)
    monkeypatch.setattr(transfer_stage, "_encoder", lambda job, iteration: (None, "e" * 64, {}))

    def make(epochs, release=True, overwrite=False, **heads):
        settings = configuration.load()
        settings["paths"]["models"] = str(tmp_path)
        settings["heads"] |= heads
        settings["transfer"]["epochs"] = settings["release"]["epochs"] = epochs
        data = dict.fromkeys(("train", "val", "test"), windows)
        plan = TransferPlan.from_flags("model_cpc", "e", "e", release=release)
        return Job(plan, settings, tmp_path, data, None, overwrite)

    make.trained = trained
    return make


def epochs_of(job):
    """What the records of both steps say."""
    found = []
    for mode, section in (("feat_ext", "transfer"), ("full", "release")):
        record = files.read_json(job.path(job.name(mode, 0)) / "run.json")
        found.append(record and record["inputs"][section]["epochs"])
    return found


def test_the_record_of_the_frozen_step_says_what_was_trained(job):
    frozen = job(3, release=False)
    transfer_stage._train_steps(frozen, 0)
    assert job.trained == [("feat_ext", 3)] and epochs_of(frozen) == [3, None]
    # a finished one with the same inputs but for epochs is kept, also by --overwrite
    transfer_stage._train_steps(job(1), 0)
    transfer_stage._train_steps(job(2, overwrite=True), 0)
    assert job.trained[1:] == [("full", 1), ("full", 2)] and epochs_of(frozen) == [3, 2]
    # one with other inputs is refused, and epochs are not why
    with pytest.raises(UserError, match=r"other inputs .* \(heads.units: 512 instead of 64\)"):
        transfer_stage._train_steps(job(1, units=64), 0)
    # or trained again, with the epochs of this line, which its record says
    transfer_stage._train_steps(job(1, overwrite=True, units=64), 0)
    assert job.trained[3:] == [("feat_ext", 1), ("full", 1)] and epochs_of(frozen) == [1, 1]


def test_a_released_step_goes_on_from_the_frozen_one(job, monkeypatch):
    transfer_stage._train_steps(job(3, release=False), 0)
    released = job(1)
    path = released.path(released.name("feat_ext", 0)) / "model.keras"
    monkeypatch.setattr(saved_models, "load_model", lambda path, advice: path)
    step = transfer_stage._full(released, 0)
    assert step.build() == path and step.inputs["feat_ext"] == files.file_hash(path)


def test_a_frozen_step_whose_model_was_changed_is_refused_or_trained_again(job):
    frozen = job(3, release=False)
    transfer_stage._train_steps(frozen, 0)
    (frozen.path(frozen.name("feat_ext", 0)) / "model.keras").write_text("cut")
    with pytest.raises(UserError, match="model.keras: cut, changed or gone"):
        transfer_stage._train_steps(job(1), 0)
    transfer_stage._train_steps(job(1, overwrite=True), 0)
    assert job.trained == [("feat_ext", 3), ("feat_ext", 1), ("full", 1)]
    assert epochs_of(frozen) == [1, 1]


def test_a_record_without_epochs_is_no_traceback(job):
    frozen = job(3)
    run = frozen.path(frozen.name("feat_ext", 0))
    run.mkdir(parents=True)
    for inputs in ({}, {"transfer": {}}, {"transfer": 1}, []):
        (run / "run.json").write_text(json.dumps({"inputs": inputs}))
        with pytest.raises(UserError, match="is finished, with other inputs"):
            transfer_stage._train_steps(frozen, 0)


@pytest.mark.parametrize("step", ["feat_ext", "full"])
def test_a_run_that_another_process_works_on_is_not_trained(job, step):
    whole = job(1)
    with files.locked(whole.path(whole.name(step, 0))):
        with pytest.raises(UserError, match=f"another process is working on .*{step}.it_0"):
            transfer_stage._train_steps(whole, 0)
    assert ("full", 1) not in job.trained


def test_only_the_released_step_slows_its_encoder(windows, tmp_path, monkeypatch):
    plans = []
    monkeypatch.setattr(classifier_run.fit, "fit", lambda *a, **_: plans.append(a[3]) or ({}, []))
    inputs = keras.Input((128, 31, 1))
    encoder = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs)))
    model = emotion_heads.classifier(encoder, emotion_heads.build(4, TASKS))
    settings = configuration.load()
    plan = TransferPlan.from_flags("model_cpc", "e", "e", release=True)
    data = dict.fromkeys(("train", "val"), windows)
    job = Job(plan, settings, tmp_path, data, SimpleNamespace(predict_windows=8), False)
    for mode in ("feat_ext", "full"):
        step = Step(job.name(mode, 0), {}, {}, None)
        classifier_run._fit(job, step, model, dict.fromkeys(data, windows.take))
    frozen, released = ([id(variable) for variable in plan.slow] for plan in plans)
    assert frozen == [] and released == [id(variable) for variable in encoder.variables] != []


def test_a_probe_keeps_artists_together_where_it_chooses(windows, tmp_path, monkeypatch):
    asked = []

    def fit_predict(features, labels, groups, tasks):
        asked.append(groups)
        return {task: np.full((8, n), 1 / n) for task, n in tasks.items()}, {}

    monkeypatch.setattr(classifier_run.clip_probe, "fit_predict", fit_predict)
    monkeypatch.setattr(classifier_run, "_write", lambda *_: {"clip": {}})
    settings = configuration.load()
    settings["paths"]["models"] = str(tmp_path)
    table = windows.table.assign(group=[*"abab", "", "", *"ab"])
    data = dict.fromkeys(("train", "test"), replace(windows, table=table))
    data["val"] = windows.subset(np.array([0]))
    plan = TransferPlan.from_flags("model_svm", "n", "e", release=False)
    job = Job(plan, settings, tmp_path, data, None, False)
    classifier_run.probe(job, Step(job.name("probe", 0), {}, {}, None))
    artists = asked[0][:8]
    assert artists[0] == artists[2] == artists[6] != artists[1] == artists[3] == artists[7]
    assert len(set(artists)) == 4  # those without an artist are alone


@pytest.mark.parametrize("content", ["", "epoch,loss\n", "loss,val_loss\n1,1\n"])
def test_a_damaged_history_is_told_before_the_released_step_trains(
    windows, tmp_path, features, content
):
    settings = configuration.load()
    settings["paths"]["models"] = str(tmp_path)
    plan = TransferPlan.from_flags("model_cpc", "e", "e", release=True)
    job = Job(plan, settings, tmp_path, {"train": windows}, None, False)
    frozen = job.path(job.name("feat_ext", 0))
    frozen.mkdir(parents=True)
    (frozen / "history.csv").write_text(content)

    def build():
        raise AssertionError("training began")

    step = Step(job.name("full", 0), {}, {}, build)
    with pytest.raises(UserError, match=r"history.csv is empty or cut: expected a row .*loss"):
        classifier_run.train(job, step)
    names = ("loss", "val_loss", MEASURE, f"val_{MEASURE}")
    (frozen / "history.csv").write_text(f"{','.join(names)}\n1,1,1,1\n")
    with pytest.raises(AssertionError, match="training began"):
        classifier_run.train(job, step)


def test_models_that_were_changed_since_are_not_loaded(tmp_path, features):
    """Whole files of Keras, but not those of the run."""
    run = RunName("model_cpc", "pretrain", "e").path(tmp_path)
    run.mkdir(parents=True)
    model = small(features)
    model.save(run / "model.keras")
    model.get_layer("encoder").save(run / "encoder.keras")
    run_record.write_run(run, {"features": features}, {}, execution={}, began=0.0)

    def load():
        saved_models.load_encoder(run, "model_cpc", 0, features, "python3 pretrain_cpc.py")
        return classifiers.load(run, features), classifiers.load(run / "model.keras", features)

    load()
    for name in ("encoder.keras", "model.keras"):
        before = (run / name).read_bytes()
        small(features).save(run / name)
        with pytest.raises(UserError, match=f"{name}: cut, changed or gone .*SHA-256"):
            load()
        (run / name).write_bytes(before)
    small(features).save(run / "mine.keras")  # has no record there
    classifiers.load(run / "mine.keras", features)


@pytest.mark.parametrize("content, synthetic", [
    (None, False), ("{}", False), ('{"synthetic": false}', False), ('{"synthetic": true}', True),
])  # fmt: skip
def test_a_data_set_that_does_not_say_that_it_is_synthetic_is_real(tmp_path, content, synthetic):
    if content:
        (tmp_path / "dataset.json").write_text(content)
    assert transfer_stage._synthetic(tmp_path) is synthetic
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(UserError, match="dataset.json is damaged: make the data set again"):
        transfer_stage._synthetic(tmp_path)
