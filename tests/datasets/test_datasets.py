"""The data set file: what is written is read; what is wrong with it is named."""

import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.datasets import dataset_file
from lib.errors import UserError
from lib.features.frame_packing import Packing, digest

MAKE = "python3 generate_dataset.py -d m -l e"
ATTRIBUTES = {"split": "train", "corpus": "music", "language": "english", "seed": 0}


def save(path, items, features, attributes=ATTRIBUTES):
    """Write a file of (recording, quadrant, frames : float32 (n, 128)); return what is stored."""
    packed = [Packing.of(features).pack(frames) for _, _, frames in items]
    table = pd.DataFrame(
        {
            "recording": [name for name, _, _ in items],
            "quadrant": [quadrant for _, quadrant, _ in items],
            "language": "english",
            "group": "",
            "arousal": 0.5,
            "valence": np.nan,
            "length": [len(frames) for frames in packed],
            "digest": [digest(frames) for frames in packed],
        }
    )
    dataset_file.write(path, table, packed, features, attributes)
    return packed


@pytest.fixture
def file(tmp_path, features):
    rng = np.random.default_rng(0)
    items = [
        ("歌/a", "Q2", rng.normal(-6, 3, (76, 128)).clip(-15, 4).astype(np.float32)),
        ("b", "Q4", rng.normal(-6, 3, (31, 128)).clip(-15, 4).astype(np.float32)),
    ]
    path = tmp_path / "train_dataset.h5"
    save(path, items, features)
    return path, items


def test_windows_are_cut_from_their_own_recording(file, features):
    path, items = file
    windows = dataset_file.read(path, features, MAKE)
    assert len(windows) == 5 and not windows.on_disk
    assert windows.recording.tolist() == [0, 0, 0, 0, 1]
    assert windows.local.tolist() == [0, 15, 30, 45, 0]
    taken = windows.take(np.arange(5))
    assert taken.shape == (5, 128, 31, 1) and taken.dtype == np.float32
    np.testing.assert_allclose(taken[1, :, :, 0], items[0][2][15:46].T, atol=2e-4)
    np.testing.assert_allclose(taken[4, :, :, 0], items[1][2].T, atol=2e-4)
    assert windows.table["recording"].tolist() == ["歌/a", "b"]


def test_every_level_that_sound_can_have_is_packed_within_2e_4(features):
    from lib.features.log_mel import level_range, log_mel_frames

    packing = Packing.of(features)
    low, high = level_range(features)
    levels = np.linspace(low, high, 100_001).astype(np.float32)
    assert np.abs(packing.unpack(packing.pack(levels)) - levels).max() < 2e-4
    t = np.arange(32000) / 16000
    loudest = np.sign(np.sin(2 * np.pi * 100 * t)).astype(np.float32)
    for samples in (loudest, np.ones(32000, np.float32), np.zeros(32000, np.float32)):
        frames = np.concatenate(list(log_mel_frames([samples], features)))
        assert low - 1e-6 <= frames.min() and frames.max() <= high


def test_all_structure_of_a_file_lies_under_checksums(file):
    """Damaged strings of variable length, which have none, made the library loop for hours."""
    with h5py.File(file[0]) as opened:
        assert opened.id.get_create_plist().get_version()[0] >= 2
        columns = opened["recordings"].values()
        kinds = [d.dtype for d in columns]
        kinds += [opened.attrs.get_id(name).dtype for name in opened.attrs]
        strings = [h5py.check_string_dtype(kind) for kind in kinds]
        assert sum(s is not None for s in strings) >= 10
        assert all(s.length for s in strings if s is not None)


def test_labels_follow_the_quadrant(file, features):
    labels = dataset_file.read(file[0], features, MAKE).labels()
    assert labels["quadrants"].tolist() == [1, 1, 1, 1, 3]
    assert labels["arousal"].tolist() == [1, 1, 1, 1, 0]
    assert labels["valence"].tolist() == [0, 0, 0, 0, 1]


