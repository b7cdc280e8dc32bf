"""The results stage: tables, figure and page of all finished runs, written and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lib.artefacts import files
from lib.console import say
from lib.errors import UserError
from lib.evaluation import predictions_table
from lib.models.catalogue import BASELINE, title, titles
from lib.results import provenance
from lib.results.finished_runs import LEVELS, MODES
from lib.results.table2 import Results, gather

AGAIN = "train that run again with --overwrite"
SHOWN = 30  # mismatches that are told one by one


def results(models: Path, out: Path) -> str:
    """Write all tables, the figure and the page to `out`; returns the text for the terminal."""
    from lib.figures import results_table
    from lib.results import html_report, typesetting

    found = gather(models)
    for note in found.notes:
        say(note)
    _check_out(out)
    texts = _texts(found)
    for name, text in texts.items():
        files.write_text(out / name, text)
    if len(found.cells):
        names = {model: title(model) for model in (*titles(), *found.cells["model"])}
        results_table.table(found.cells, MODES, names, out / "table.png", BASELINE)
    page = html_report.page(models, out, texts["table.md"], found.runs)
    files.write_text(out / "report.html", page)
    return typesetting.terminal(found)


FILES = ("runs.csv", "table.csv", "differences.csv", "contrasts.csv", "folds.csv")
FILES += ("table.md", "table.tex")
DRAWN = ("table.png", "table.pdf", "report.html")


def _texts(found: Results) -> dict[str, str]:
    """The content of FILES."""
    from lib.results import typesetting

    tables = (found.runs, found.cells, found.differences, found.contrasts, found.folds)
    texts = [table.to_csv(index=False, float_format="%.6g") for table in tables]
    texts += [typesetting.markdown(found), typesetting.latex(found)]
    return dict(zip(FILES, texts, strict=True))


def check(models: Path, out: Path) -> str:
    """Compute all of `out` again from the runs' predictions.csv; returns what was checked.

    Raises UserError with everything that does not follow: a table whose numbers differ, a run
    whose metrics.json is not that of its predictions.
    """
    found, wrong = gather(models), []
    lacks = [name for name in FILES if not (out / name).is_file()]
    if lacks:
        raise UserError(f"{out / lacks[0]} is not there: make the tables, python3 results_table.py")
    told = set(pd.read_csv(out / "runs.csv", dtype=str)["run"])
    differ = [f"new: {run}" for run in sorted(set(found.runs["run"]) - told)]
    differ += [f"gone: {run}" for run in sorted(told - set(found.runs["run"]))]
    if differ:
        raise UserError("\n".join([f"{out} is of other runs: make the tables again", *differ]))
    for where in found.runs["run"]:
        run = models / "models_trans" / where
        measures = predictions_table.measures(
            predictions_table.read(run / predictions_table.PREDICTIONS)
        )
        stands = files.read_json(run / "metrics.json", AGAIN) or {}
        if _rounded({level: stands.get(level) for level in LEVELS}) != _rounded(measures):
            wrong.append(
                f"{where}: metrics.json is not that of its {predictions_table.PREDICTIONS}"
            )
    for name, new in _texts(found).items():
        wrong += provenance.mismatches(name, (out / name).read_text(encoding="utf-8"), new)
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise UserError("\n".join([f"{len(wrong)} mismatches in {out}", *wrong[:SHOWN], *more]))
    compared = len(found.differences) + len(found.contrasts)
    counts = f"{len(found.cells)} rows, {compared} differences, {len(found.folds)} of folds"
    return f"{counts}, {len(found.runs)} runs: all follow from the predictions"


def _rounded(measures: Mapping) -> dict:
    """As JSON gives them back, with six digits."""
    return json.loads(json.dumps(measures), parse_float=lambda text: round(float(text), 6))


def _check_out(out: Path) -> None:
    """Make the folder for the tables; UserError when files of others stand in the way."""
    files.make_folder(out)
    there = [name for name in (*FILES, *DRAWN) if (out / name).exists()]
    first = out / "table.md"
    own = first.is_file() and first.read_bytes().startswith(b"# Results")
    if there and not own:
        raise UserError(f"{out / there[0]} is not of this suite: choose another folder with --out")
