"""The embedding stage: encode recordings into a codes file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm

from lib.artefacts import files
from lib.console import native_messages_aside, say
from lib.corpora import catalogue
from lib.corpora.csv_tables import refuse
from lib.corpora.recording_names import is_utf8
from lib.corpora.recordings import check_suffixes
from lib.corpora.sound_folders import sound_files_below
from lib.datasets import codes_file
from lib.datasets.codes_file import About, CodesOf
from lib.embedding.encoder import Encode, Encoder
from lib.errors import UserError, one_line
from lib.features import audio_decoding, worker_processes

WORTH = 8  # recordings that justify the start of another process [ours]
Outcome = CodesOf | tuple[str, str]  # codes, or a recording and why it has none


def recordings_of_corpus(kind: str, language: str, data: Path) -> dict[str, Path]:
    """{id, as in split.csv: sound file} of a corpus; arguments and errors as for read_corpus."""
    table = catalogue.read_corpus(kind, language, data)
    return dict(zip(table["recording"], map(Path, table["path"]), strict=True))


def recordings_of_folder(folder: Path) -> dict[str, Path]:
    """{path below the folder without suffix: sound file} of all sound files below a folder.

    Raises UserError when there are none, or when two have the same name.
    """
    if not folder.is_dir():
        raise UserError(f"-i {folder} is not a folder: expected a folder of sound files")
    paths, failed = sound_files_below(folder, say)
    if failed:
        raise UserError("; ".join(failed))
    unreadable = [ascii(path.name) for path in paths if not is_utf8(path)]
    refuse(unreadable, f"{folder} has file names that are not UTF-8", "rename them")
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    check_suffixes(paths, names, folder)
    return dict(zip(names, paths, strict=True))


def embed(
    encoder: Encoder,
    recordings: Mapping[str, Path],
    target: Path,
    *,
    max_cut: float,
    workers: int = 0,
    overwrite: bool = False,
) -> None:
    """Write the codes of recordings to a codes file.

    Parameters
    ----------
    recordings : {id: sound file}, in the order of the file
    target : the codes file; an unfinished one is resumed
    max_cut : share of the length that a file's header promises that may be missing
    workers : processes, if the encoder uses them; 0: up to one per core, fewer for few recordings
    overwrite : replace other codes, finished or unfinished

    Raises UserError when another file exists at `target`. Raises it also when recordings could not
    be used, after the codes of all others are written.
    """
    about = replace(encoder.about, description=_description(encoder, recordings))
    if not overwrite and _is_finished(target, about, recordings):
        return
    files.make_folder(target.parent)
    lost: dict[str, str] = {}

    def make(left: list[str]) -> Iterator[CodesOf]:
        if len(left) < len(recordings):
            say(f"resuming: {len(recordings) - len(left)} of {len(recordings)} recordings are done")
        rows = [(name, recordings[name]) for name in left]
        for outcome in _shown(_outcomes(rows, encoder, max_cut, workers), len(rows)):
            if isinstance(outcome, CodesOf):
                yield outcome
            else:
                lost.update([outcome])

    try:
        codes_file.write(target, about, list(recordings), make, overwrite=overwrite)
    except UserError:
        _refuse(lost, len(recordings), whole=True)
        raise
    say(f"{target}: {about.title}, {len(recordings) - len(lost)} recordings")
    _refuse(lost, len(recordings))


def _shown(results: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """Yield the results, with a progress bar."""
    with (
        native_messages_aside() as errors,
        contextlib.closing(results),
        tqdm(results, "codes", total, unit=" recordings", disable=None, file=errors) as outcomes,
    ):
        yield from outcomes


def _refuse(lost: Mapping[str, str], total: int, whole: bool = False) -> None:
    """Raise UserError if recordings are lost; whole : only if all are."""
    if not lost or (whole and len(lost) < total):
        return
    lines = [f"{one_line(name)}: {reason}" for name, reason in lost.items()]
    raise UserError(
        f"{len(lost)} of {total} recordings could not be used:\n  " + "\n  ".join(lines)
    )


def _description(encoder: Encoder, recordings: Mapping[str, Path]) -> str:
    """Describe the encoder and the recordings, so that other recordings count as other codes."""
    sizes = [(name, os.stat(path).st_size) for name, path in recordings.items() if path.is_file()]
    mark = hashlib.sha256(json.dumps([list(recordings), sizes]).encode()).hexdigest()[:16]
    return (
        f"{encoder.about.description}; mono at {encoder.rate} Hz, divided by its peak; "
        f"{len(recordings)} recordings (names and sizes: {mark})"
    )


def _is_finished(target: Path, about: About, recordings: Mapping[str, Path]) -> bool:
    """Whether these codes exist already; UserError if other codes do, or if some are missing."""
    if not target.exists():
        return False
    stored = codes_file.read(target)
    if stored.about != about:
        differ = [key for key, value in vars(about).items() if vars(stored.about)[key] != value]
        raise UserError(
            f"{target} holds other codes ({', '.join(differ)} differ): write elsewhere with -o, or "
            "replace it with --overwrite"
        )
    missing = sorted(set(recordings) - set(stored.recordings))
    fault = f"{target} lacks recordings that could not be used when it was made"
    refuse(missing, fault, "correct these files, then run again with --overwrite")
    say(f"{target} is finished already; --overwrite makes it again")
    return True


def _outcomes(
    rows: list[tuple[str, Path]], encoder: Encoder, max_cut: float, workers: int
) -> Iterator[Outcome]:
    """Yield the outcome of each recording, from worker processes if the encoder uses them."""
    if encoder.processes:
        workers = workers or min(joblib.cpu_count(), 1 + len(rows) // WORTH)
        yield from worker_processes.results(
            _work, rows, workers, begin=partial(_begin_worker, encoder, max_cut), preload=[__name__]
        )
    else:
        yield from map(partial(_encode, encoder, encoder.load(), max_cut), rows)


def _begin_worker(encoder: Encoder, max_cut: float) -> None:
    global _worker  # set once in each worker process
    worker_processes.end_with_parent()
    _worker = partial(_encode, encoder, encoder.load(), max_cut)


def _work(row: tuple[str, Path]) -> list[Outcome]:
    return [_worker(row)]


def _encode(encoder: Encoder, encode: Encode, max_cut: float, row: tuple[str, Path]) -> Outcome:
    name, path = row
    try:
        with audio_decoding.decoded(path, encoder.rate, max_cut) as sound:
            codes = _on_disk(encode(sound))
            return CodesOf(name, codes, encoder.start_seconds(len(codes), sound.seconds))
    except audio_decoding.UnusableRecording as reason:
        return name, str(reason)
    except UserError as error:
        raise UserError(f"{one_line(name)}: {error}") from error


def _on_disk(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Codes : float32 (n, d), in a temporary file, since codes of hours may not fit in memory.

    Raises UnusableRecording when there are none, or when one is not a finite number.
    """
    width = 0
    with tempfile.TemporaryFile() as file:
        for block in blocks:
            if not np.isfinite(block).all():
                raise audio_decoding.UnusableRecording("its codes are not finite numbers")
            width = block.shape[1]
            file.write(np.ascontiguousarray(block, np.float32).data)
        file.flush()
        if not width:
            raise audio_decoding.UnusableRecording("shorter than one window of the encoder")
        return np.asarray(np.memmap(file, np.float32, "r").reshape(-1, width))
