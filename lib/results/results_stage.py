"""The results stage: write and check tables, figure and page of all finished runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from lib.artefacts import files
from lib.console import say
from lib.corpora import csv_tables
from lib.errors import UserError
from lib.evaluation import predictions_table
from lib.evaluation.predictions_table import PREDICTIONS
from lib.figures import results_table
from lib.models.catalogue import BASELINE, title, titles
from lib.results import html_report, provenance
from lib.results.finished_runs import LEVELS, MODES
from lib.results.table2 import Results, gather
from lib.results.typesetting import latex, markdown, terminal

AGAIN = "train that run again with --overwrite"
SHOWN = 30  # mismatches that are listed one by one
DRAWN = ("table.png", "table.pdf", "report.html")  # in addition to the files of _texts


def results(models: Path, out: Path) -> str:
    """Write all tables, the figure and the page to `out`; returns the text for the terminal."""
    computed = gather(models)
    for note in computed.notes:
        say(note)
    texts = _texts(computed)
    _make_folder(out, [*texts, *DRAWN])
    for name, text in texts.items():
        files.write_text(out / name, text)
    if len(computed.cells):
        names = {model: title(model) for model in (*titles(), *computed.cells["model"])}
        results_table.table(computed.cells, MODES, names, out / "table.png", BASELINE)
    page = html_report.page(models, out, computed, texts["table.md"])
    files.write_text(out / "report.html", page)
    return terminal(computed)


def check(models: Path, out: Path) -> str:
    """Compute all of `out` again from the runs' predictions.csv; returns what was checked.

    Raises UserError with every mismatch: a table whose numbers differ, a run whose metrics.json
    does not match its predictions.
    """
    computed = gather(models)
    texts = _texts(computed)
    for name in texts:
        if not (out / name).is_file():
            raise UserError(f"{out / name} is missing: run python3 results_table.py first")
    rows = csv_tables.read_csv(out / "runs.csv", strip=False)
    csv_tables.require(rows, ["run"], out / "runs.csv")
    runs, before = set(computed.runs["run"]), set(rows["run"])
    if runs != before:
        differ = [f"new: {run}" for run in sorted(runs - before)]
        differ += [f"gone: {run}" for run in sorted(before - runs)]
        raise UserError("\n".join([f"{out} has other runs: make the tables again", *differ]))
    wrong = list(_other_metrics(models / "models_trans", computed.runs["run"]))
    for name, text in texts.items():
        wrong += provenance.mismatches(name, (out / name).read_text(encoding="utf-8"), text)
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise UserError("\n".join([f"{len(wrong)} mismatches in {out}", *wrong[:SHOWN], *more]))
    compared = len(computed.differences) + len(computed.contrasts)
    counts = f"{len(computed.cells)} rows, {compared} differences, {len(computed.folds)} of folds"
    return f"{counts}, {len(runs)} runs: all follow from the predictions"


def _texts(computed: Results) -> dict[str, str]:
    """The content of all files except those that are drawn."""
    tables = {"runs": computed.runs, "table": computed.cells, "folds": computed.folds}
    tables |= {"differences": computed.differences, "contrasts": computed.contrasts}
    texts = {}
    for name, table in tables.items():
        texts[f"{name}.csv"] = table.to_csv(index=False, float_format="%.6g")
    texts["table.md"], texts["table.tex"] = markdown(computed), latex(computed)
    return texts


def _other_metrics(runs: Path, names: Collection[str]) -> Iterator[str]:
    """Runs whose metrics.json does not match their predictions."""
    for name in names:
        measures = predictions_table.measures(predictions_table.read(runs / name / PREDICTIONS))
        metrics = files.read_json(runs / name / "metrics.json", AGAIN) or {}
        if _rounded({level: metrics.get(level) for level in LEVELS}) != _rounded(measures):
            yield f"{name}: metrics.json does not match its {PREDICTIONS}"


def _rounded(measures: Mapping) -> dict:
    """The measures as read back from JSON, with six digits."""
    return json.loads(json.dumps(measures), parse_float=lambda text: round(float(text), 6))


def _make_folder(out: Path, names: Collection[str]) -> None:
    """Make the folder for the tables; UserError where it has files that are not ours."""
    files.make_folder(out)
    there = [name for name in names if (out / name).exists()]
    first = out / "table.md"
    if there and not (first.is_file() and first.read_bytes().startswith(b"# Results")):
        raise UserError(f"{out / there[0]} is not from this suite: give another folder with --out")
