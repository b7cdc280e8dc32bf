"""What the page of results says first: of which sound it is, the findings, the best cells."""

import re
from types import SimpleNamespace

import pandas as pd
import pytest
from test_tables import run

from lib.figures import results_table
from lib.results import results_stage
from lib.results.findings import clips_and_runs, findings
from lib.results.finished_runs import collect
from lib.results.main_table import main_table
from lib.results.table2 import gather

SYNTHETIC = '{"synthetic": true}'


def grid(models, outcome):
    for speech, right in (("eng", 0.9), ("man", 0.6), ("mix", 0.7)):
        for model in ("model_over", "model_cpc"):
            where = f"speech_{speech}_2_music_eng"
            run(models, where, f"{model}.full.it_0", right, outcome=outcome)
    run(models, "speech_none_2_music_eng", "model_cnn.it_0", 0.5, outcome=outcome)
    return models


def written(models, monkeypatch):
    """All texts that are written, and the texts of the figure's legend."""
    drawn = []
    monkeypatch.setattr(results_table, "save_figure", lambda figure, *_, **__: drawn.append(figure))
    terminal = results_stage.results(models, models / "results")
    paths = [path for path in (models / "results").iterdir() if path.suffix != ".csv"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    return texts | {"terminal": terminal}, legend


def first_line(page):
    text = re.sub("<[^>]*>", "", page.split("<body>")[1])
    return text.strip().splitlines()[0]


def test_of_synthetic_sound_the_first_line_says_so_and_nothing_published_is_shown(
    tmp_path, monkeypatch
):
    texts, legend = written(grid(tmp_path, SYNTHETIC), monkeypatch)
    said = "This page is from synthetic sound: it shows that all stages work, but nothing about "
    assert first_line(texts["report.html"]) == f"{said}music."
    assert (
        "from synthetic sound: they show that all stages work" in texts["table.md"].split("##")[0]
    )
    for name, text in texts.items():
        assert not re.search("published|released run|experiment [12]", text, re.IGNORECASE), name
    assert not any("published" in label for label in legend)
    for name in ("table.csv", "contrasts.csv"):
        table = pd.read_csv(tmp_path / "results" / name)
        assert table.filter(like="published").isna().all(axis=None), name


def test_of_real_sound_the_first_line_says_how_much_was_tested(tmp_path, monkeypatch):
    texts, legend = written(grid(tmp_path, "{}"), monkeypatch)
    assert first_line(texts["report.html"]) == "English music: 40 test clips, 7 runs."
    assert "synthetic" not in texts["report.html"].split("<body>")[1] + texts["table.md"]
    assert "Beside the published figures" in texts["report.html"]
    assert "published (experiment 2)" in legend
    assert texts["report.html"].count("★</span>") == 3 + 3  # both encoders predict the same


def test_where_some_runs_are_synthetic_all_count_as_such(tmp_path):
    run(tmp_path, "speech_eng_2_music_eng", "model_over.full.it_0", 0.9, outcome=SYNTHETIC)
    run(tmp_path, "speech_none_2_music_eng", "model_cnn.it_0", 0.9, outcome="[]")
    runs = collect(tmp_path)
    assert runs.synthetic
    assert runs.notes == ["1 of 2 runs used synthetic sound, so all count as synthetic"]


def test_how_much_was_tested():
    rows = [("eng", False, 90), ("eng", False, 80), ("eng", True, 400), ("man", False, 60)]
    assert clips_and_runs(pd.DataFrame(rows, columns=["music", "folds", "clips"])) == [
        "English music: 80 to 90 test clips, 2 runs",
        "English music: 400 clips in cross-validation, 1 run",
        "Mandarin music: 60 test clips, 1 run",
    ]


def test_the_best_of_each_column_is_marked(tmp_path):
    run(tmp_path, "speech_eng_2_music_eng", "model_over.full.it_0", 1.0)
    run(tmp_path, "speech_eng_2_music_eng", "model_over.full.it_1", 1.0)
    run(tmp_path, "speech_eng_2_music_eng", "model_cpc.full.it_0", 0.3)
    run(tmp_path, "speech_man_2_music_eng", "model_cpc.full.it_0", 0.3)
    run(tmp_path, "speech_none_2_music_eng", "model_cnn.it_0", 0.5)
    table = main_table(gather(tmp_path).cells)
    assert table.heads == [("English music", ["eng → eng", "man → eng", "no speech"])]
    rows = dict(table.rows)
    assert rows["SCAE Full"] == [("1.00", "± 0.00 [2]", True), ("", "", False), ("", "", False)]
    assert rows["chance"][2] == ("0.25", "", False)
    marked = [best for cells in rows.values() for _, _, best in cells]
    assert sum(marked) == 1  # a cell that is alone in its column is not the best of it
    assert main_table(pd.DataFrame()) is None


def differences(*rows):
    """Rows of differences : (speech, difference, all_low, all_high)."""
    about = {"level": "clip", "model": "model_cpc", "mode": "full", "music": "eng"}
    about["task"] = "quadrants"
    columns = ["speech", "difference", "all_low", "all_high"]
    return pd.DataFrame([about | dict(zip(columns, row, strict=True)) for row in rows])


def contrasts(*rows):
    """Rows of contrasts : (question, model, music, difference, all_low, all_high)."""
    columns = ["question", "model", "music", "difference", "all_low", "all_high"]
    return pd.DataFrame(rows, columns=columns).assign(level="clip", mode="full")


def sentences(differences, contrasts):
    found = findings(SimpleNamespace(differences=differences, contrasts=contrasts))
    return [f"{topic}: {sentence}".replace("\u00a0", " ") for topic, sentence in found]


@pytest.mark.parametrize("rows, said", [
    ([("eng", 0.12, 0.034, 0.206), ("man", -0.2, -0.31, -0.09), ("mix", 0.1, 0.01, 0.19)],
     "of 3 transfers, 2 do significantly better than from scratch and 1 does significantly "
     "worse, after correction; the largest difference is −0.200 [−0.310, −0.090], of "
     "CPC Full man → eng."),
    ([("eng", 0.12, -0.01, 0.25), ("none", 0.5, 0.4, 0.6)],
     "of 1 transfer, none does significantly better than from scratch and none does significantly "
     "worse, after correction; the largest difference is +0.120 [−0.010, +0.250], "
     "of CPC Full eng → eng."),
])  # fmt: skip
def test_a_sentence_says_how_transfers_do_against_training_from_scratch(rows, said):
    assert sentences(differences(*rows), contrasts()) == [f"English music: {said}"]


def test_codes_from_files_have_a_sentence_of_their_own():
    rows = [("eng", 0.12, -0.01, 0.25), ("codes", 0.2, 0.1, 0.3), ("codes", 0.1, -0.1, 0.3)]
    first, second = sentences(differences(*rows), contrasts())
    assert first.startswith("English music: of 1 transfer, none does significantly better")
    assert second.startswith(
        "English music, codes from files: of 2 transfers, 1 does significantly better"
    )
    assert second.endswith(
        "the largest difference is +0.200 [+0.100, +0.300], of CPC Full codes → eng."
    )


def test_a_sentence_says_what_a_contrast_is():
    intra, mixed = "intra- minus cross-linguistic", "mixture minus single language"
    table = contrasts(
        (intra, "model_over", "eng", 0.08, 0.01, 0.15),
        (intra, "model_cpc", "eng", 0.02, -0.05, 0.09),
        (intra, "all", "all", 0.05, 0.01, 0.09),
        (mixed, "model_cpc", "man", -0.01, -0.08, 0.06),
    )
    assert sentences(differences(("none", 0.1, 0, 0.2)), table) == [
        "Intra- against cross-linguistic: better, +0.050 [+0.010, +0.090], the mean of 2 "
        "contrasts, of which 1 is significant.",
        "Mixture against single language: no significant difference, −0.010 [−0.080, +0.060], "
        "CPC Full, Mandarin music.",
    ]
    assert sentences(differences(("none", 0.1, 0, 0.2)), contrasts()) == []
