"""Names and places; nothing half-written; finished runs are left alone or refused."""

import json
import os
from pathlib import Path

import pytest

from lib import artefacts
from lib.errors import UserError


def test_places():
    speech = artefacts.pretraining_run("m", "x", "model_cpc", 2)
    assert speech.as_posix() == "m/models/speech/mix/model_cpc.it_2"
    runs = [
        artefacts.transfer_run("m", "m", "e", "model_over", "feat_ext", 0),
        artefacts.transfer_run("m", "e", "m", "model_cpc", "full", 1),
        artefacts.transfer_run("m", None, "e", "model_cnn", "scratch", 0),
    ]
    assert [run.as_posix() for run in runs] == [
        "m/models_trans/speech_man_2_music_eng/model_over.feat_ext.it_0",
        "m/models_trans/speech_eng_2_music_man/model_cpc.full.it_1",
        "m/models_trans/speech_none_2_music_eng/model_cnn.it_0",
    ]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.txt"
    artefacts.write_text(path, "old")
    with pytest.raises(RuntimeError), artefacts.atomic(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.txt"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "run"
    with artefacts.whole_folder(folder) as new:
        (new / "a").write_text("first")
    with pytest.raises(RuntimeError), artefacts.whole_folder(folder) as new:
        (new / "a").write_text("half")
        raise RuntimeError
    assert (folder / "a").read_text() == "first"
    with artefacts.whole_folder(folder) as new:
        (new / "a").write_text("second")
    assert (folder / "a").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_leavings_of_killed_processes_are_cleared(tmp_path):
    dead = tmp_path / ".new-99999999-run"
    dead.mkdir()
    with artefacts.whole_folder(tmp_path / "run"):
        pass
    assert not dead.exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(UserError, match="a file stands in its way"):
        with artefacts.whole_folder(tmp_path / "models" / "run"):
            pass


INPUTS = {"seed": 0, "heads": {"units": 512}}


def test_finished_runs(tmp_path):
    assert not artefacts.finished(tmp_path, INPUTS, overwrite=False)
    (tmp_path / "run.json").write_text("{half")
    with pytest.raises(UserError, match=r"run.json is damaged: move .* away"):
        artefacts.finished(tmp_path, INPUTS, overwrite=False)
    (tmp_path / "run.json").write_text(json.dumps({"inputs": INPUTS}))
    assert artefacts.finished(tmp_path, INPUTS, overwrite=False)
    assert not artefacts.finished(tmp_path, INPUTS, overwrite=True)
    assert artefacts.finished(tmp_path, INPUTS, overwrite=True, keep_same=True)
    other = {"seed": 1, "heads": {"units": 256}}
    with pytest.raises(
        UserError, match=r"heads.units: 512 there, 256 asked; seed: 0 there.*--over"
    ):
        artefacts.finished(tmp_path, other, overwrite=False)
    assert not artefacts.finished(tmp_path, other, overwrite=True, keep_same=True)


def test_notes_of_the_user_are_kept(tmp_path):
    folder = tmp_path / "run"
    for text in ("first", "second"):
        with artefacts.whole_folder(folder) as new:
            (new / "report.txt").write_text(text)
        (folder / "notes.txt").write_text("mine")
        for name in ("checkpoint", "codes"):
            (folder / name).mkdir(exist_ok=True)
    assert (folder / "report.txt").read_text() == "second"
    with artefacts.whole_folder(folder):
        pass
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "checkpoint").exists() and not (folder / "codes").exists()


def test_a_link_to_another_disk_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with artefacts.whole_folder(tmp_path / "run") as new:
        (new / "a").write_text("")
    assert (tmp_path / "run").is_symlink() and (tmp_path / "disk" / "a").exists()


def test_one_process_at_a_time(tmp_path):
    run = tmp_path / "models" / "run"
    with artefacts.locked(run):
        with pytest.raises(UserError, match=r"another process is working on .*run: wait"):
            with artefacts.locked(run):
                pass
        with artefacts.locked(tmp_path / "models" / "other"):
            pass
    with artefacts.locked(run):
        pass
    assert list((tmp_path / "models").iterdir()) == []


def test_a_place_is_checked_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file where a folder"):
        artefacts.check_place(tmp_path / "file")
    with pytest.raises(UserError, match="a file stands in its way"):
        artefacts.check_place(tmp_path / "file" / "below" / "it_0")


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
    with pytest.raises(OSError, match="busy"), artefacts.whole_folder(folder) as new:
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
    with artefacts.whole_folder(folder) as new:
        (new / "model").write_text("newest")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "model").read_text() == "newest"


def test_own_files_go_with_the_old_folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("test.h5", "notes.txt"):
        (folder / name).write_text("old")
    with artefacts.whole_folder(folder, own=["test.h5"]) as new:
        (new / "train.h5").write_text("new")
    assert sorted(p.name for p in folder.iterdir()) == ["notes.txt", "train.h5"]
