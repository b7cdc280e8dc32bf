"""Names and places; nothing half-written; finished runs are left alone or refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from lib import configuration
from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName
from lib.errors import UserError


def test_places():
    names = {
        "models/speech/mix/model_cpc.it_2": RunName("model_cpc", "pretrain", "x", iteration=2),
        "models/music/english/model_cpc.folds_3.it_0/fold_10": RunName(
            "model_cpc", "pretrain", music="e", folds="folds_3", fold=10
        ),
        "models_trans/speech_man_2_music_eng/model_over.feat_ext.it_0": RunName(
            "model_over", "feat_ext", "m", "e"
        ),
        "models_trans/speech_eng_2_music_man/model_cpc.full.it_1": RunName(
            "model_cpc", "full", "e", "m", 1
        ),
        "models_trans/speech_none_2_music_eng/model_cnn.it_0": RunName(
            "model_cnn", "scratch", "n", "e"
        ),
        "models_trans/speech_codes_2_music_eng/musicnn_mtt.probe.it_0": RunName(
            "musicnn_mtt", "probe", "c", "e"
        ),
        "models_trans/speech_own_2_music_eng/model_cpc.probe.few.artist_folds_3.it_12/fold_2": (
            RunName("model_cpc", "probe", "u", "e", 12, "few", "artist_folds_3", 2)
        ),
        "models_trans/speech_none_2_music_eng/model_cnn.artist_folds_3_nested.it_0": RunName(
            "model_cnn", "scratch", "n", "e", folds="artist_folds_3_nested"
        ),
        "models_trans/speech_none_2_music_eng/model_cpc.full.folds_9_nested.it_1/fold_2": RunName(
            "model_cpc", "full", "n", "e", 1, folds="folds_9_nested", fold=2
        ),
    }
    recipe = RunName(
        "model_cpc", "feat_ext", "n", "e", folds="folds_9_nested", fold=2, recipe="0123abcd"
    )
    run = "models_trans/speech_none_2_music_eng/model_cpc.feat_ext.folds_9_nested.it_0"
    names[f"{run}/fold_2/recipe_0123abcd"] = recipe
    names[f"{run}/fold_2/inner_3/recipe_0123abcd"] = replace(recipe, inner=3)
    for place, name in names.items():
        assert name.path("m").as_posix() == f"m/{place}"
        assert RunName.parse(name.path("/some/where")) == name == RunName.parse(place)
    titled = [name.title for name in names.values()]
    assert "speech_own_2_music_eng, model_cpc.probe.few.artist_folds_3.it_12, fold 2" in titled
    assert titled[-1].endswith("it_0, fold 2, inner fold 3, recipe 0123abcd")
    assert replace(recipe, inner=3).of_fold(None) == recipe.of_fold(1).of_fold(None)
    assert [name.nested for name in names.values()] == [False] * 5 + [True] * 6


@pytest.mark.parametrize(
    "place",
    [
        "speech_eng_2_music_eng/model_cnn",
        "models_trans/speech_eng_2_music_mix/model_cnn.it_0",
        "models_trans/speech_eng_2_music_eng/model_cnn.it_01",
        "models_trans/speech_eng_2_music_eng/model_cnn.full.full.it_0",
        "models_trans/speech_eng_2_music_eng/model_cnn.it_0.best.hdf5",
        "models_trans/speech_eng_2_music_eng/model_cnn.it_0/fold_0",
        "models_trans/speech_eng_2_music_eng/model_cnn.folds_3_nested.it_0/fold_1/inner_1",
        "models_trans/speech_eng_2_music_eng/model_cnn.folds_3_nested.it_0/recipe_0123abcd",
        "models_trans/speech_eng_2_music_eng/model_cnn.folds_3_nested.it_0/fold_1/recipe_x",
        "models_trans/speech_eng_2_music_eng/model_cnn.nested_folds_3.it_0/fold_1/recipe_0123abcg",
        "models/speech/english/model_cpc.full.it_0",
        "models_trans/shipped",
    ],
)
def test_what_is_not_named_as_a_run(place):
    assert RunName.parse(place) is None


def test_a_text_that_is_cut_on_its_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    files.write_json(path, {"old": True})

    def cut(path, text, **_):
        path.write_bytes(text[:3].encode())
        raise OSError("no room")

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(OSError, match="no room"):
        files.write_json(path, {"new": True})
    assert files.read_json(path) == {"old": True} and list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.txt"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "run"
    with files.whole_folder(folder) as new:
        (new / "a").write_text("first")
    with pytest.raises(RuntimeError), files.whole_folder(folder) as new:
        (new / "a").write_text("half")
        raise RuntimeError
    assert (folder / "a").read_text() == "first"
    with files.whole_folder(folder) as new:
        (new / "a").write_text("second")
    assert (folder / "a").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_replaced_folder_keeps_your_files_but_no_figure_of_the_old_one(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model.keras", "curves.png", "notes.txt"):
        (folder / name).write_text("old")
    with files.whole_folder(folder, replaced=["curves.png", "confusion.png"]) as new:
        (new / "model.keras").write_text("new")
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found == {"model.keras": "new", "notes.txt": "old"}


def test_leavings_of_killed_processes_are_cleared(tmp_path):
    """Also one that had this number: in a container every process has the number 1."""
    dead = [tmp_path / f".{kind}-{os.getpid()}-run" for kind in ("new", "old")]
    for folder in (*dead, tmp_path / ".new-99999999-run"):
        folder.mkdir()
    with files.whole_folder(tmp_path / "run"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(UserError, match="a file stands in its way"):
        with files.whole_folder(tmp_path / "models" / "run"):
            pass


INPUTS = {"seed": 0, "heads": {"units": 512}}


def test_finished_runs(tmp_path):
    assert not run_record.finished(tmp_path, INPUTS, overwrite=False)
    (tmp_path / "run.json").write_text("{half")
    with pytest.raises(UserError, match=r"run.json is damaged: move .* away"):
        run_record.finished(tmp_path, INPUTS, overwrite=False)
    (tmp_path / "run.json").write_text(json.dumps({"inputs": INPUTS}))
    assert run_record.finished(tmp_path, INPUTS, overwrite=False)
    assert not run_record.finished(tmp_path, INPUTS, overwrite=True)
    assert run_record.finished(tmp_path, INPUTS, overwrite=True, keep_same=True)
    other = {"seed": 1, "heads": {"units": 256}}
    with pytest.raises(
        UserError, match=r"heads.units: 512 instead of 256; seed: 0 instead.*--over"
    ):
        run_record.finished(tmp_path, other, overwrite=False)
    assert not run_record.finished(tmp_path, other, overwrite=True, keep_same=True)


def test_notes_of_the_user_are_kept(tmp_path):
    folder = tmp_path / "run"
    for text in ("first", "second"):
        with files.whole_folder(folder) as new:
            (new / "report.txt").write_text(text)
        (folder / "notes.txt").write_text("mine")
        for name in ("checkpoint", "codes"):
            (folder / name).mkdir(exist_ok=True)
    assert (folder / "report.txt").read_text() == "second"
    with files.whole_folder(folder):
        pass
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "checkpoint").exists() and not (folder / "codes").exists()


def test_a_link_to_another_disk_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with files.whole_folder(tmp_path / "run") as new:
        (new / "a").write_text("")
    assert (tmp_path / "run").is_symlink() and (tmp_path / "disk" / "a").exists()


def test_one_process_at_a_time(tmp_path):
    run = tmp_path / "models" / "run"
    with files.locked(run):
        with pytest.raises(UserError, match=r"another process is working on .*run: wait"):
            with files.locked(run):
                pass
        with files.locked(tmp_path / "models" / "other"):
            pass
    with files.locked(run):
        pass
    assert list((tmp_path / "models").iterdir()) == []


def test_a_place_is_checked_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file where a folder"):
        files.check_place(tmp_path / "file")
    with pytest.raises(UserError, match="a file stands in its way"):
        files.check_place(tmp_path / "file" / "below" / "it_0")


def test_a_users_files_survive_a_swap_that_fails(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    real = os.replace

    def fails(source, target):
        if Path(target) == folder and ".new-" in str(source):
            raise OSError(16, "Device or resource busy", str(source))
        real(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="busy"), files.whole_folder(folder) as new:
        (new / "model").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (folder / "notes.txt").read_text() == "mine" and not (folder / "model").exists()


@pytest.mark.parametrize("swapped", [False, True])
def test_what_a_killed_swap_left_is_put_right(tmp_path, swapped):
    """Killed after the old folder was moved away: before or after the new one came."""
    folder, old = tmp_path / "run", tmp_path / ".old-999999999-run"
    old.mkdir()
    (old / "notes.txt").write_text("mine")
    (old / "model").write_text("old")
    if swapped:
        folder.mkdir()
        (folder / "model").write_text("new")
    with files.whole_folder(folder) as new:
        (new / "model").write_text("newest")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "model").read_text() == "newest"


def test_own_files_go_with_the_old_folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("test.h5", "notes.txt"):
        (folder / name).write_text("old")
    with files.whole_folder(folder, replaced=["test.h5"]) as new:
        (new / "train.h5").write_text("new")
    assert sorted(p.name for p in folder.iterdir()) == ["notes.txt", "train.h5"]


@pytest.mark.parametrize("name", ["music", "set[1]", "a*b", "music?"])
def test_names_are_no_patterns(tmp_path, name):
    """What killed processes left of another folder is not this one's; its own is, whatever letters
    it has."""
    mine, other = tmp_path / f".old-999999999-{name}", tmp_path / f".old-999999999-test-{name}"
    for folder in (mine, other):
        folder.mkdir()
        (folder / "notes.txt").write_text(folder.name)
    with files.whole_folder(tmp_path / name):
        pass
    assert (tmp_path / name / "notes.txt").read_text() == mine.name
    assert (other / "notes.txt").is_file() and not mine.exists()


def test_a_mount_point_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "disk")
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for folder in (tmp_path / "disk", tmp_path / "link"):
        with pytest.raises(UserError, match="disk is a mount point .* name a folder below it"):
            run_record.finished(folder, INPUTS, overwrite=False)
        with pytest.raises(UserError, match="mount point"), files.whole_folder(folder):
            pass
    files.make_folder(tmp_path / "disk")  # files are written into it
    assert not run_record.finished(tmp_path / "disk" / "run", INPUTS, overwrite=False)
    (tmp_path / "disk" / "run.json").write_text(json.dumps({"inputs": INPUTS}))
    assert run_record.finished(tmp_path / "disk", INPUTS, overwrite=False)


def test_a_folder_of_the_same_disk_that_is_mounted_is_known(tmp_path):
    place = tmp_path / "a b"
    place.mkdir()
    look = "from pathlib import Path; from lib.artefacts import files\n"
    look += f"try: files.check_replaceable(Path({str(place)!r}))\n"
    look += "except files.UserError as e: print(e)"
    shell = 'mount --bind "$1" "$1" || exit 77; exec "$2" -c "$3"'
    line = ["unshare", "-rm", "sh", "-c", shell, "sh", str(place), sys.executable, look]
    try:
        found = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if found.returncode == 77 or found.stderr.startswith("unshare"):
        pytest.skip("nothing can be mounted here")
    assert "a b is a mount point" in found.stdout


def test_advice_about_a_damaged_file_fits_it(tmp_path):
    (tmp_path / "machine.json").write_text("[1]")
    with pytest.raises(UserError, match="machine.json is damaged: move .* away"):
        files.read_json(tmp_path / "machine.json")
    with pytest.raises(UserError, match="machine.json is damaged: remove that file$"):
        files.read_json(tmp_path / "machine.json", "remove that file")


@pytest.fixture
def written(tmp_path):
    """A finished run of this version."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("model.keras", "predictions.csv", "metrics.json"):
        (run / name).write_text(f"{name}\nline\n")
    run_record.write_history(run, [{"epoch": 1, "loss": 0.5}])
    run_record.write_run(run, INPUTS, {}, execution={}, began=0.0)
    return run


