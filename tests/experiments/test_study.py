"""The study: its lines are the scripts' own, it goes on where it was, its table is right."""

import re
import shlex
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

import study as study_script
from lib import configuration
from lib.artefacts import files
from lib.artefacts.run_name import RunName
from lib.command_line import stage_scripts
from lib.datasets import codes_file
from lib.datasets.codes_file import About, CodesOf
from lib.errors import UserError
from lib.experiments import study, study_results
from lib.labels import QUADRANT_SIGNS, QUADRANTS
from lib.models.catalogue import PROBE
from lib.transfer import test_scores

SVM = "the SVM on log-mel statistics"
ONE = study.Cell(PROBE, "n", "probe", 0.1)
TWO = study.Cell("model_cpc_nce", "e", "full", 1.0)


def test_every_line_is_legal_and_its_run_lies_where_the_study_looks(monkeypatch, tmp_path):
    """The stage itself is replaced by one that tells what it was asked for."""
    import importlib

    from lib.transfer import transfer_stage

    asked = []
    monkeypatch.setattr(transfer_stage, "transfer", lambda *a, **k: asked.append((a, k)))
    monkeypatch.setattr(stage_scripts.flags, "dataset_folder", lambda *a: tmp_path)
    for cell in study.cells():
        module = importlib.import_module(cell.line[0].removesuffix(".py"))
        assert module.main(cell.line[1:]) == 0
        (plan, settings, _), _ = asked.pop()
        assert settings["transfer"]["labels"] == cell.labels
        name = plan.name(plan.steps[-1], 1, settings["run"]["tag"])
        assert name.path(tmp_path) == cell.run(tmp_path, 1)
        assert RunName.parse(cell.run(tmp_path, 1)) == name


def test_lines_of_codes_are_legal_and_leave_their_own_runs(paths, tmp_path, monkeypatch):
    import importlib

    from lib.transfer import transfer_stage

    codes = paths.data / "codes/music/english/own_codes.codes"
    codes.parent.mkdir(parents=True)
    about = About("own_codes", "Own", "1", "CC0-1.0", "made by a test", "recording")
    row = CodesOf("a", np.ones((1, 3), np.float32), None)
    codes_file.write(codes, about, ["a"], lambda left: [row])
    asked = []
    monkeypatch.setattr(transfer_stage, "transfer", lambda *a, **k: asked.append(a))
    monkeypatch.setattr(stage_scripts.flags, "dataset_folder", lambda *a: tmp_path)
    given = [cell for cell in study.cells(["own_codes"]) if cell.model == "own_codes"]
    assert len(study.cells(["own_codes"])) == len(study.cells()) + len(given)
    assert {cell.mode for cell in given} == {"probe", "feat_ext"}
    assert {cell.labels for cell in given} == set(study.SHARES)
    for cell in given:
        assert study.pretraining(cell) is None
        assert cell.drawn == (cell.mode == "feat_ext" or cell.labels < 1)
        module = importlib.import_module(cell.line[0].removesuffix(".py"))
        assert module.main(cell.line[1:]) == 0
        plan, settings, _ = asked.pop()
        assert settings["transfer"]["labels"] == cell.labels
        name = plan.name(plan.steps[-1], 1, settings["run"]["tag"])
        assert name.path(tmp_path) == cell.run(tmp_path, 1)


