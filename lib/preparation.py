"""The data set stage: a corpus -> {train,val,test}_dataset.h5, split.csv, skipped.csv."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from lib import artefacts, audio, corpora, datasets, splits
from lib.cli import say
from lib.config import Settings
from lib.errors import UserError
from lib.registry import LANGUAGES


def prepare(
    kind: str,
    language: str,
    settings: Settings,
    data: Path,
    folder: Path,
    *,
    hours: float,
    table: Path | None = None,
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
    hours : drawn in all with the seed; 0 takes everything
    table : annotation table to use instead of the corpus's own (music)
    overwrite : replace a data set of other settings
    allow_skips : accept more unusable recordings than dataset.max_lost

    Returns `folder`. It holds the files of all splits, or is left as it was.
    """
    features, section = settings["features"], settings["dataset"]
    seed = settings["run"]["seed"]
    recordings = _draw(kind, language, data, hours, seed, table)
    asked = {
        "features": features,
        "dataset": {
            key: section[key] for key in ("test", "val") if kind == "music" or key == "val"
        },
        "kind": kind,
        "language": LANGUAGES[language],
        "hours": hours,
        "seed": seed,
        "recordings": _fingerprint(recordings),
    }
    with artefacts.locked(folder):
        if not _stands(folder, asked, kind, overwrite):
            _write(recordings, asked, section, folder, allow_skips)
    return folder


def _write(
    recordings: pd.DataFrame, asked: dict, section: dict, folder: Path, allow_skips: bool
) -> None:
    """Split, extract and write a data set whose settings are `asked`."""
    music = asked["kind"] == "music"
    parts = splits.split(
        recordings,
        stratify="quadrant" if music else "language",
        test=section["test"] if music else 0,
        val=section["val"],
        seed=asked["seed"],
    )
    with artefacts.whole_folder(folder) as new:
        written, skipped = _extract(parts, new, asked, section["workers"])
        _check_losses(skipped, len(recordings), section["max_lost"], allow_skips, folder)
        _check_classes(written, parts)
        written.to_csv(new / "split.csv", index=False)
        pd.DataFrame(skipped, columns=["recording", "path", "reason"]).to_csv(
            new / "skipped.csv", index=False
        )
        artefacts.write_json(
            new / "dataset.json", {"inputs": asked, "packages": artefacts.packages()}
        )
    (folder.parent / f"{folder.name}.skipped.csv").unlink(missing_ok=True)  # of a failed attempt
    _report(written, skipped, asked["features"], folder)


def _draw(
    kind: str, language: str, data: Path, hours: float, seed: int, table: Path | None
) -> pd.DataFrame:
    """The recordings of the data set, drawn by duration."""
    letters = "em" if language == "x" else language
    drawn = []
    for letter in letters:
        corpus = corpora.read_corpus(kind, LANGUAGES[letter], data, table)
        part = splits.draw_hours(corpus, hours / len(letters), _seconds, seed)
        found = part["seconds"].sum() / 3600
        if hours and found < hours / len(letters):
            say(
                f"{LANGUAGES[letter]}: {hours / len(letters):g} h asked for, all {found:.2f} h "
                "that there are taken"
            )
        drawn.append(part)
    return splits.mixture(drawn, hours, seed) if language == "x" else drawn[0]


def _fingerprint(recordings: pd.DataFrame) -> str:
    """A hash of what the recordings are and how they are labelled."""
    columns = recordings[["recording", "language", "group", "quadrant", "arousal", "valence"]]
    return hashlib.sha256(columns.to_csv(index=False).encode()).hexdigest()[:16]


def _seconds(path: str) -> float:
    try:
        return audio.duration(path)
    except audio.UnusableRecording:
        return 0.0  # drawn all the same, so that extraction reports it


def _stands(folder: Path, asked: dict, kind: str, overwrite: bool) -> bool:
    """Whether the data set is there already; UserError if another one is."""
    if folder.is_file():
        raise UserError(f"{folder} is a file: name a folder with -ps")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    record = artefacts.read_json(folder / "dataset.json")
    if record is None:
        raise UserError(
            f"{folder} holds files that are not a data set of this suite: move them away, or "
            "write elsewhere with -ps"
        )
    differ = artefacts.differences(record.get("inputs", {}), asked)
    if differ and not overwrite:
        raise UserError(
            f"{folder} holds a data set of other settings ({'; '.join(differ)}): use the same, "
            "or replace it with --overwrite"
        )
    if overwrite:
        return False
    names = [name for name in splits.SPLITS if kind == "music" or name != "test"]
    lost = [name for name in names if not (folder / datasets.file_name(name)).is_file()]
    if lost:
        say(f"{folder} lacks {', '.join(map(datasets.file_name, lost))} and is made again")
        return False
    say(f"{folder} is finished already; --overwrite makes it again")
    return True


