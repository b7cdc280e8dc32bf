"""Run the data set stage: from a corpus make {train,val,test}_dataset.h5, split.csv and tables."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lib.artefacts import files as artefacts_files
from lib.artefacts import run_record
from lib.console import say
from lib.corpora import annotator_agreement, artists, catalogue, synthetic
from lib.datasets import dataset_file, preparation_report, split_assignment, splits
from lib.datasets.preparation_report import LABELS, TABLES
from lib.datasets.request import Request
from lib.errors import UserError
from lib.features import audio_decoding
from lib.features.extraction import Work, extract
from lib.features.extraction_shards import FILE, stamp
from lib.labels import LANGUAGES

SPLIT_FILES = [dataset_file.file_name(name) for name in splits.SPLITS]
SPLIT_COLUMNS = ["recording", "split", "fold", *LABELS, "length", "same_as"]
AGAIN = "make the set again (--overwrite)"


def prepare(request: Request, data: Path, folder: Path) -> Path:
    """Make one data set.

    data : folder of the corpora; folder : of the new data set. Returns the folder that was written.
    It holds all files of the data set; if the stage fails, it is unchanged.
    """
    folder, settings = folder.resolve(), request.settings
    if not folder.name:
        raise UserError(f"-ps {folder}: name a folder below it")
    if request.agreement:
        return preparation_report.report_agreement(request, data, folder)
    recordings = _read_recordings(request, data)
    inputs = _inputs(request)
    work_folder = folder.with_name(f".work-{folder.name}")
    listing = folder.with_name(f"{folder.name}.skipped.csv")
    with artefacts_files.locked(folder):
        recordings = _with_groups_of(folder, recordings, request.overwrite)
        with_recordings = inputs | {"recordings": _fingerprint(recordings)}
        if _is_finished(folder, with_recordings, recordings, request.overwrite):
            work = artefacts_files.read_json(work_folder / "inputs.json")
            if work == json.loads(json.dumps(inputs)):
                shutil.rmtree(work_folder)  # of a process killed at the very end
            return folder
        artefacts_files.check_replaceable(folder)
        # refuse recordings that cannot be divided before the extraction
        split_assignment.divide(request, recordings, recordings["recording"])
        with Work(work_folder, inputs, settings["features"]["n_mels"], request.overwrite) as work:
            entries = extract(
                recordings,
                features=settings["features"],
                max_cut=settings["dataset"]["max_cut"],
                work=work,
                workers=settings["dataset"]["workers"],
                scheduler=request.scheduler,
            )
            _check_losses(request, entries, listing)
            # a split that the new data set lacks is removed with the old one
            with artefacts_files.whole_folder(folder, SPLIT_FILES) as new:
                table = _divide(request, recordings, entries)
                hashes = _write(request, table, entries, work, new)
                record = _record(with_recordings, hashes, data)
                artefacts_files.write_json(new / "dataset.json", record)
                preparation_report.report_division(request, table)
            shutil.rmtree(work_folder)
        listing.unlink(missing_ok=True)  # from a failed attempt
        drawn = recordings["seconds"].sum() / 3600 if request.total_hours else 0.0
        preparation_report.report(folder, table, entries, settings["features"], drawn)
    return folder


def _record(inputs: Mapping, hashes: Mapping, data: Path) -> dict:
    """The content of dataset.json; it marks sound of make_demo_data.py as synthetic."""
    record = {"inputs": inputs, "files": hashes, "packages": run_record.packages()}
    return record | ({"synthetic": True} if (data / synthetic.RECORD).is_file() else {})


def _inputs(request: Request) -> dict:
    """Everything that decides a data set, except the recordings of its corpus."""
    section = request.settings["dataset"]
    shares = {"test": request.test_share, "val": section["val"]}
    return {
        "features": request.settings["features"],
        "dataset": {"max_cut": section["max_cut"]} | ({} if request.split else shares),
        "kind": request.kind,
        "language": LANGUAGES[request.language],
        "hours": request.total_hours,
        "seed": request.seed,
        "groups": request.groups,
        "folds": request.folds,
        "min_agreement": request.min_agreement,
        "split": artefacts_files.file_hash(request.split) if request.split else None,
    }


def _divide(request: Request, recordings: pd.DataFrame, entries: pd.DataFrame) -> pd.DataFrame:
    """The usable recordings with length, digest, same_as, split and, if requested, fold."""
    table = recordings.merge(entries[["recording", "length", "digest"]], on="recording")
    table = table[table["digest"].notna()].reset_index(drop=True)
    table["length"] = table["length"].astype("int64")
    first = table.groupby("digest")["recording"].transform("min")
    table["same_as"] = first.where(first != table["recording"], "")
    return table.join(split_assignment.divide(request, table, table["digest"]))


def _write(
    request: Request, table: pd.DataFrame, entries: pd.DataFrame, work: Work, folder: Path
) -> dict[str, str]:
    """Write the splits and the tables of a data set; returns the hash of each file."""
    hashes = {}
    common = {"corpus": request.kind, "language": LANGUAGES[request.language]}
    common["seed"] = request.seed
    for name, part in table.groupby("split"):
        hashes[dataset_file.file_name(name)] = dataset_file.write(
            folder / dataset_file.file_name(name),
            table=part,
            frames=map(work.frames, part["recording"]),
            features=request.settings["features"],
            attributes={"split": name, **common},
        )
    columns = [name for name in SPLIT_COLUMNS if name in table]
    lost = entries.loc[entries["digest"].isna(), ["recording", "path", "reason"]]
    table[columns].to_csv(folder / "split.csv", index=False)
    lost.to_csv(folder / "skipped.csv", index=False)
    entries[["recording", *FILE, "sha256"]].to_csv(folder / "sources.csv", index=False)
    return hashes | {name: artefacts_files.file_hash(folder / name) for name in TABLES}


def _read_recordings(request: Request, data: Path) -> pd.DataFrame:
    """The recordings of the data set, from a given split or drawn by duration, and their files."""
    given = request.given  # refuses a wrong split first
    languages = [LANGUAGES[letter] for letter in request.language.replace("x", "em")]
    corpora = [_read_corpus(request, language, data) for language in languages]
    if given is not None:
        table = split_assignment.recordings_of(request, corpora)
    else:
        table = _draw(request, dict(zip(languages, corpora, strict=True)))
    stamps = pd.DataFrame([stamp(path) for path in table["path"]])
    return pd.concat([table.reset_index(drop=True), stamps], axis=1)


def _read_corpus(request: Request, language: str, data: Path) -> pd.DataFrame:
    """The recordings of a corpus, without songs on whose quadrant too few annotators agree.

    The group of music is its artist, with all spellings joined; the column credit has the spelling.
    """
    corpus = catalogue.read_corpus(request.kind, language, data, request.table)
    corpus["credit"] = corpus["group"]
    if request.kind == "music":
        corpus["group"] = artists.artist_groups(corpus["credit"].tolist())
        preparation_report.report_spellings(corpus)
    if not request.min_agreement:
        return corpus
    ratings = catalogue.read_ratings(language, data, request.table)
    share = annotator_agreement.per_song(ratings).set_index("song")["agreement"]
    kept = share.reindex(corpus["recording"]).to_numpy() >= request.min_agreement
    if not kept.any():
        raise UserError(f"no song has an agreement of {request.min_agreement:g}: ask for less")
    say(
        f"{len(corpus) - kept.sum()} of {len(corpus)} songs have an agreement below "
        f"{request.min_agreement:g} and are left out"
    )
    return corpus[kept].reset_index(drop=True)


def _draw(request: Request, corpora: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The recordings drawn from {language: corpus}, with their seconds."""
    by = "group" if request.kind == "speech" else None
    mixed = len(corpora) > 1
    hours = request.total_hours / len(corpora)
    # headers are only read if durations matter
    seconds_of = _seconds if hours or mixed else lambda path: 0.0
    parts = []
    for language, corpus in corpora.items():
        part = splits.draw_hours(corpus, hours, seconds_of, seed=request.seed, by=by)
        total = part["seconds"].sum() / 3600
        if hours and total < hours:
            say(f"{language}: {hours:g} h asked for, only {total:.2f} h available, all taken")
        parts.append(part)
    table = splits.mixture(parts, request.total_hours, request.seed, by) if mixed else parts[0]
    if request.groups and (table["group"] == "").all():
        raise UserError(
            f"no {request.groups} is known of any of the {len(table)} recordings: provide a table "
            "with a column group (--table)"
        )
    return table


