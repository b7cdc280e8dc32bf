"""Make a data set of log-mel frames from a corpus of speech or music.

    python3 generate_dataset.py --dataset s --language e          LibriSpeech, 3 h
    python3 generate_dataset.py -d s -l m --hours 30              AISHELL-1, 30 h
    python3 generate_dataset.py -d s -l x                         equal durations of both
    python3 generate_dataset.py -d m -l e                         4Q-Emotion
    python3 generate_dataset.py -d m -l m --table my_songs.csv    columns Songs, Quads

Reads the corpora below path_to_data (settings.py), writes
<path_to_data>/features/{speech,music}/{english,mandarin,mix}/{train,val,test}_dataset.h5.
"""

import sys
from pathlib import Path

from lib import cli
from lib.errors import UserError, guard
from lib.registry import LANGUAGES

KINDS = {"m": "music", "s": "speech"}


def parse_args(argv=None):
    p = cli.parser(__doc__)
    p.add_argument(
        "-d", "--dataset", required=True, choices=tuple(KINDS), help="m = music, s = speech"
    )
    cli.language_flag(p, "-l", "--language", legal="emx", of="the corpus (x: speech only)")
    p.add_argument("-pl", "--path-load", "--path_load", type=Path, metavar="FOLDER", help=_LOAD)
    p.add_argument("-ps", "--path-save", "--path_save", type=Path, metavar="FOLDER", help=_SAVE)
    p.add_argument("--hours", type=float, metavar="H", help="hours to draw in all; 0 takes all")
    p.add_argument("--table", type=Path, metavar="CSV", help="annotations (Songs, Quads, …)")
    p.add_argument("--allow-skips", action="store_true", help="accept any share of lost recordings")
    return p.parse_args(argv)


_LOAD = "where the corpora are (default: path_to_data)"
_SAVE = "folder for the files (default: <path_to_data>/features/…)"


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    settings = cli.settings_from(args)
    kind = KINDS[args.dataset]
    if kind == "music" and args.language == "x":
        raise UserError(
            "there is no mixture of music: --language x goes with --dataset s; use e, m"
        )
    if args.hours is not None and not 0 <= args.hours < float("inf"):
        raise UserError(f"--hours {args.hours:g}: expected a number of hours, or 0 for all")
    data = args.path_load or cli.data_folder(settings)

    from lib.preparation import prepare

    hours = settings["dataset"][f"{kind}_hours"] if args.hours is None else args.hours
    folder = args.path_save or data / "features" / kind / LANGUAGES[args.language]
    prepare(
        kind,
        args.language,
        settings,
        data,
        folder,
        hours=hours,
        table=args.table,
        overwrite=args.overwrite,
        allow_skips=args.allow_skips,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
