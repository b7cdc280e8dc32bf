"""Compare seconds per epoch of every stage between another checkout of the suite and this one.

    git worktree add ../before <commit>
    python3 benchmarks/bench_epochs.py ../before
    python3 benchmarks/bench_epochs.py ../before --epochs 4 --hours 0

Uses the English corpora of path_to_data; the data sets are made again for each checkout. Prints the
median over all epochs except the first, including validation and saved state.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pandas as pd

from lib import configuration
from lib.command_line import flags
from lib.errors import UserError, guard

PAIR = "models_trans/speech_eng_2_music_eng"
DENOISE, CPC = "trans_train_denoise_multi.py -s e -m e", "trans_train_cpc_multi.py -s e -m e"
STAGES = {
    "pretrain_denoise.py -s e -mod model_over": "models/speech/english/model_over.it_0",
    "pretrain_cpc.py -s e -mod model_cpc": "models/speech/english/model_cpc.it_0",
    f"{DENOISE} -mod model_over -rel n": f"{PAIR}/model_over.feat_ext.it_0",
    f"{DENOISE} -mod model_over -rel y": f"{PAIR}/model_over.full.it_0",
    f"{CPC} -mod model_cpc -rel n": f"{PAIR}/model_cpc.feat_ext.it_0",
    f"{CPC} -mod model_cpc -rel y": f"{PAIR}/model_cpc.full.it_0",
}


def parse_args(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("before", type=Path, help="folder of the other checkout")
    p.add_argument("--epochs", type=flags.at_least(2), default=3, help="of every stage (3)")
    p.add_argument("--hours", default="1", help="of music (1); 0: all")
    return p.parse_args(argv)


def run(checkout, line, where):
    environment = {"MER_PATH_TO_DATA": str(where / "data"), "MER_PATH_TO_MODELS": str(where)}
    result = subprocess.run(
        [sys.executable, *line.split()],
        cwd=checkout,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise UserError(f"{checkout}: {line} failed:\n{result.stdout}{result.stderr}")


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    if not (args.before / "settings.py").is_file():
        raise UserError(f"{args.before} is not a checkout of the suite")
    corpora = flags.data_folder(configuration.load())
    with tempfile.TemporaryDirectory() as folder:
        sides = {args.before: Path(folder) / "before", ROOT: Path(folder) / "after"}
        for checkout, where in sides.items():
            (where / "data").mkdir(parents=True)
            for corpus in corpora.iterdir():
                if corpus.name != "features":
                    (where / "data" / corpus.name).symlink_to(corpus.resolve())
            run(checkout, "generate_dataset.py -d s -l e", where)
            run(checkout, f"generate_dataset.py -d m -l e --hours {args.hours}", where)
        print(f"{'':62} before   after  before/after")
        for line, place in STAGES.items():
            seconds = []
            for checkout, where in sides.items():
                run(checkout, f"{line} --epochs {args.epochs}", where)
                seconds.append(pd.read_csv(where / place / "history.csv")["seconds"][1:].median())
            before, after = seconds
            print(f"{line:62} {before:6.2f}  {after:6.2f}  {before / after:6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
