"""Codes from files in the place of a frozen encoder's: rows, joined files, heads, probes, folds."""

import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import SMALL

import generate_dataset
import predict
import results_table
import settings as defaults
import trans_train_cpc_multi
import trans_train_denoise_multi
from lib import configuration
from lib.datasets import code_source, codes_file
from lib.datasets.codes_file import About, CodesOf
from lib.errors import UserError
from lib.evaluation import predictions_table
from lib.labels import TASKS
from lib.transfer import clip_probe, transfer_stage

PAIR = "models_trans/speech_codes_2_music_eng"


def about(name, per):
    return About(name, f"the {name}", "2.1", "CC0-1.0", "drawn at random", per)


def write(path, recordings, per="window", width=4, seed=0):
    """A codes file of random numbers, the last recording first; per window one to three rows."""

    def codes_of(number):
        count = number % 3 + 1 if per == "window" else 1
        codes = np.random.default_rng([seed, number]).normal(1000, 20, (count, width))
        starts = np.arange(count) * 0.7 if per == "window" else None
        return CodesOf(recordings[number], codes, starts)

    order = range(len(recordings))[::-1]
    names = [recordings[number] for number in order]
    codes_file.write(path, about(path.stem, per), names, lambda left: map(codes_of, order))
    return path


def of(path, recording):
    """The codes of a recording in a file."""
    codes = codes_file.read(path)
    number = codes.recordings.index(recording)
    return codes.codes[slice(*codes.offsets[number : number + 2])]


@pytest.fixture
def names(windows):
    return windows.table["recording"].tolist()


def test_a_row_of_codes_stands_where_a_window_would(tmp_path, windows, names, features):
    path = write(tmp_path / "a.codes", [*names, "more"])
    rows = code_source.read([path], per_recording=False).rows(windows)
    expected = [of(path, name) for name in names]
    np.testing.assert_array_equal(rows.take(np.arange(len(rows))), np.concatenate(expected))
    assert rows.table["length"].tolist() == [len(codes) for codes in expected]
    starts = rows.start_seconds(features)
    np.testing.assert_allclose(starts, np.concatenate([np.arange(len(c)) * 0.7 for c in expected]))
    assert rows.identity == windows.identity
    part = rows.subset(np.array([1, 4, 5]))
    assert part.table["recording"].tolist() == ["r1", "r4", "r5"]
    taken = np.concatenate([expected[number] for number in (1, 4, 5)])
    np.testing.assert_array_equal(part.take(np.arange(len(part))), taken)
    np.testing.assert_array_equal(part.frames_of(2), expected[5])
    np.testing.assert_array_equal(part.labels_by_clip()["quadrants"], [1, 0, 1])
    assert part.start_seconds(features)[-1] == starts[rows.recording == 5][-1]


def test_joined_files_and_probes_are_per_recording(tmp_path, windows, names):
    a = write(tmp_path / "a.codes", names)
    b = write(tmp_path / "b.codes", names[::-1], per="recording", width=3)
    rows = code_source.read([a, b], per_recording=False).rows(windows)
    assert len(rows) == len(names)
    for number, name in enumerate(names):
        codes = of(a, name)
        expected = np.concatenate([codes.mean(axis=0), codes.std(axis=0), of(b, name)[0]])
        np.testing.assert_allclose(rows.take(np.array([number]))[0], expected, rtol=1e-6)
    of_a = code_source.read([a], per_recording=False).rows(windows)
    pooled = code_source.read([a], per_recording=True).rows(windows)
    statistics = clip_probe.code_statistics(of_a, of_a.take)
    np.testing.assert_allclose(pooled.take(np.arange(8)), statistics, rtol=1e-6)
    alone = code_source.read([b], per_recording=True).rows(windows)
    np.testing.assert_array_equal(alone.take(np.arange(8))[:, :3], rows.frames[:, -3:])


def test_the_record_says_which_codes(tmp_path, names):
    paths = [write(tmp_path / f"{name}.codes", names, seed=seed) for seed, name in enumerate("ab")]
    source = code_source.read(paths, per_recording=False)
    digests = [codes_file.read(path).digest for path in paths]
    assert source.name == "a_and_b"
    assert source.inputs["encoder"] == "+".join(digests) and digests[0] != digests[1]
    assert [codes["name"] for codes in source.inputs["codes"]] == ["a", "b"]
    assert source.inputs["codes"][0]["licence"] == "CC0-1.0"
    with pytest.raises(UserError, match="codes of one name twice"):
        code_source.read(paths[:1] * 2, per_recording=False)
    paths[0].rename(tmp_path / "c.codes")
    write(tmp_path / "a.codes", names)
    with pytest.raises(UserError, match="codes of one name twice"):
        code_source.read([tmp_path / "a.codes", tmp_path / "c.codes"], per_recording=False)


