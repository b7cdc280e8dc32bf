"""Report the cost of each stage: windows/s of finished runs, and minutes per epoch for a corpus.

    make demo && python3 benchmarks/bench_costs.py demo
    python3 benchmarks/bench_costs.py . --hours 3 30 --music-hours 7.5

Takes the median over all epochs except the first, of all runs of a stage and encoder, including
validation and saved state. Epochs have all windows, with the split shares of the settings.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pandas as pd

from lib import (
    configuration,
    console,
)
from lib.artefacts.run_name import RunName
from lib.command_line import flags
from lib.errors import UserError, guard
from lib.models.catalogue import title
from lib.results.finished_runs import MODES


def parse_args(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("models", type=Path, help="folder with models/ and models_trans/")
    hours = {"type": flags.number(0, 1e6), "metavar": "H"}
    p.add_argument("--hours", nargs="+", default=[3, 30], help="of speech (3 30)", **hours)
    p.add_argument("--music-hours", default=7.5, help="of music: 900 clips of 30 s (7.5)", **hours)
    return p.parse_args(argv)


def rates(models: Path) -> pd.DataFrame:
    """A row per epoch after a run's first: stage, encoder, windows per second."""
    rows = []
    for path in sorted(models.glob("models*/*/**/history.csv")):
        run = path.parent
        if not (run / "run.json").is_file():
            continue
        name = RunName.parse(run.resolve())
        if name is None:
            continue
        stage = MODES.get(name.mode, "pretraining")
        history = pd.read_csv(path)[1:]
        rows += [(stage, title(name.model), r) for r in history["windows_per_second"]]
    if not rows:
        raise UserError(f"{models} has no finished run of two epochs or more: make demo")
    return pd.DataFrame(rows, columns=["stage", "encoder", "rate"])


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    seen = rates(args.models)
    settings = configuration.load()
    features, shares = settings["features"], settings["dataset"]
    hop = features["window_hop"] * features["hop_length"] / features["sample_rate"]
    per_hour = 3600 / hop * (1 - shares["val"])
    music = args.music_hours * per_hour * (1 - shares["test"])
    console.say(
        f"{per_hour:.0f} windows to train from an hour of speech, {music:.0f} from the music"
    )
    rows = []
    for (stage, encoder), part in seen.groupby(["stage", "encoder"], sort=False):
        rate = part["rate"].median()
        row = {"stage": stage, "encoder": encoder, "epochs seen": len(part), "windows/s": rate}
        if stage == "pretraining":
            row |= {f"min/epoch, {h:g} h": h * per_hour / rate / 60 for h in args.hours}
        else:
            row["min/epoch, music"] = music / rate / 60
        rows.append(row)
    console.say(pd.DataFrame(rows).to_string(index=False, na_rep="", float_format="{:.1f}".format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
