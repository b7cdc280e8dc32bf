"""Make speech-like sound with a source-filter model: stress-timed English, tonal Mandarin.

There are no words. The sound has what a log-mel spectrogram shows of the two languages: formants
over pitch harmonics, fricatives, stop gaps and bursts, nasals, pauses; for English the alternation
of strong and reduced syllables at even stresses (Abercrombie 1967) under falling pitch
(Pierrehumbert 1979); for Mandarin syllables of even length with one of four tones (Chao 1968).

A pulse train with jitter and -6 dB per octave of tilt (Fant 1960), or noise, goes through eight
formants in cascade (Klatt 1980). Levels and durations without a source are our choice, made by
looking at spectrograms. Formants are in Hz, pitch in semitones from the speaker's mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import signal
from scipy.ndimage import gaussian_filter1d

from lib.corpora.synthetic import SAMPLE_RATE, TOP_HZ

WINDOW = 384  # samples, 24 ms: spans two periods of a low voice (our choice)
HOP = 96  # samples, 6 ms: one frame of the control tracks
UPPER_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)  # uniform 17.5 cm tube (Fant 1960)
BANDWIDTHS = (70.0, 100.0, 140.0, 200.0, 240.0, 280.0, 320.0, 360.0)  # Hz; to F5 near Klatt 1980
# Chao's 55 35 214 51; his five points over one octave, as in careful speech (our choice)
TONES = {1: (6, 6, 6), 2: (0, 1.2, 6), 3: (-3, -6, -6, -3, 3), 4: (6, 3.6, -6)}


class Voice(NamedTuple):
    """A speaker: mean pitch in Hz, formants relative to an adult man's, dB of background noise."""

    pitch: float
    tract: float
    floor: float


class Phone(NamedTuple):
    """A stretch of speech: formants at its start and end, levels of the three sources."""

    seconds: float
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    voiced: float = 0.0
    breath: float = 0.0
    noise: float = 0.0
    noise_hz: float = 4000.0
    pitch: tuple[float, ...] = ()


# American men (Hillenbrand et al. 1995, table V); @ is the uniform tube; y and the Mandarin finals
# after Lee & Zee 2003; nasals our choice
VOWELS = {
    "i": (342, 2322, 3000),
    "E": (580, 1799, 2605),
    "A": (768, 1333, 2522),
    "O": (652, 997, 2538),
    "u": (378, 997, 2343),
    "3": (474, 1379, 1710),
    "@": (500, 1500, 2500),
    "y": (290, 2050, 2400),
    "n": (260, 1450, 2500),
    "N": (280, 2000, 2400),
}
STRONG = "i E A O u 3 Ai Ei Ou Au Oi".split()
FINALS = "A O @ i u y Ai Ei AO Ou iA iE uA uO yE An @n in AN @N uN iAN".split()
SONORANTS = ((260, 1000, 2200), (260, 1450, 2500), (360, 1150, 2700), (340, 900, 1900))  # m n l r
PLACES = {  # formant loci near Delattre, Liberman & Cooper 1955, Hz of the friction
    "labial": ((300, 900, 2300), 900),
    "alveolar": ((300, 1750, 2650), 6000),
    "velar": ((300, 2000, 2300), 2100),
    "palatal": ((300, 2150, 2900), 4000),
    "retroflex": ((330, 1650, 2300), 3000),
}
OBSTRUENTS = {  # seconds of closure, friction and aspiration (Lisker & Abramson 1964)
    "fricative": (0.0, 0.1, 0.0),
    "lenis": (0.055, 0.012, 0.01),
    "fortis": (0.055, 0.012, 0.065),
    "affricate": (0.055, 0.05, 0.0),
}


def _onsets(places: str, kinds: str) -> list[list[Phone]]:
    """Sonorants, and obstruents of every kind at every place."""
    onsets = [[Phone(0.065, formants, formants, voiced=0.4)] for formants in SONORANTS]
    for place, kind in itertools.product(places.split(), kinds.split()):
        (locus, hz), (closure, friction, aspiration) = PLACES[place], OBSTRUENTS[kind]
        noise = Phone(friction, locus, locus, breath=0.05, noise=0.6, noise_hz=hz)
        breath = Phone(aspiration, locus, locus, breath=0.5)
        onsets.append([Phone(closure, locus, locus), noise, breath])
    return onsets


