"""Predict the emotion of sound files: quadrant, arousal and valence, over time and as a whole.

    python3 predict.py -i song.mp3 -o out/                       the model that comes with the suite
    python3 predict.py -s e -m e -i song.mp3 folder/ -o out/     one that you trained
    python3 predict.py -s x -m m -mod model_cpc -rel n --ensemble -i folder/ -o out/
    python3 predict.py --model models_trans/…/model_cnn.it_0 -i song.mp3 -o out/
    ffmpeg -i talk.mp4 -f wav - | python3 predict.py -i - --json
    python3 predict.py --export models_trans/…/model_cnn.it_0 cnn.onnx

Writes for each file <name>.csv (a row per window: start, end, every probability), <name>.json (the
whole file: quadrant; arousal and valence from -1 to 1) and <name>.png (both over time), and for a
folder also summary.csv. Lists files that cannot be read at the end; the exit status is then 2.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib import keras_backend
from lib.command_line import prediction_script
from lib.errors import UserError, guard


def parse_args(argv=None):
    return prediction_script.parse(__doc__, argv)


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    if args.out and args.out.exists() and not args.out.is_dir():
        raise UserError(f"-o {args.out} is a file: name a folder")
    if args.export:
        return _export(*args.export, overwrite=args.overwrite)

    from lib.prediction import Predictor, prediction_stage

    options = prediction_stage.Options(
        out=args.out,
        overwrite=args.overwrite,
        as_json=args.json,
        figures=not args.no_figures,
        jobs=args.jobs or 0,
    )
    stream = getattr(sys.stdin, "buffer", None)
    predictor = Predictor.load(*prediction_script.models(args), hop=args.hop)
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
