"""The whole experiment as one graph, for Snakemake 8 or later (requirements/workflow.txt).

    snakemake -j2 demo                        synthetic corpora -> every stage -> demo/results/
    snakemake -j2 table2                      experiment 1 of the paper, corpora of path_to_data
    snakemake -j2 table2 --config hours=30    experiment 2, below hours_30/
    snakemake -j2 table2 --config iterations=4 epochs=2
    snakemake -j2 models_trans/speech_eng_2_music_man/model_over.full.it_0/run.json    one cell

Every job is a command of the suite's own scripts; its log is in logs/. A job runs again when its
data, its encoder or a setting that decides its result has changed. After an interruption the same
command resumes, a training after its last saved epoch; after `kill -9`, call snakemake --unlock
first.

Before a job runs, Snakemake removes the file that the job makes (run.json, dataset.json): until the
job is done, its run counts as unfinished.
"""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from snakemake.utils import min_version

from lib import configuration as suite
from lib.artefacts import run_record
from lib.artefacts.run_name import LETTERS, PRETRAINING, TRANSFER, RunName
from lib.command_line.flags import data_folder
from lib.errors import UserError
from lib.labels import LANGUAGES, SHORT_NAMES
from lib.models import catalogue

min_version("8.0")
SETTINGS = suite.load()
HOURS = config.get("hours", 0)  # of speech per language; 0: those of settings.py
ITERATIONS = int(config.get("iterations", SETTINGS["run"]["iterations"]))
EPOCHS = f"--epochs {config['epochs']}" if "epochs" in config else ""
CORES = int(config.get("cores", os.cpu_count()))


@dataclass(frozen=True)
class Experiment:
    """Runs in one folder: below it are models/, models_trans/, logs/ and results/."""

    data: str  # folder of the corpora, with a slash at its end
    speech: str  # how the folder of its speech data sets is called
    cells: list  # runs of its table: model, mode, speech, music
    pretrain: str  # flags
    transfer: str
    iterations: int


def folder(path: str) -> str:
    """The path with a slash at its end, from here where it lies inside; nothing for here."""
    path = Path(path).expanduser().absolute()
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    if set("{}") & set(str(path)):
        raise UserError(
            f"{path} has braces in its name, which Snakemake takes for wildcards: give path_to_data "
            "or path_to_models another name (a link will do), or run the scripts one by one"
        )
    return "" if path == Path() else f"{path}/"


BASELINE = [("model_cnn", "scratch", "n", music) for music in "em"]
PAPER = [
    (model, mode, speech, music)
    for music in "em"
    for speech in "emx"
    for model in ("model_over", "model_cpc")
    for mode in ("feat_ext", "full")
]
DEMO = [(of, "full", s, m) for s in "emx" for m, of in (("e", "model_over"), ("m", "model_cpc"))]
# the demo is small and quickly learnt: narrow networks, small batches, few epochs, larger steps
DEMO_NARROW = "--set network.maps=8 --set heads.units=64"
DEMO_PRETRAIN = f"{DEMO_NARROW} --epochs 2 --set pretrain.batch_windows=32"
DEMO_TRANSFER = f"{DEMO_NARROW} --set transfer.epochs=12 --set transfer.batch_windows=16 "
DEMO_TRANSFER += "--set release.epochs=6 --set release.batch_windows=16 "
DEMO_TRANSFER += "--set release.learning_rate=0.0005"

HERE = folder(SETTINGS["paths"]["models"])
ROOT, SPEECH = (f"{HERE}hours_{HOURS}/", f"speech_{HOURS}h") if HOURS else (HERE, "speech")
DATA = folder(SETTINGS["paths"]["data"] or "path_to_data")
EXPERIMENTS = {
    ROOT: Experiment(DATA, SPEECH, PAPER + BASELINE, EPOCHS, EPOCHS, ITERATIONS),
    "demo/": Experiment("demo/data/", "speech", DEMO + BASELINE, DEMO_PRETRAIN, DEMO_TRANSFER, 1),
}