def test_recordings_that_do_not_fit_are_told(tmp_path, names, capsys):
    def check(recordings):
        path = write(tmp_path / "a.codes", recordings)
        code_source.read([path], per_recording=False).check(names)

    check([*names, "x", "y"])
    assert "4 numbers per window; 2 more recordings in it are not used" in capsys.readouterr().out
    check(names)
    assert "not used" not in capsys.readouterr().out
    with pytest.raises(
        UserError, match="lacks 2 of the 8 recordings of the data set, such as 'r6'"
    ):
        check([*names[:-2], "x"])
    with pytest.raises(UserError, match="has none of .* for example 'y', the data set 'r0'"):
        check(["x", "y"])


@pytest.fixture(scope="module")
def place(demo, tmp_path_factory):
    """A data set of music, its codes per window and per recording, and the models of this file."""
    place, patch = tmp_path_factory.mktemp("codes"), pytest.MonkeyPatch()
    shutil.copytree(demo, place, dirs_exist_ok=True)
    for name in ("path_to_data", "path_to_models"):
        patch.setattr(defaults, name, str(place))
    assert generate_dataset.main(["-d", "m", "-l", "e"]) == 0
    recordings = split_of(place)["recording"].tolist()
    write(place / "a.codes", recordings)
    write(place / "b.codes", recordings, per="recording", width=5, seed=1)
    yield place
    patch.undo()


def split_of(place):
    return pd.read_csv(place / "features/music/english/split.csv")


def transfer(line, *more, script=trans_train_denoise_multi):
    return script.main([*line.split(), *"-m e -rel n".split(), *more])


def record(run):
    return json.loads((run / "run.json").read_text())


@pytest.fixture(scope="module")
def heads(place):
    """The run of heads on the codes per window."""
    assert transfer(f"-s {place / 'a.codes'}", *SMALL) == 0
    return place / PAIR / "a.feat_ext.it_0"


def test_heads_on_codes_are_a_whole_classifier(place, heads):
    """The saved model maps the codes as they are in the file to what predictions.csv has."""
    table = pd.read_csv(heads / "predictions.csv")
    split = split_of(place)
    assert set(table["recording"]) == set(split["recording"][split["split"] == "test"])
    recordings = list(dict.fromkeys(table["recording"]))
    codes = np.concatenate([of(place / "a.codes", name) for name in recordings])
    model = keras.models.load_model(heads / "model.keras")
    outputs = model.predict(codes, verbose=0)
    expected = predictions_table.probabilities_of(predictions_table.read(heads / "predictions.csv"))
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)
    assert sorted(table["start_seconds"].unique()) == [0.0, 0.7, 1.4]
    inputs = record(heads)["inputs"]
    assert inputs["encoder"] == codes_file.read(place / "a.codes").digest
    assert inputs["codes"][0]["encoder_version"] == "2.1"


def test_codes_are_standardised_by_the_training_alone(place, heads):
    split = split_of(place)
    model = keras.models.load_model(heads / "model.keras")
    train = [of(place / "a.codes", name) for name in split["recording"][split["split"] == "train"]]
    codes = np.concatenate(train)
    standard = keras.ops.convert_to_numpy(model.get_layer("standardise")(codes))
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(standard.std(axis=0), 1, atol=1e-3)


def test_a_number_that_never_changes_in_training_is_not_divided_by_nothing(
    tmp_path, windows, names
):
    path = write(tmp_path / "a.codes", names)
    rows = code_source.read([path], per_recording=False).rows(windows)
    rows.frames[:, 1] = 7
    model = transfer_stage._code_classifier(rows, configuration.load())
    standard = model.get_layer("standardise")(np.array([[0, 9, 0, 0]], np.float32))
    assert keras.ops.convert_to_numpy(standard)[0, 1] == 2


