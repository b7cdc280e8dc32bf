"""The prediction stage: predict files and folders, then write or print the results.

Each file gets <name>.json, .csv and .png (contents: lib.prediction.predictor). A folder also gets
summary.csv. Threads predict several files at a time, since decoding, log-mel and network run
outside Python. Unusable files do not stop the others; they are reported at the end.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lib.artefacts import files
from lib.console import native_messages_aside, say
from lib.errors import NO_ROOM, UserError, one_line, printable
from lib.features.worker_processes import end_with_parent
from lib.labels import SOUND
from lib.prediction import input_files, output_files
from lib.prediction.in_order import CORES, in_order
from lib.prediction.input_files import SUMMARY, Input
from lib.prediction.output_files import Draw
from lib.prediction.predictor import Prediction, Predictor

FEW = 4  # figures: about as many as a process draws in the time it takes to start


@dataclass(frozen=True)
class Options:
    """What to do with predictions.

    out       : folder for <name>.csv, .json, .png of each file, and for summary.csv if a folder is
                given; None writes no files
    overwrite : replace existing files in `out`
    as_json   : print a line of JSON per file, with its windows, instead of messages
    figures   : write <name>.png
    jobs      : files at a time; 0 means one per core
    """

    out: Path | None = None
    overwrite: bool = False
    as_json: bool = False
    figures: bool = True
    jobs: int = 0


def predict_all(
    given: Sequence[str], predictor: Predictor, stream: BinaryIO | None, options: Options
) -> list[str]:
    """Predict files and folders; returns a message for each one that failed.

    given  : paths of files and folders; "-" for `stream`
    stream : standard input, if there is one
    """
    out = options.out
    # the exceptions are clearer than what decoders print
    with tempfile.TemporaryDirectory() as folder, native_messages_aside():
        report = _to_standard_error if options.as_json else say
        sources, failed = input_files.inputs(given, stream, Path(folder), report=report)
        table_wanted = out is not None and any(Path(text).is_dir() for text in given)
        if out is not None:
            files.make_folder(out)
        if table_wanted and not options.overwrite:
            output_files.check_summary(out / SUMMARY)
        jobs = min(options.jobs or CORES, max(1, len(sources)))
        drawn = len(sources) if out and options.figures else 0
        with _drawing(drawn, min(jobs, drawn // FEW)) as draw:
            predictor = replace(predictor, jobs=max(1, CORES // jobs))
            predict = partial(_predict, predictor=predictor, options=options, draw=draw)
            for message, failure in in_order(predict, sources, jobs):
                failed += [failure] if failure else []
                if message:
                    say(message)
        rows = output_files.write_summary(out) if table_wanted and sources else 0
        if rows and not options.as_json:
            say(f"{rows} files: {out / SUMMARY}")
    return failed


def _to_standard_error(text: str) -> None:
    print(printable(text), file=sys.stderr)


@contextlib.contextmanager
def _drawing(figures: int, workers: int) -> Iterator[Draw | None]:
    """Yield what draws figures, here or in `workers` processes; None if there are no figures."""
    if workers < 2:
        lock = threading.Lock()

        def draw_here(prediction: Prediction, path: Path, title: str) -> None:
            with lock:  # matplotlib is not thread-safe
                output_files.draw_taggram(prediction, path, title)

        yield draw_here if figures else None
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:

        def draw(prediction: Prediction, path: Path, title: str) -> None:
            pool.submit(output_files.draw_taggram, prediction, path, title).result()

        yield draw


def _predict(
    source: Input, predictor: Predictor, options: Options, draw: Draw | None
) -> tuple[str, str]:
    """Predict a file; returns what to print and the error; one of them is empty."""
    name = one_line(source.name)
    try:
        return _predict_one(source, predictor, options, draw), ""
    except UserError as error:
        return "", f"{name}: {error}{_advice(source.path, error)}"
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        file = f"{error.filename}: " if error.filename else ""
        return "", f"{name}: {file}{error.strerror or error}"


def _predict_one(source: Input, predictor: Predictor, options: Options, draw: Draw | None) -> str:
    """Predict a file and write its outputs, unless they exist; returns what to print."""
    began, name, out = time.perf_counter(), one_line(source.name), options.out
    summary = {"file": source.name}
    if out is not None:
        path = source.path
        summary["sha256"] = files.file_hash(path) if path.is_file() else None
        summary["model"] = predictor.identity
        record = None
        if not options.overwrite:
            record = output_files.finished(source, out, summary, figures=bool(draw))
        if record and not options.as_json:
            return f"{name}: finished already, {output_files.in_words(record)}"
    prediction = predictor.predict(source.path)
    summary |= prediction.summary
    if out is not None:
        output_files.write(source, prediction, summary, out=out, draw=draw)
    if options.as_json:
        windows = {"table": prediction.rows(digits=6)}
        return json.dumps(summary | windows, ensure_ascii=False)
    took, length = time.perf_counter() - began, summary["seconds"]
    speed = f"{length:.1f} s in {took:.1f} s, {length / took:.0f} times real time"
    return f"{name}: {output_files.in_words(summary)} ({speed})"


def _advice(path: Path, error: Exception) -> str:
    if "cannot be decoded" not in str(error) or path.suffix.lower() in SOUND:
        return ""
    wav = path.with_suffix(".wav").name
    return f"; from a video or another format, extract the sound: ffmpeg -i {path.name} {wav}"
