"""The tables of results as Markdown, LaTeX (booktabs) and for the terminal.

templates/table.md has the text around the tables. A cell is a format of numbers; parts without a
number are left out, so that a single run is "0.57 [1]" and not "0.57 ± nan [1]".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape

from lib.labels import SHORT_NAMES
from lib.models.catalogue import title
from lib.results.finished_runs import LEVELS, MODES, NESTED
from lib.results.table2 import Results

TEMPLATES = Environment(
    loader=PackageLoader("lib.results"),
    autoescape=select_autoescape(),
    trim_blocks=True,
    keep_trailing_newline=True,
)
NONE = "–"  # a cell without a run
LATEX = {"±": "$\\pm$", "→": "$\\rightarrow$", NONE: "--"}
CAPTION = "Macro F1 per window on {} music, mean ± standard deviation over [n] runs"
IN_PARENTHESES = """; in parentheses, that of the authors' run of experiment 2 on its own test \
clips"""

# columns of the tables: {head: format of the cells}
F1 = "{f1_mean:.2f} ± {f1_sd:.2f} [{runs}] ({published_2:.2f})"
SCORES = "{precision_mean:.2f} ± {precision_sd:.2f} / {recall_mean:.2f} ± {recall_sd:.2f} / "
SCORES += "**{f1_mean:.2f} ± {f1_sd:.2f}** [{runs}]"
ENCODER = {"encoder": "{encoder}", "mode": "{mode}"}
PAIR = {"speech → music": "{pair}"}
TASK, LEVEL = {"task": "{task}"}, {"level": "{level}"}
PUBLISHED = ENCODER | PAIR | TASK
PUBLISHED["here"] = "**{f1_mean:.2f} ± {f1_sd:.2f}** "
PUBLISHED["here"] += "({weighted_f1_mean:.2f} ± {weighted_f1_sd:.2f}) [{runs}]"
PUBLISHED["experiment 1"] = "{published_1:.2f} ({published_1_weighted:.2f})"
PUBLISHED["experiment 2"] = "{published_2:.2f} ({published_2_weighted:.2f})"
ESTIMATE = {"difference": "{bold}{difference:+.3f}{bold}"}
ESTIMATE["uncorrected"] = "[{low:+.3f}, {high:+.3f}]"
ESTIMATE |= {"corrected": "[{all_low:+.3f}, {all_high:+.3f}]", "p": "{p:.4f}"}
DIFFERENCES = LEVEL | ENCODER | PAIR | TASK | ESTIMATE
CONTRASTS = LEVEL | {"contrast": "{question}"} | ENCODER | {"music": "{music}"} | ESTIMATE
CONTRASTS["published"] = "{published:+.3f}"
FOLDS = ENCODER | PAIR | {"folds": "{protocol}", "iteration": "{iteration}"} | LEVEL | TASK
FOLDS["macro F1"] = "{mean:.3f} ± {sd:.3f}"
FOLDS["interval"] = "[{low:.3f}, {high:.3f}]"


def markdown(results: Results) -> str:
    """All tables as Markdown."""
    cells, (runs, packages) = results.cells, _runs(results.runs)
    published = cells.filter(regex=r"^published_\d$").notna().any(axis=1)
    grids = [
        (level, music, _text(_grid(cells, level, music, SCORES)))
        for level in LEVELS
        for music in musics(cells)
    ]
    return TEMPLATES.get_template("table.md").render(
        grids=grids,
        synthetic=results.synthetic,
        published=_text(filled(cells[published], PUBLISHED)),
        differences=_text(filled(results.differences, DIFFERENCES)),
        contrasts=_text(_contrasts(results, LEVELS)),
        folds=_text(filled(results.folds, FOLDS)),
        runs=_text(runs),
        packages=packages,
        notes=results.notes,
    )


def terminal(results: Results) -> str:
    """Macro F1 per window, and the contrasts and cross-validations per clip, as plain tables."""
    folds = results.folds[results.folds["level"] == "clip"]
    tables = {
        _caption(results, music): _grid(results.cells, "window", music, F1)
        for music in musics(results.cells)
    }
    tables["Contrasts of macro F1, 95 % intervals"] = _contrasts(results, ["clip"])
    tables["Cross-validation, mean ± standard deviation over folds, 95 % interval over clips"] = (
        filled(folds, FOLDS)
    )
    plain = {head: table.replace(r"\*\*", "", regex=True) for head, table in tables.items()}
    texts = {head: _text(table, "simple") for head, table in plain.items() if len(table)}
    return "\n".join(f"{head}\n\n{text}\n" for head, text in texts.items())


