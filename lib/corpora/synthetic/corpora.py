"""Small synthetic corpora in the layouts of the real ones.

demo.json in the demo's folder remembers the arguments, a summary and the SHA-256 of every file; by
it a later call knows what it made itself. A demo is written to a hidden sibling folder and renamed
when complete, so an interrupted call leaves the old one or nothing.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator, default_rng

from lib.corpora.synthetic import music, speech
from lib.errors import UserError
from lib.labels import PLANE

RECORD = "demo.json"
VERSION = 1  # of the sounds: another version is another demo
SPEAKERS = 6  # three men, three women per language (our choice)
UTTERANCE = (6.0, 12.0)  # seconds, shortest and longest
EDGE = (0.35, 0.95)  # distance of a clip from each axis of the plane (our choice: no doubtful ones)
SONGS_PER_ARTIST = 3
ANNOTATORS = 3  # as in CH-818 (Hu & Yang 2017)
SCATTER = 1.5  # standard deviation of a rating in [-10, 10] about the clip's place (our choice)


@dataclass(frozen=True)
class Sizes:
    """What is asked for: seconds and counts are those of the command's flags."""

    seed: int
    speech_minutes: float  # per language
    clips_per_quadrant: int  # per music corpus
    clip_seconds: float


@dataclass(frozen=True)
class Summary:
    """One corpus of a demo: its folder below the demo's, how many recordings, how long in all."""

    folder: str
    recordings: int
    minutes: float