wildcard_constraints:
    root="|".join(map(re.escape, EXPERIMENTS)),
    data="|".join(re.escape(e.data) for e in EXPERIMENTS.values()),
    language="|".join(LANGUAGES.values()),
    speech="|".join(SHORT_NAMES[letter] for letter in "emx"),
    music="|".join(SHORT_NAMES[letter] for letter in "em"),
    hours=r"(_[\d.]+h)?",
    model=r"\w+",
    n=r"\d+",


def deciding_settings(*sections: str):
    """The settings that decide what a training gives: where they change, it runs again."""

    def of(w) -> dict:
        settings, own = suite.load(w.model), sections or (
            "pretrain",
            *catalogue.spec(w.model).sections,
        )
        found = {name: settings[name] for name in ("features", "network", *own)}
        training = run_record.deciding_settings(settings["training"])
        return found | {"training": training, "seed": settings["run"]["seed"]}

    return of


def corpora(w) -> list[str]:
    """Made for the demo, else those of path_to_data, which must be there."""
    if w.data == EXPERIMENTS["demo/"].data:
        return ["demo/data/demo.json"]
    data_folder(SETTINGS)
    return []


def divided(*names: str) -> dict:
    """The settings that decide what a data set is."""
    section = {name: SETTINGS["dataset"][name] for name in ("val", "max_cut", *names)}
    return section | {"features": SETTINGS["features"], "seed": SETTINGS["run"]["seed"]}


def flags(w, stage: str) -> str:
    """Flags of the experiment, and those of one iteration alone."""
    more = getattr(EXPERIMENTS[w.root], stage)
    return f"--iterations {int(w.n) + 1} --set run.first={w.n} --overwrite {more}"


def data_set(w, kind: str) -> str:
    """dataset.json of the speech or the music that a job needs."""
    of = EXPERIMENTS[w.root]
    language = LANGUAGES[LETTERS[getattr(w, kind, None) or w.language]]
    return f"{of.data}features/{of.speech if kind == 'speech' else kind}/{language}/dataset.json"


def runs(w) -> list[str]:
    """run.json of every run of an experiment's table."""
    of = EXPERIMENTS[w.root]
    names = [RunName(*cell, iteration=n) for cell in of.cells for n in range(of.iterations)]
    return [str(name.path(w.root) / "run.json") for name in names]


def run_of_encoder(w) -> str:
    name = RunName(w.model, "pretrain", LETTERS[w.speech], iteration=int(w.n))
    return str(name.path(w.root) / "run.json")


def pretraining() -> str:
    """The record of any pretraining on speech, with wildcards."""
    run = PRETRAINING.format(
        kind="speech", language="{language}", model="{model}", folds="", iteration="{n}"
    )
    return f"{{root}}{run}/run.json"


def transfer(step: str, speech: str = "{speech}") -> str:
    """The record of any transfer of a step, with wildcards."""
    pair = {"speech": speech, "music": "{music}", "model": "{model}", "iteration": "{n}"}
    run = TRANSFER.format(**pair, mode=step and f".{step}", tag="", folds="")
    return f"{{root}}{run}/run.json"


def cores(w) -> int:
    """Of a training: all, so that never two share them. One is enough for the demo's small ones."""
    return CORES if w.root != "demo/" else 1


def script(w) -> str:
    return catalogue.spec(w.model).script


def transfer_params(release: str, *sections: str) -> dict:
    return {
        "flags": lambda w: f"-rel {release} {flags(w, 'transfer')}",
        "speech": lambda w: LETTERS[getattr(w, "speech", "none")],
        "music": lambda w: LETTERS[w.music],
        "folder": lambda w, input: os.path.dirname(input.music),
        "settings": deciding_settings(*sections),
        "script": script,
    }


