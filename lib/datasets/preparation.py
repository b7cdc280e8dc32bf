"""The data set stage: a corpus -> {train,val,test}_dataset.h5, split.csv and the rest beside."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lib.artefacts import files as artefacts_files
from lib.artefacts import run_record
from lib.configuration import Settings
from lib.console import say
from lib.corpora import annotator_agreement, catalogue
from lib.corpora.annotation_tables import read_csv, require
from lib.datasets import dataset_file, split_assignment, splits
from lib.datasets.preparation_report import report, report_agreement
from lib.errors import UserError
from lib.features import audio_decoding
from lib.features.extraction import Work, extract
from lib.features.extraction_shards import FILE, stamp
from lib.labels import LANGUAGES

TABLES = ("split.csv", "skipped.csv", "sources.csv")
OWN = [dataset_file.file_name(name) for name in splits.SPLITS]  # go where a new data set lacks them
LABELS = ("language", "group", "quadrant", "arousal", "valence")
SPLIT_COLUMNS = ["recording", "split", "fold", *LABELS, "length", "same_as"]


@dataclass(frozen=True)
class Choice:
    """What of a corpus is wanted, and how it is divided.

    hours : drawn in all with the seed; 0 takes everything, None what the settings say
    table : annotation table to use instead of the corpus's own (music)
    groups : "artist" (music) or "speaker" keeps the recordings of each on one side
    folds : number of folds for cross-validation; 0: none
    split : a split.csv to reproduce
    min_agreement : share of a song's annotators who must agree with its quadrant
    agreement : report on the annotators of music, and do nothing else
    """

    hours: float | None = None
    table: Path | None = None
    groups: str | None = None
    folds: int = 0
    split: Path | None = None
    min_agreement: float = 0.0
    agreement: bool = False

    def check(self, kind: str, language: str) -> None:
        """Raise UserError when parts of the choice contradict each other."""
        if kind == "music" and language == "x":
            raise UserError(
                "there is no mixture of music: --language x goes with --dataset s; use e, m"
            )
        if self.groups and (self.groups == "artist") != (kind == "music"):
            raise UserError("--groups artist goes with music, --groups speaker with speech")
        if self.split and (self.hours is not None or self.min_agreement):
            raise UserError("--split says what is in: leave out --hours and --min-agreement")
        if kind == "speech" and (self.agreement or self.min_agreement):
            raise UserError("speech has no annotators: --agreement goes with music (--dataset m)")


def prepare(
    kind: str,
    language: str,
    settings: Settings,
    data: Path,
    folder: Path,
    choice: Choice,
    *,
    scheduler: str | None = None,
    overwrite: bool = False,
    allow_skips: bool = False,
) -> Path:
    """Make one data set.

    Parameters
    ----------
    kind : "speech" or "music"
    language : "e", "m", or (speech) "x" for equal durations of both
    data : folder of the corpora
    folder : where the data set goes
    choice : what of it, and how it is divided; checked
    scheduler : address of a Dask scheduler whose workers extract; None extracts here
    overwrite : replace a data set of other settings
    allow_skips : accept more unusable recordings than dataset.max_lost

    Returns the folder that was written. It holds all files of the data set, or is left as it was.
    """
    folder = folder.resolve()
    if not folder.name:
        raise UserError(f"-ps {folder}: name a folder below it")
    if choice.agreement:
        seed = settings["run"]["seed"]
        return report_agreement(language, data, folder, choice.table, seed)
    if choice.hours is None:
        hours = 0.0 if choice.split else settings["dataset"][f"{kind}_hours"]
        choice = replace(choice, hours=hours)
    section, seed = settings["dataset"], settings["run"]["seed"]
    given = split_assignment.read_split(choice.split) if choice.split else None
    recordings = _draw(kind, language, data, choice, seed, given)
    stamps = pd.DataFrame([stamp(path) for path in recordings["path"]])
    recordings = pd.concat([recordings.reset_index(drop=True), stamps], axis=1)
    shares = {"test": section["test"] if kind == "music" else 0, "val": section["val"]}
    asked = {
        "features": settings["features"],
        "dataset": {"max_cut": section["max_cut"]} | (shares if given is None else {}),
        "kind": kind,
        "language": LANGUAGES[language],
        "hours": choice.hours,
        "seed": seed,
        "groups": choice.groups,
        "folds": choice.folds,
        "min_agreement": choice.min_agreement,
        "split": artefacts_files.file_hash(choice.split) if choice.split else None,
    }
    stratify = "quadrant" if kind == "music" else "language"
    how = split_assignment.Division(given, shares, stratify, choice.groups, choice.folds, seed)
    whole = asked | {"recordings": _fingerprint(recordings)}
    work_folder = folder.with_name(f".work-{folder.name}")
    with artefacts_files.locked(folder):
        if _stands(folder, whole, recordings, overwrite):
            shutil.rmtree(work_folder, ignore_errors=True)  # of a process killed at its very end
            return folder
        artefacts_files.check_replaceable(folder)
        how.of(recordings, recordings["recording"])  # what cannot be divided is told at once
        with Work(work_folder, asked, settings["features"]["n_mels"], overwrite) as work:
            entries = extract(
                recordings,
                settings["features"],
                section["max_cut"],
                work,
                section["workers"],
                scheduler,
            )
            _check_losses(entries, section["max_lost"], allow_skips, folder)
            with artefacts_files.whole_folder(folder, OWN) as new:
                hashes = _write(recordings, entries, how, asked, work, new)
                hashes |= {name: artefacts_files.file_hash(new / name) for name in TABLES}
                record = {"inputs": whole, "files": hashes, "packages": run_record.packages()}
                artefacts_files.write_json(new / "dataset.json", record)
            work.remove()
        listing = folder.parent / f"{folder.name}.skipped.csv"
        listing.unlink(missing_ok=True)  # of a failed attempt
        drawn = recordings["seconds"].sum() / 3600 if choice.hours else 0.0
        report(folder, entries, settings["features"], drawn)
    return folder


def _write(
    recordings: pd.DataFrame,
    entries: pd.DataFrame,
    how: split_assignment.Division,
    asked: Mapping,
    work: Work,
    folder: Path,
) -> dict[str, str]:
    """Divide the usable recordings and write all files of a data set; the hash of each split."""
    hashes = {}
    found = recordings.merge(entries[["recording", "length", "digest"]], on="recording")
    table = found[found["digest"].notna()].reset_index(drop=True)
    table["length"] = table["length"].astype("int64")
    first = table.groupby("digest")["recording"].transform("min")
    table["same_as"] = first.where(first != table["recording"], "")
    table = table.join(how.of(table, table["digest"]))
    for name, part in table.groupby("split"):
        hashes[dataset_file.file_name(name)] = dataset_file.write(
            folder / dataset_file.file_name(name),
            part,
            map(work.frames, part["recording"]),
            asked["features"],
            {
                "split": name,
                "corpus": asked["kind"],
                "language": asked["language"],
                "seed": asked["seed"],
            },
        )
    columns = [name for name in SPLIT_COLUMNS if name in table]
    table[columns].to_csv(folder / "split.csv", index=False)
    lost = entries[entries["digest"].isna()]
    lost[["recording", "path", "reason"]].to_csv(folder / "skipped.csv", index=False)
    entries[["recording", *FILE, "sha256"]].to_csv(folder / "sources.csv", index=False)
    how.tell(table)
    return hashes


def _draw(
    kind: str, language: str, data: Path, choice: Choice, seed: int, given: pd.DataFrame | None
) -> pd.DataFrame:
    """The recordings of the data set: those of a given split, or drawn by duration."""
    letters = "em" if language == "x" else language
    mixed = len(letters) > 1
    hours = choice.hours / len(letters)
    by = "group" if kind == "speech" else None
    drawn = []
    for letter in letters:
        corpus = catalogue.read_corpus(kind, LANGUAGES[letter], data, choice.table)
        if choice.min_agreement:
            corpus = _agreed(corpus, letter, data, choice)
        if given is not None:
            drawn.append(corpus)
            continue
        # a header is only read where it matters
        seconds = _seconds if hours or mixed else lambda path: 0.0
        part = splits.draw_hours(corpus, hours, seconds, seed, by)
        found = part["seconds"].sum() / 3600
        if hours and found < hours:
            say(
                f"{LANGUAGES[letter]}: {hours:g} h asked for, all {found:.2f} h that there are "
                "taken"
            )
        drawn.append(part)
    if given is not None:
        return split_assignment.recordings_of(drawn, given, mixed, choice.split)
    table = splits.mixture(drawn, choice.hours, seed, by) if mixed else drawn[0]
    if choice.groups and (table["group"] == "").all():
        raise UserError(
            f"no {choice.groups} is known of any of the "
            f"{len(table)} recordings: bring a table with a column group (--table)"
        )
    return table


def _agreed(corpus: pd.DataFrame, letter: str, data: Path, choice: Choice) -> pd.DataFrame:
    """Without the songs on whose quadrant too few annotators agree."""
    ratings = catalogue.read_ratings(LANGUAGES[letter], data, choice.table)
    share = annotator_agreement.per_song(ratings).set_index("song")["agreement"]
    kept = share.reindex(corpus["recording"]).to_numpy() >= choice.min_agreement
    if not kept.any():
        raise UserError(f"no song has an agreement of {choice.min_agreement:g}: ask for less")
    say(
        f"{len(corpus) - kept.sum()} of {len(corpus)} songs have an agreement below "
        f"{choice.min_agreement:g} and are left out"
    )
    return corpus[kept].reset_index(drop=True)


def _fingerprint(recordings: pd.DataFrame) -> str:
    """A hash of what the recordings are, how large, and how they are labelled."""
    columns = ["recording", *LABELS, "bytes"]
    return hashlib.sha256(recordings[columns].to_csv(index=False).encode()).hexdigest()[:16]


def _seconds(path: str) -> float:
    try:
        return audio_decoding.duration(path)
    except audio_decoding.UnusableRecording:
        return 0.0  # drawn all the same, so that extraction reports it


def _stands(folder: Path, asked: dict, recordings: pd.DataFrame, overwrite: bool) -> bool:
    """Whether the data set is there already; UserError if another one is."""
    if folder.is_file():
        raise UserError(f"{folder} is a file: name a folder with -ps")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    record = _record(folder, overwrite)
    if record is None:
        # a workflow engine removes the file by which it knows a data set before it makes it again
        if overwrite and dataset_file.file_hash(folder / dataset_file.file_name("train")):
            return False
        raise UserError(
            f"{folder} holds files that are not a data set of this suite: move them away, or "
            "write elsewhere with -ps"
        )
    if overwrite:
        return False
    inputs, hashes = record.get("inputs"), record.get("files")
    if not isinstance(inputs, dict) or not isinstance(hashes, dict):
        raise UserError(f"{folder / 'dataset.json'} is damaged: make the set again (--overwrite)")
    lost = [name for name in TABLES if not (folder / name).is_file()]
    run_record.check_files(folder, record, [name for name in TABLES if name not in lost])
    differ = [
        line if not line.startswith("recordings: ") else _changed_recordings(folder, recordings)
        for line in run_record.differences(inputs, asked)
    ]
    differ = differ or _changed_files(folder / "sources.csv", recordings)
    if differ:
        raise UserError(
            f"{folder} holds a data set of other settings ({'; '.join(differ)}): use the same, "
            "or replace it with --overwrite"
        )
    # a file of another data set is not this one's
    files = [name for name in hashes if name not in TABLES]
    lost += [name for name in files if dataset_file.file_hash(folder / name) != hashes[name]]
    if lost:
        say(f"{folder} lacks {', '.join(lost)} and is made again")
        return False
    say(f"{folder} is finished already; --overwrite makes it again")
    return True


def _changed_recordings(folder: Path, recordings: pd.DataFrame) -> str:
    """What to say of recordings that are not those of the data set, or are labelled otherwise."""
    before = {}
    for name in ("split.csv", "skipped.csv", "sources.csv"):
        if not (folder / name).is_file():
            return f"recordings: others, or with other labels ({name} is gone, which named them)"
        before[name] = read_csv(folder / name, strip=False)
        require(before[name], ["recording"], folder / name)
        before[name] = before[name].drop_duplicates("recording").set_index("recording")
    # both as split.csv writes them
    text = io.StringIO(recordings.to_csv(index=False))
    now = pd.read_csv(text, dtype=str, keep_default_na=False).set_index("recording")
    split, sources = before["split.csv"], before["sources.csv"]
    there = split.index.union(before["skipped.csv"].index)
    changes = {
        "added": now.index.difference(there),
        "removed": there.difference(now.index),
        "relabelled": _differing(split, now, list(LABELS)),
        "of another size": _differing(sources, now, ["bytes"]),
    }
    lines = [
        f"{len(names)} {what} ({_few(names)})" for what, names in changes.items() if len(names)
    ]
    return "recordings: " + (", ".join(lines) or "one that was skipped has other labels")


def _few(names: Sequence[str]) -> str:
    """The first three of some names."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _differing(before: pd.DataFrame, now: pd.DataFrame, columns: list[str]) -> pd.Index:
    """The recordings of both tables whose columns, where both have them, differ."""
    both = now.index.intersection(before.index)
    columns = [name for name in columns if name in before]
    return both[(now.loc[both, columns] != before.loc[both, columns]).any(axis=1).to_numpy()]


