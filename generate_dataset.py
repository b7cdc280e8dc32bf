"""Make a data set of log-mel frames from a corpus of speech or music.

    python3 generate_dataset.py --dataset s --language e          LibriSpeech, 3 h
    python3 generate_dataset.py -d s -l m --hours 30              AISHELL-1, 30 h
    python3 generate_dataset.py -d s -l x --groups speaker        equal durations of both
    python3 generate_dataset.py -d m -l e --groups artist --folds 10          4Q-Emotion
    python3 generate_dataset.py -d m -l e --split split.csv       reuse a given split
    python3 generate_dataset.py -d m -l e --table my_songs.csv    columns Songs, Quads
    python3 generate_dataset.py -d m -l m --agreement             do the annotators agree?

Reads the corpora below path_to_data (settings.py) and writes
<path_to_data>/features/{speech,music}/{english,mandarin,mix}/{train,val,test}_dataset.h5. If a run
is killed, the same command resumes it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib.command_line import flags
from lib.errors import guard
from lib.labels import KINDS, LANGUAGES

GROUPS = ("artist", "speaker")


def parse_args(argv=None):
    p = flags.parser(__doc__)
    add = p.add_argument
    add("-d", "--dataset", required=True, choices=tuple(KINDS), help="m = music, s = speech")
    flags.language_flag(p, "-l", "--language", legal="emx", of="the corpus (x: speech only)")
    add("-pl", "--path-load", "--path_load", type=Path, metavar="FOLDER", help=_LOAD)
    add("-ps", "--path-save", "--path_save", type=Path, metavar="FOLDER", help=_SAVE)
    add("--hours", type=flags.number(0, 1e6), metavar="H", help="total hours to draw; 0 takes all")
    add("--table", type=Path, metavar="CSV", help="annotations: Songs, Quads, … or ratings")
    add("--groups", choices=GROUPS, help="keep each artist (music) or speaker in one split")
    add("--folds", type=flags.at_least(2), default=0, metavar="K", help="add K folds to split.csv")
    add("--split", type=Path, metavar="CSV", help="use this split.csv instead of drawing one")
    add("--agreement", action="store_true", help="only report the agreement of the annotators")
    add("--min-agreement", type=flags.number(0, 1), default=0.0, metavar="SHARE", help=_AGREE)
    add("--scheduler", metavar="ADDRESS", help="extract on Dask workers: tcp://host:8786")
    add("--allow-skips", action="store_true", help="accept any share of lost recordings")
    return p.parse_args(argv)


_LOAD = "where the corpora are (default: path_to_data)"
_SAVE = "folder for the files (default: <path_to_data>/features/…)"
_AGREE = "omit songs for which a smaller share of annotators chose the song's quadrant"


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    settings = flags.settings_from(args)
    kind = KINDS[args.dataset]

    from lib.datasets import preparation
    from lib.datasets.request import Request

    request = Request(
        kind=kind,
        language=args.language,
        settings=settings,
        hours=args.hours,
        table=args.table,
        groups=args.groups,
        folds=args.folds,
        split=args.split,
        min_agreement=args.min_agreement,
        agreement=args.agreement,
        scheduler=args.scheduler,
        overwrite=args.overwrite,
        allow_skips=args.allow_skips,
    )
    data = args.path_load or flags.data_folder(settings)
    folder = args.path_save or data / "features" / kind / LANGUAGES[args.language]
    preparation.prepare(request, data, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