def _seconds(path: str) -> float:
    try:
        return audio_decoding.duration(path)
    except audio_decoding.UnusableRecording:
        return 0.0  # still drawn, so that the extraction reports it


def _fingerprint(recordings: pd.DataFrame) -> str:
    """A hash of the names, sizes and labels of the recordings."""
    columns = ["recording", *LABELS, "bytes"]
    return hashlib.sha256(recordings[columns].to_csv(index=False).encode()).hexdigest()[:16]


def _with_groups_of(folder: Path, recordings: pd.DataFrame, overwrite: bool) -> pd.DataFrame:
    """The recordings with the groups of the existing data set, unless it is replaced: an older one,
    made before spellings were joined, keeps a group per spelling."""
    spelt = recordings.assign(group=recordings["credit"])
    if overwrite or spelt["group"].equals(recordings["group"]):
        return recordings
    record = artefacts_files.read_json(folder / "dataset.json", AGAIN) or {}
    inputs = record.get("inputs")
    if not isinstance(inputs, dict) or inputs.get("recordings") != _fingerprint(spelt):
        return recordings
    say(f"{folder} keeps a group per spelling of an artist; --overwrite joins the spellings")
    return spelt


def _is_finished(folder: Path, inputs: dict, recordings: pd.DataFrame, overwrite: bool) -> bool:
    """Whether the data set already exists; UserError if another one is in its place."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    try:
        record = artefacts_files.read_json(folder / "dataset.json", AGAIN)
    except UserError:
        if not overwrite:
            raise
        record = None
    if record is None:
        # before it makes a data set again, a workflow engine removes the file that identifies it
        if overwrite and dataset_file.file_hash(folder / dataset_file.file_name("train")):
            return False
        raise UserError(
            f"{folder} holds files that are not a data set of this suite: move them away, or "
            "write elsewhere with -ps"
        )
    if overwrite:
        return False
    _check_same(folder, record, inputs, recordings)
    # a file of another data set counts as lost
    lost = [name for name in TABLES if not (folder / name).is_file()]
    lost += [
        name
        for name, value in record["files"].items()
        if name not in TABLES and dataset_file.file_hash(folder / name) != value
    ]
    if lost:
        say(f"{folder} lacks {', '.join(lost)} and is made again")
        return False
    say(f"{folder} is finished already; --overwrite makes it again")
    return True


def _check_same(folder: Path, record: Mapping, inputs: dict, recordings: pd.DataFrame) -> None:
    """Raise UserError when a data set is damaged, or made of other recordings or settings."""
    if not all(isinstance(record.get(key), dict) for key in ("inputs", "files")):
        raise UserError(f"{folder / 'dataset.json'} is damaged: {AGAIN}")
    there = [name for name in TABLES if (folder / name).is_file()]
    run_record.check_files(folder, record, there)
    changes = [
        preparation_report.changed_recordings(folder, recordings)
        if line.startswith("recordings: ")
        else line
        for line in run_record.differences(record["inputs"], inputs)
    ]
    changes = changes or preparation_report.changed_files(folder / "sources.csv", recordings)
    if changes:
        raise UserError(
            f"{folder} holds a data set of other settings ({'; '.join(changes)}): use the same "
            "settings, or replace it with --overwrite"
        )


def _check_losses(request: Request, entries: pd.DataFrame, listing: Path) -> None:
    """Raise UserError when too many recordings cannot be used; list them in a file."""
    skipped, total = entries[entries["digest"].isna()], len(entries)
    max_lost = request.settings["dataset"]["max_lost"]
    any_left = len(skipped) < total
    if len(skipped) <= max_lost * total or (request.allow_skips and any_left):
        return
    with artefacts_files.atomic(listing) as path:
        skipped[["recording", "path", "reason"]].to_csv(path, index=False)
    first = "; ".join(f"{s.recording}: {s.reason}" for s in skipped[:3].itertuples())
    raise UserError(
        f"{len(skipped)} of {total} recordings cannot be used, more than {max_lost:.0%} "
        f"({first}; all in {listing}): correct the corpus"
        + (", or accept the loss with --allow-skips" if any_left else "")
    )
