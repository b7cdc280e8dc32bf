"""The tables of results from runs whose predictions are known."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import predictions
from sklearn.metrics import f1_score

from lib.artefacts import run_record
from lib.artefacts.run_name import RunName
from lib.errors import UserError
from lib.evaluation import predictions_table
from lib.figures import results_table
from lib.labels import QUADRANTS, TASKS, columns_of
from lib.models.catalogue import title
from lib.results import finished_runs, provenance, results_stage, table2, typesetting
from lib.results.finished_runs import MODES, collect
from lib.transfer import test_scores

CLIPS = 40


def run(models, pair, name, right, finished=True, inputs="{}", outcome="{}", seed=0, **kwargs):
    folder = models / "models_trans" / pair / name
    folder.mkdir(parents=True)
    table = predictions(right, seed, **kwargs)
    table.to_csv(folder / "predictions.csv", index=False)
    if finished:
        (folder / "run.json").write_text(f'{{"inputs": {inputs}, "outcome": {outcome}}}')
    return table


@pytest.fixture
def models(tmp_path):
    for i in range(3):
        run(tmp_path, "speech_eng_2_music_eng", f"model_over.full.it_{i}", 0.9, seed=i)
    for speech, right in (("man", 0.7), ("mix", 0.8)):
        run(tmp_path, f"speech_{speech}_2_music_eng", "model_over.full.it_0", right, seed=4)
    run(tmp_path, "speech_mix_2_music_man", "model_cpc.feat_ext.it_0", 0.3)
    run(tmp_path, "speech_none_2_music_eng", "model_cnn.it_0", 0.6)
    run(tmp_path, "speech_eng_2_music_eng", "model_cpc.full.it_0", 0.99, finished=False)
    run(tmp_path, "speech_eng_2_music_eng", "model_over.full.it_0 (copy)", 0.99)
    return tmp_path


def test_cells_are_mean_and_standard_deviation_over_iterations(models):
    found = table2.gather(models)
    assert any("model_cpc.full.it_0 is left out: it is unfinished" in note for note in found.notes)
    assert any("it_0 (copy) is left out: it is not named as a run" in note for note in found.notes)
    cells = found.cells.set_index(["level", "model", "mode", "speech", "music", "task"])
    for level in ("window", "clip"):
        values = [
            predictions_table.measures(predictions(0.9, seed))[level]["arousal"]["macro_f1"]
            for seed in range(3)
        ]
        cell = cells.loc[(level, "model_over", "full", "eng", "eng", "arousal")]
        assert cell["runs"] == 3
        assert cell["f1_mean"] == pytest.approx(np.mean(values))
        assert cell["f1_sd"] == pytest.approx(np.std(values, ddof=1))
        assert cell["f1_low"] < cell["f1_mean"] < cell["f1_high"]
    assert ("window", "model_cpc", "full", "eng", "eng", "arousal") not in cells.index
    chance = found.cells[(found.cells["model"] == "chance") & (found.cells["task"] == "quadrants")]
    assert sorted(chance["music"].unique()) == ["eng", "man"]
    assert np.allclose(chance["f1_mean"], 0.25)


def test_published_figures_stand_beside_with_arousal_and_valence_put_right(models):
    found = table2.gather(models)
    cells = found.cells[found.cells["level"] == "window"]
    cells = cells.set_index(["model", "mode", "speech", "music", "task"])
    full = ("model_over", "full", "eng", "eng")
    assert cells.loc[(*full, "quadrants"), "published_2"] == 0.57
    assert cells.loc[(*full, "arousal"), "published_2"] == 0.81
    assert cells.loc[(*full, "valence"), "published_2"] == 0.67
    cpc = cells.loc[("model_cpc", "feat_ext", "mix", "man", "quadrants")]
    assert cpc["published_1"] < cpc["published_1_weighted"]  # macro is not weighted on CH-818
    assert np.isnan(cells.loc[("model_cnn", "scratch", "none", "eng", "quadrants"), "published_1"])


def test_differences_are_from_the_baseline_on_the_same_clips(models):
    run(models, "speech_eng_2_music_eng", "model_cpc.feat_ext.it_0", 0.9, clips=20)
    found = table2.gather(models)
    assert any("CPC Feat. Ext. eng → eng was tested on other clips" in note for note in found.notes)
    assert any("no model_cnn of man music" in note for note in found.notes)
    table = found.differences.set_index(["level", "speech", "task"])
    row = table.loc[("clip", "eng", "quadrants")]
    base = predictions_table.measures(predictions(0.6))["clip"]["quadrants"]["macro_f1"]
    own = [
        predictions_table.measures(predictions(0.9, s))["clip"]["quadrants"]["macro_f1"]
        for s in range(3)
    ]
    assert row["difference"] == pytest.approx(np.mean(own) - base)
    assert row["all_low"] < row["low"] < row["difference"] < row["high"] < row["all_high"]
    assert (row["runs"], row["baseline_runs"], row["clips"]) == (3, 1, CLIPS)
    assert set(found.differences["model"]) == {"model_over"}


def test_contrasts_are_the_questions_of_the_paper(models):
    found = table2.gather(models)
    table = found.contrasts.set_index(["level", "question"])
    f1 = {
        speech: found.cells.query(
            "level == 'clip' and task == 'quadrants' and model == 'model_over' "
            f"and speech == '{speech}'"
        )["f1_mean"].item()
        for speech in ("eng", "man", "mix")
    }
    intra = table.loc[("clip", "intra- minus cross-linguistic")]
    assert intra["difference"] == pytest.approx(f1["eng"] - f1["man"])
    assert intra["published"] == pytest.approx(0.57 - 0.56)
    mixed = table.loc[("clip", "mixture minus single language")]
    assert mixed["difference"] == pytest.approx(f1["mix"] - (f1["eng"] + f1["man"]) / 2)
    assert len(found.contrasts) == 4  # nothing of man music, which lacks cells


def test_markdown_never_fills_a_missing_cell(models):
    text = re.sub(" +", " ", typesetting.markdown(table2.gather(models)))
    head = next(line for line in text.splitlines() if "eng → eng |" in line)
    assert "(no speech) eng" in head
    lines = [line for line in text.splitlines() if line.startswith("| CNN | from scratch | quad")]
    assert "| – | – | – | " in lines[0] and "[1]" in lines[0]
    assert "[3]" in text and "± 0.0" in text
    for words in ("## Beside the published", "## Against training from scratch", "## Left out"):
        assert words in text


def test_only_rows_with_a_published_figure_stand_beside_it(models, tmp_path_factory):
    run(models, "speech_codes_2_music_eng", "mine.probe.it_0", 0.6)
    beside = typesetting.markdown(table2.gather(models)).partition("## Beside")[2]
    beside = beside.partition("\n## ")[0]
    assert "| SCAE" in beside and "mine" not in beside
    alone = tmp_path_factory.mktemp("codes")
    run(alone, "speech_codes_2_music_eng", "mine.probe.it_0", 0.6)
    text = typesetting.markdown(table2.gather(alone))
    assert "mine" in text and "Beside the published" not in text


def test_files_and_terminal(models, capsys):
    text = results_stage.results(models, models / "results")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any(line.startswith("SCAE Full quadrants ") and " [3] " in line for line in lines)
    assert any("clip intra- minus cross-linguistic SCAE Full eng" in line for line in lines)
    assert "nan" not in text and "**" not in text
    assert "is left out: it is unfinished" in capsys.readouterr().out
    names = {"table.md", "table.tex", "table.csv", "table.png", "table.pdf", "report.html"}
    names |= {"differences.csv", "contrasts.csv", "folds.csv", "runs.csv"}
    assert {path.name for path in (models / "results").iterdir()} == names
    assert len(pd.read_csv(models / "results" / "table.csv")) == 2 * 3 * (5 + 2)
    tex = (models / "results" / "table.tex").read_text()
    assert tex.count("\\toprule") == tex.count("\\bottomrule") == 2
    rows = [line for line in tex.splitlines() if line.endswith("\\\\")]
    assert all(line.count(" & ") in (4, 6) for line in rows)
    assert not set("±→–") & set(tex)


def test_codes_from_files_have_a_row_by_the_titles_in_their_record(models):
    """Also where a record was changed by hand."""
    pair, codes = "speech_codes_2_music_eng", [{"title": "tagger"}, {"title": "signs"}]
    inputs = json.dumps({"encoder": "ab" * 16, "codes": codes})
    run(models, pair, "tagger_and_signs.probe.it_0", 0.9, inputs=inputs)
    run(models, pair, "odd.probe.it_0", 0.8, inputs='{"codes": {"title": 1}}')
    found = table2.gather(models)
    text = typesetting.markdown(found)
    for row in ("| tagger + signs ", "| odd "):
        assert any(line.startswith(row) for line in text.splitlines())
    rows = found.differences.query("speech == 'codes' and level == 'clip' and task == 'quadrants'")
    assert set(rows["model"]) == {"tagger_and_signs", "odd"}
    assert "ab" * 16 in set(found.runs["encoder"])
    same = json.dumps({"encoder": "cd" * 16, "codes": [{"title": "tagger"}]})  # as another's title
    for name in ("one", "two"):
        run(models, pair, f"{name}.probe.it_0", 0.7, inputs=same)
    text = typesetting.markdown(table2.gather(models))
    for row in ("| tagger  ", "| tagger (two) "):
        assert any(line.startswith(row) for line in text.splitlines()), text


def test_iterations_that_differ_in_settings_are_not_averaged(tmp_path):
    for i, units in enumerate((256, 512, 512)):
        inputs = f'{{"iteration": {i}, "heads": {{"units": {units}}}}}'
        name = f"model_over.full.it_{i}"
        run(tmp_path, "speech_eng_2_music_eng", name, 0.5 + i / 10, inputs=inputs)
    runs = collect(tmp_path)
    assert runs.cells[0].iterations == [1, 2]
    assert runs.notes == [
        "SCAE Full eng → eng: iterations 0 have other settings or data than 1, 2 and are left out"
    ]


def test_runs_that_differ_in_what_they_go_on_from_are_not_averaged(tmp_path):
    """A released run says nothing itself of its heads; its parents do."""
    pair = "speech_eng_2_music_eng"
    for i, (units, hours) in enumerate(((512, "a"), (512, "a"), (256, "a"), (512, "b"))):
        run(tmp_path, pair, f"model_over.full.it_{i}", 0.6)
        parents = {
            "feat_ext": {"iteration": i, "encoder": f"hash {i}", "heads": {"units": units}},
            "pretraining": {"iteration": i, "dataset": {"train": hours}},
        }
        record = {"inputs": {"iteration": i, "feat_ext": f"hash {i}"}, "parents": parents}
        path = tmp_path / "models_trans" / pair / f"model_over.full.it_{i}" / "run.json"
        path.write_text(json.dumps(record))
    runs = collect(tmp_path)
    assert runs.cells[0].iterations == [0, 1]
    assert "iterations 2, 3 have other settings or data" in runs.notes[0]


def test_other_labels_of_the_same_clips_are_not_paired(models):
    path = models / "models_trans/speech_none_2_music_eng/model_cnn.it_0/predictions.csv"
    table = pd.read_csv(path)
    table["quadrants"] = table["quadrants"].map(dict(Q1="Q2", Q2="Q1", Q3="Q3", Q4="Q4"))
    table.to_csv(path, index=False)
    found = table2.gather(models)
    assert found.differences.empty
    assert any("other labels than the baseline" in note for note in found.notes)


@pytest.mark.slow
def test_a_damaged_run_is_left_out_with_a_note(models):
    folder = models / "models_trans/speech_none_2_music_eng/model_cnn.it_0"
    path = folder / "predictions.csv"
    table = pd.read_csv(path)

    def note_on(change):
        change()
        found = table2.gather(models)
        assert "model_cnn" not in set(found.cells["model"])
        return next(note for note in found.notes if "model_cnn.it_0" in note)

    def rewritten(frame):
        return lambda: frame.to_csv(path, index=False)

    cases = {
        "lacks the columns p_arousal_positive": table.drop(columns="p_arousal_positive"),
        "classes of quadrants other than Q1, Q2": table.assign(quadrants="Q5"),
        "holds no window": table.head(0),
        "not in [0, 1]": table.assign(p_quadrants_Q1="much"),
        "probabilities that are not in [0, 1]": table.assign(p_quadrants_Q1=np.inf),
    }
    for message, frame in cases.items():
        assert message in note_on(rewritten(frame))
    assert "cannot be read" in note_on(lambda: path.write_bytes(b""))
    assert "has no predictions.csv" in note_on(path.unlink)
    table.to_csv(path, index=False)
    assert "run.json is damaged" in note_on(lambda: (folder / "run.json").write_text("[" * 9000))
    (folder / "run.json").write_text('{"inputs": null}')
    assert "model_cnn" in set(table2.gather(models).cells["model"])


@pytest.mark.parametrize("nested", [False, True])
def test_folds_have_the_mean_of_their_macro_f1(tmp_path, nested):
    name = f"model_over.full.folds_2{'_nested' * nested}.it_0"
    table = run(tmp_path, "speech_eng_2_music_eng", name, 0.5)
    table["fold"] = np.where(table["recording"] < "s14", 1, 2)  # of 4 + 4 + 3 + 3 clips in one
    path = tmp_path / "models_trans/speech_eng_2_music_eng" / name / "predictions.csv"
    table.to_csv(path, index=False)
    parts = [predictions_table.measures(part) for _, part in table.groupby("fold")]
    for row in collect(tmp_path).folds.itertuples():
        values = [part[row.level][row.task]["macro_f1"] for part in parts]
        assert row.mean == pytest.approx(np.mean(values))
        assert row.sd == pytest.approx(np.std(values, ddof=1))
        assert row.nested == nested


def test_where_no_run_can_be_used_it_is_told_why(tmp_path):
    run(tmp_path, "speech_eng_2_music_eng", "model_over.full.it_0", 0.9, finished=False)
    with pytest.raises(UserError, match="no finished run in(.|\n)*it_0 .*unfinished(.|\n)*train"):
        table2.gather(tmp_path)


@pytest.mark.slow
def test_the_tables_are_checked_against_the_predictions(models):
    for path in (models / "models_trans").glob("speech_*/*.it_[0-9]/"):
        if (path / "run.json").exists():
            test_scores.write(
                predictions_table.read(path / "predictions.csv"), path, "a run", figures=False
            )
    out, run = models / "results", models / "models_trans/speech_none_2_music_eng/model_cnn.it_0"
    with pytest.raises(UserError, match="is missing: run python3 results_table.py first"):
        results_stage.check(models, out)
    results_stage.results(models, out)
    assert "7 runs: all follow from the predictions" in results_stage.check(models, out)

    def mismatches(path, change):
        before = path.read_text()
        path.write_text(change(before))
        with pytest.raises(UserError) as told:
            results_stage.check(models, out)
        path.write_text(before)
        return str(told.value)

    table = pd.read_csv(out / "table.csv")
    wrong = f"{table['f1_mean'][1]:.6g}"
    said = mismatches(out / "table.csv", lambda text: text.replace(wrong, "0.98765", 1))
    assert "1 mismatches" in said and f"is '0.98765', the runs give '{wrong}'" in said
    assert "table.md, line 9" in mismatches(out / "table.md", lambda t: t.replace("Macro", "M", 1))
    assert "rows, the runs give" in mismatches(out / "folds.csv", lambda text: text + "a,b\n")
    assert "a row is cut" in mismatches(out / "table.csv", lambda text: text.rpartition(",")[0])
    assert "is empty" in mismatches(out / "runs.csv", lambda _: "")
    said = mismatches(out / "runs.csv", lambda text: text.replace("run,", "ran,", 1))
    assert "lacks the columns run" in said
    said = mismatches(run / "metrics.json", lambda text: text.replace('"window"', '"windows"'))
    assert "model_cnn.it_0: metrics.json does not match its predictions.csv" in said
    right = "0.9,"
    said = mismatches(run / "predictions.csv", lambda text: text.replace(right, "0.01,", 40))
    assert "runs.csv" in said and "predictions is" in said and "table.csv, window" in said
    assert "metrics.json does not match" in said
    assert "all follow" in results_stage.check(models, out)
    (run / "run.json").unlink()
    with pytest.raises(UserError, match="has other runs(.|\n)*gone: .*model_cnn.it_0"):
        results_stage.check(models, out)


def test_what_is_told_of_a_run(tmp_path, monkeypatch):
    about = {"seed": 0, "iteration": 0, "encoder": "e" * 64, "dataset": {"train": "t", "test": "u"}}
    record = {"inputs": about, "commit": "c" * 40 + "-dirty", "packages": {"keras": "3"}}
    row = provenance.row("pair/run", record, "p")
    assert row["dataset"] == "train=t test=u" and row["encoder"] == "e" * 64
    same = record | {"inputs": about | {"iteration": 3, "encoder": "f" * 64}}
    assert provenance.row("", same, "")["settings"] == row["settings"]
    for name, value in (("seed", 1), ("dataset", {"train": "v"})):
        other = provenance.row("", record | {"inputs": about | {name: value}}, "")
        assert (other["settings"] == row["settings"]) == (name == "dataset")
        assert (other["data"] == row["data"]) == (name == "seed")
    folds = {"inputs": {"folds": [about, about | {"dataset": {"train": "v"}}]}}
    assert provenance.row("", folds, "")["dataset"] == "train=t test=u; train=v"
    found = run_record.commit()
    assert found is None or len(found.removesuffix("-dirty")) == 40
    monkeypatch.setattr(run_record, "ROOT", tmp_path)  # without git, as in an image of the suite
    monkeypatch.delenv("MER_COMMIT", raising=False)
    assert run_record.commit() is None
    monkeypatch.setenv("MER_COMMIT", "d" * 40)
    assert run_record.commit() == "d" * 40


def test_a_clip_may_be_called_na(models):
    path = models / "models_trans/speech_none_2_music_eng/model_cnn.it_0/predictions.csv"
    table = pd.read_csv(path).replace({"recording": {"s00": "NA"}})
    table.to_csv(path, index=False)
    assert "NA" in set(predictions_table.read(path)["recording"])


@pytest.mark.slow
def test_tables_of_others_are_not_replaced(models, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "table.csv").write_text("my own")
    with pytest.raises(UserError, match="table.csv is not from this suite"):
        results_stage.results(models, out)
    assert (out / "table.csv").read_text() == "my own"
    results_stage.results(models, tmp_path / "results")
    results_stage.results(models, tmp_path / "results")  # its own are


def test_predictions_keep_every_digit(tmp_path):
    """What is read back gives the measures that were written."""
    rng = np.random.default_rng(0)
    table = predictions(0.5)
    for task in TASKS:
        p = rng.random((len(table), len(TASKS[task]))).astype(np.float32)
        table[columns_of(task)] = p / p.sum(axis=1, keepdims=True)
    test_scores.write(table, tmp_path, "a run", figures=False)
    again = predictions_table.read(tmp_path / "predictions.csv")
    for task in TASKS:
        expected = table[columns_of(task)].to_numpy(np.float32)
        np.testing.assert_array_equal(predictions_table.probabilities_of(again)[task], expected)
    assert predictions_table.measures(again) == json.loads((tmp_path / "metrics.json").read_text())


def test_points_of_the_figure_keep_to_their_language_pair(tmp_path, monkeypatch):
    names = [f"model_cpc_nce.{i:02d}" for i in range(12)]
    rows = [
        {"task": "quadrants", "level": "clip", "model": model, "mode": mode, "speech": speech}
        | {"music": music, "f1_mean": 0.5, "f1_low": 0.4, "f1_high": 0.6, "published_2": np.nan}
        for speech, music in (("eng", "eng"), ("man", "eng"), ("eng", "man"))
        for model in names
        for mode in MODES
    ]
    rows.append(rows[0] | {"model": "chance", "mode": "chance", "speech": "none"})
    drawn = []
    monkeypatch.setattr(
        results_table, "save_figure", lambda figure, path, pdf: drawn.append(figure)
    )
    titles = {model: title(model) for model in names}
    results_table.table(pd.DataFrame(rows), MODES, titles, tmp_path / "table.png", "model_cnn")
    series = [bars.lines[0] for bars in drawn[0].axes[0].containers]
    assert len(series) == 48
    for line in series:
        np.testing.assert_array_equal(np.round(line.get_xdata()), [0, 1, 2])
    looks = {(line.get_color(), line.get_marker()) for line in series}
    assert len(looks) == 48  # none looks like another
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels[:2] == ["chance", "CPC-NCE, 00, Feat. Ext."] and len(labels) == 1 + 48


DAMAGE = {
    "cut at a line end": lambda text: "".join(text.splitlines(keepends=True)[:40]),
    "a row doubled": lambda text: text + text.splitlines(keepends=True)[-1],
    "an answer changed": lambda text: text.replace("0.9,", "0.8,", 1),
    "empty": lambda text: "",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_predictions_that_were_changed_are_left_out_and_named(models, damage):
    pair = models / "models_trans/speech_eng_2_music_eng"
    for number in range(3):
        run_record.write_run(pair / f"model_over.full.it_{number}", {}, {}, execution={}, began=0.0)
    whole = collect(models).cells
    path = pair / "model_over.full.it_1/predictions.csv"
    path.write_text(damage(path.read_text()))
    runs = collect(models)
    found = {cell.key: cell.iterations for cell in runs.cells}
    assert found[("model_over", "full", "eng", "eng")] == [0, 2]
    assert len(runs.cells) == len(whole) and not any("it_1" in run for run in runs.behind["run"])
    assert any("it_1 is left out" in n and "predictions.csv: cut, changed" in n for n in runs.notes)


@pytest.mark.parametrize("record", ['{"inputs": {"se', "", "[]", "null"])
def test_a_damaged_record_of_a_run_is_left_out_and_named(models, record):
    run = models / "models_trans/speech_eng_2_music_eng/model_over.full.it_1"
    (run / "run.json").write_text(record)
    runs = collect(models)
    found = {cell.key: cell.iterations for cell in runs.cells}
    assert found[("model_over", "full", "eng", "eng")] == [0, 2]
    assert any("it_1 is left out" in note and "run.json is damaged" in note for note in runs.notes)


@pytest.mark.parametrize("record", [
    {"inputs": []}, {"inputs": "x"}, {"inputs": {}, "parents": [1]}, {"weather": 1},
])  # fmt: skip
def test_an_odd_record_of_a_run_is_no_traceback(models, record):
    run = models / "models_trans/speech_eng_2_music_eng/model_over.full.it_1"
    (run / "run.json").write_text(json.dumps(record))
    cells = collect(models).cells
    assert len(cells) == 5


def test_iterations_from_before_a_setting_existed_are_of_one_cell(models):
    pair = models / "models_trans/speech_eng_2_music_eng"
    now = {"seed": 0, "labels": 1.0, "augment": {"mel_shift": 0}, "heads": {"units": 8, "own": 2}}
    then = {"seed": 0, "heads": {"units": 8}}
    for number, inputs in enumerate((now, then, now)):
        record = {"inputs": inputs, "parents": {"feat_ext": inputs, "pretraining": None}}
        path = pair / f"model_over.full.it_{number}/run.json"
        path.write_text(json.dumps(record))
    for number, other in ((None, None), (1, then | {"heads": {"units": 8, "own": 1}})):
        if other:
            path = pair / f"model_over.full.it_{number}/run.json"
            path.write_text(json.dumps({"inputs": other}))
        cells = collect(models).cells
        found = {cell.key: cell.iterations for cell in cells}
        expected = [0, 2] if other else [0, 1, 2]
        assert found[("model_over", "full", "eng", "eng")] == expected


def test_the_interval_of_a_cross_validation_is_a_bootstrap_over_its_clips():
    table = predictions(0.7, clips=60)
    table["fold"] = np.repeat(np.arange(60) % 5 + 1, 3)
    name = RunName("model_svm", "probe", "n", "e", folds="folds_5")
    rows = pd.DataFrame(finished_runs._folds(name, table))
    row = rows[(rows["level"] == "clip") & (rows["task"] == "quadrants")].iloc[0]
    clips = table.groupby("recording")
    true = clips["quadrants"].first().to_numpy()
    p = clips[columns_of("quadrants")].mean().to_numpy()
    guess = np.array(QUADRANTS)[p.argmax(axis=1)]
    rng, drawn = np.random.default_rng(1), []
    for _ in range(1000):
        kept = rng.integers(0, 60, 60)
        drawn.append(f1_score(true[kept], guess[kept], average="macro"))
    np.testing.assert_allclose(
        row[["low", "high"]].astype(float), np.quantile(drawn, [0.025, 0.975]), atol=0.02
    )
    assert row["low"] < f1_score(true, guess, average="macro") < row["high"]


@pytest.mark.parametrize("nested", [True, False])
def test_a_mode_says_that_its_recipe_was_chosen_on_inner_folds(nested):
    rows = [
        {"model": model, "mode": mode, "speech": "none", "music": "eng", "nested": nested}
        for model, mode in (("model_cpc_nce", "feat_ext"), ("model_svm", "probe"))
    ]
    modes = typesetting.filled(pd.DataFrame(rows), {"mode": "{mode}"})["mode"].tolist()
    # of a machine, whose C always is, the name of the mode says it
    assert modes == ["Feat. Ext. (nested)" if nested else "Feat. Ext.", "SVM (nested)"]