def latex(results: Results) -> str:
    """The paper's Table 2 as LaTeX, for the package booktabs: one table per language of music."""
    runs, packages = _runs(results.runs)
    comments = ["needs \\usepackage{booktabs}", *_text(runs).splitlines(), *packages]
    text = "".join(f"% {line}\n" for line in comments)
    for music in musics(results.cells):
        grid = _grid(results.cells, "window", music, F1)
        text += "\n" + grid.style.hide(axis="index").format(escape="latex").to_latex(
            hrules=True,
            column_format="lll" + "c" * (grid.shape[1] - 3),
            position_float="centering",
            caption=_caption(results, music),
        )
    for sign, command in LATEX.items():
        text = text.replace(sign, command)
    return text


def _caption(results: Results, music: str) -> str:
    return CAPTION.format(music) + ("" if results.synthetic else IN_PARENTHESES) + "."


def _contrasts(results: Results, levels: Collection[str]) -> pd.DataFrame:
    """The contrasts as texts, with the published ones unless the sound is synthetic."""
    left_out = {"published"} if results.synthetic else set()
    columns = {head: form for head, form in CONTRASTS.items() if head not in left_out}
    return filled(results.contrasts[results.contrasts["level"].isin(levels)], columns)


def _text(table: pd.DataFrame, style: str = "github") -> str:
    if table.empty:
        return ""
    return table.to_markdown(index=False, tablefmt=style, disable_numparse=True)


def filled(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """A table of texts, in the words of the paper : columns {head: format}."""
    texts = []
    for row in table.to_dict("records"):
        row["bold"] = "**" if row.get("all_low", 0) > 0 or row.get("all_high", 0) < 0 else ""
        row["pair"] = _pair(row.get("speech"), row["music"])
        mark = NESTED if row.get("nested") and row["mode"] != "probe" else ""
        row["mode"] = (MODES | {"chance": ""}).get(row["mode"], row["mode"]) + mark
        row["encoder"] = title(row["model"])
        cells = {head: form.format_map(row) for head, form in columns.items()}
        cells = {head: re.sub(r" ± nan| \(nan\)| \[0\]", "", text) for head, text in cells.items()}
        texts.append({head: re.sub(r"^\+?nan$", NONE, text) for head, text in cells.items()})
    return pd.DataFrame(texts, columns=[*columns])


def _pair(speech: str | None, music: str) -> str:
    return f"(no speech) {music}" if speech == "none" else f"{speech} → {music}"


def musics(cells: pd.DataFrame) -> list[str]:
    return [music for music in SHORT_NAMES.values() if len(cells) and music in set(cells["music"])]


def _grid(cells: pd.DataFrame, level: str, music: str, cell: str) -> pd.DataFrame:
    """One level and music: a row per encoder, mode and task, a column per language pair."""
    part = cells[(cells["level"] == level) & (cells["music"] == music)]
    texts = filled(part, ENCODER | TASK | PAIR | {"cell": cell}).set_index([*ENCODER, *TASK])
    pairs = [
        _pair(speech, music) for speech in SHORT_NAMES.values() if speech in set(part["speech"])
    ]
    grid = texts.pivot(columns=[*PAIR], values="cell").reindex(texts.index.unique())[pairs]
    return grid.rename_axis(columns=None).fillna(NONE).reset_index()


def _runs(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The runs, each with the number of its list of packages; and these lists, a line each."""
    runs = table[["run", "finished", "commit", "settings", "data", "predictions"]].copy()
    runs["commit"] = runs["commit"].str[:10] + runs["commit"].str[40:]  # with -dirty
    runs["predictions"] = runs["predictions"].str[:12]
    codes, packages = pd.factorize(table["packages"])
    runs["packages"] = codes + 1
    lines = [f"packages {number}: {text or NONE}" for number, text in enumerate(packages, 1)]
    return runs.replace("", NONE), lines
