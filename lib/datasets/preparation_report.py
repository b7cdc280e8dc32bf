"""Report on a data set: its content and splits, what changed, how its annotators agree."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib.artefacts import files as artefacts_files
from lib.console import say
from lib.corpora import annotator_agreement, catalogue
from lib.corpora.csv_tables import read_csv, require
from lib.datasets import splits
from lib.datasets.request import Request
from lib.labels import LANGUAGES, QUADRANTS

TABLES = ("split.csv", "skipped.csv", "sources.csv")
LABELS = ("language", "group", "quadrant", "arousal", "valence")


def report_agreement(request: Request, data: Path, folder: Path) -> Path:
    """Write how well the annotators of a music corpus agree, to <folder>.agreement/.

    data : folder of the corpora; folder : of the data set. Returns the folder with agreement.txt,
    agreement.json, songs.csv, confusion.csv and agreement.png; existing files are replaced.
    """
    from lib.figures import agreement

    language = LANGUAGES[request.language]
    ratings = catalogue.read_ratings(language, data, request.table)
    measures = annotator_agreement.analyse(ratings, request.seed)
    text = annotator_agreement.report(measures)
    songs = annotator_agreement.per_song(ratings)
    confusion = pd.DataFrame(measures["confusion"], index=QUADRANTS, columns=QUADRANTS)
    target = folder.with_name(f"{folder.name}.agreement")
    with artefacts_files.locked(target), artefacts_files.whole_folder(target) as new:
        artefacts_files.write_json(new / "agreement.json", measures)
        artefacts_files.write_text(new / "agreement.txt", text)
        songs.to_csv(new / "songs.csv", index=False, float_format="%.6g")
        confusion.rename_axis("song").to_csv(new / "confusion.csv")
        agreement.agreement(measures, new / "agreement.png", f"{language} music")
    say(text, f"{target}: agreement.txt, .json and .png, songs.csv, confusion.csv")
    return target


def report_spellings(corpus: pd.DataFrame) -> None:
    """Print which credits belong to the same artist."""
    credits = corpus[corpus["group"] != ""].groupby("group")["credit"].unique()
    joined = [" = ".join(sorted(spelt)) for spelt in credits if len(spelt) > 1]
    if joined:
        say(f"artists with several credits, each one group: {len(joined)} ({_join_first(joined)})")


def report_division(request: Request, table: pd.DataFrame) -> None:
    """Print equal recordings, what stays together, and how far splits are off their shares."""
    copies = table[table["same_as"] != ""]
    if len(copies):
        pairs = _join_first(list(copies["recording"] + " = " + copies["same_as"]))
        kept = ", kept in the same split" if request.given is None else ""
        say(f"{len(copies)} recordings have the same sound as another{kept}: {pairs}")
        divided = (table.groupby("digest")["quadrant"].nunique() > 1).sum()
        if divided:
            say(f"  {divided} of these sounds have more than one quadrant: correct the annotations")
    if request.given is not None:
        groups, sounds = (
            (table[table[column] != ""].groupby(column)["split"].nunique() > 1).sum()
            for column in ("group", "digest")
        )
        say(
            f"split as given; {groups} groups (artist, speaker) and {sounds} sounds are in more "
            "than one split"
        )
    elif request.groups:
        known = table.loc[table["group"] != "", "group"]
        alone = len(table) - len(known)
        say(
            f"{known.nunique()} {request.groups}s, each in one split"
            + (f"; {alone} recordings without a known {request.groups}" if alone else "")
        )
    drawn = {} if request.given is not None else {"split": request.shares}
    if request.folds:
        drawn["fold"] = splits.fold_shares(request.folds, len(table))
    for column, shares in drawn.items():
        off, name, part = splits.deviation(table[request.stratify], table[column], shares)
        where = f"{name} in {'fold ' if column == 'fold' else ''}{part}"
        say(
            f"{column}s: off their shares by at most {off:.1f} of {len(table)} recordings ({where})"
        )


def report(
    folder: Path, table: pd.DataFrame, entries: pd.DataFrame, features: dict, drawn: float
) -> None:
    """Print what a new data set holds; drawn : hours that the headers of its files state, or 0."""
    seconds = features["hop_length"] / features["sample_rate"]
    length, hop = features["window_frames"], features["window_hop"]
    for name in splits.SPLITS:
        part = table[table["split"] == name]
        if part.empty:
            continue
        counts = part["quadrant"].value_counts()
        classes = ", ".join(f"{q} {counts[q]}" for q in QUADRANTS if q in counts)
        windows = ((part["length"] - length) // hop + 1).clip(0).sum()
        minutes = part["length"].sum() * seconds / 60
        say(
            f"{name:>5}: {len(part)} recordings, {minutes:.1f} min, {windows} windows"
            + (f" ({classes})" if classes else "")
        )
    hours = table["length"].sum() * seconds / 3600
    if drawn and abs(hours - drawn) > 0.05 * drawn:
        say(f"these are {hours:.2f} h, but the headers of the drawn files state {drawn:.2f} h")
    skipped = len(entries) - len(table)
    say(f"{folder}: {len(table)} recordings written, {skipped} skipped (skipped.csv)")


def changed_recordings(folder: Path, recordings: pd.DataFrame) -> str:
    """How recordings or their labels differ from those that a data set was made from."""
    tables = []
    for name in TABLES:
        if not (folder / name).is_file():
            return f"recordings: others, or with other labels ({name} is gone)"
        table = read_csv(folder / name, strip=False)
        require(table, ["recording"], folder / name)
        tables.append(table.drop_duplicates("recording").set_index("recording"))
    split, skipped, sources = tables
    # as split.csv writes them
    text = io.StringIO(recordings.to_csv(index=False))
    now = pd.read_csv(text, dtype=str, keep_default_na=False).set_index("recording")
    before = split.index.union(skipped.index)
    changes = {
        "added": now.index.difference(before),
        "removed": before.difference(now.index),
        "relabelled": _differing(split, now, list(LABELS)),
        "of another size": _differing(sources, now, ["bytes"]),
    }
    lines = [
        f"{len(names)} {change} ({_join_first(names)})"
        for change, names in changes.items()
        if len(names)
    ]
    return "recordings: " + (", ".join(lines) or "one that was skipped has other labels")


def changed_files(sources: Path, recordings: pd.DataFrame) -> list[str]:
    """Which sound files changed since the data set was made from them, in at most one line.

    A file of the same size and time counts as unchanged; if its time differs, its content decides.
    """
    if not sources.is_file():
        return [f"{sources.name} is gone"]
    before = read_csv(sources, strip=False)
    require(before, ["recording", "modified", "sha256"], sources)
    both = recordings.merge(before, "left", on="recording", suffixes=("", "_before"))
    touched = both[both["modified"].astype(str) != both["modified_before"]]
    changed = [
        row.recording
        for row in touched.itertuples()
        if row.bytes < 0 or artefacts_files.file_hash(Path(row.path)) != row.sha256
    ]
    about = f"the content of {len(changed)} recordings changed"
    return [f"{about}: {_join_first(changed)}"] if changed else []


def _differing(before: pd.DataFrame, now: pd.DataFrame, columns: list[str]) -> pd.Index:
    """The recordings in both tables that differ in a column that both have."""
    both = now.index.intersection(before.index)
    columns = [name for name in columns if name in before]
    return both[(now.loc[both, columns] != before.loc[both, columns]).any(axis=1).to_numpy()]


def _join_first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
