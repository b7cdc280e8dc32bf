"""The authors' processed files: read as they are, in every later stage, without leaks."""

import shutil

import h5py
import numpy as np
import pytest
from conftest import SMALL

import pretrain_denoise
import trans_train_denoise_multi
from lib.datasets import authors_files, dataset_file
from lib.errors import UserError
from lib.features import log_mel

READ = ("music", "english")


def windows_of(frames):
    """(n, 1, 128, 31), half overlapping, as the original cuts them."""
    starts = log_mel.window_starts(len(frames), 31, 15)
    return np.stack([frames[s : s + 31].T[None] for s in starts])


def write(folder, split, rows):
    with h5py.File(folder / authors_files.file_name(split), "w") as file:
        for row, windows in rows.items():
            file[str(row)] = windows


@pytest.fixture
def processed(tmp_path):
    """Twelve songs in three files and their table; gives the folder and the frames per row."""
    rng = np.random.default_rng(0)
    frames = [rng.normal(-6, 2, (int(n), 128)) for n in rng.integers(31, 120, 12)]
    lines = [f"./Q{i % 4 + 1}/s{i}.mp3,Q{i % 4 + 1}\n" for i in range(12)]
    (tmp_path / "annotations.csv").write_text("Songs,Quads\n" + "".join(lines))
    for split, rows in (("train", range(4)), ("val", range(4, 8)), ("test", range(8, 12))):
        write(tmp_path, split, {row: windows_of(frames[row]) for row in rows})
    return tmp_path, frames


@pytest.mark.parametrize("memory", [np.inf, 1000.0])
def test_windows_labels_and_times_are_those_of_the_files(processed, features, memory):
    folder, frames = processed
    found = dataset_file.read_folder(folder, ("train", "val", "test"), features, *READ, memory)
    for number, windows in enumerate(found.values()):
        rows = range(4 * number, 4 * number + 4)
        expected = np.concatenate([windows_of(frames[row]) for row in rows])
        taken = windows.take(np.arange(len(windows)))
        np.testing.assert_array_equal(taken[..., 0], expected[:, 0].astype(np.float32))
        assert windows.table["recording"].tolist() == [f"Q{r % 4 + 1}/s{r}" for r in rows]
        quadrants = windows.labels()["quadrants"]
        assert quadrants.tolist() == [rows[r] % 4 for r in windows.recording]
        starts = [log_mel.window_starts(len(frames[row]), 31, 15) for row in rows]
        assert windows.local.tolist() == np.concatenate(starts).tolist()
        assert windows.on_disk == (memory < np.inf)


def test_windows_that_do_not_overlap_have_other_times(processed, features):
    folder, _ = processed
    frames = np.random.default_rng(1).normal(size=(93, 128))
    apart = frames.reshape(3, 31, 128).transpose(0, 2, 1)[:, None]
    write(folder, "test", {8: apart})
    found = dataset_file.read_folder(folder, ("test",), features, *READ)["test"]
    assert found.local.tolist() == [0, 31, 62]


def test_songs_of_the_test_are_left_out_of_the_others(processed, features, capsys):
    folder, frames = processed
    everything = {row: windows_of(frames[row]) for row in range(12)}
    write(folder, "train", everything)
    found = dataset_file.read_folder(folder, ("train", "val", "test"), features, *READ)
    names = {name: set(windows.table["recording"]) for name, windows in found.items()}
    assert len(names["train"]) == 4 and not names["train"] & (names["val"] | names["test"])
    said = capsys.readouterr().out
    assert "train_dataset.h5py: 8 of 12 recordings are in the test or validation data" in said


def test_the_hash_follows_content(processed, features):
    folder, frames = processed
    first = dataset_file.read_folder(folder, ("train",), features, *READ)["train"].sha256
    write(folder, "train", {row: windows_of(frames[row] + (row == 3)) for row in range(4)})
    assert dataset_file.read_folder(folder, ("train",), features, *READ)["train"].sha256 != first


def damage(folder, frames, how):
    if how == "text":
        (folder / "train_dataset.h5py").write_text("no HDF5")
    elif how == "cut":
        path = folder / "train_dataset.h5py"
        path.write_bytes(path.read_bytes()[:-5000])
    elif how == "shape":
        write(folder, "train", {0: windows_of(frames[0])[:, :, :64]})
    elif how == "group":
        write(folder, "train", {"0/x": windows_of(frames[0])})
    elif how == "name":
        write(folder, "train", {"song": windows_of(frames[0])})
    elif how == "row":
        write(folder, "train", {12: windows_of(frames[0])})
    elif how == "nan":
        write(folder, "train", {0: windows_of(frames[0]) * np.nan})
    elif how == "missing":
        (folder / "val_dataset.h5py").unlink()
    elif how == "table":
        (folder / "annotations.csv").unlink()
    elif how == "quadrant":
        (folder / "annotations.csv").write_text("Songs,Quads\n./a.mp3,Q7\n")