def make_demo(out: Path, sizes: Sizes, overwrite: bool = False) -> tuple[list[Summary], bool]:
    """Write a demo to the folder `out`, or keep the same one if it is there.

    Returns the corpora and whether they were made now. Raises UserError when `out` holds another
    demo (unless `overwrite`) or anything that this function did not make.
    """
    _check(sizes)
    out = out.resolve()
    arguments = {"version": VERSION, **asdict(sizes)}
    record = _occupant(out)
    if record:
        spoilt, foreign = _differences(out, record)
        if not overwrite and record["arguments"] == arguments and not spoilt:
            return [Summary(**corpus) for corpus in record["corpora"]], False
        if not overwrite:
            found = _told(record["arguments"])
            if spoilt:
                found += f"; missing or altered: {len(spoilt)} files such as {spoilt[0]}"
            raise UserError(
                f"{out} already holds another demo ({found}): choose another --out, or replace it "
                f"with --overwrite"
            )
        if foreign:
            raise UserError(
                f"{out} holds files that are not as this command made them, such as {foreign[0]}: "
                f"move them away (--overwrite replaces only what it made itself)"
            )
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"no folder can be made in {out.parent}: a part of that path is a file"
        ) from error
    try:
        corpora = [write(partial, sizes) for write in (_english, _mandarin, _western, _chinese)]
        files = {name: _digest(partial / name) for name in _files(partial)}
        content = {"arguments": arguments, "corpora": [asdict(c) for c in corpora], "files": files}
        (partial / RECORD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if record:
            retired = out.with_name(f".{out.name}.retired-{os.getpid()}")
            out.rename(retired)
            partial.rename(out)
            shutil.rmtree(retired)
        else:
            if out.exists():
                out.rmdir()
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
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
    """The record of the demo in `out`; None when there is nothing. Refuses anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        if {"arguments", "corpora", "files"} <= record.keys():
            return record
    except (OSError, ValueError, AttributeError):
        pass
    raise UserError(
        f"{out} exists and is no demo (no {RECORD} of this command in it), and --overwrite "
        f"replaces only what it made itself: choose another --out, or empty it yourself"
    )


def _differences(out: Path, record: dict) -> tuple[list[str], list[str]]:
    """Files of the record that are missing or altered; files in `out` that are not as recorded."""
    made = record["files"]
    found = {name: _digest(out / name) for name in _files(out) if name != RECORD}
    spoilt = [name for name in made if found.get(name) != made[name]]
    foreign = [name for name in found if made.get(name) != found[name]]
    return spoilt, foreign


def _told(arguments: dict) -> str:
    flags = {k: v for k, v in arguments.items() if k != "version"}
    return "made with " + " ".join(f"--{k.replace('_', '-')} {v}" for k, v in flags.items())


def _files(folder: Path) -> list[str]:
    """Paths of all that is not a folder below `folder`, relative, sorted."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _english(root: Path, sizes: Sizes) -> Summary:
    """LibriSpeech: speakers have chapters of at most four utterances (our choice)."""
    folder = Path("speech/LibriSpeech")
    draw = default_rng([sizes.seed, 0])
    speakers = draw.choice(np.arange(1000, 9000), SPEAKERS, replace=False)
    seconds = []
    for who, turn, length, voice, rng in _utterances(sizes, draw, key=1):
        speaker, chapter = speakers[who], 120_000 + 10 * who + turn // 4
        place = root / folder / f"train-clean-100/{speaker}/{chapter}"
        place.mkdir(parents=True, exist_ok=True)
        samples = speech.english(length, voice, rng)
        name = f"{speaker}-{chapter}-{turn % 4:04d}.flac"
        soundfile.write(place / name, samples, speech.SAMPLE_RATE)
        seconds.append(len(samples) / speech.SAMPLE_RATE)
    return _summary(folder, seconds)


def _mandarin(root: Path, sizes: Sizes) -> Summary:
    """AISHELL-1: one folder per speaker."""
    folder = Path("speech/data_aishell")
    draw = default_rng([sizes.seed, 2])
    speakers = draw.choice(np.arange(2, 724), SPEAKERS, replace=False)
    seconds = []
    for who, turn, length, voice, rng in _utterances(sizes, draw, key=3):
        speaker = f"S{speakers[who]:04d}"
        place = root / folder / f"wav/train/{speaker}"
        place.mkdir(parents=True, exist_ok=True)
        samples = speech.mandarin(length, voice, rng)
        soundfile.write(
            place / f"BAC009{speaker}W{turn + 121:04d}.wav", samples, speech.SAMPLE_RATE
        )
        seconds.append(len(samples) / speech.SAMPLE_RATE)
    return _summary(folder, seconds)


def _utterances(sizes: Sizes, draw: Generator, key: int) -> Iterator[tuple]:
    """Speaker number, utterance number, seconds, voice and generator of every utterance."""
    total = 60 * sizes.speech_minutes
    count = max(2, round(total / np.mean(UTTERANCE)))
    mean = total / count
    spread = min(2.0, mean - UTTERANCE[0], UTTERANCE[1] - mean)
    offset = draw.uniform(-0.5, 0.5, count)
    lengths = mean + spread * (offset - offset.mean())  # they add up to the minutes asked for
    cast = speech.voices(SPEAKERS, draw)
    for index, seconds in enumerate(lengths.tolist()):
        turn, who = divmod(index, SPEAKERS)
        yield who, turn, seconds, cast[who], default_rng([sizes.seed, key, index])


def _western(root: Path, sizes: Sizes) -> Summary:
    """4Q-Emotion: a folder per quadrant, annotations and metadata."""
    folder = Path("MER_audio_taffc_dataset")
    draw = default_rng([sizes.seed, 4])
    songs, metadata, seconds = [], [], []
    total = 4 * sizes.clips_per_quadrant
    numbers = draw.choice(40_000_000, total, replace=False)
    artists = draw.permutation(total) // SONGS_PER_ARTIST
    for index, (quadrant, arousal, valence, rng) in enumerate(_points(sizes, key=5)):
        song, artist = f"MT{numbers[index]:010d}", f"Synthetic Ensemble {artists[index] + 1}"
        place = root / folder / quadrant
        place.mkdir(parents=True, exist_ok=True)
        style = music.STYLES["western"]
        samples = music.clip(style, arousal, valence, sizes.clip_seconds, rng)
        soundfile.write(place / f"{song}.mp3", samples, music.SAMPLE_RATE)
        seconds.append(len(samples) / music.SAMPLE_RATE)
        songs.append((song, quadrant))
        metadata.append((song, artist, f"Study No. {index + 1}", quadrant, "Electronic"))
    prefix = root / folder / "panda_dataset_taffc_"
    _write_csv(f"{prefix}annotations.csv", ("Song", "Quadrant"), sorted(songs))
    header = ("Song", "Artist", "Title", "Quadrant", "GenresStr")
    _write_csv(f"{prefix}metadata.csv", header, sorted(metadata))
    return _summary(folder, seconds)


def _chinese(root: Path, sizes: Sizes) -> Summary:
    """CH-818: one folder, ratings in long form whose mean is the clip's place on the plane."""
    folder = Path("CH818/ch818_mp3")
    (root / folder).mkdir(parents=True)
    numbers = default_rng([sizes.seed, 6]).permutation(4 * sizes.clips_per_quadrant) + 1001
    ratings, seconds = [], []
    for number, (_, arousal, valence, rng) in zip(numbers, _points(sizes, key=7), strict=True):
        song = f"P{number:04d}"
        style = music.STYLES["chinese"]
        samples = music.clip(style, arousal, valence, sizes.clip_seconds, rng)
        soundfile.write(root / folder / f"{song}.mp3", samples, music.SAMPLE_RATE)
        seconds.append(len(samples) / music.SAMPLE_RATE)
        scatter = rng.normal(0, SCATTER, (ANNOTATORS, 2))
        rated = np.clip(10 * np.array([arousal, valence]) + scatter - scatter.mean(0), -10, 10)
        ratings += [(song, i + 1, *np.round(r, 2).tolist()) for i, r in enumerate(rated)]
    header = ("song", "annotator", "arousal", "valence")
    _write_csv(root / folder / "annotations.csv", header, sorted(ratings))
    return _summary(folder, seconds)


def _points(sizes: Sizes, key: int) -> Iterator[tuple]:
    """Quadrant, arousal, valence (each in [-1, 1]) and generator of every clip."""
    for index in range(4 * sizes.clips_per_quadrant):
        quadrant, signs = list(PLANE.items())[index % 4]
        rng = default_rng([sizes.seed, key, index])
        arousal, valence = (np.array(signs) * 2 - 1) * rng.uniform(*EDGE, size=2)
        yield quadrant, float(arousal), float(valence), rng


def _summary(folder: Path, seconds: Sequence[float]) -> Summary:
    return Summary(folder.as_posix(), len(seconds), round(sum(seconds) / 60, 2))


def _write_csv(path: str | Path, header: Iterable[str], rows: Iterable[tuple]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
