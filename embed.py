"""Encode a corpus or a folder of sound files with any encoder, into a codes file for transfer.

    python3 embed.py -d m -l e --with opensmile:ComParE_2016          or opensmile:eGeMAPSv02
    python3 embed.py -d m -l e --with musicnn                         or musicnn:MTT, musicnn:MSD
    python3 embed.py -d m -l e --with resemblyzer
    python3 embed.py -d m -l e --with run:models/speech/english/model_cpc.it_0
    python3 embed.py -d m -l e --with hub:wav2vec2-base/              a local folder (transformers)
    python3 embed.py -d m -l e --with my_module:my_function           (samples, rate) -> (n, d)
    python3 embed.py -i songs/ --with musicnn -o songs.codes

Writes <path_to_data>/codes/{music,speech}/<language>/<name>.codes, or the file given by -o. The
transfer scripts find codes of music with -s <name>. If a run is killed, the same command resumes
it. Lists recordings that cannot be used at the end; the exit status is then 2.
docs/encoders.md lists what to install.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib.command_line import flags
from lib.errors import guard
from lib.labels import CODES, KINDS, LANGUAGES


def parse_args(argv=None):
    p = flags.plain_parser(__doc__)
    add = p.add_argument
    add("--with", dest="encoder", required=True, metavar="ENCODER", help="which encoder, as above")
    add("-d", "--dataset", choices=tuple(KINDS), help="type of corpus: m = music, s = speech")
    flags.language_flag(p, "-l", "--language", legal="em", of="the corpus", required=False)
    add("-i", "--input", type=Path, metavar="FOLDER", help="all sound files below a folder")
    add("-o", "--out", type=Path, metavar="FILE.codes", help="the file to write")
    add("--overwrite", action="store_true", help="replace an existing file")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help=flags.SET)
    args = p.parse_args(argv)
    corpus = (args.dataset, args.language)
    if any(corpus) if args.input else not all(corpus):
        p.error("name a corpus with -d and -l, or a folder with -i")
    if args.input and not args.out:
        p.error("name the file to write with -o")
    return args


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    settings = flags.settings_from(args)

    from lib.embedding import catalogue, embedding_stage

    if args.input:
        recordings = embedding_stage.recordings_of_folder(args.input)
    else:
        data, kind = flags.data_folder(settings), KINDS[args.dataset]
        recordings = embedding_stage.recordings_of_corpus(kind, LANGUAGES[args.language], data)
    encoder, target = catalogue.find(args.encoder, settings), args.out
    if target is None:
        folder = flags.codes_folder(settings, KINDS[args.dataset], args.language)
        target = folder / f"{encoder.about.name}{CODES}"
    embedding_stage.embed(
        encoder,
        recordings,
        target,
        max_cut=settings["dataset"]["max_cut"],
        workers=settings["dataset"]["workers"],
        overwrite=args.overwrite,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
