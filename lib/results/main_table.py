"""The first table of the page: macro F1 of the quadrants per clip, by encoder and language pair."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lib.labels import SHORT_NAMES
from lib.results.findings import MUSIC
from lib.results.typesetting import ENCODER, filled, musics

CELL = "{f1_mean:.2f} ± {f1_sd:.2f} [{runs}]"  # parts without a number are left out


@dataclass(frozen=True)
class MainTable:
    """The texts of the table.

    heads : for each music its title and the titles of its columns
    rows  : for each encoder and mode its title and its cells : (mean, standard deviation and
            number of runs, whether it is the best of its column), "" where there is no run
    """

    heads: list[tuple[str, list[str]]]
    rows: list[tuple[str, list[tuple[str, str, bool]]]]


def main_table(cells: pd.DataFrame) -> MainTable | None:
    """The table, or None where there are no cells; cells : from lib.results.table2.summarise."""
    if cells.empty:
        return None
    part = cells[(cells["level"] == "clip") & (cells["task"] == "quadrants")]
    texts = filled(part, {**ENCODER, "cell": CELL})
    part = part.assign(text=texts["cell"].to_list(), best=_best(part))
    part["title"] = (texts["encoder"] + " " + texts["mode"]).str.strip().to_list()
    heads, columns = [], []
    for music in musics(part):
        there = set(part.loc[part["music"] == music, "speech"])
        pairs = [(music, speech) for speech in SHORT_NAMES.values() if speech in there]
        columns += pairs
        heads.append((MUSIC[music], [_pair(*pair) for pair in pairs]))
    rows = []
    for title, row in part.groupby("title", sort=False):
        by_pair = {
            (c.music, c.speech): (*c.text.partition(" ")[::2], c.best) for c in row.itertuples()
        }
        rows.append((title, [by_pair.get(pair, ("", "", False)) for pair in columns]))
    return MainTable(heads, rows)


def _pair(music: str, speech: str) -> str:
    return "no speech" if speech == "none" else f"{speech} → {music}"


def _best(part: pd.DataFrame) -> pd.Series:
    """Which cells show the highest mean of a column with several cells : bool (n,)."""
    shown = part["f1_mean"].round(2).where(part["runs"] > 0)  # chance does not count
    column = shown.groupby([part["music"], part["speech"]])
    return (shown == column.transform("max")) & (column.transform("count") > 1)
