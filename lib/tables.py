"""The table of results, in the form of the paper's Table 2, from the finished runs.

Rows: encoder x mode x task. Columns: language pair. Cells: macro precision / recall / F1, each as
mean ± standard deviation over iterations (n - 1 in the denominator). The baseline from scratch and
chance stand in rows of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lib import artefacts, evaluation, plots
from lib.errors import UserError
from lib.evaluation import MEASURES
from lib.registry import BASELINES, DENOISERS, PREDICTIVE, SHORT, TASKS

RUN = re.compile(
    r"speech_(eng|man|mix|none)_2_music_(eng|man)/(\w+)(?:\.(feat_ext|full))?\.it_(0|[1-9]\d*)"
)
MODES = {"scratch": "from scratch", "feat_ext": "Feat. Ext.", "full": "Full"}


def collect(models: Path) -> pd.DataFrame:
    """Every finished transfer run below <models>/models_trans, in long form.

    Returns columns speech, music, model, mode, iteration, inputs, level, task, precision, recall,
    f1 (all macro), items (list: of each class). Says which directories are unfinished and left
    out, and where the iterations of a cell differ in settings or data.
    """
    rows = []
    for run in sorted((models / "models_trans").glob("speech_*_2_music_*/[!.]*.it_*")):
        name = RUN.fullmatch(f"{run.parent.name}/{run.name}")
        if name is None:
            print(f"{run} is not named as a run and left out")
            continue
        metrics, record = (artefacts.read_json(run / f"{n}.json") for n in ("metrics", "run"))
        if record is None or not metrics:
            print(f"{run} is unfinished and left out")
            continue
        speech, music, model, mode, iteration = name.groups()
        for level, tasks in metrics.items():
            for task, result in tasks.items():
                rows.append(
                    {
                        "speech": speech,
                        "music": music,
                        "model": model,
                        "mode": mode or "scratch",
                        "iteration": int(iteration),
                        "inputs": _alike(record),
                        "level": level,
                        "task": task,
                        **{m: result[f"macro_{m}"] for m in MEASURES},
                        "items": [c["items"] for c in result["per_class"].values()],
                    }
                )
    if not rows:
        raise UserError(
            f"no finished run in {models / 'models_trans'}: train one first, for example\n"
            "  python3 trans_train_denoise_multi.py -s e -m e -mod model_over -rel n"
        )
    runs = pd.DataFrame(rows)
    for names, cell in runs.groupby(["speech", "music", "model", "mode"]):
        if cell["inputs"].nunique() > 1:
            print(f"the iterations of {' '.join(names)} differ in settings or data: a mean of them")
            print("  mixes unlike runs; see their run.json")
    return runs


def _alike(record: Mapping) -> str:
    """What the iterations of one cell must have in common, as text."""
    own = ("iteration", "encoder", "feat_ext")
    inputs = {k: v for k, v in record.get("inputs", {}).items() if k not in own}
    return json.dumps(inputs, sort_keys=True)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over iterations of every cell, and chance.

    Returns one row per level, model, mode, task, speech, music with runs, <measure>_mean and
    <measure>_sd (NaN for a single run).
    """
    keys = ["level", "model", "mode", "task", "speech", "music"]
    order = {name: i for i, name in enumerate((*DENOISERS, *PREDICTIVE, *BASELINES))}
    runs = runs.sort_values("model", key=lambda names: names.map(order), kind="stable")
    rows = []
    for names, cell in runs.groupby(keys, sort=False):
        row = dict(zip(keys, names, strict=True)) | {"runs": len(cell)}
        for measure in MEASURES:
            row[f"{measure}_mean"] = cell[measure].mean()
            row[f"{measure}_sd"] = cell[measure].std(ddof=1)
        rows.append(row)
    for (level, music, task), cell in runs.groupby(["level", "music", "task"], sort=False):
        guess = evaluation.chance(cell["items"].iloc[0])
        row = dict(zip(keys, (level, "chance", "chance", task, "none", music), strict=True))
        row["runs"] = 0
        for measure in MEASURES:
            row |= {f"{measure}_mean": guess[measure], f"{measure}_sd": np.nan}
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(summary: pd.DataFrame) -> str:
    """The summary as Markdown: a table per level and music language."""
    lines = ["# Results on the test clips", "", _LEGEND, ""]
    for level in ("window", "clip"):
        for music in [m for m in SHORT.values() if m in set(summary["music"])]:
            part = summary[(summary["level"] == level) & (summary["music"] == music)]
            speeches = [s for s in (*SHORT.values(), "none") if s in set(part["speech"])]
            pairs = [f"{s} → {music}" if s != "none" else f"(no speech) {music}" for s in speeches]
            lines += [f"## Per {level}, {music} music", ""]
            lines += ["| encoder | mode | task | " + " | ".join(pairs) + " |"]
            lines += ["|---|---|---|" + "---|" * len(pairs)]
            for (model, mode), block in part.groupby(["model", "mode"], sort=False):
                for task in TASKS:
                    cells = []
                    for speech in speeches:
                        found = block[(block["task"] == task) & (block["speech"] == speech)]
                        cells.append(_cell(found.iloc[0]) if len(found) else "–")
                    title = MODES.get(mode, "")
                    lines.append(f"| {model} | {title} | {task} | " + " | ".join(cells) + " |")
            lines.append("")
    return "\n".join(lines)