@pytest.mark.parametrize("name", ["model.keras", "predictions.csv", "metrics.json", "history.csv"])
def test_a_file_of_a_run_that_was_changed_is_named(written, name):
    assert run_record.finished(written, INPUTS, overwrite=False)
    content = (written / name).read_text()
    for damage in (lambda: (written / name).write_text(content.split("\n")[0] + "\n"),
                   lambda: (written / name).unlink()):  # fmt: skip
        damage()
        with pytest.raises(UserError, match=f"{name}: cut, changed or gone .*--overwrite"):
            run_record.finished(written, INPUTS, overwrite=False)
        assert not run_record.finished(written, INPUTS, overwrite=True, keep_same=True)
    (written / name).write_text(content)
    assert run_record.finished(written, INPUTS, overwrite=True, keep_same=True)
    record = json.loads((written / "run.json").read_text())
    del record["files"]  # as of an older version: what has no hash is not checked
    (written / "run.json").write_text(json.dumps(record))
    (written / name).write_text("")
    assert run_record.finished(written, INPUTS, overwrite=False)


@pytest.mark.parametrize("content", ["{}", '{"inputs": []}', '{"inputs": {"seed": 0}, "x": 1}'])
def test_a_record_that_lacks_inputs_is_refused_and_can_be_replaced(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match="heads.units: none instead of 512"):
        run_record.finished(tmp_path, INPUTS, overwrite=False)
    assert not run_record.finished(tmp_path, INPUTS, overwrite=True, keep_same=True)


