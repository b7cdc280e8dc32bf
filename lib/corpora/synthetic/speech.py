"""Speech-like sound from a source-filter model: stress-timed English, tonal Mandarin.

No words are spoken. What a log-mel spectrogram shows of the two languages is: formants over pitch
harmonics, fricatives, stop gaps and bursts, nasals, pauses; for English the alternation of strong
and reduced syllables at even stresses (Abercrombie 1967) under falling pitch (Pierrehumbert 1979);
for Mandarin syllables of even length, each with one of four tones on Chao's five-point scale
(Chao 1968).

The source is a band-limited pulse train with jitter and shimmer, with -6 dB per octave of tilt
(glottis -12, lips +6: Fant 1960), or noise; the filter is eight formants in cascade (Klatt 1980),
applied to a short-time Fourier transform. Levels and durations without a source are our choice,
made by looking at spectrograms. Samples are float32 (n,), in [-1, 1], 16 kHz. Pitch is in
semitones from the speaker's own base.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import signal
from scipy.ndimage import gaussian_filter1d

SAMPLE_RATE = 16_000
WINDOW = 384  # samples, 24 ms: spans two periods of a low voice (our choice)
HOP = 96  # samples, 6 ms: one frame of the control tracks
TOP_HZ = 7600.0  # highest harmonic, kept from the Nyquist frequency by our choice
UPPER_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)  # Hz, uniform 17.5 cm tube (Fant 1960)
BANDWIDTHS = (70.0, 100.0, 140.0, 200.0, 240.0, 280.0, 320.0, 360.0)  # Hz; to F5 near Klatt 1980
TONES = {1: (5, 5, 5), 2: (3, 3.4, 5), 3: (2, 1, 1, 2, 4), 4: (5, 4.2, 1)}  # 55 35 214 51, Chao
SEMITONES_PER_LEVEL = 3.0  # Chao's five points over one octave, as in careful speech (our choice)


class Voice(NamedTuple):
    """A speaker: base pitch in Hz, formants relative to an adult man's, dB of background noise."""

    pitch: float
    tract: float
    floor: float


class Phone(NamedTuple):
    """A stretch of speech: formants in Hz at its start and end, levels of the three sources."""

    seconds: float
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    voiced: float = 0.0
    breath: float = 0.0
    noise: float = 0.0
    noise_hz: float = 4000.0
    pitch: tuple[float, ...] = ()


# F1, F2, F3 in Hz of American men (Hillenbrand et al. 1995, table V); @ is the uniform tube.
VOWELS = {
    "i": (342, 2322, 3000),
    "I": (427, 2034, 2684),
    "E": (580, 1799, 2605),
    "{": (588, 1952, 2601),
    "A": (768, 1333, 2522),
    "O": (652, 997, 2538),
    "u": (378, 997, 2343),
    "3": (474, 1379, 1710),
    "@": (500, 1500, 2500),
}
ENGLISH_STRONG = ("i", "I", "E", "{", "A", "O", "u", "3", "AI", "EI", "Ou", "Au", "OI")
ENGLISH_WEAK = ("@", "@", "@", "I")
# Rounded from the plots of Lee & Zee 2003 (Standard Chinese, J. IPA 33); y is the front rounded u.
MANDARIN_VOWELS = {
    "a": (850, 1250, 2600),
    "o": (560, 850, 2500),
    "e": (500, 1150, 2500),
    "E": (560, 1900, 2600),
    "i": (290, 2300, 3050),
    "u": (340, 680, 2400),
    "y": (290, 2050, 2400),
}
RETROFLEX = (330, 1650, 2300)  # locus of sh, ch; low F3 (Lee & Zee 2003), value our choice
FINALS = "a o e i u y ai Ei ao ou ia iE ua uo yE an En in aN eN uN iaN".split()
# Formant loci in Hz, near Delattre, Liberman & Cooper 1955
LABIAL, ALVEOLAR = (300, 900, 2300), (300, 1750, 2650)
VELAR, PALATAL = (300, 2000, 2300), (300, 2150, 2900)