def test_codes_have_rows_of_their_own(paths, tmp_path):
    cells = [study.Cell("own_codes", "c", mode, 1.0) for mode in ("probe", "feat_ext")]
    rows = []
    for cell in [*cells, study.Cell(PROBE, "n", "probe", 1.0)]:
        finished_run(cell.run(paths.models, 0), 0.75 if cell in cells else 0.5)
        rows.append(study._row(cell, 0, cell.run(paths.models, 0)))
    pd.concat(rows).to_csv(tmp_path / study_results.RUNS, index=False)
    text = study_results.write(tmp_path)
    assert re.search(r"\| own_codes \| codes of embed.py \| SVM \| \*\*0.750\*\*", text)
    assert re.search(r"\| own_codes \| codes of embed.py \| frozen \| \*\*0.750\*\*", text)
    than = study_results.differences(study_results.read(tmp_path / study_results.RUNS))
    than = than.set_index(["than", "model"])["difference"]
    assert than["the SVM on log-mel statistics"]["own_codes"].tolist() == pytest.approx(
        [0.25] * 2, abs=1e-3
    )
    assert (tmp_path / "study.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["a.codes", "a_name+another", "x"])
def test_codes_of_the_study_are_named(name, capsys):
    with pytest.raises(SystemExit):
        study_script.parse_args(["--codes", name])
    assert "name of codes that embed.py made" in capsys.readouterr().err


def test_codes_that_are_missing_are_told_before_anything_runs(paths, capsys):
    assert study_script.main(["--codes", "own_codes"]) == 2
    assert "own_codes: no codes of that name in" in capsys.readouterr().err


def test_heavy_encoders_wait_for_all_seeds_of_the_light_ones():
    order = study._order(2)
    heavy = [(cell.model, cell.source) in study.HEAVY for _, cell in order]
    assert heavy == sorted(heavy) and any(heavy)
    # no seed changes a machine that learns from all labels
    once = [(seed, cell.labels) for seed, cell in order if cell.model == PROBE]
    assert sorted(once) == [(s, n) for s in (0, 1) for n in study.SHARES if (s, n) != (1, 1.0)]
    assert len(order) == 2 * len(study.cells()) - 1
    seeds = [seed for (seed, _), late in zip(order, heavy, strict=True) if not late]
    assert seeds == sorted(seeds)


def test_every_encoder_has_a_line_that_makes_it():
    sources = {(cell.model, cell.source) for cell in study.cells() if cell.source != "n"}
    made = {shlex.join(study.pretraining(cell)) for cell in study.cells() if cell.source != "n"}
    assert len(made) == len(sources)
    own = next(line for line in made if " -m e " in line)
    assert "--folds 3 --groups artist" in own  # no fold's test is in it
    shares = {cell.labels for cell in study.cells()}
    assert shares == {0.05, 0.1, 0.25, 1.0}


def finished_run(run, right, clips=40, seed=0):
    """What a cross-validation leaves, with `right` of the clips predicted right."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(clips):
        quadrant = QUADRANTS[number % 4]
        guess = quadrant if number < right * clips else QUADRANTS[(number + 1) % 4]
        signs = ["negative", "positive"]
        for start in (0.0, 0.5):
            row = {"recording": f"c{number:02d}", "start_seconds": start, "quadrants": quadrant}
            row |= {
                t: signs[QUADRANT_SIGNS[quadrant][i]] for i, t in enumerate(("arousal", "valence"))
            }
            row |= {f"p_quadrants_{q}": 0.7 if q == guess else 0.1 for q in QUADRANTS}
            for i, task in enumerate(("arousal", "valence")):
                row |= {
                    f"p_{task}_{s}": float(QUADRANT_SIGNS[guess][i] == k)
                    for k, s in enumerate(signs)
                }
            rows.append(row | {"fold": number % 3 + 1})
    table = pd.DataFrame(rows).iloc[rng.permutation(len(rows))]
    run.mkdir(parents=True)
    test_scores.write(table, run, "t", figures=False)
    for fold in (1, 2, 3):
        (run / f"fold_{fold}").mkdir()
        files.write_json(run / f"fold_{fold}" / "run.json", {"seconds": 2.0})
    files.write_json(run / "run.json", {"inputs": {}})


def fake(models, monkeypatch, failing=()):
    """Scripts that leave a run at once; returns the lines that were called."""
    called = []

    def call(line):
        called.append(shlex.join(line))
        if any(text in called[-1] for text in failing):
            raise UserError("killed")
        if line[0].startswith("trans"):
            cell = next(c for c in study.cells() if line[: len(c.line)] == c.line)
            seed = int(line[line.index("--iterations") + 1]) - 1
            finished_run(cell.run(models, seed), 0.5 if cell == ONE else 0.75, seed=seed)

    monkeypatch.setattr(study, "cells", lambda codes=(): [ONE, TWO])
    monkeypatch.setattr(study, "_call", call)
    return called


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_with_the_run_that_was_missing(
    paths, tmp_path, monkeypatch
):
    settings, out = configuration.load(), tmp_path / "results"
    out.mkdir()
    called = fake(paths.models, monkeypatch, failing=["-rel y"])
    with pytest.raises(UserError, match="killed"):
        study.run(settings, out, 2, None)
    assert len(called) == 3 and "pretrain_cpc.py -s e" in called[1]
    assert len(study_results.read(out / study_results.RUNS)) == 1
    called = fake(paths.models, monkeypatch)
    assert study.run(settings, out, 2, None) == []
    assert [PROBE in line for line in called] == [False, False, True, False, False]
    assert study.run(settings, out, 2, None) == [] and len(called) == 5  # nothing left to do
    shutil.rmtree(paths.models / "models_trans")  # the rows are enough for table and figure
    text = study_results.write(out)
    assert "**0.750**" in text and (out / "study.png").stat().st_size > 10_000
    left = study.run(settings, out, 3, 0.0)
    assert len(left) == 2 and "--iterations 3 --set=run.first=2" in left[0]


def test_a_line_that_is_left_is_of_its_seed_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "cells", lambda codes=(): [TWO])
    left = study.run(configuration.load(), tmp_path, 2, 0.0)
    for seed, line in enumerate(left):
        assert line.endswith(f"--iterations {seed + 1} --set=run.first={seed}")
    assert len(left) == 2


def test_a_row_tells_what_its_run_says(paths):
    run = ONE.run(paths.models, 0)
    finished_run(run, 0.5)
    row = study._row(ONE, 0, run).iloc[0]
    assert row["true"] == "1234" * 10 and row["labelled"] == 3  # of 40 clips two thirds, a tenth
    assert row["predicted"] == "1234" * 5 + "2341" * 5
    assert row["clip_f1"] == row["window_f1"] == pytest.approx(0.5)
    assert row["seconds"] == 6.0
    assert row["run_sha256"] == files.file_hash(run / "run.json")


def test_differences_are_of_the_same_labels_and_hold_by_hand(paths):
    cells = [
        (study.Cell("model_cpc_nce", "n", "scratch", 0.1), 0.5),
        (study.Cell("model_cpc_nce", "e", "full", 0.1), 0.75),
        (study.Cell("model_cpc_nce", "e", "full", 1.0), 1.0),
        (ONE, 0.5),
    ]
    rows = []
    for cell, right in cells:
        finished_run(cell.run(paths.models, 0), right)
        rows.append(study._row(cell, 0, cell.run(paths.models, 0)))
    runs = pd.concat(rows)
    table = study_results.summarise(runs).set_index(["mode", "labels"])
    assert table.loc[("full", 0.1), "low"] < 0.75 < table.loc[("full", 0.1), "high"]
    compared = study_results.differences(runs)
    found = compared.set_index(["than", "mode", "labels"]).sort_index()
    scratch = found.loc[("random weights", "full", 0.1)]
    assert scratch["difference"] == pytest.approx(0.25, abs=1e-3)
    assert scratch["all_low"] > 0 and scratch["low"] > 0  # far outside chance
    assert found.loc[(SVM, "scratch", 0.1), "difference"] == pytest.approx(0)
    # full, with all labels, has nothing to be compared with; nothing is compared with itself
    assert len(found) == 3 and not found.index.duplicated().any()
    text = study_results.markdown_differences(
        compared[compared["than"] == SVM], table.reset_index()
    )
    assert "| from scratch | +0.000 ± " in text and "| released | **+0.250 ± " in text


def test_a_mean_over_labels_and_what_speech_is_compared_with(paths):
    rows = []
    for source, rights in {"e": (0.5, 0.75), "m": (0.75, 0.75), "n": (0.25, 0.25)}.items():
        for labels, right in zip((0.1, 1.0), rights, strict=True):
            cell = study.Cell("model_cpc_nce", source, "feat_ext", labels)
            finished_run(cell.run(paths.models, 0), right)
            rows.append(study._row(cell, 0, cell.run(paths.models, 0)))
    found = study_results.differences(pd.concat(rows)).set_index(["than", "source", "labels"])
    assert set(found.index.get_level_values("than")) == {"random weights", "English"}
    english = found.loc["English"]["difference"]
    assert set(english.index.get_level_values("source")) == {"m"}  # neither e nor random weights
    assert english.loc["m"].tolist() == pytest.approx([0.25, 0.0, 0.125], abs=1e-3)
    assert found.loc["random weights"].index.get_level_values("source").tolist() == list("eeemmm")


def test_lines_have_the_seeds_that_the_study_runs():
    lines = study.lines(3)
    assert len({shlex.join(line) for line in lines}) == len(lines)
    seeds = {shlex.join(line).split(" --iterations ")[0]: line[-1] for line in lines}
    alone = [line for line, number in seeds.items() if number == "1"]
    assert len(alone) == 1 and f"-mod {PROBE}" in alone[0] and "labels=1.0" in alone[0]


PUBLISHED = ROOT / "docs" / study_results.RUNS


@pytest.mark.slow
def test_the_published_runs_are_known_and_three_that_are_one_count_once():
    runs = study_results.read(PUBLISHED)
    assert len(runs) == 252 and study._missing(PUBLISHED, runs, study._order(3)) == []
    assert len(study._missing(PUBLISHED, runs.iloc[1:], study._order(3))) == 1
    table = study_results.summarise(runs)
    alone = table[table["runs"] == 1]
    assert alone[study_results.CELL].to_numpy().tolist() == [[PROBE, "n", "probe", 1.0]]
    assert alone["clip_f1_sd"].isna().all() and (table["clip_f1_sd"] > 0).sum() == len(table) - 1
    assert "| 1 to 3 |" in study_results.markdown(table)


def test_rows_are_known_by_what_decides_them_not_by_the_text_of_a_line(tmp_path):
    runs = study_results.read(PUBLISHED)
    full = (runs["mode"] == "full") & (runs["iteration"] == 0)
    assert full.any()

    def missing(*changes):
        command = runs["command"]
        for old, new in changes:
            assert command[full].str.contains(old, regex=False).all()
            command = command.str.replace(old, new, regex=False)
        return study._missing(tmp_path / "x.csv", runs.assign(command=command), study._order(3))

    assert missing(("--set dataset.val=0.05 --tag", "--set=dataset.val=0.050 --tag")) == []
    assert missing(("--folds 3 --groups artist", "--groups artist --folds=3")) == []
    assert missing((" --tag labels_", " --tag another_"), ("-rel y", "--release y")) == []
    with pytest.raises(UserError, match=r"x.csv has a run of .*heads.units: 64 instead of 128"):
        missing(("heads.units=128", "heads.units=64"))
    with pytest.raises(UserError, match=r"transfer.keep: best instead of last"):
        missing((" --set=transfer.keep=last", ""))
    with pytest.raises(UserError, match=r"--folds: 5 instead of 3"):
        missing(("--folds 3", "--folds 5"))


SPOILT = ["empty", "blank", "a letter", "cut in the header", "cut in a number", "cut in the line"]
SPOILT += ["cut in the answers", "another table", "a column less", "no text", "an odd digit"]
SPOILT += ["a word for a number", "an unknown step", "a second header", "other answers"]


def spoilt(text, how):
    rows = text.splitlines(keepends=True)
    cells = rows[2].split(",")
    cut = len(text) - len(rows[-1])
    return {
        "empty": "",
        "blank": "\n\n",
        "a letter": "x",
        "cut in the header": text[:20],
        "cut in a number": text[: cut + 25],
        "cut in the line": text[: cut + 200],
        "cut in the answers": text[:-20],
        "another table": "model,macro_f1\nmodel_cpc,0.5\n",
        "a column less": text.replace("clip_f1", "clip"),
        "no text": b"\0\1\2" * 99,
        "a word for a number": text.replace(rows[2], ",".join([*cells[:6], "none", *cells[7:]])),
        "an unknown step": text.replace(",probe,", ",probed,", 1),
        "an odd digit": text[:-2] + "7\n",
        "a second header": text + rows[0],
        "other answers": text + rows[-1][:-2] + ("1" if rows[-1][-2] != "1" else "2") + "\n",
    }[how]


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_table_of_runs_is_named_and_what_to_do(tmp_path, how):
    path = tmp_path / study_results.RUNS
    text = spoilt("".join(PUBLISHED.read_text().splitlines(keepends=True)[:6]), how)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"study_runs\.csv.*(move it away|run python3 study.py)"):
        study_results.write(tmp_path)


def test_rows_twice_count_once_and_other_spellings_of_a_table_are_read(tmp_path, capsys):
    path = tmp_path / study_results.RUNS
    rows = PUBLISHED.read_text().splitlines()[:6]
    path.write_text("\n".join([*rows, rows[2], rows[2]]))
    expected = study_results.read(path)
    assert len(expected) == 5 and "2 duplicate rows are ignored" in capsys.readouterr().out
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    pd.testing.assert_frame_equal(study_results.read(path), expected)
    assert capsys.readouterr().out == ""


def test_a_table_without_runs_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="run python3 study.py"):
        study_results.write(tmp_path)


def test_an_interrupted_line_ends_the_study_and_a_failed_one_is_told(monkeypatch):
    import trans_train_cpc_multi

    seen, statuses = [], iter([143, 2, 0])

    def main(argv):
        seen.append((sys.argv[0], argv))
        return next(statuses)

    monkeypatch.setattr(trans_train_cpc_multi, "main", main)
    with pytest.raises(SystemExit) as stop:
        study._call(TWO.line)
    assert stop.value.code == 143
    with pytest.raises(UserError, match="failed with status 2"):
        study._call(TWO.line)
    study._call(TWO.line)
    assert seen == [("trans_train_cpc_multi.py", TWO.line[1:])] * 3  # as run.json tells it
    assert sys.argv[0] != "trans_train_cpc_multi.py"