def test_missing_file_names_the_command(tmp_path, features):
    with pytest.raises(UserError, match=f"no data set .*run first\n  {MAKE}"):
        dataset_file.read(tmp_path / "x.h5", features, MAKE)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
def test_a_file_cut_short_is_named(file, features, kept):
    path, _ = file
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match="cut short or damaged"):
        dataset_file.read(path, features, MAKE)


def test_other_feature_settings_are_named(file, features):
    with pytest.raises(UserError, match="hop_length: 512 instead of 256"):
        dataset_file.read(file[0], features | {"hop_length": 256}, MAKE)


def test_another_kind_of_hdf5_is_refused(tmp_path, features):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as other:
        other["0"] = np.zeros((3, 1, 128, 31))
    with pytest.raises(UserError, match="not a data set of this suite"):
        dataset_file.read(path, features, MAKE)


def test_a_changed_table_is_noticed(file, features):
    with h5py.File(file[0], "a") as damaged:
        damaged["recordings/length"][0] = 40
    with pytest.raises(UserError, match="its table does not match its hash"):
        dataset_file.read(file[0], features, MAKE)


@pytest.mark.parametrize("memory", [np.inf, 1])
def test_a_changed_frame_is_noticed(file, features, memory):
    with h5py.File(file[0], "a") as damaged:
        damaged["frames"][80, 3] ^= 1
    with pytest.raises(UserError, match="the frames of b do not match"):
        windows = dataset_file.read(file[0], features, MAKE, memory=memory)
        windows.take(np.array([4]))


