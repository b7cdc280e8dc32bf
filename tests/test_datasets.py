"""The data set file: what is written is read; what is wrong with it is named."""

import h5py
import numpy as np
import pytest

from lib import datasets
from lib.errors import UserError

MAKE = "python3 generate_dataset.py -d m -l e"


def row(name, quadrant="Q1"):
    return {
        "recording": name,
        "language": "english",
        "group": "",
        "quadrant": quadrant,
        "arousal": 0.5,
        "valence": float("nan"),
    }


@pytest.fixture
def file(tmp_path, features):
    rng = np.random.default_rng(0)
    items = [
        (row("歌/a", "Q2"), rng.normal(size=(76, 128)).astype(np.float32)),
        (row("b", "Q4"), rng.normal(size=(31, 128)).astype(np.float32)),
    ]
    path = tmp_path / "train_dataset.h5"
    datasets.write(path, items, features, {"split": "train", "seed": 0})
    return path, items


def test_windows_are_cut_from_their_own_recording(file, features):
    path, items = file
    windows = datasets.read(path, features, MAKE)
    assert len(windows) == 5
    assert windows.recording.tolist() == [0, 0, 0, 0, 1]
    assert windows.local.tolist() == [0, 15, 30, 45, 0]
    taken = windows.take(np.arange(5))
    assert taken.shape == (5, 128, 31, 1) and taken.dtype == np.float32
    np.testing.assert_array_equal(taken[1, :, :, 0], items[0][1][15:46].T)
    np.testing.assert_array_equal(taken[4, :, :, 0], items[1][1].T)
    assert windows.table["recording"].tolist() == ["歌/a", "b"]


def test_labels_follow_the_quadrant(file, features):
    labels = datasets.read(file[0], features, MAKE).labels()
    assert labels["quadrants"].tolist() == [1, 1, 1, 1, 3]
    assert labels["arousal"].tolist() == [1, 1, 1, 1, 0]
    assert labels["valence"].tolist() == [0, 0, 0, 0, 1]


def test_missing_file_names_the_command(tmp_path, features):
    with pytest.raises(UserError, match=f"no data set .*run first\n  {MAKE}"):
        datasets.read(tmp_path / "x.h5", features, MAKE)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
def test_a_file_cut_short_is_named(file, features, kept):
    path, _ = file
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match="cut short or damaged"):
        datasets.read(path, features, MAKE)


def test_other_feature_settings_are_named(file, features):
    with pytest.raises(UserError, match="hop_length: 512 in the file, 256 in the settings"):
        datasets.read(file[0], features | {"hop_length": 256}, MAKE)


def test_another_kind_of_hdf5_is_refused(tmp_path, features):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as other:
        other["0"] = np.zeros((3, 1, 128, 31))
    with pytest.raises(UserError, match="not a data set of this suite"):
        datasets.read(path, features, MAKE)


def test_lengths_that_do_not_add_up_are_refused(file, features):
    with h5py.File(file[0], "a") as damaged:
        damaged["recordings/length"][0] = 40
    with pytest.raises(UserError, match="holds 107 frames where its recordings have 71"):
        datasets.read(file[0], features, MAKE)


def test_the_hash_follows_content(tmp_path, file, features):
    path, items = file
    same, other = tmp_path / "same.h5", tmp_path / "other.h5"
    datasets.write(same, items, features, {"split": "train", "seed": 0})
    datasets.write(other, items[::-1], features, {"split": "train", "seed": 0})
    hashes = [datasets.read(p, features, MAKE).sha256 for p in (path, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_file_of_something_else_is_refused(file, features):
    expected = {"split": "train", "corpus": "music", "language": "english"}
    folder = file[0].parent
    with pytest.raises(UserError, match="not english music train"):
        datasets.read(file[0], features, MAKE, expected)
    with pytest.raises(UserError, match="not english music train"):
        datasets.read_folder(folder, ["train"], features, "music", "english", MAKE)
