"""The data set stage through its script: what it writes, skips and refuses."""

import resource
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

import generate_dataset
from lib.audio import write_audio

MUSIC = ["-d", "m", "-l", "e"]


@pytest.fixture
def corpus(paths, demo):
    shutil.copytree(demo / "MER_audio_taffc_dataset", paths.data / "MER_audio_taffc_dataset")
    return paths


def folder(paths):
    return paths.data / "features" / "music" / "english"


def songs(paths):
    return sorted((paths.data / "MER_audio_taffc_dataset").glob("Q*/*.mp3"))


def content(path):
    """Everything in an HDF5 file as a dict."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None
        )
        return found | dict(file.attrs)


def test_a_data_set_is_complete_and_reproducible(corpus, tmp_path, capsys):
    assert generate_dataset.main(MUSIC) == 0
    written = folder(corpus)
    assert sorted(p.name for p in written.iterdir()) == [
        "dataset.json",
        "skipped.csv",
        "split.csv",
        "test_dataset.h5",
        "train_dataset.h5",
        "val_dataset.h5",
    ]
    split = pd.read_csv(written / "split.csv")
    assert len(split) == len(songs(corpus)) == 32 and split["recording"].is_unique
    assert "32 recordings written, 0 skipped" in capsys.readouterr().out
    again = tmp_path / "again"
    assert generate_dataset.main([*MUSIC, "-ps", str(again), "--set", "dataset.workers=1"]) == 0
    for name in ("train_dataset.h5", "val_dataset.h5", "test_dataset.h5"):
        a, b = content(written / name), content(again / name)
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_what_stands_there_is_kept_refused_or_replaced(corpus, capsys):
    assert generate_dataset.main(MUSIC) == 0
    before = (folder(corpus) / "train_dataset.h5").stat().st_mtime_ns
    assert generate_dataset.main(MUSIC) == 0
    assert "is finished already" in capsys.readouterr().out
    assert generate_dataset.main([*MUSIC, "--seed", "1"]) == 2
    assert "seed: 0 there, 1 asked" in capsys.readouterr().err
    assert (folder(corpus) / "train_dataset.h5").stat().st_mtime_ns == before
    assert generate_dataset.main([*MUSIC, "--seed", "1", "--overwrite"]) == 0
    assert (folder(corpus) / "train_dataset.h5").stat().st_mtime_ns != before


def test_a_lost_split_is_made_again(corpus, capsys):
    assert generate_dataset.main(MUSIC) == 0
    (folder(corpus) / "val_dataset.h5").unlink()
    assert generate_dataset.main(MUSIC) == 0
    assert "lacks val_dataset.h5 and is made again" in capsys.readouterr().out
    assert (folder(corpus) / "val_dataset.h5").is_file()


def test_changed_labels_are_noticed(corpus, capsys):
    assert generate_dataset.main(MUSIC) == 0
    table = corpus.data / "MER_audio_taffc_dataset" / "panda_dataset_taffc_annotations.csv"
    table.write_text(table.read_text().replace("Q1", "Q4", 1))
    assert generate_dataset.main(MUSIC) == 2
    assert "recordings: " in capsys.readouterr().err


def test_a_folder_of_other_things_is_never_replaced(corpus, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    assert generate_dataset.main([*MUSIC, "-ps", str(mine), "--overwrite"]) == 2
    assert "not a data set of this suite" in capsys.readouterr().err
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_unusable_recordings_are_listed_and_too_many_refused(corpus, capsys):
    bad = songs(corpus)[:2]
    bad[0].write_text("no sound")
    write_audio(bad[1], np.zeros(48000), 16000)
    assert generate_dataset.main(MUSIC) == 2
    assert "2 of 32 recordings cannot be used, more than 5%" in capsys.readouterr().err
    assert not folder(corpus).exists()
    listing = pd.read_csv(folder(corpus).parent / "english.skipped.csv")
    assert sorted(listing["recording"]) == sorted(f"{p.parent.name}/{p.stem}" for p in bad)
    assert generate_dataset.main([*MUSIC, "--allow-skips"]) == 0
    assert "30 recordings written, 2 skipped" in capsys.readouterr().out
    skipped = pd.read_csv(folder(corpus) / "skipped.csv").set_index("recording")["reason"]
    assert skipped[f"{bad[1].parent.name}/{bad[1].stem}"] == "silent"
    assert "cannot be decoded" in skipped[f"{bad[0].parent.name}/{bad[0].stem}"]


def test_hours_are_drawn_with_the_seed(corpus, tmp_path):
    drawn = []
    for seed in ("0", "0", "1"):
        out = tmp_path / f"{len(drawn)}"
        line = [*MUSIC, "--hours", "0.022", "--seed", seed, "-ps", str(out)]
        line += ["--set", "dataset.val=0.25"]
        assert generate_dataset.main(line) == 0
        drawn.append(pd.read_csv(out / "split.csv"))
    assert drawn[0].equals(drawn[1]) and not drawn[0].equals(drawn[2])
    assert 18 <= len(drawn[0]) < 32


def test_the_mixture_has_equal_durations(paths, demo):
    shutil.copytree(demo / "speech", paths.data / "speech")
    assert generate_dataset.main(["-d", "s", "-l", "x"]) == 0
    split = pd.read_csv(paths.data / "features/speech/mix/split.csv")
    totals = split.groupby("language")["length"].sum() * 512 / 16000
    assert abs(totals["english"] - totals["mandarin"]) < 12
    assert set(split["split"]) == {"train", "val"}
    assert split.groupby("split")["language"].nunique().tolist() == [2, 2]


def test_missing_corpus_and_folder_exit_with_2(paths, capsys):
    assert generate_dataset.main(MUSIC) == 2
    assert "4Q-Emotion not found" in capsys.readouterr().err
    assert generate_dataset.main([*MUSIC, "-pl", str(paths.data / "nowhere")]) == 2


def test_a_full_disk_leaves_what_was_there(corpus):
    """A file-size limit stands for the full disk: it fails in the same call of the system."""
    assert generate_dataset.main(MUSIC) == 0
    before = {p.name: p.read_bytes() for p in folder(corpus).iterdir()}

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    result = subprocess.run(
        [sys.executable, "generate_dataset.py", *MUSIC, "--seed", "1", "--overwrite"]
        + ["-pl", str(corpus.data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert result.returncode == 2, result.stderr
    assert "no room to write" in result.stderr and "Traceback" not in result.stderr
    assert {p.name: p.read_bytes() for p in folder(corpus).iterdir()} == before
    assert [p.name for p in folder(corpus).parent.iterdir()] == ["english"]