def _stop(locus: tuple, burst_hz: float, onset: float, voiced: float = 0.0) -> list[Phone]:
    """Closure, burst and `onset` seconds of aspiration before the voice sets in."""
    burst = Phone(0.012, locus, locus, breath=0.3, noise=0.9, noise_hz=burst_hz)
    return [Phone(0.055, locus, locus, voiced), burst, Phone(onset, locus, locus, breath=0.5)]


def _stops(lenis: float, voiced: float, fortis: float) -> dict[str, list[Phone]]:
    """b d g with voice in the closure and p t k, which differ in seconds of voice onset time."""
    places = ("bp", LABIAL, 900), ("dt", ALVEOLAR, 4000), ("gk", VELAR, 2100)
    soft = {pair[0]: _stop(locus, hz, lenis, voiced) for pair, locus, hz in places}
    return soft | {pair[1]: _stop(locus, hz, fortis) for pair, locus, hz in places}


def _fricative(locus: tuple, hz: float, level: float, seconds: float = 0.1) -> list[Phone]:
    return [Phone(seconds, locus, locus, breath=0.05, noise=level, noise_hz=hz)]


def _sonorant(formants: tuple, level: float = 0.3, seconds: float = 0.065) -> list[Phone]:
    return [Phone(seconds, formants, formants, voiced=level)]


NASAL = {"m": (260, 1000, 2200), "n": (260, 1450, 2500), "N": (280, 2000, 2400)}
SHARED_ONSETS = {
    "m": _sonorant(NASAL["m"]),
    "n": _sonorant(NASAL["n"]),
    "l": _sonorant((360, 1150, 2700), 0.45),
    "f": _fricative(LABIAL, 5500, 0.16),
    "s": _fricative(ALVEOLAR, 6200, 0.55),
    "h": [Phone(0.065, VOWELS["@"], VOWELS["@"], breath=0.4)],
}
ENGLISH_ONSETS = {
    **SHARED_ONSETS,
    **_stops(lenis=0.008, voiced=0.12, fortis=0.055),
    "r": _sonorant((350, 1100, 1550), 0.45),
    "w": _sonorant((320, 700, 2250), 0.45),
    "S": _fricative(PALATAL, 3300, 0.6),
}
ENGLISH_CODAS = ("n", "m", "s", "t", "k", "l", "r", "S", "d")
MANDARIN_ONSETS = {
    **SHARED_ONSETS,
    **_stops(lenis=0.012, voiced=0.0, fortis=0.075),
    "sh": _fricative(RETROFLEX, 3000, 0.6),
    "x": _fricative(PALATAL, 4700, 0.5),
    "z": [Phone(0.055, ALVEOLAR, ALVEOLAR)] + _fricative(ALVEOLAR, 6500, 0.5, 0.04),
    "ch": [Phone(0.055, RETROFLEX, RETROFLEX)] + _fricative(RETROFLEX, 3000, 0.6, 0.08),
    "j": [Phone(0.055, PALATAL, PALATAL)] + _fricative(PALATAL, 4700, 0.5, 0.04),
    "": [],
}


def voices(count: int, rng: Generator) -> list[Voice]:
    """`count` speakers, men and women in turn, each with a pitch and a vocal tract of their own.

    Mean pitch and the ratio of formants after Hillenbrand et al. 1995 (women about 1.16).
    """
    kinds = itertools.islice(itertools.cycle([(120.0, 1.0), (205.0, 1.16)]), count)
    return [
        Voice(
            hz * 2 ** rng.uniform(-0.2, 0.2), tract * rng.uniform(0.95, 1.05), rng.uniform(-70, -58)
        )
        for hz, tract in kinds
    ]


def english(seconds: float, voice: Voice, rng: Generator) -> np.ndarray:
    """An utterance of phrases of 3 to 5 feet: samples : float32 (n,), in [-1, 1], 16 kHz."""
    return _utterance(seconds, voice, rng, _english_phrase)


def mandarin(seconds: float, voice: Voice, rng: Generator, tones: tuple = ()) -> np.ndarray:
    """An utterance of phrases of 4 to 9 syllables: samples : float32 (n,), in [-1, 1], 16 kHz.

    Every phrase has `tones` (1 to 4) when they are given, else tones drawn at random.
    """
    return _utterance(seconds, voice, rng, lambda draw: _mandarin_phrase(draw, tones))