_LEGEND = (
    "Macro precision / recall / **F1**, mean ± standard deviation over the iterations; [n] is the "
    "number of runs behind a cell, – a cell without any. Chance: every class guessed with the same "
    "probability."
)


def _cell(row: Mapping) -> str:
    def number(measure: str) -> str:
        spread = row[f"{measure}_sd"]
        return f"{row[f'{measure}_mean']:.2f}" + ("" if np.isnan(spread) else f" ± {spread:.2f}")

    runs = f" [{row['runs']}]" if row["runs"] else ""
    return f"{number('precision')} / {number('recall')} / **{number('f1')}**{runs}"


def terminal(summary: pd.DataFrame) -> str:
    """Macro F1 per window as a plain table for the terminal."""
    part = summary[summary["level"] == "window"].copy()
    part["pair"] = [
        m if s == "none" else f"{s} → {m}"
        for s, m in zip(part["speech"], part["music"], strict=True)
    ]
    part["f1"] = [
        f"{m:.2f}" + ("" if np.isnan(s) else f" ± {s:.2f}")
        for m, s in zip(part["f1_mean"], part["f1_sd"], strict=True)
    ]
    part["mode"] = part["mode"].map(MODES).fillna("")
    order = part["pair"].drop_duplicates()
    wide = part.pivot(index=["model", "mode", "task"], columns="pair", values="f1")
    wide = wide.reindex(columns=order).reindex(part.set_index(wide.index.names).index.unique())
    wide.columns.name = None
    return wide.fillna("–").to_string()


def figure(summary: pd.DataFrame, path: Path) -> None:
    """Draw macro F1 of the quadrants per window, by language pair."""
    part = summary[(summary["level"] == "window") & (summary["task"] == "quadrants")]
    chance = part[part["model"] == "chance"].set_index("music")["f1_mean"].to_dict()
    rows = []
    for row in part[part["model"] != "chance"].to_dict("records"):
        speeches = list(SHORT.values()) if row["speech"] == "none" else [row["speech"]]
        present = set(part.loc[part["music"] == row["music"], "speech"])
        # the baseline has no speech: it stands beside every pair of its music
        for speech in [s for s in speeches if s in present] or ["none"]:
            rows.append(
                {
                    "pair": f"{speech} → {row['music']}",
                    "name": f"{row['model']}, {MODES[row['mode']]}",
                    "mean": row["f1_mean"],
                    "sd": 0 if np.isnan(row["f1_sd"]) else row["f1_sd"],
                }
            )
    pairs = [f"{s} → {m}" for m in SHORT.values() for s in (*SHORT.values(), "none")]
    rows.sort(key=lambda row: pairs.index(row["pair"]))
    plots.table(rows, chance, path)


def results(models: Path, out: Path) -> str:
    """Write table.md, table.csv and table.png to `out`; returns the text for the terminal."""
    summary = summarise(collect(models))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{out} cannot be made: a file stands in its way") from error
    artefacts.write_text(out / "table.md", markdown(summary))
    artefacts.write_text(out / "table.csv", summary.to_csv(index=False, float_format="%.6g"))
    figure(summary, out / "table.png")
    return terminal(summary)