def test_a_record_may_have_keys_of_a_newer_version(written):
    record = json.loads((written / "run.json").read_text()) | {"weather": "fine"}
    (written / "run.json").write_text(json.dumps(record))
    assert run_record.finished(written, INPUTS, overwrite=False)


def of_today():
    """The inputs of a released run as lib.transfer.transfer_job puts them together."""
    settings = configuration.load()
    sections = ("features", "network", "heads", "transfer", "release", "augment")
    inputs = {"model": "model_cpc", "seed": 0, "iteration": 0, "labels": 1.0}
    inputs |= {name: dict(settings[name]) for name in sections}
    return inputs | {"training": run_record.deciding_settings(settings["training"])}


OLD = {  # what a run of then lacks
    "two settings": ["augment.mel_shift", "heads.code_dropout"],
    "a section": ["augment"],
    "labels": ["labels", "transfer.labels"],
    "the first version": [*configuration.BEFORE],
}


def without(inputs, names):
    inputs = json.loads(json.dumps(inputs))
    for name in names:
        section, _, key = name.partition(".")
        inputs.get(section, {}).pop(key, None) if key else inputs.pop(section, None)
    return inputs


@pytest.mark.parametrize("names", OLD.values(), ids=OLD)
def test_a_missing_setting_counts_as_its_value_of_then(tmp_path, names):
    """Of a run made before it existed, and of one that has a setting that is gone since."""
    now = of_today()
    for there, asked in ((without(now, names), now), (now, without(now, names))):
        (tmp_path / "run.json").write_text(json.dumps({"inputs": there}))
        assert run_record.finished(tmp_path, asked, overwrite=False)
        assert run_record.same_inputs(json.dumps(there), json.dumps(asked, sort_keys=True))
        assert run_record.settled(there) == run_record.settled(asked)
    other = json.loads(json.dumps(now))
    other["augment"]["mel_shift"], other["heads"]["code_dropout"] = 4, 0.2
    other["labels"] = 0.5
    for there, asked in ((without(now, names), other), (other, without(now, names))):
        (tmp_path / "run.json").write_text(json.dumps({"inputs": there}))
        with pytest.raises(UserError, match="labels: (1.0 instead of 0.5|0.5 instead of 1.0)"):
            run_record.finished(tmp_path, asked, overwrite=False)
        assert not run_record.same_inputs(json.dumps(there), json.dumps(asked))
    assert not run_record.same_inputs("{}", "[]") and run_record.same_inputs("a", "a")