@pytest.mark.parametrize(
    "how, message",
    [
        ("text", "not a file of the authors'"),
        ("cut", "damaged|not a file of the authors'"),
        ("shape", r"0 is \(\d+, 1, 64, 31\); expected"),
        ("group", "0 is no data set; expected"),
        ("name", "not a file of the authors'"),
        ("row", "rows .12., but the annotation table .* has rows 0 to 11"),
        ("nan", "0 holds numbers that are not finite"),
        ("missing", "not val_dataset.h5py: add it"),
        ("table", "no annotation table"),
        ("quadrant", "quadrants that do not exist"),
    ],
)
def test_what_is_wrong_with_them_is_named(processed, features, how, message):
    folder, frames = processed
    damage(folder, frames, how)
    with pytest.raises(UserError, match=message):
        dataset_file.read_folder(folder, ("train", "val", "test"), features, *READ)


def export(source, target, splits, features, speech=False):
    """A data set of this suite in the authors' layout, with its table."""
    target.mkdir()
    row, songs = 0, []
    for split in splits:
        windows = dataset_file.read(source / dataset_file.file_name(split), features, "make")
        taken = windows.take(np.arange(len(windows)))[..., 0][:, None]
        rows = {}
        for number, about in windows.table.iterrows():
            rows[row] = taken[windows.recording == number]
            songs.append(f"./{about['recording']}.mp3,{about['quadrant']}\n")
            row += 1
        write(target, split, rows)
    if not speech:
        (target / "table.csv").write_text("Songs,Quads\n" + "".join(songs), encoding="utf-8")


@pytest.mark.slow
def test_every_later_stage_reads_them(pipeline, tmp_path, features, monkeypatch, capsys):
    import settings as defaults

    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path / "out"))
    speech, music = tmp_path / "speech", tmp_path / "music"
    sets = pipeline.data / "features"
    export(sets / "speech" / "english", speech, ("train", "val"), features, speech=True)
    export(sets / "music" / "english", music, ("train", "val", "test"), features)
    line = ["-s", "e", "-mod", "model_over", *SMALL, "--epochs", "1"]
    assert pretrain_denoise.main([*line, "-pl", str(speech)]) == 0
    line = [*line, "-m", "e", "-pl", str(music)]
    assert trans_train_denoise_multi.main([*line, "-rel", "n"]) == 0
    assert trans_train_denoise_multi.main([*line, "-rel", "y"]) == 0
    run = tmp_path / "out/models_trans/speech_eng_2_music_eng/model_over.full.it_0"
    reference = pipeline.models / "models_trans/speech_eng_2_music_eng/model_over.full.it_0"
    ours, theirs = (
        [row.split(",")[:2] for row in (r / "predictions.csv").read_text().splitlines()]
        for r in (run, reference)
    )
    assert ours == theirs  # the same windows of the same recordings at the same times
    shutil.rmtree(tmp_path / "out")


def test_the_same_windows_under_another_row_are_left_out_too(processed, features, capsys):
    folder, frames = processed
    rows = {row: windows_of(frames[row]) for row in range(4)}
    write(folder, "train", rows | {4: windows_of(frames[8])})
    write(folder, "val", {row: windows_of(frames[row]) for row in range(5, 8)})
    found = dataset_file.read_folder(folder, ("train", "val", "test"), features, *READ)
    assert len(found["train"].table) == 4
    assert "1 of 5 recordings are in the test" in capsys.readouterr().out


def test_a_table_with_a_song_twice_is_refused(processed, features):
    folder, _ = processed
    table = folder / "annotations.csv"
    table.write_text(table.read_text() + "./Q1/s0.mp3,Q2\n")
    with pytest.raises(UserError, match="names songs more than once: Q1/s0"):
        dataset_file.read_folder(folder, ("train",), features, *READ)


@pytest.mark.parametrize("name", ["00", "٣"])
def test_odd_row_numbers_are_refused(processed, features, name):
    folder, frames = processed
    write(folder, "train", {0: windows_of(frames[0]), name: windows_of(frames[1])})
    with pytest.raises(UserError, match="not a file of the authors'"):
        dataset_file.read_folder(folder, ("train",), features, *READ)
