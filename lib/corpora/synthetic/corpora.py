"""Write small synthetic corpora in the layouts of the real ones.

demo.json in the demo's folder holds the arguments, a summary and the SHA-256 of every file. A later
call uses it to recognise the files that it made. A demo is written to a hidden folder next to the
target and renamed when complete, so an interrupted call leaves the old demo or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.random import default_rng

from lib.artefacts import files
from lib.corpora.synthetic import RECORD, SAMPLE_RATE, music, speech
from lib.errors import UserError
from lib.labels import QUADRANT_SIGNS

VERSION = 2  # of the sounds; demos of different versions differ
SPEAKERS = 6  # three men, three women per language (our choice)
UTTERANCE = (6.0, 12.0)  # seconds, shortest and longest
EDGE = (0.35, 0.95)  # distance of a clip from each axis of the plane (our choice: no doubtful ones)
SONGS_PER_ARTIST = 2
ANNOTATORS = 3  # as in CH-818 (Hu & Yang 2017)
SCATTER = 1.5  # standard deviation of a rating in [-10, 10] about the clip's place (our choice)


@dataclass(frozen=True)
class Sizes:
    """The size of a demo: seconds and counts are those of the command's flags."""

    seed: int
    speech_minutes: float  # per language
    clips_per_quadrant: int  # per music corpus
    clip_seconds: float


def make_demo(out: Path, sizes: Sizes, overwrite: bool = False) -> tuple[list[dict], bool]:
    """Write a demo to the folder `out`, or keep the same demo if it is there.

    Returns the corpora (folder, recordings, minutes) and whether they were made now. Raises
    UserError when `out` holds another demo (unless `overwrite`), or files that this function did
    not make.
    """
    _check(sizes)
    out = out.resolve()
    arguments = {"version": VERSION, **asdict(sizes)}
    record = _occupant(out)
    if record and not overwrite:
        _require_same(out, record, arguments)
        return record["corpora"], False
    if record:
        _require_unchanged(out, record)
    with files.locked(out), files.whole_folder(out) as new:
        corpora = [write(new, sizes) for write in (_english, _mandarin, _western, _chinese)]
        content = {"arguments": arguments, "corpora": corpora, "files": _digests(new)}
        files.write_json(new / RECORD, content)
    return corpora, True


def _check(sizes: Sizes) -> None:
    """Refuse sizes that give no usable corpus."""
    legal = (  # flag, value, least, most: numpy's seeds; two utterances; two windows of 1 s
        ("--seed", sizes.seed, 0, 2**32 - 1),
        ("--speech-minutes", sizes.speech_minutes, 0.2, 6000),
        ("--clips-per-quadrant", sizes.clips_per_quadrant, 1, 2500),
        ("--clip-seconds", sizes.clip_seconds, 2, 600),
    )
    for flag, value, least, most in legal:
        if not least <= value <= most:
            raise UserError(f"{flag} {value} is not possible: from {least} to {most}")