def test_values_of_then_are_those_of_settings_that_exist_and_are_as_published():
    """A default may move on; what older runs did does not."""
    assert (
        configuration.BEFORE["augment.mel_shift"] == 0
        and configuration.BEFORE["release.keep"] == "best"
    )
    for name, value in configuration.BEFORE.items():
        if name in configuration.LEGAL:
            configuration._check(name, value)


def test_schedule_and_keep_were_of_training_once(tmp_path):
    now = of_today()
    now["release"] |= {"schedule": "cosine", "keep": "last"}
    now["transfer"] |= {"schedule": "cosine", "keep": "last"}
    then = without(now, ["release.schedule", "release.keep", "transfer.schedule", "transfer.keep"])
    then["training"] |= {"schedule": "cosine", "keep": "last"}
    (tmp_path / "run.json").write_text(json.dumps({"inputs": then}))
    assert run_record.finished(tmp_path, now, overwrite=False)
    now["release"]["keep"] = "best"
    with pytest.raises(UserError, match="release.keep: last instead of best"):
        run_record.finished(tmp_path, now, overwrite=False)


def test_nothing_and_zero_differ():
    assert run_record.differences({"seed": 0}, {}) == ["seed: 0 instead of none"]
    assert run_record.differences({"a": {}}, {"a": None}) == []
    assert run_record.differences({"a": {"b": 1}}, {"a": 1}) == ["a: {'b': 1} instead of 1"]


@pytest.mark.parametrize("content", [
    "", "\n", "epoch,loss\n", "epoch,loss,val_loss\n1,0.5,0.5\n", "loss,val_loss,m,val_m\n",
    "loss,val_loss,m,val_m\n1,1,1,1\n1,1", "loss,val_loss,m,val_m\n1,1,x,1\n", "\0\0\0",
])  # fmt: skip
def test_a_damaged_history_is_named(tmp_path, content):
    assert run_record.read_history(tmp_path, "m").empty
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(UserError, match="history.csv is empty or cut: expected a row per epoch"):
        run_record.read_history(tmp_path, "m")
    (tmp_path / "history.csv").write_text("epoch,loss,val_loss,m,val_m\n1,1,1,0.5,0.5\n")
    assert len(run_record.read_history(tmp_path, "m")) == 1
