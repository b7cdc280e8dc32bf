"""Run the demo: the Snakefile on synthetic corpora, with a printed line per finished stage."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from lib.artefacts import files
from lib.artefacts.run_name import RunName
from lib.configuration import ROOT
from lib.console import say
from lib.errors import UserError

DEMO = Path("demo")
LOG = DEMO / "logs" / "snakemake.txt"
PREDICTED = RunName("model_over", "full", "e", "e")  # the model that predicts a clip
CLIPS = DEMO / "data" / "MER_audio_taffc_dataset" / "Q1"


def run() -> None:
    """Run the unfinished part of the demo; UserError with the path of the log when it fails."""
    files.make_folder(ROOT / LOG.parent)
    line = [sys.executable, "-m", "snakemake", "--cores", "all", "--nocolor", "demo"]
    began = time.monotonic()
    say(f"synthetic corpora, every stage for e, m and x: log in {LOG}")
    with open(ROOT / LOG, "w", encoding="utf-8") as log:
        with subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as graph:
            for text in progress(_logged(graph.stdout, log), began):
                say(text)
    if graph.returncode:
        raise UserError(
            f"the demo has stopped: see {LOG} (after kill -9, run snakemake --unlock first); "
            "the same command resumes it"
        )
    _predict()
    say(
        f"done in {timedelta(seconds=round(time.monotonic() - began))}. Look at",
        f"  {DEMO}/results/report.html   tables, figures and every run (synthetic sound)",
        f"  {DEMO}/prediction/           the emotion of a clip over time",
    )


def _logged(lines: Iterable[str], log) -> Iterator[str]:
    for line in lines:
        log.write(line)
        log.flush()
        yield line


def progress(lines: Iterable[str], began: float) -> Iterator[str]:
    """A text per finished job, from Snakemake's output; `began` is a time.monotonic()."""
    jobs: dict[str, str] = {}
    rule = number = ""
    for line in lines:
        if match := re.match(r"(?:local)?rule (\w+):", line):
            rule = match[1]
        elif match := re.match(r" +jobid: (\d+)", line):
            number, jobs[match[1]] = match[1], rule
        elif match := re.match(r" +wildcards: (.*)", line):
            names = re.findall(r"(?:language|speech|music|model)=(\w+)", match[1])
            jobs[number] = " ".join([rule, *names])
        elif match := re.match(r"Finished jobid: (\d+)", line):
            finished = jobs[match[1]]
        elif match := re.match(r"(\d+) of (\d+) steps", line):
            done, total = int(match[1]), int(match[2])
            left = (time.monotonic() - began) / done * (total - done)
            yield f"{done:3d} of {total}  {finished:40s} about {left / 60:.1f} min left"


def _predict() -> None:
    """Predict the first clip with a model of the demo."""
    clip = min((ROOT / CLIPS).iterdir())
    model, out = PREDICTED.path(DEMO), DEMO / "prediction"
    line = [sys.executable, "predict.py", "--model", model, "-i", clip.relative_to(ROOT)]
    if subprocess.run([*line, "-o", out, "--overwrite"], cwd=ROOT).returncode:
        raise UserError(f"{clip} cannot be predicted with {model}")