def render(phones: list[Phone], voice: Voice, rng: Generator) -> np.ndarray:
    """Sound of a list of phones: samples : float32 (n,), in [-1, 1], 16 kHz; peak 0.5 to 0.9."""
    edges = np.round(np.cumsum([0.0] + [p.seconds for p in phones]) * SAMPLE_RATE / HOP).astype(int)
    counts = np.diff(edges)
    frames = edges[-1] + 1
    n = (frames - 1) * HOP

    def held(values: list) -> np.ndarray:
        return np.append(np.repeat(values, counts), values[-1])

    def samples_of(track: np.ndarray, smooth: float) -> np.ndarray:
        return np.interp(np.arange(n) / HOP, np.arange(frames), gaussian_filter1d(track, smooth))

    formants = np.empty((frames, 3))
    pitch = np.full(frames, np.nan)
    for phone, begin, count in zip(phones, edges, counts, strict=False):
        at = np.linspace(0, 1, count, endpoint=False)[:, None]
        formants[begin : begin + count] = np.add((1 - at) * phone.start, at * np.array(phone.end))
        if phone.pitch and count:
            knots = np.linspace(0, 1, len(phone.pitch))
            pitch[begin : begin + count] = np.interp(np.linspace(0, 1, count), knots, phone.pitch)
    formants[-1] = phones[-1].end
    known = np.flatnonzero(np.isfinite(pitch))
    pitch = gaussian_filter1d(np.interp(np.arange(frames), known, pitch[known]), 1.5)
    jitter = gaussian_filter1d(rng.normal(0, 0.25, frames), 1.0)  # semitones: 1 % of the pitch
    f0 = voice.pitch * 2 ** (samples_of(pitch + jitter, 0.5) / 12)

    shimmer = rng.normal(1, 0.1, frames)
    voiced = _pulses(f0, rng) * samples_of(held([p.voiced for p in phones]) * shimmer, 1.5)
    breath = 0.05 * rng.normal(size=n) * samples_of(held([p.breath for p in phones]), 1.2)
    leak = 0.004 * rng.normal(size=n) * samples_of(held([p.voiced for p in phones]), 1.5)
    hiss = 0.07 * rng.normal(size=n) * samples_of(held([p.noise for p in phones]), 0.6)

    hz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    tract = _formant_gain(gaussian_filter1d(formants, 3.0, axis=0) * voice.tract, voice.tract, hz)
    centre = held([p.noise_hz for p in phones])[:, None] * np.sqrt(voice.tract)
    hiss_gain = 1 / (1 + ((hz - centre) / (0.22 * centre)) ** 2)
    tilt = 1 / np.hypot(1, hz / 150)
    spectrum = _stft(voiced) * (tract * tilt).T + _stft(hiss) * hiss_gain.T
    spectrum += _stft(breath + leak) * np.sqrt(tract).T  # half the peaks, in dB: a noisy source
    _, samples = signal.istft(spectrum, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)
    samples = samples[:n] / np.abs(samples[:n]).max()
    samples += 10 ** (voice.floor / 20) * rng.normal(size=n)
    return (samples * rng.uniform(0.5, 0.9) / np.abs(samples).max()).astype(np.float32)


def _utterance(seconds: float, voice: Voice, rng: Generator, phrase: Callable) -> np.ndarray:
    """As many phrases with pauses as come nearest to `seconds`, then stretched to fit."""
    rest = VOWELS["@"]
    phones, more, total = [Phone(rng.uniform(0.1, 0.25), rest, rest)], phrase(rng), 0.0
    while total == 0 or total + sum(p.seconds for p in more) / 2 < seconds:
        phones += [*more, Phone(rng.uniform(0.2, 0.6), rest, rest)]
        more, total = phrase(rng), sum(p.seconds for p in phones)
    stretch = seconds / total
    return render([p._replace(seconds=p.seconds * stretch) for p in phones], voice, rng)