PYTHON = f"MER_PATH_TO_MODELS={{wildcards.root:q}}. {{sys.executable:q}}"
TRANSFER_LINE = (
    f"{PYTHON} trans_train_{{params.script}}_multi.py -s {{params.speech}} -m {{params.music}} "
    "-mod {wildcards.model} -pl {params.folder:q} "
    "--set training.threads={threads} {params.flags} >> {log:q} 2>&1"
)


rule table2:
    input:
        f"{ROOT}results/table.md",


rule demo:
    input:
        "demo/results/table.md",


rule demo_data:
    output:
        "demo/data/demo.json",
    log:
        "demo/logs/make_demo_data.txt",
    shell:
        "{sys.executable:q} make_demo_data.py --out demo/data --speech-minutes 1 --clips-per-quadrant 15 --clip-seconds 4 "
        ">> {log} 2>&1"


rule speech:
    input:
        corpora,
    output:
        "{data}features/speech{hours}/{language}/dataset.json",
    log:
        "{data}features/speech{hours}/{language}.log",
    params:
        flags=lambda w: f"--hours {w.hours[1:-1]}" if w.hours else "",
        letter=lambda w: LETTERS[w.language],
        folder=lambda w, output: os.path.dirname(output[0]),
        settings=divided("speech_hours"),
    shell:
        "{sys.executable:q} generate_dataset.py -d s -l {params.letter} {params.flags} -pl {wildcards.data:q} "
        "-ps {params.folder:q} --overwrite >> {log:q} 2>&1"


rule music:
    input:
        corpora,
    output:
        "{data}features/music/{language}/dataset.json",
    log:
        "{data}features/music/{language}.log",
    params:
        letter=lambda w: LETTERS[w.language],
        folder=lambda w, output: os.path.dirname(output[0]),
        settings=divided("music_hours", "test"),
    shell:
        "{sys.executable:q} generate_dataset.py -d m -l {params.letter} -pl {wildcards.data:q} "
        "-ps {params.folder:q} --overwrite >> {log:q} 2>&1"


rule pretrain:
    input:
        lambda w: data_set(w, "speech"),
    output:
        pretraining(),
    log:
        "{root}logs/pretrain.{language}.{model}.it_{n}.txt",
    threads: cores
    params:
        flags=lambda w: flags(w, "pretrain"),
        letter=lambda w: LETTERS[w.language],
        folder=lambda w, input: os.path.dirname(input[0]),
        settings=deciding_settings(),
        script=script,
    shell:
        f"{PYTHON} pretrain_{{params.script}}.py -s {{params.letter}} -mod {{wildcards.model}} "
        "-pl {params.folder:q} --set training.threads={threads} {params.flags} >> {log:q} 2>&1"


rule feat_ext:
    input:
        music=lambda w: data_set(w, "music"),
        encoder=run_of_encoder,
    output:
        transfer("feat_ext"),
    log:
        "{root}logs/feat_ext.{speech}_2_{music}.{model}.it_{n}.txt",
    threads: cores
    params:
        **transfer_params("n", "heads", "transfer", "augment"),
    shell:
        TRANSFER_LINE


rule full:
    input:
        music=lambda w: data_set(w, "music"),
        frozen=transfer("feat_ext"),
    output:
        transfer("full"),
    log:
        "{root}logs/full.{speech}_2_{music}.{model}.it_{n}.txt",
    threads: cores
    params:
        **transfer_params("y", "heads", "release", "augment"),
    shell:
        TRANSFER_LINE


rule scratch:
    input:
        music=lambda w: data_set(w, "music"),
    output:
        transfer("", speech="none"),
    log:
        "{root}logs/scratch.{music}.{model}.it_{n}.txt",
    threads: cores
    params:
        **transfer_params("n", "heads", "transfer", "augment"),
    shell:
        TRANSFER_LINE


rule table:
    input:
        runs,
    output:
        "{root}results/table.md",
    log:
        "{root}logs/table.txt",
    shell:
        f"{PYTHON} results_table.py >> {{log:q}} 2>&1"