def _occupant(out: Path) -> dict | None:
    """The record of the demo in `out`; None if `out` is empty. Refuses anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        if {"arguments", "corpora", "files"} <= record.keys():
            return record
    except (OSError, ValueError, AttributeError):
        pass
    raise UserError(
        f"{out} exists and is not a demo (no {RECORD} of this command in it), and --overwrite "
        f"only replaces what this command made: choose another --out, or empty it yourself"
    )


def _require_same(out: Path, record: dict, arguments: dict) -> None:
    """Refuse a demo with other arguments, or with missing or altered files."""
    now = _digests(out)
    spoilt = [name for name, digest in record["files"].items() if now.get(name) != digest]
    if record["arguments"] == arguments and not spoilt:
        return
    flags = {k: v for k, v in record["arguments"].items() if k != "version"}
    demo = "made with " + " ".join(f"--{k.replace('_', '-')} {v}" for k, v in flags.items())
    if spoilt:
        demo += f"; missing or altered: {len(spoilt)} files such as {spoilt[0]}"
    raise UserError(
        f"{out} already holds another demo ({demo}): choose another --out, or replace it "
        f"with --overwrite"
    )


def _require_unchanged(out: Path, record: dict) -> None:
    """Refuse to replace files that this command did not make, or that were altered."""
    for name, digest in _digests(out).items():
        if record["files"].get(name) != digest:
            raise UserError(
                f"{out} holds files that are not as this command made them, such as {name}: "
                f"move them away (--overwrite only replaces what this command made)"
            )


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of everything below a folder except folders and the record; "" if it is no file."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path != folder / RECORD and (path.is_symlink() or not path.is_dir()):
            digest = files.file_hash(path) if path.is_file() else ""
            digests[path.relative_to(folder).as_posix()] = digest
    return digests


class _Corpus:
    """A corpus being written: its folder, its random generator, the lengths of its recordings."""

    def __init__(self, root: Path, folder: str, sizes: Sizes, key: int) -> None:
        self.root, self.folder, self.sizes = root, folder, sizes
        self.rng = default_rng([sizes.seed, key])
        self.lengths: list[int] = []

    def write(self, name: str, samples: np.ndarray) -> None:
        path = self.root / self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, SAMPLE_RATE)
        self.lengths.append(len(samples))

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        path = self.root / self.folder / name
        table.sort_values(list(table.columns)).to_csv(path, index=False, lineterminator="\n")

    def summary(self) -> dict:
        minutes = round(sum(self.lengths) / SAMPLE_RATE / 60, 2)
        return {"folder": self.folder, "recordings": len(self.lengths), "minutes": minutes}


def _english(root: Path, sizes: Sizes) -> dict:
    """LibriSpeech: each speaker has chapters of at most four utterances (our choice)."""
    corpus = _Corpus(root, "speech/LibriSpeech", sizes, key=0)
    speakers = corpus.rng.choice(np.arange(1000, 9000), SPEAKERS, replace=False)
    for who, turn, samples in _utterances(corpus, speech.english_phrase):
        speaker, chapter = speakers[who], 120_000 + 10 * who + turn // 4
        name = f"{speaker}-{chapter}-{turn % 4:04d}.flac"
        corpus.write(f"train-clean-100/{speaker}/{chapter}/{name}", samples)
    return corpus.summary()


def _mandarin(root: Path, sizes: Sizes) -> dict:
    """AISHELL-1: one folder per speaker."""
    corpus = _Corpus(root, "speech/data_aishell", sizes, key=1)
    speakers = corpus.rng.choice(np.arange(2, 724), SPEAKERS, replace=False)
    for who, turn, samples in _utterances(corpus, speech.mandarin_phrase):
        speaker = f"S{speakers[who]:04d}"
        corpus.write(f"wav/train/{speaker}/BAC009{speaker}W{turn + 121:04d}.wav", samples)
    return corpus.summary()


def _utterances(corpus: _Corpus, phrase: Callable) -> Iterator[tuple[int, int, np.ndarray]]:
    """Number of the speaker, number of the speaker's utterance, and samples of each utterance."""
    total = 60 * corpus.sizes.speech_minutes
    count = max(2, round(total / np.mean(UTTERANCE)))
    mean = total / count
    spread = min(2.0, mean - UTTERANCE[0], UTTERANCE[1] - mean)
    offset = corpus.rng.uniform(-0.5, 0.5, count)
    lengths = mean + spread * (offset - offset.mean())  # they add up to the requested minutes
    voices = speech.voices(SPEAKERS, corpus.rng)
    for index, seconds in enumerate(lengths):
        turn, who = divmod(index, SPEAKERS)
        yield who, turn, speech.utterance(phrase, seconds, voices[who], corpus.rng)


def _western(root: Path, sizes: Sizes) -> dict:
    """4Q-Emotion: a folder per quadrant, annotations and metadata."""
    corpus = _Corpus(root, "MER_audio_taffc_dataset", sizes, key=2)
    total = 4 * sizes.clips_per_quadrant
    numbers = corpus.rng.choice(40_000_000, total, replace=False)
    artists = corpus.rng.permutation(total) // SONGS_PER_ARTIST
    rows = []
    for index, (quadrant, _, samples) in enumerate(_clips(corpus, "western")):
        song, artist = f"MT{numbers[index]:010d}", f"Synthetic Ensemble {artists[index] + 1}"
        corpus.write(f"{quadrant}/{song}.mp3", samples)
        rows.append((song, artist, f"Study No. {index + 1}", quadrant, "Electronic"))
    metadata = pd.DataFrame(rows, columns=["Song", "Artist", "Title", "Quadrant", "GenresStr"])
    corpus.write_table("panda_dataset_taffc_metadata.csv", metadata)
    corpus.write_table("panda_dataset_taffc_annotations.csv", metadata[["Song", "Quadrant"]])
    return corpus.summary()


def _chinese(root: Path, sizes: Sizes) -> dict:
    """CH-818: one folder, ratings in long form whose mean is the clip's place on the plane."""
    corpus = _Corpus(root, "CH818/ch818_mp3", sizes, key=3)
    numbers = corpus.rng.permutation(4 * sizes.clips_per_quadrant) + 1001
    rows = []
    for number, (_, place, samples) in zip(numbers, _clips(corpus, "chinese"), strict=True):
        song = f"P{number:04d}"
        corpus.write(f"{song}.mp3", samples)
        scatter = corpus.rng.normal(0, SCATTER, (ANNOTATORS, 2))
        ratings = np.clip(10 * place + scatter - scatter.mean(axis=0), -10, 10).round(2)
        rows += [(song, annotator, *rating) for annotator, rating in enumerate(ratings, 1)]
    table = pd.DataFrame(rows, columns=["song", "annotator", "arousal", "valence"])
    corpus.write_table("annotations.csv", table)
    return corpus.summary()


def _clips(corpus: _Corpus, style: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Quadrant, place (arousal and valence, each in [-1, 1]) and samples of every clip."""
    for quadrant in list(QUADRANT_SIGNS) * corpus.sizes.clips_per_quadrant:
        place = (2 * np.array(QUADRANT_SIGNS[quadrant]) - 1) * corpus.rng.uniform(*EDGE, size=2)
        seconds, rng = corpus.sizes.clip_seconds, corpus.rng
        yield quadrant, place, music.Clip(music.STYLES[style], *place, seconds, rng).sound()