ENGLISH_ONSETS = _onsets("labial alveolar velar palatal", "fricative lenis fortis")
MANDARIN_ONSETS = _onsets(" ".join(PLACES), " ".join(OBSTRUENTS))


def voices(count: int, rng: Generator) -> list[Voice]:
    """Alternate men and women; mean pitch and ratio of formants after Hillenbrand et al. 1995."""
    return [
        Voice(
            pitch=hz * 2 ** rng.uniform(-0.2, 0.2),
            tract=tract * rng.uniform(0.95, 1.05),
            floor=rng.uniform(-70, -58),
        )
        for hz, tract in itertools.islice(itertools.cycle([(120, 1), (205, 1.16)]), count)
    ]


def utterance(phrase: Callable, seconds: float, voice: Voice, rng: Generator) -> np.ndarray:
    """Sound of phrases with pauses that together last `seconds`.

    phrase : english_phrase or mandarin_phrase
    """
    rest = Phone(0.1, VOWELS["@"], VOWELS["@"])
    phones, total = [rest], 0.0
    while total < seconds:
        phones += [*phrase(rng), rest._replace(seconds=rng.uniform(0.2, 0.6))]
        total = sum(p.seconds for p in phones)
    return render([p._replace(seconds=p.seconds * seconds / total) for p in phones], voice, rng)


def render(phones: list[Phone], voice: Voice, rng: Generator) -> np.ndarray:
    """Sound of a list of phones, peak 0.5 to 0.9."""
    ends = np.cumsum([p.seconds for p in phones])
    borders = np.column_stack([ends - [p.seconds for p in phones], ends])
    frames = round(ends[-1] * SAMPLE_RATE / HOP) + 1
    n = (frames - 1) * HOP
    time = np.arange(frames) * HOP / SAMPLE_RATE

    def at_samples(track: np.ndarray, smooth: float) -> np.ndarray:
        return np.interp(np.arange(n) / HOP, np.arange(frames), gaussian_filter1d(track, smooth))

    targets = np.reshape([(p.start, p.end) for p in phones], (-1, 3))
    formants = np.column_stack([np.interp(time, borders.ravel(), track) for track in targets.T])
    knots = [np.linspace(*pair, len(p.pitch)) for pair, p in zip(borders, phones, strict=True)]
    pitch = np.interp(time, np.concatenate(knots), np.concatenate([p.pitch for p in phones]))
    jitter = gaussian_filter1d(rng.normal(0, 0.25, frames), 1)  # semitones: 1 % of the pitch
    f0 = voice.pitch * 2 ** (at_samples(gaussian_filter1d(pitch, 1.5) + jitter, 0.5) / 12)
    levels = np.array([(p.voiced, p.breath, p.noise, p.noise_hz) for p in phones])
    levels = levels[np.searchsorted(ends[:-1], time, side="right")].T
    voiced = _pulses(f0, rng) * at_samples(levels[0], 1.5)
    breath = 0.05 * rng.normal(size=n) * at_samples(levels[1], 1.2)
    hiss = 0.07 * rng.normal(size=n) * at_samples(levels[2], 0.6)

    hz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    tract = _formant_gain(gaussian_filter1d(formants, 3, axis=0), voice.tract, hz)
    centre = levels[3][:, None] * np.sqrt(voice.tract)
    resonance = 1 / (1 + ((hz - centre) / (0.22 * centre)) ** 2)
    spectrum = _stft(voiced) * (tract / np.hypot(1, hz / 150)).T + _stft(hiss) * resonance.T
    spectrum += _stft(breath) * np.sqrt(tract).T  # half the peaks, in dB: a noisy source
    _, samples = signal.istft(spectrum, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)
    samples = samples[:n] / np.abs(samples[:n]).max()
    samples += 10 ** (voice.floor / 20) * rng.normal(size=n)
    return (samples * rng.uniform(0.5, 0.9) / np.abs(samples).max()).astype(np.float32)