def _extract(
    parts: dict[str, pd.DataFrame], folder: Path, asked: dict, workers: int
) -> tuple[pd.DataFrame, list[dict]]:
    """Extract the frames of all splits in parallel, write one file per split."""
    from threadpoolctl import threadpool_limits
    from tqdm import tqdm

    threads = workers or os.cpu_count() or 1
    total = sum(len(part) for part in parts.values())
    work = partial(_try_extract, features=asked["features"])
    written, skipped = [], []
    # decoding, resampling and FFT leave the interpreter's lock, so threads scale as processes do
    # and start at once; the matrix library must not start threads of its own beneath them
    with (
        threadpool_limits(1, "blas"),
        ThreadPoolExecutor(threads) as pool,  # its end waits for its threads
        tqdm(total=total, unit=" recordings", desc="log-mel", disable=None) as bar,
    ):
        for name, part in parts.items():
            results = _in_order(pool, work, part["path"], most=2 * threads)
            attributes = {"split": name, "corpus": asked["kind"]}
            attributes |= {"language": asked["language"], "seed": asked["seed"]}
            table = datasets.write(
                folder / datasets.file_name(name),
                _usable(part, results, skipped, bar),
                asked["features"],
                attributes,
            )
            written.append(table.assign(split=name))
    return pd.concat(written, ignore_index=True), skipped


def _in_order(pool: ThreadPoolExecutor, work: Callable, items: Iterable, most: int) -> Iterator:
    """Results of `work` in the order of `items`, `most` computed ahead: memory stays bounded."""
    ahead = deque()
    for item in items:
        ahead.append(pool.submit(work, item))
        if len(ahead) > most:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _try_extract(path: str, features: dict) -> np.ndarray | str:
    """Frames, or the reason why there are none."""
    try:
        return audio.extract(path, features)
    except audio.UnusableRecording as reason:
        return str(reason)


def _usable(
    part: pd.DataFrame, results: Iterable, skipped: list[dict], bar
) -> Iterator[tuple[dict, np.ndarray]]:
    for row, result in zip(part.to_dict("records"), results, strict=True):
        bar.update()
        if isinstance(result, str):
            skipped.append({k: row[k] for k in ("recording", "path")} | {"reason": result})
        else:
            yield row, result


def _check_losses(
    skipped: list[dict], total: int, max_lost: float, allow: bool, folder: Path
) -> None:
    if len(skipped) <= max_lost * total or (allow and len(skipped) < total):
        return
    listing = folder.parent / f"{folder.name}.skipped.csv"
    with artefacts.atomic(listing) as path:
        pd.DataFrame(skipped).to_csv(path, index=False)
    first = "; ".join(f"{s['recording']}: {s['reason']}" for s in skipped[:3])
    raise UserError(
        f"{len(skipped)} of {total} recordings cannot be used, more than {max_lost:.0%} "
        f"({first}; all in {listing}): mend the corpus"
        + (", or accept the loss with --allow-skips" if len(skipped) < total else "")
    )


def _check_classes(written: pd.DataFrame, parts: dict[str, pd.DataFrame]) -> None:
    for name, part in parts.items():
        lost = set(part["quadrant"]) - set(written.loc[written["split"] == name, "quadrant"])
        if lost:
            what = f"of {', '.join(sorted(lost))}" if lost != {""} else "at all"
            raise UserError(f"no usable recording {what} is left in the {name} split")


def _report(written: pd.DataFrame, skipped: list[dict], features: dict, folder: Path) -> None:
    seconds = features["hop_length"] / features["sample_rate"]
    for name in splits.SPLITS:
        part = written[written["split"] == name]
        if part.empty:
            continue
        counts = part["quadrant"].value_counts().sort_index()
        classes = ", ".join(f"{k} {n}" for k, n in counts.items() if k)
        windows = sum(
            len(audio.window_starts(n, features["window_frames"], features["window_hop"]))
            for n in part["length"]
        )
        minutes = part["length"].sum() * seconds / 60
        say(
            f"{name:>5}: {len(part)} recordings, {minutes:.1f} min, {windows} windows"
            + (f" ({classes})" if classes else "")
        )
    say(f"{folder}: {len(written)} recordings written, {len(skipped)} skipped (skipped.csv)")
