"""The tables of results as Markdown, LaTeX (booktabs) and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from lib.evaluation.metrics import MEASURES
from lib.labels import SHORT, TASKS
from lib.models.catalogue import title
from lib.results.finished_runs import LEVELS, MODES
from lib.results.table2 import Results

NONE = "–"  # a cell without any run: never filled

_ABOUT_CELLS = """\
Macro precision / recall / **F1** on the test clips, mean ± standard deviation over the iterations;
[n] is the number of runs behind a cell, – a cell without any. Chance: every class guessed with the
same probability."""
_ABOUT_PUBLISHED = """\
F1 per window, macro (weighted in brackets): the iterations here, and the authors' released runs,
one per cell, of experiment 1 (3 h of speech per language) and 2 (30 h). Arousal and valence are put
right (the paper's Table 2 exchanges them; for CH-818 it prints the weighted average as the macro
one). They have other test clips, so the two stand beside each other without an interval."""
_ABOUT_DIFFERENCES = """\
Macro F1 minus that of the CNN trained from scratch on the same test clips, with 95 % intervals of a
paired bootstrap over clips: alone, and all of one music, level and task at once (corrected for
their number, as is p). **Bold**: outside 0 after correction. They say how far the clips carry, not
how far another training would differ: that is the standard deviation above. With only some tens of
test clips they are too narrow."""
_ABOUT_CONTRASTS = """\
Macro F1 of the quadrants. Intra-linguistic: speech in the language of the music's lyrics;
cross-linguistic: in the other one. Single language: mean of both. Intervals as above, all contrasts
of a level at once. "All" is the mean of the rows above it. Published: the same contrast of the
authors' released runs (experiment 2), which have no intervals. A contrast that lacks a cell is left
out."""
_ABOUT_RUNS = """\
Commit of the suite (-dirty: files were changed since); hashes of the settings that decide a result,
of the data sets and of predictions.csv, shortened. `runs.csv` has them in full;
`results_table.py --check` computes everything here again from the predictions."""
_ABOUT_FOLDS = "Macro F1, mean ± standard deviation over the folds."


def markdown(found: Results) -> str:
    """All tables as Markdown."""
    parts = ["# Results", ""]
    if len(found.cells):
        for level in LEVELS:
            for music in _musics(found.cells):
                parts += [f"## Per {level}, {music} music", "", _ABOUT_CELLS, ""]
                parts += [*_lines(_grid(found.cells, level, music, _cell)), ""]
        parts += ["## Beside the published figures", "", _ABOUT_PUBLISHED, "", *_beside(found), ""]
        parts += ["## Against training from scratch", "", _ABOUT_DIFFERENCES, ""]
        parts += [*_differences(found.differences), ""]
        parts += ["## Does the language of the speech matter?", "", _ABOUT_CONTRASTS, ""]
        parts += [*_contrasts(found.contrasts), ""]
    if len(found.folds):
        parts += ["## Cross-validation", "", _ABOUT_FOLDS, "", *_folds(found.folds), ""]
    rows, packages = _runs(found.runs)
    parts += ["## Runs behind the tables", "", _ABOUT_RUNS, "", *_lines(rows), ""]
    parts += [*(f"- {line}" for line in packages), ""]
    if found.notes:
        parts += ["## Left out", "", *(f"- {note}" for note in found.notes), ""]
    return "\n".join(parts)


def terminal(found: Results) -> str:
    """Macro F1 per window, and the answers, as plain tables."""
    texts = []
    if len(found.cells):
        part = found.cells[found.cells["level"] == "window"].copy()
        part["pair"] = [_pair(row) for row in part.to_dict("records")]
        part["f1"] = [
            f"{_mean(row, 'f1')} [{row['runs']}]" if row["runs"] else _mean(row, "f1")
            for row in part.to_dict("records")
        ]
        part["encoder"] = part["model"].map(title)
        part["mode"] = part["mode"].map(MODES).fillna("")
        keys = ["encoder", "mode", "task"]
        wide = part.pivot(index=keys, columns="pair", values="f1")
        wide = wide.reindex(columns=part["pair"].drop_duplicates())
        wide = wide.reindex(part.set_index(keys).index.unique())
        wide.columns.name = None
        texts += [
            "macro F1 per window, mean ± standard deviation [runs]",
            wide.fillna(NONE).to_string(),
        ]
    table = found.contrasts[found.contrasts["level"] == "clip"]
    for row in table.to_dict("records"):
        what = "mean of all" if row["model"] == "all" else " ".join(_encoder(row))
        what += f", {row['music']} music" if row["music"] != "all" else ""
        texts.append(f"{row['question']}, per clip, {what}:")
        texts[-1] += f" {_signed(row)} {_interval(row, 'all_')}"
    if len(found.folds):
        texts.append("cross-validation, macro F1 per clip, mean ± standard deviation over folds")
        part = found.folds[found.folds["level"] == "clip"]
        for row in part.to_dict("records"):
            name = f"{' '.join(_encoder(row))} {_pair(row)}, {row['protocol']}, "
            name += f"iteration {row['iteration']}"
            texts.append(f"  {name}, {row['task']}: {row['mean']:.3f} ± {row['sd']:.3f}")
    return "\n".join(texts)


def latex(found: Results) -> str:
    """The paper's Table 2 as LaTeX, for the package booktabs: one table per language of music."""
    tables = ["% needs \\usepackage{booktabs}"]
    rows, packages = _runs(found.runs)
    lines = [line.replace(NONE, "-") for line in [*map(" | ".join, rows), *packages]]
    tables[0] += "".join(f"\n% {line}" for line in lines)
    for music in _musics(found.cells):
        rows = _grid(found.cells, "window", music, _cell_latex)
        head, body = rows[0], rows[1:]
        lines = ["\\begin{table}", "\\centering"]
        lines += [f"\\caption{{{_CAPTION.format(music=music)}}}"]
        lines += [f"\\begin{{tabular}}{{lll{'c' * (len(head) - 3)}}}", "\\toprule"]
        lines += [" & ".join(map(_escaped, head)) + " \\\\", "\\midrule"]
        for number, row in enumerate(body):
            if number and number % len(TASKS) == 0:
                lines.append("\\midrule")
            lines.append(" & ".join(map(_escaped, row)) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"


_CAPTION = (
    "Macro F1 per window on {music} music, mean $\\pm$ standard deviation over [n] runs; in "
    "parentheses, that of the released run of experiment 2 on its own test clips."
)


def _lines(rows: list[list]) -> list[str]:
    """A Markdown table; the first row is its head."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def _grid(table: pd.DataFrame, level: str, music: str, cell: Callable) -> list[list]:
    """Rows encoder x mode x task, columns language pairs, of one level and music."""
    part = table[(table["level"] == level) & (table["music"] == music)]
    speeches = [s for s in SHORT.values() if s in set(part["speech"])]
    pairs = [f"{s} → {music}" if s != "none" else f"(no speech) {music}" for s in speeches]
    rows = [["encoder", "mode", "task", *pairs]]
    for _, block in part.groupby(["model", "mode"], sort=False):
        for task in TASKS:
            own = block[block["task"] == task].set_index("speech")
            cells = [cell(own.loc[s]) if s in own.index else NONE for s in speeches]
            rows.append([*_encoder(block.iloc[0]), task, *cells])
    return rows


def _beside(found: Results) -> list[str]:
    part = found.cells[(found.cells["level"] == "window") & (found.cells["model"] != "chance")]
    rows = [["encoder", "mode", "speech → music", "task", "here", "experiment 1", "experiment 2"]]
    for row in part.to_dict("records"):
        cells = [f"**{_mean(row, 'f1')}** ({_mean(row, 'weighted_f1')}) [{row['runs']}]"]
        for experiment in (1, 2):
            macro, weighted = (row[f"published_{experiment}{k}"] for k in ("", "_weighted"))
            cells.append(NONE if np.isnan(macro) else f"{macro:.2f} ({weighted:.2f})")
        rows.append([*_encoder(row), _pair(row), row["task"], *cells])
    return _lines(rows)


_ESTIMATE = ["difference", "alone", "all at once", "p"]


def _differences(table: pd.DataFrame) -> list[str]:
    if table.empty:
        return ["No transfer has a baseline on the same clips."]
    rows = [["level", "encoder", "mode", "speech → music", "task", *_ESTIMATE]]
    for row in table.to_dict("records"):
        rows.append([row["level"], *_encoder(row), _pair(row), row["task"], *_told(row)])
    return _lines(rows)


def _contrasts(table: pd.DataFrame) -> list[str]:
    if table.empty:
        return ["No encoder and mode has all language pairs of a contrast yet."]
    rows = [["level", "contrast", "encoder", "mode", "music", *_ESTIMATE, "published"]]
    for row in table.to_dict("records"):
        published = NONE if np.isnan(row["published"]) else f"{row['published']:+.3f}"
        about = [row["level"], row["question"], *_encoder(row), row["music"]]
        rows.append([*about, *_told(row), published])
    return _lines(rows)


def _folds(table: pd.DataFrame) -> list[str]:
    rows = [["encoder", "mode", "speech → music", "folds", "iteration", "level", *TASKS]]
    keys = ["model", "mode", "speech", "music", "protocol", "iteration", "level"]
    for _, block in table.groupby(keys, sort=False):
        row, own = block.iloc[0], block.set_index("task")
        cells = [f"{own.loc[t, 'mean']:.3f} ± {own.loc[t, 'sd']:.3f}" for t in TASKS]
        about = [row["protocol"], row["iteration"], row["level"]]
        rows.append([*_encoder(row), _pair(row), *about, *cells])
    return _lines(rows)


def _runs(table: pd.DataFrame) -> tuple[list[list[str]], list[str]]:
    """A row per run behind the tables, with the number of its packages; and these, a line each."""
    packages = list(dict.fromkeys(table["packages"]))
    rows = [["run", "finished", "commit", "settings", "data", "predictions", "packages"]]
    for row in table.to_dict("records"):
        commit = row["commit"][:10] + row["commit"][40:]  # with -dirty
        number = str(packages.index(row["packages"]) + 1)
        about = [row["run"], row["finished"], commit or NONE, row["settings"], row["data"]]
        rows.append([*about, row["predictions"][:12], number])
    return rows, [f"packages {i}: {text or NONE}" for i, text in enumerate(packages, 1)]


def _told(row: Mapping) -> list[str]:
    sure = row["all_low"] > 0 or row["all_high"] < 0
    difference = f"**{_signed(row)}**" if sure else _signed(row)
    p = "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
    return [difference, _interval(row), _interval(row, "all_"), p]


def _signed(row: Mapping) -> str:
    return f"{row['difference']:+.3f}"


def _interval(row: Mapping, kind: str = "") -> str:
    return f"[{row[f'{kind}low']:+.3f}, {row[f'{kind}high']:+.3f}]"


def _encoder(row: Mapping) -> tuple[str, str]:
    """Encoder and mode, as the paper calls them."""
    mode = {"chance": "", "all": "all"} | MODES
    return title(row["model"]), mode[row["mode"]]


def _pair(row: Mapping) -> str:
    return row["music"] if row["speech"] == "none" else f"{row['speech']} → {row['music']}"


def _musics(table: pd.DataFrame) -> list[str]:
    there = set(table["music"]) if len(table) else set()
    return [music for music in SHORT.values() if music in there]


def _mean(row: Mapping, measure: str) -> str:
    spread = row[f"{measure}_sd"]
    return f"{row[f'{measure}_mean']:.2f}" + ("" if np.isnan(spread) else f" ± {spread:.2f}")


def _cell(row: Mapping) -> str:
    runs = f" [{row['runs']}]" if row["runs"] else ""
    precision, recall, f1 = (_mean(row, measure) for measure in MEASURES)
    return f"{precision} / {recall} / **{f1}**{runs}"


def _cell_latex(row: Mapping) -> str:
    runs = f" [{row['runs']}]" if row["runs"] else ""
    published = row["published_2"]
    return f"{_mean(row, 'f1')}{runs}" + ("" if np.isnan(published) else f" ({published:.2f})")


def _escaped(text: str) -> str:
    for sign, command in (("±", "$\\pm$"), ("→", "$\\rightarrow$"), ("–", "--"), ("_", "\\_")):
        text = text.replace(sign, command)
    return text
