"""The steps of a transfer, without training: which are kept, what their records say, what is asked
before the work."""

import json

import pytest
from test_loading import small

from lib import configuration
from lib.artefacts import files, run_name, run_record
from lib.errors import UserError
from lib.labels import MEASURE
from lib.models import saved_models
from lib.transfer import classifier_run, transfer_stage
from lib.transfer.transfer_job import Job


@pytest.fixture
def job(windows, tmp_path, monkeypatch):
    """Makes the job of a line; what is trained is written down instead."""
    trained = []

    def train(job, run, mode, iteration, inputs, build, section, parents):
        trained.append((mode, job.settings[section]["epochs"]))
        with files.whole_folder(run) as new:
            (new / "model.keras").write_text(str(trained))
            run_record.write_run(new, inputs, {}, [{"epoch": 1}], {}, 0.0, parents)

    monkeypatch.setattr(classifier_run, "train", train)
    monkeypatch.setattr(transfer_stage, "_encoder", lambda job, iteration: (None, "e" * 64))

    def make(epochs, overwrite=False, **heads):
        settings = configuration.load()
        settings["paths"]["models"] = str(tmp_path)
        settings["heads"] |= heads
        settings["transfer"]["epochs"] = settings["release"]["epochs"] = epochs
        data = dict.fromkeys(("train", "val", "test"), windows)
        return Job("model_cpc", "e", "e", settings, tmp_path, data, None, overwrite)

    make.trained = trained
    return make


def epochs_of(job):
    """What the records of both steps say."""
    found = []
    for mode, section in (("feat_ext", "transfer"), ("full", "release")):
        record = files.read_json(job.run(mode, 0) / "run.json")
        found.append(record and record["inputs"][section]["epochs"])
    return found


def test_the_record_of_the_frozen_step_says_what_was_trained(job):
    frozen = job(3)
    transfer_stage._steps(frozen, 0, release=False)
    assert job.trained == [("feat_ext", 3)] and epochs_of(frozen) == [3, None]
    # a finished one with the same inputs but for epochs is kept, also by --overwrite
    transfer_stage._steps(job(1), 0, release=True)
    transfer_stage._steps(job(2, overwrite=True), 0, release=True)
    assert job.trained[1:] == [("full", 1), ("full", 2)] and epochs_of(frozen) == [3, 2]
    # one with other inputs is refused, and epochs are not why
    with pytest.raises(UserError, match=r"other inputs .* \(heads.units: 512 there, 64 asked\)"):
        transfer_stage._steps(job(1, units=64), 0, release=True)
    # or trained again, with the epochs of this line, which its record says
    transfer_stage._steps(job(1, overwrite=True, units=64), 0, release=True)
    assert job.trained[3:] == [("feat_ext", 1), ("full", 1)] and epochs_of(frozen) == [1, 1]


def test_a_frozen_step_whose_model_was_changed_is_refused_or_trained_again(job):
    frozen = job(3)
    transfer_stage._steps(frozen, 0, release=False)
    (frozen.run("feat_ext", 0) / "model.keras").write_text("cut")
    with pytest.raises(UserError, match="model.keras: cut, changed or gone"):
        transfer_stage._steps(job(1), 0, release=True)
    transfer_stage._steps(job(1, overwrite=True), 0, release=True)
    assert job.trained == [("feat_ext", 3), ("feat_ext", 1), ("full", 1)]
    assert epochs_of(frozen) == [1, 1]


def test_a_record_without_epochs_is_no_traceback(job):
    frozen = job(3)
    run = frozen.run("feat_ext", 0)
    run.mkdir(parents=True)
    for inputs in ({}, {"transfer": {}}, {"transfer": 1}, []):
        (run / "run.json").write_text(json.dumps({"inputs": inputs}))
        with pytest.raises(UserError, match="is finished, with other inputs"):
            transfer_stage._steps(frozen, 0, release=True)


@pytest.mark.parametrize("content", ["", "epoch,loss\n", "loss,val_loss\n1,1\n"])
def test_a_damaged_history_is_told_before_the_released_step_trains(
    windows, tmp_path, features, content
):
    settings = configuration.load()
    settings["paths"]["models"] = str(tmp_path)
    job = Job("model_cpc", "n", "e", settings, tmp_path, {"train": windows}, None, False)
    frozen = job.run("feat_ext", 0)
    frozen.mkdir(parents=True)
    (frozen / "history.csv").write_text(content)

    def build():
        raise AssertionError("training began")

    line = (job, job.run("full", 0), "full", 0, {}, build, "release", {})
    with pytest.raises(UserError, match=r"history.csv is empty or cut: expected a row .*loss"):
        classifier_run.train(*line)
    names = ("loss", "val_loss", MEASURE, f"val_{MEASURE}")
    (frozen / "history.csv").write_text(f"{','.join(names)}\n1,1,1,1\n")
    with pytest.raises(AssertionError, match="training began"):
        classifier_run.train(*line)


def test_models_that_were_changed_since_are_not_loaded(tmp_path, features):
    """Whole files of Keras, but not those of the run."""
    run = run_name.pretraining_run(tmp_path, "e", "model_cpc", 0)
    run.mkdir(parents=True)
    model = small(features)
    model.save(run / "model.keras")
    model.get_layer("encoder").save(run / "encoder.keras")
    run_record.write_run(run, {"features": features}, {}, None, {}, 0.0)

    def load():
        saved_models.load_encoder(run, "model_cpc", 0, features, "python3 pretrain_cpc.py")
        return saved_models.classifier(run, features), saved_models.classifier(
            run / "model.keras", features
        )

    load()
    for name in ("encoder.keras", "model.keras"):
        before = (run / name).read_bytes()
        small(features).save(run / name)
        with pytest.raises(UserError, match=f"{name}: cut, changed or gone .*SHA-256"):
            load()
        (run / name).write_bytes(before)
    small(features).save(run / "mine.keras")  # has no record there
    saved_models.classifier(run / "mine.keras", features)
