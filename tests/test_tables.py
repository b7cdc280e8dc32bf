"""The table of results from runs whose measures are known."""

import json

import pandas as pd
import pytest

from lib import tables
from lib.registry import TASKS


def run(models, pair, name, f1, finished=True, inputs="{}"):
    folder = models / "models_trans" / pair / name
    folder.mkdir(parents=True)
    measures = {"macro_precision": f1, "macro_recall": f1, "macro_f1": f1}
    levels = {
        level: {
            task: measures | {"per_class": {name: {"items": 10} for name in classes}}
            for task, classes in TASKS.items()
        }
        for level in ("window", "clip")
    }
    (folder / "metrics.json").write_text(json.dumps(levels))
    if finished:
        (folder / "run.json").write_text(f'{{"inputs": {inputs}}}')


@pytest.fixture
def models(tmp_path):
    for i, f1 in enumerate((0.50, 0.54, 0.58)):
        run(tmp_path, "speech_eng_2_music_eng", f"model_over.full.it_{i}", f1)
    run(tmp_path, "speech_mix_2_music_man", "model_cpc.feat_ext.it_0", 0.30)
    run(tmp_path, "speech_none_2_music_eng", "model_cnn.it_0", 0.56)
    run(tmp_path, "speech_eng_2_music_eng", "model_cpc.full.it_0", 0.99, finished=False)
    run(tmp_path, "speech_eng_2_music_eng", "model_over.full.it_0 (copy)", 0.99)
    return tmp_path


def test_cells_are_mean_and_standard_deviation_over_iterations(models, capsys):
    summary = tables.summarise(tables.collect(models))
    printed = capsys.readouterr().out
    assert "model_cpc.full.it_0 is unfinished" in printed
    assert "it_0 (copy) is not named as a run" in printed
    cell = summary[(summary["model"] == "model_over") & (summary["task"] == "arousal")].iloc[0]
    assert cell["runs"] == 3
    assert cell["f1_mean"] == pytest.approx(0.54)
    assert cell["f1_sd"] == pytest.approx(0.04)
    assert 0.99 not in summary["f1_mean"].tolist()
    chance = summary[(summary["model"] == "chance") & (summary["task"] == "quadrants")]
    assert sorted(chance["music"].unique()) == ["eng", "man"]
    assert (chance["f1_mean"] == 0.25).all()


def test_markdown_never_fills_a_missing_cell(models):
    text = tables.markdown(tables.summarise(tables.collect(models)))
    assert "0.54 ± 0.04 / 0.54 ± 0.04 / **0.54 ± 0.04** [3]" in text
    lines = [line for line in text.splitlines() if line.startswith("| model_cnn")]
    assert lines and all("| – |" in line and "**0.56** [1]" in line for line in lines)


def test_files_and_terminal(models):
    text = tables.results(models, models / "results")
    assert "0.54 ± 0.04" in text and "eng → eng" in text
    assert len(pd.read_csv(models / "results" / "table.csv")) == 2 * 3 * (3 + 2)
    assert (models / "results" / "table.png").is_file()


def test_iterations_that_differ_in_settings_are_named(tmp_path, capsys):
    for i, units in enumerate((512, 256)):
        inputs = f'{{"iteration": {i}, "heads": {{"units": {units}}}}}'
        run(tmp_path, "speech_eng_2_music_eng", f"model_over.full.it_{i}", 0.5, inputs=inputs)
    tables.collect(tmp_path)
    printed = capsys.readouterr().out
    assert "the iterations of eng eng model_over full differ in settings or data" in printed