def test_what_no_encoder_of_the_suite_has_is_told(place, heads, capsys):
    codes = str(place / "a.codes")
    lines = {
        f"-s {codes} -rel y": "codes from a file have no encoder to release: use -rel n",
        f"-s {codes} -rel n -mod model_over": "leave out -mod",
        "-s e -rel n": "the following arguments are required: -mod/--model",
        "-s q -rel n": "invalid choice: 'q' (choose from e, m, x, u, n, FILE.codes, or the name of",
        "-s e -mod model_over -rel n --teacher nobody": "nobody: no codes of that name",
        f"-s e -mod model_over -rel n --teacher {codes}": "is for an encoder in training",
        f"-s {codes} -rel n --teacher {codes}": "is for an encoder in training",
        "-s nothing.codes -rel n": "no codes file nothing.codes",
    }
    for line, message in lines.items():
        try:
            status = trans_train_denoise_multi.main([*line.split(), "-m", "e"])
        except SystemExit as end:
            status = end.code
        assert status == 2 and message in capsys.readouterr().err
    for model in (heads, heads / "model.keras"):
        assert predict.main(["--model", str(model), "-i", "song.mp3", "--json"]) == 2
        assert "learnt from the codes of a file and has no encoder" in capsys.readouterr().err


def test_changed_codes_of_one_name_are_refused(place, heads, capsys):
    other = place / "other"
    other.mkdir()
    names = codes_file.read(place / "a.codes").recordings
    write(other / "a.codes", names, seed=3)
    assert transfer(f"-s {other / 'a.codes'}", *SMALL) == 2
    assert "finished, with other inputs than asked for (encoder: " in capsys.readouterr().err
    assert transfer(f"-s {place / 'a.codes'}", *SMALL) == 0
    assert "is finished already" in capsys.readouterr().out


def test_codes_are_found_by_the_name_that_embed_gave_them(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(defaults, "path_to_models", str(tmp_path))
    folder = place / "codes/music/english"
    folder.mkdir(parents=True)
    for name in "ab":
        shutil.copy(place / f"{name}.codes", folder / f"of_{name}.codes")
    assert transfer("-s of_a+of_b --probe --tag named") == 0
    assert transfer(f"-s {place / 'a.codes'}+{place / 'b.codes'} --probe --tag filed") == 0
    scores = [
        (tmp_path / PAIR / f"a_and_b.probe.{tag}.it_0/predictions.csv").read_text()
        for tag in ("named", "filed")
    ]
    assert scores[0] == scores[1]
    assert transfer("-s of_a+of_c --probe") == 2
    said = capsys.readouterr().err
    assert "of_c: no codes of that name" in said and "(found: of_a, of_b)" in said


@pytest.mark.slow
def test_folds_of_joined_codes_and_the_tables_of_all(place, heads, capsys):
    """Also through the other script; every clip is tested once; each run has a row by its title."""
    joined = f"-s {place / 'a.codes'}+{place / 'b.codes'} --folds 2 --groups artist"
    assert transfer(f"{joined} --probe", script=trans_train_cpc_multi) == 0
    assert transfer(joined, *SMALL, "--epochs", "1") == 0
    assert transfer(f"-s {place / 'b.codes'} --probe") == 0
    split = split_of(place)
    for mode in ("probe", "feat_ext"):
        run = place / PAIR / f"a_and_b.{mode}.artist_folds_2.it_0"
        assert sorted(pd.read_csv(run / "predictions.csv")["recording"]) == sorted(
            split["recording"]
        )
    whole = [f"fold_{n}" for n in (1, 2) if (run / f"fold_{n}" / "model.keras").is_file()]
    assert len(whole) == 2
    capsys.readouterr()
    assert results_table.main([]) == 0 and results_table.main(["--check"]) == 0
    out = place / "results"
    runs, folds = (pd.read_csv(out / f"{name}.csv") for name in ("runs", "folds"))
    assert len(runs) == 4 and set(folds["model"]) == {"a_and_b"}
    assert (runs["encoder"].str.len() >= 32).all()
    cells = pd.read_csv(out / "table.csv")
    keys = set(zip(cells["model"], cells["mode"], cells["speech"], strict=True))
    assert {("a", "feat_ext", "codes"), ("b", "probe", "codes")} <= keys
    text, page = (out / "table.md").read_text(), (out / "report.html").read_text()
    for title in ("the a + the b", "the b"):
        assert title in text and title in page


def test_few_labels_leave_fewer_rows(tmp_path, windows, names):
    path = write(tmp_path / "a.codes", names)
    rows = code_source.read([path], per_recording=False).rows(windows)
    few = rows.subset(np.array([0, 1]))
    assert len(few) == len(of(path, "r0")) + len(of(path, "r1"))
    assert few.sha256 == windows.subset(np.array([0, 1])).sha256