def english_phrase(rng: Generator) -> list[Phone]:
    """3 to 5 feet of even length, each of one strong syllable and up to three weak ones."""
    weak = rng.integers(0, 4, size=rng.integers(3, 6))
    syllables = [(place == 0, count) for count in weak for place in range(count + 1)]
    foot = rng.uniform(0.48, 0.6)  # seconds from stress to stress
    phones = []
    for base, (strong, count) in zip(np.linspace(3, -3, len(syllables)), syllables, strict=True):
        vowel = rng.choice(STRONG) if strong else "@"
        accent = (base, base + rng.uniform(2, 4), base) if strong else (base, base - 0.5)
        seconds = foot * (2.6 if strong else 1) / (2.6 + count)
        rime = _rime(vowel, accent, 1.0 if strong else 0.45)
        phones += _syllable(ENGLISH_ONSETS, rime, seconds, rng)
    return phones


def mandarin_phrase(rng: Generator, tones: Sequence[int] = ()) -> list[Phone]:
    """4 to 9 syllables of even length, or one for each of `tones` (1 to 4)."""
    tones = tones or rng.integers(1, 5, size=rng.integers(4, 10)).tolist()
    phones = []
    for tone, base in zip(tones, np.linspace(1, -1.5, len(tones)), strict=True):
        rime = _rime(rng.choice(FINALS), base + np.array(TONES[tone]), 0.8)
        phones += _syllable(MANDARIN_ONSETS, rime, rng.normal(0.23, 0.012), rng)
    return phones


def _rime(letters: str, contour: Sequence[float], level: float) -> list[Phone]:
    """The sounds of a rime, which carry the whole pitch contour (Howie 1974)."""
    targets = [VOWELS[letter] for letter in letters]
    steps = list(itertools.pairwise(targets)) or [targets * 2]
    bends = np.interp(
        np.linspace(0, len(contour) - 1, 4 * len(steps) + 1), range(len(contour)), contour
    )
    return [
        Phone(1.0, *ends, voiced=level, breath=0.02, pitch=tuple(bends[4 * i : 4 * i + 5]))
        for i, ends in enumerate(steps)
    ]


def _syllable(onsets: list, rime: list[Phone], seconds: float, rng: Generator) -> list[Phone]:
    """One of the onsets and a rime; the onset takes at most 45 % of the seconds."""
    onset = onsets[rng.integers(len(onsets))]
    length = sum(p.seconds for p in onset)
    squeeze = min(1.0, 0.45 * seconds / length)
    room = (seconds - length * squeeze) / len(rime)
    onset = [p._replace(seconds=p.seconds * squeeze) for p in onset]
    return onset + [p._replace(seconds=room) for p in rime]


def _pulses(f0: np.ndarray, rng: Generator) -> np.ndarray:
    """Pulse train: all harmonics below TOP_HZ at equal level (closed form of their sum)."""
    angle = 2 * np.pi * (np.cumsum(f0) / SAMPLE_RATE + rng.random())
    harmonics = np.floor(TOP_HZ / f0)
    half = np.sin(angle / 2)
    half[np.abs(half) < 1e-6] = 1e-6  # no division by zero
    return (np.sin((harmonics + 0.5) * angle) / half - 1) / np.sqrt(harmonics)


def _formant_gain(formants: np.ndarray, tract: float, hz: np.ndarray) -> np.ndarray:
    """Magnitude (frames, bins) of resonators in cascade, each 1 at 0 Hz (Klatt 1980)."""
    gain = np.ones((len(formants), len(hz)))
    for centre, width in zip((*formants.T, *UPPER_FORMANTS), BANDWIDTHS, strict=True):
        pole = (width / 2) ** 2 + (tract * np.reshape(centre, (-1, 1))) ** 2
        gain *= pole / np.hypot(pole - hz**2, width * hz)
    return gain


def _stft(samples: np.ndarray) -> np.ndarray:
    return signal.stft(samples, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)[2]
