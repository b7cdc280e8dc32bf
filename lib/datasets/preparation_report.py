"""What is told of a data set once it is made, and of its annotators."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lib.artefacts import files as artefacts_files
from lib.console import say
from lib.corpora import annotator_agreement, catalogue
from lib.datasets import splits
from lib.features import log_mel
from lib.labels import LANGUAGES, QUADRANTS


def report_agreement(
    language: str, data: Path, folder: Path, table: Path | None, seed: int
) -> Path:
    """Write how far the annotators of a music corpus agree, to a folder of its own.

    Parameters
    ----------
    language : "e" or "m"
    data : folder of the corpora
    folder : of the data set, beside which <folder>.agreement/ goes; what was there is replaced
    table : ratings to use instead of the corpus's own
    seed : of the bootstrap

    Returns the folder with agreement.txt, agreement.json, songs.csv, confusion.csv, agreement.png.
    """
    from lib.figures import agreement

    ratings = catalogue.read_ratings(LANGUAGES[language], data, table)
    found = annotator_agreement.analyse(ratings, seed)
    target = folder.with_name(f"{folder.name}.agreement")
    with artefacts_files.locked(target), artefacts_files.whole_folder(target) as new:
        artefacts_files.write_json(new / "agreement.json", found)
        artefacts_files.write_text(new / "agreement.txt", annotator_agreement.report(found))
        annotator_agreement.per_song(ratings).to_csv(
            new / "songs.csv", index=False, float_format="%.6g"
        )
        confusion = pd.DataFrame(found["confusion"], index=QUADRANTS, columns=QUADRANTS)
        confusion.rename_axis("song").to_csv(new / "confusion.csv")
        agreement.agreement(found, new / "agreement.png", f"{LANGUAGES[language]} music")
    say(
        annotator_agreement.report(found),
        f"{target}: agreement.txt, .json and .png, songs.csv, confusion.csv",
    )
    return target


def report(folder: Path, entries: pd.DataFrame, features: dict, drawn: float) -> None:
    table = pd.read_csv(folder / "split.csv", keep_default_na=False)
    seconds = features["hop_length"] / features["sample_rate"]
    for name in splits.SPLITS:
        part = table[table["split"] == name]
        if part.empty:
            continue
        counts = part["quadrant"].value_counts()
        classes = ", ".join(f"{q} {counts[q]}" for q in QUADRANTS if q in counts)
        windows = sum(
            len(log_mel.window_starts(n, features["window_frames"], features["window_hop"]))
            for n in part["length"]
        )
        minutes = part["length"].sum() * seconds / 60
        say(
            f"{name:>5}: {len(part)} recordings, {minutes:.1f} min, {windows} windows"
            + (f" ({classes})" if classes else "")
        )
    got = table["length"].sum() * seconds / 3600
    if drawn and abs(got - drawn) > 0.05 * drawn:
        say(f"these are {got:.2f} h, where the headers of the files drawn promised {drawn:.2f} h")
    skipped = len(entries) - len(table)
    say(f"{folder}: {len(table)} recordings written, {skipped} skipped (skipped.csv)")
