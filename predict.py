"""Predict the emotion of sound files: quadrant, arousal and valence, over time and as a whole.

    python3 predict.py -i song.mp3 -o out/                       the model that comes with the suite
    python3 predict.py -s e -m e -i song.mp3 folder/ -o out/     one that you trained
    python3 predict.py -s x -m m -mod model_cpc -rel n --ensemble -i folder/ -o out/
    python3 predict.py --model models_trans/…/model_cnn.it_0 -i song.mp3 -o out/
    ffmpeg -i talk.mp4 -f wav - | python3 predict.py -i - --json
    python3 predict.py --export models_trans/…/model_cnn.it_0 cnn.onnx

Writes per file <name>.csv (a row per window: start, end, every probability), <name>.json (the whole
file: quadrant; arousal and valence from -1 to 1) and <name>.png (both over time), for a folder also
summary.csv. What cannot be read is named at the end, and the exit status is then 2.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib import configuration, keras_backend
from lib.command_line import flags
from lib.errors import UserError, guard
from lib.models import catalogue
from lib.transfer.transfer_plan import TransferPlan

_EXPORT = "write a model (as of --model) as FILE.onnx, and predict nothing"


def parse_args(argv=None):
    p = flags.plain_parser(__doc__)
    add = p.add_argument
    add("-i", "--input", nargs="+", metavar="PATH", help="files, folders; - is stdin")
    add("-o", "--out", type=Path, metavar="FOLDER", help="where the results go")
    flags.language_flag(p, "-s", "--speech", legal="emxun", of="the speech", required=False)
    flags.language_flag(p, "-m", "--music", legal="em", of="the music", required=False)
    models = [model for model in catalogue.names() if not catalogue.spec(model).probe]
    add("-mod", "--model-name", choices=models, help="which encoder (default: model_over)")
    add("-rel", "--release", choices=("y", "n"), help="y = Full (default), n = Feat. Ext.")
    add("--iteration", type=flags.at_least(0), metavar="N", help="which run (default: 0)")
    add("--model", type=Path, metavar="PATH", help="a run directory, .onnx, .keras or .hdf5 file")
    add("--ensemble", action="store_true", help="average all iterations (or folds) of the model")
    add("--hop", type=flags.number(0.01, 3600), metavar="S", help="seconds between windows (1)")
    add("--json", action="store_true", help="print a line of JSON per file, with its windows")
    add("--overwrite", action="store_true", help="replace results that stand there")
    add("--no-figures", action="store_true", help="write no <name>.png")
    add("--jobs", type=flags.at_least(1), metavar="N", help="files at a time (one per core)")
    add("--export", nargs=2, type=Path, metavar=("MODEL", "FILE"), help=_EXPORT)
    args = p.parse_args(argv)
    if args.export:
        return args
    if not args.input:
        p.error("name files or folders with -i")
    if args.out is None and not args.json:
        p.error("name a folder for the results with -o, or print them with --json")
    run = (args.speech, args.music, args.model_name, args.release, args.iteration)
    named = any(value is not None for value in run)
    if args.model and named:
        p.error("--model names the model: leave out -s, -m, -mod, -rel and --iteration")
    args.model_name = args.model_name or models[0]
    if named and not (args.music and (args.speech or catalogue.spec(args.model_name).baseline)):
        p.error("-m and -s are needed to choose a model (-s not for model_cnn)")
    return args


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    if args.out and args.out.exists() and not args.out.is_dir():
        raise UserError(f"-o {args.out} is a file: name a folder")
    if args.export:
        return _export(*args.export, overwrite=args.overwrite)

    from lib.models import classifiers
    from lib.prediction import Predictor, prediction_stage

    path = args.model
    if args.music:
        speech, release = args.speech or "n", args.release and args.release == "y"
        plan = TransferPlan.from_flags(args.model_name, speech, args.music, release=release)
        name = plan.name(plan.steps[-1], args.iteration or 0)
        path = classifiers.find(configuration.models_folder(), name)
    paths = [path] if path else []
    if args.ensemble:
        paths = classifiers.members(path or classifiers.SHIPPED)
    options = prediction_stage.Options(
        out=args.out,
        overwrite=args.overwrite,
        as_json=args.json,
        figures=not args.no_figures,
        jobs=args.jobs or 0,
    )
    stream = getattr(sys.stdin, "buffer", None)
    predictor = Predictor.load(*paths, hop=args.hop)
    failed = prediction_stage.predict_all(args.input, predictor, stream, options)
    if failed:
        raise UserError(f"{len(failed)} could not be predicted:\n  " + "\n  ".join(failed))
    return 0


def _export(model: Path, path: Path, overwrite: bool) -> int:
    keras_backend.import_keras()
    from lib.models import onnx_export

    onnx_export.export_file(model, path, overwrite=overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