def _record(folder: Path, overwrite: bool) -> dict | None:
    """What dataset.json says; None where there is none, or where a damaged one is replaced."""
    try:
        return artefacts_files.read_json(
            folder / "dataset.json", "make the set again (--overwrite)"
        )
    except UserError:
        if not overwrite:
            raise
        return None


def _changed_files(sources: Path, recordings: pd.DataFrame) -> list[str]:
    """What to say of sound files whose content is not what the data set was made from.

    A file of the same size and time is taken for the same; of another time, its content decides.
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
    return [f"{about}: {_few(changed)}"] if changed else []


def _check_losses(entries: pd.DataFrame, max_lost: float, allow: bool, folder: Path) -> None:
    skipped, total = entries[entries["digest"].isna()], len(entries)
    if len(skipped) <= max_lost * total or (allow and len(skipped) < total):
        return
    listing = folder.parent / f"{folder.name}.skipped.csv"
    with artefacts_files.atomic(listing) as path:
        skipped[["recording", "path", "reason"]].to_csv(path, index=False)
    first = "; ".join(f"{s.recording}: {s.reason}" for s in skipped[:3].itertuples())
    raise UserError(
        f"{len(skipped)} of {total} recordings cannot be used, more than {max_lost:.0%} "
        f"({first}; all in {listing}): mend the corpus"
        + (", or accept the loss with --allow-skips" if len(skipped) < total else "")
    )