def _english_phrase(rng: Generator) -> list[Phone]:
    """Feet of even length: one strong syllable and up to three weak ones share each foot."""
    weak = rng.integers(0, 4, size=rng.integers(3, 6))
    stress = np.concatenate([[True] + [False] * count for count in weak])
    share = np.concatenate([[2.6 / (2.6 + c)] + [1 / (2.6 + c)] * c for c in weak])
    length = share * rng.uniform(0.48, 0.6)  # seconds from stress to stress
    declination = np.linspace(3.0, -3.0, len(stress))  # semitones
    phones = []
    for strong, seconds, base in zip(stress, length, declination, strict=True):
        name = str(rng.choice(ENGLISH_STRONG if strong else ENGLISH_WEAK))
        onset = ENGLISH_ONSETS[str(rng.choice(list(ENGLISH_ONSETS)))]
        closed = rng.random() < (0.5 if strong else 0.2)
        coda = ENGLISH_ONSETS[str(rng.choice(ENGLISH_CODAS))][:1] if closed else []
        accent = (base, base + rng.uniform(2, 4), base) if strong else (base, base - 0.5)
        level = 1.0 if strong else 0.45
        nucleus = Phone(1.0, VOWELS[name[0]], VOWELS[name[-1]], level, breath=0.02, pitch=accent)
        phones += _syllable(onset, [nucleus], coda, seconds)
    return phones


def _mandarin_phrase(rng: Generator, tones: tuple[int, ...]) -> list[Phone]:
    """Syllables of even length; each rime carries the whole of its tone (Howie 1974)."""
    tones = tones or tuple(rng.integers(1, 5, size=rng.integers(4, 10)).tolist())
    declination = np.linspace(1.0, -1.5, len(tones))  # semitones
    phones = []
    for tone, base in zip(tones, declination, strict=True):
        final = str(rng.choice(FINALS))
        contour = tuple(base + SEMITONES_PER_LEVEL * (level - 3) for level in TONES[tone])
        onset = MANDARIN_ONSETS[str(rng.choice(list(MANDARIN_ONSETS)))]
        targets = [MANDARIN_VOWELS.get(v) or NASAL[v] for v in final]
        targets = targets if len(targets) > 1 else targets * 2
        steps = len(targets) - 1
        at = np.linspace(0, len(contour) - 1, 4 * steps + 1)
        bends = tuple(np.interp(at, range(len(contour)), contour))
        nucleus = [
            Phone(1 / steps, *ends, voiced=0.8, breath=0.02, pitch=bends[4 * i : 4 * i + 5])
            for i, ends in enumerate(itertools.pairwise(targets))
        ]
        phones += _syllable(onset, nucleus, [], rng.normal(0.23, 0.012))
    return phones


def _syllable(onset: list, nucleus: list, coda: list, seconds: float) -> list[Phone]:
    """The phones of a syllable of `seconds`; consonants take at most 45 % of them."""
    margin = sum(p.seconds for p in onset + coda)
    squeeze = min(1.0, 0.45 * seconds / margin) if margin else 1.0
    room = seconds - margin * squeeze
    scale = [squeeze] * len(onset) + [room] * len(nucleus) + [squeeze] * len(coda)
    pairs = zip(onset + nucleus + coda, scale, strict=True)
    return [p._replace(seconds=p.seconds * k) for p, k in pairs]


def _pulses(f0: np.ndarray, rng: Generator) -> np.ndarray:
    """Pulse train with all harmonics below TOP_HZ at equal level (closed form of their sum)."""
    angle = 2 * np.pi * (np.cumsum(f0) / SAMPLE_RATE + rng.random())
    harmonics = np.floor(TOP_HZ / f0)
    half = np.sin(angle / 2)
    half[np.abs(half) < 1e-6] = 1e-6  # no division by zero
    return (np.sin((harmonics + 0.5) * angle) / half - 1) / np.sqrt(harmonics)


def _formant_gain(formants: np.ndarray, tract: float, hz: np.ndarray) -> np.ndarray:
    """Magnitude (frames, bins) of resonators in cascade, each 1 at 0 Hz (Klatt 1980)."""
    upper = np.tile(np.multiply(UPPER_FORMANTS, tract), (len(formants), 1))
    gain = np.ones((len(formants), len(hz)))
    for centre, width in zip(np.hstack([formants, upper]).T, BANDWIDTHS, strict=True):
        pole = (width / 2) ** 2 + centre[:, None] ** 2
        gain *= pole / np.hypot(pole - hz**2, width * hz)
    return gain


def _stft(samples: np.ndarray) -> np.ndarray:
    return signal.stft(samples, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)[2]