def test_the_hash_follows_content(tmp_path, file, features):
    path, items = file
    same, other = tmp_path / "same.h5", tmp_path / "other.h5"
    save(same, items, features)
    save(other, items[::-1], features)
    hashes = [dataset_file.read(p, features, MAKE).sha256 for p in (path, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert path.read_bytes() == same.read_bytes()


def test_a_file_of_something_else_is_refused(file, features):
    expected = {"language": "english", "corpus": "music", "split": "test"}
    folder = file[0].parent
    with pytest.raises(UserError, match="holds english music train, not english music test"):
        dataset_file.read(file[0], features, MAKE, expected)
    with pytest.raises(UserError, match="not mandarin music train"):
        dataset_file.read_folder(folder, ["train"], features, "music", "mandarin")


def test_frames_on_disk_give_the_same_windows_and_statistics(tmp_path, features):
    rng = np.random.default_rng(1)
    items = [
        (f"r{i}", "Q1", rng.normal(-6, 3, (n, 128)).clip(-15, 4).astype(np.float32))
        for i, n in enumerate(rng.integers(31, 200, 40))
    ]
    path = tmp_path / "train_dataset.h5"
    packed = save(path, items, features)
    memory = 2 * 128 * 600  # bytes of 600 frames
    there = dataset_file.read(path, features, MAKE, memory=memory)
    here = dataset_file.read(path, features, MAKE)
    assert there.on_disk and not here.on_disk
    assert there.sha256 == here.sha256 and there.identity != here.identity
    index = rng.permutation(len(here))[:200]
    np.testing.assert_array_equal(there.take(index), here.take(index))
    assert there.mean_and_deviation() == here.mean_and_deviation()
    values = Packing.of(features).unpack(np.concatenate(packed))
    assert here.mean_and_deviation() == pytest.approx((values.mean(), values.std()), rel=1e-5)
    assert there.frames.kept <= 600


def test_an_epoch_of_frames_on_disk_reads_each_recording_once(tmp_path, features):
    rng = np.random.default_rng(2)
    items = [(f"r{i}", "Q1", rng.normal(-6, 1, (61, 128)).astype(np.float32)) for i in range(50)]
    path = tmp_path / "train_dataset.h5"
    save(path, items, features)
    windows = dataset_file.read(path, features, MAKE, memory=2 * 128 * 61 * 20)  # 20 recordings
    loads = []
    load = windows.frames.load
    windows.frames.load = lambda number: loads.append(number) or load(number)
    order = windows.shuffled(windows.recording, np.random.default_rng(3))
    assert sorted(order) == list(range(150))
    for start in range(0, 150, 8):
        windows.take(order[start : start + 8])
    assert sorted(loads) == list(range(50))
    # and mixes: the first block's windows come from ten recordings, not in their order
    first = windows.recording[order[:30]]
    assert len(set(first)) == 10 and np.any(np.diff(first) < 0)
    again = windows.shuffled(windows.recording, np.random.default_rng(3))
    other = windows.shuffled(windows.recording, np.random.default_rng(4))
    assert np.array_equal(order, again) and not np.array_equal(order, other)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with a small data set file, its bytes, its windows and its table."""
    import settings

    folder = tmp_path_factory.mktemp("fuzz")
    rng = np.random.default_rng(0)
    items = [(f"r{i}", "Q1", rng.normal(-6, 3, (40, 128)).astype(np.float32)) for i in range(5)]
    save(folder / "good.h5", items, settings.features)
    windows = dataset_file.read(folder / "good.h5", settings.features, MAKE)
    content = (folder / "good.h5").read_bytes()
    return folder, content, windows.take(np.arange(len(windows))), windows.table


# where things are in the file: its structure and table lie in the first 12 kB or so
PLACES = st.one_of(st.integers(0, 12_000), st.integers(0, 70_000))


@hypothesis_settings(deadline=None, max_examples=200)
@given(
    damage=st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=64)), max_size=4),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
    memory=st.sampled_from([np.inf, 1.0]),
)
def test_any_damage_is_named_or_harmless(good, damage, kept, memory):
    import settings

    folder, content, truth, table = good
    bad = bytearray(content)
    for at, new in damage:
        bad[at : at + len(new)] = new[: max(0, len(bad) - at)]
    path = folder / "bad.h5"
    path.write_bytes(bad[: int(kept * len(bad))])
    try:
        windows = dataset_file.read(path, settings.features, MAKE, memory=memory)
        found = windows.take(np.arange(len(windows)))
    except UserError:
        return
    np.testing.assert_array_equal(found, truth)
    pd.testing.assert_frame_equal(windows.table, table)


FUZZ = """
import sys, numpy as np
from pathlib import Path
import settings
from lib.datasets import dataset_file
from lib.errors import UserError
folder = Path(sys.argv[1])
good = (folder / "good.h5").read_bytes()
whole = dataset_file.read(folder / "good.h5", settings.features, "make")
truth = whole.take(np.arange(len(whole)))
rng = np.random.default_rng(int(sys.argv[2]))
named = 0
for round in range(int(sys.argv[3])):
    bad = bytearray(good)
    # every byte of the structure in turn in the first rounds, then bursts anywhere
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(bad) if round % 2 else min(len(bad), 12000)))
        size = int(rng.choice([1, 1, 1, 8, 64]))
        bad[at : at + size] = rng.bytes(len(bad[at : at + size]))
    path = folder / "bad.h5"
    path.write_bytes(bad)
    print(round, flush=True)
    for memory in (np.inf, 1):
        try:
            windows = dataset_file.read(path, settings.features, "make", memory=memory)
            found = windows.take(np.arange(len(windows)))
        except UserError:
            named += 1
            continue
        assert np.array_equal(found, truth), round
        assert windows.table.equals(whole.table), round
print("named", named)
"""


def test_bursts_of_damage_do_not_crash_the_library(good):
    """In a process of its own: a crash of the HDF5 library would show as one."""
    result = subprocess.run(
        [sys.executable, "-c", FUZZ, str(good[0]), "0", "300"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-200:] + result.stderr[-2000:]
    assert int(result.stdout.split()[-1]) > 100
