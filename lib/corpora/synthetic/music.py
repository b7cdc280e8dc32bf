"""Music-like clips whose place on the plane of arousal and valence can be heard.

A clip is drawn from a point (arousal, valence), both in [-1, 1], in two steps: the point and some
scatter give the cues, the cues and more scatter give notes. What the cues do follows the
literature: Juslin & Laukka 2003 table 11 and 2004 (tempo, level and its variability, articulation,
attack, high-frequency energy), Gabrielsson & Lindström 2010 (mode, register, consonance, rhythm),
Eerola, Friberg & Bresin 2013 (mode, tempo, register, dynamics, articulation and timbre add up
almost linearly, which is why `cues` is linear). Their directions are cited; the slopes and scatter
are our choice, so that neighbouring quadrants overlap in each single cue. Every cue shows within
1 s and survives division by the peak: loudness is also tilt, drive, crest factor and percussion.

Samples are float32 (n,), in [-1, 1], 16 kHz. Pitches are MIDI numbers (69 = 440 Hz), scale degrees
count from 0. The western style has triads on seven-note scales; the Chinese one plucked and bowed
strings on five-note scales (gong for major, yu for minor).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import fft, signal

SAMPLE_RATE = 16_000
TOP_HZ = 7600.0  # highest partial, kept from the Nyquist frequency by our choice


class Instrument(NamedTuple):
    """A timbre; all values our choice, by ear and spectrogram.

    tilt: dB per octave added to the clip's; even: level of even partials (a clarinet has few);
    pluck: where the string is plucked, 0 when not; decay: nepers per second of the fundamental;
    loss: further nepers per second and partial (Karplus & Strong 1983: highs fade first);
    vibrato: semitones; scoop: semitones below from which a note slides.
    """

    tilt: float
    even: float = 1.0
    pluck: float = 0.0
    decay: float = 0.0
    loss: float = 0.0
    vibrato: float = 0.0
    scoop: float = 0.0


class Style(NamedTuple):
    """Scales (semitones from the tonic), instruments, drums and chord roots of a repertoire.

    Only primary triads, so that each second of a clip bears its mode (our choice).
    """

    major: tuple[int, ...]
    minor: tuple[int, ...]
    lead: tuple[Instrument, ...]
    chords: Instrument
    drums: dict[str, tuple[float, float, float]]  # Hz, its glide in octaves, decay in seconds
    roots: dict[str, tuple[tuple[int, ...], ...]]  # semitones, by mode


STYLES = {
    "western": Style(
        major=(0, 2, 4, 5, 7, 9, 11),
        minor=(0, 2, 3, 5, 7, 8, 10),
        lead=(
            Instrument(tilt=0.0, vibrato=0.15),
            Instrument(tilt=1.0, even=0.25, vibrato=0.1),
            Instrument(tilt=0.0, decay=1.5, loss=0.25),
            Instrument(tilt=2.0, vibrato=0.05, scoop=0.5),
        ),
        chords=Instrument(tilt=-2.0, decay=0.4, loss=0.1),
        drums={"low": (55.0, 1.0, 0.12), "high": (190.0, 0.3, 0.08)},
        roots={
            "major": ((0, 5, 7, 0), (0, 7, 5, 0), (0, 5, 0, 7)),
            "minor": ((0, 5, 7, 0), (0, 7, 5, 0), (0, 0, 5, 7)),
        },
    ),
    "chinese": Style(
        major=(0, 2, 4, 7, 9),
        minor=(0, 3, 5, 7, 10),
        lead=(
            Instrument(tilt=4.0, pluck=0.12, decay=1.6, loss=0.5, scoop=0.4),
            Instrument(tilt=5.0, pluck=0.08, decay=4.0, loss=0.8),
            Instrument(tilt=2.0, vibrato=0.4, scoop=1.5),
        ),
        chords=Instrument(tilt=2.0, pluck=0.2, decay=1.2, loss=0.4),
        drums={"low": (110.0, 0.5, 0.2), "high": (900.0, 0.0, 0.03)},
        roots={
            "major": ((0, 0, 7, 0), (0, 0, 5, 0), (0, 7, 0, 7)),
            "minor": ((0, 0, 5, 0), (0, 0, 7, 0), (0, 5, 0, 5)),
        },
    ),
}


@dataclass(frozen=True)
class Cues:
    """What the point on the plane decides about a clip."""

    tempo: float  # beats per minute
    density: float  # melody notes per beat
    articulation: float  # sounding part of a note's time; above 1 notes overlap
    attack: float  # seconds
    register: float  # MIDI number in the middle of the melody
    tilt: float  # dB per octave of the partials
    major: bool
    dissonance: float  # probability that a chord or melody note is joined by its minor second
    drive: float  # gain into a saturating tanh
    percussion: float  # peak of the drums relative to that of the notes
    swell: float  # depth of slow crescendo and diminuendo, 0 to 1
    reverb: float  # level of the reverberation relative to the direct sound
    level: float  # dB of the file's peak


def cues(arousal: float, valence: float, rng: Generator) -> Cues:
    """Draw the cues of a clip at (arousal, valence), each in [-1, 1]."""
    n = rng.normal(size=12)
    tension = (arousal - valence) / 2  # 1 in the corner of Q2, -1 in that of Q4
    return Cues(
        tempo=100 * 2 ** (0.5 * arousal + 0.1 * valence + 0.1 * n[0]),
        density=float(np.clip(2 ** (1.0 * arousal + 0.4 * n[1]), 0.5, 4)),
        articulation=float(np.clip(0.75 - 0.35 * arousal - 0.05 * valence + 0.1 * n[2], 0.25, 1.2)),
        attack=0.03 * 10 ** (-0.65 * arousal + 0.15 * n[3]),
        register=64 + 7 * valence + 1.5 * arousal + 2.5 * n[4],
        tilt=-9.5 + 3.5 * arousal + 2 * valence + 1.0 * n[5],
        major=bool(valence > 0),
        dissonance=float(np.clip(0.1 + 0.6 * tension - 0.2 * valence + 0.05 * n[6], 0, 0.8)),
        drive=float(np.exp(np.clip(2.2 * tension + 0.2 * n[7], 0, 3))),
        percussion=float(np.clip(0.9 * arousal + 0.15 * n[8], 0, 1)),
        swell=float(np.clip(0.4 - 0.4 * arousal + 0.1 * n[9], 0, 0.8)),
        reverb=float(np.clip(0.3 - 0.25 * arousal + 0.05 * n[10], 0.02, 0.6)),
        level=-7 + 5 * arousal + 0.8 * n[11],
    )


def clip(
    style: Style, arousal: float, valence: float, seconds: float, rng: Generator
) -> np.ndarray:
    """A clip at a point of the plane: samples : float32 (n,), in [-1, 1], 16 kHz."""
    cue = cues(arousal, valence, rng)
    n = round(seconds * SAMPLE_RATE)
    beats = np.arange(rng.uniform(-4, 0), seconds * cue.tempo / 60)  # starts anywhere in a bar
    key = int(rng.integers(0, 12))
    roots = style.roots["major" if cue.major else "minor"]
    roots = roots[rng.integers(len(roots))]
    music = _accompaniment(style, cue, key, roots, beats, n, rng)
    music += _melody(style, cue, key, beats, n, rng)
    music *= 1 - cue.swell * (0.5 + 0.5 * np.cos(2 * np.pi * (2 * np.arange(n) / n + rng.random())))
    music /= np.abs(music).max()
    music = np.tanh(cue.drive * music) / np.tanh(cue.drive)
    music += cue.percussion * _drums(style, cue, beats, n, rng)
    music = _reverberate(music, cue.reverb, rng)
    music = music / np.abs(music).max() + 10 ** (-65 / 20) * rng.normal(size=n)
    return (music * 10 ** (min(cue.level, -1.0) / 20) / np.abs(music).max()).astype(np.float32)


def tone(f0: np.ndarray, instrument: Instrument, tilt: float, rng: Generator) -> np.ndarray:
    """A tone without attack or release, peak about 1.

    f0 : float (n,), pitch in Hz. The waveform of each period is made of partials in random phase
    that fade at their own rates, as on a string; the periods are read at the phase of f0.
    """
    partials = np.arange(1, max(2, int(TOP_HZ / f0.max()) + 1))
    slope = (tilt + instrument.tilt) / 20
    level = 10 ** (slope * np.log2(partials)) * np.where(partials % 2, 1.0, instrument.even)
    if instrument.pluck:
        level *= np.abs(np.sin(np.pi * instrument.pluck * partials)) + 0.05
    phase = np.cumsum(f0) / SAMPLE_RATE
    periods = int(phase[-1]) + 2
    size = 8 * 2 ** int(np.ceil(np.log2(len(partials) + 1)))  # points per period
    time = np.arange(periods)[:, None] / f0.mean()
    fading = np.exp(-time * (instrument.decay + instrument.loss * (partials - 1)))
    spectra = np.zeros((periods, size // 2 + 1), dtype=np.complex64)
    turn = np.exp(2j * np.pi * rng.random(len(partials)))
    spectra[:, 1 : len(partials) + 1] = level * turn * fading * (size / 2 / np.linalg.norm(level))
    wave = fft.irfft(spectra, size, axis=1).ravel()
    return np.interp(phase * size, np.arange(len(wave)), wave)


def _note(
    midi: float, seconds: float, instrument: Instrument, cue: Cues, rng: Generator
) -> np.ndarray:
    """A note with attack, release, vibrato and slide; it sounds for `seconds` and its release."""
    release = 0.02 + 0.6 * cue.attack
    time = np.arange(int((seconds + release) * SAMPLE_RATE)) / SAMPLE_RATE
    rate = rng.uniform(5.0, 6.2)  # Hz, usual vibrato (Sundberg 1987)
    bend = instrument.vibrato * np.sin(2 * np.pi * rate * time) * np.minimum(time / 0.3, 1)
    bend = bend - instrument.scoop * np.exp(-time / 0.04)
    f0 = 440 * 2 ** ((midi - 69 + bend) / 12)
    attack = min(cue.attack, 0.005) if instrument.pluck else cue.attack
    rise = np.minimum(time / attack, 1)
    fall = np.clip((seconds + release - time) / release, 0, 1)
    return tone(f0, instrument, cue.tilt, rng) * rise * fall


def _accompaniment(
    style: Style, cue: Cues, key: int, roots: tuple, beats: np.ndarray, n: int, rng: Generator
) -> np.ndarray:
    """Triads of the mode with a bass: struck on every beat when detached, else held for two."""
    out = np.zeros(n)
    beat = 60 / cue.tempo
    triad = (0, 4, 7) if cue.major else (0, 3, 7)
    span = 1 if cue.articulation < 0.8 else 2
    centre = cue.register - 9
    for index, start in enumerate(beats[::span]):
        root = roots[(index * span // 2) % len(roots)]
        pitches = [_near(key + root + step, centre) for step in triad]
        pitches.append(_near(key + root, centre - 14))
        if rng.random() < cue.dissonance:
            pitches.append(pitches[0] + float(rng.choice([1, 6])))
        seconds = span * beat * min(cue.articulation, 1.0)
        for pitch in pitches:
            note = _note(pitch, seconds, style.chords, cue, rng)
            _add(out, note * 0.35, start * beat)
    return out


def _melody(
    style: Style, cue: Cues, key: int, beats: np.ndarray, n: int, rng: Generator
) -> np.ndarray:
    """A random walk on the scale, drawn back to the register, with few notes or many a beat."""
    out = np.zeros(n)
    beat = 60 / cue.tempo
    lead = style.lead[rng.integers(len(style.lead))]
    scale = np.array(style.major if cue.major else style.minor)
    ladder = np.sort([_near(key + s, cue.register) + 12 * o for s in scale for o in (-1, 0, 1)])
    place = int(np.argmin(np.abs(ladder - cue.register)))
    time = beats[0]
    while time < beats[-1] + 1:
        length = 1 / max(0.5, np.round(2 * cue.density * rng.choice([0.5, 1, 1, 1.5])) / 2)
        pull = 0.15 * (np.argmin(np.abs(ladder - cue.register)) - place)
        place = int(np.clip(place + np.round(rng.normal(pull, 1.5)), 0, len(ladder) - 1))
        accent = 10 ** (rng.normal(0, 1.5) / 20)
        seconds = length * beat * cue.articulation
        pitches = [ladder[place]] + [ladder[place] + 1] * (rng.random() < 0.6 * cue.dissonance)
        for pitch in pitches:
            _add(out, _note(pitch, seconds, lead, cue, rng) * 0.7 * accent, time * beat)
        time += length
    return out


def _drums(style: Style, cue: Cues, beats: np.ndarray, n: int, rng: Generator) -> np.ndarray:
    """Low drum, high drum with noise on the off-beats, and hissing strokes between; peak 1."""
    out = np.zeros(n)
    if cue.percussion < 0.1:
        return out
    beat = 60 / cue.tempo
    sos = signal.butter(2, 5000, "highpass", fs=SAMPLE_RATE, output="sos")
    for index, start in enumerate(beats):
        kind = "low" if index % 2 == 0 else "high"
        hz, glide, decay = style.drums[kind]
        time = np.arange(int(6 * decay * SAMPLE_RATE)) / SAMPLE_RATE
        f0 = hz * 2 ** (glide * np.exp(-time / (0.3 * decay)))
        stroke = np.sin(2 * np.pi * np.cumsum(f0) / SAMPLE_RATE)
        if kind == "high":
            stroke = 0.5 * stroke + 0.3 * rng.normal(size=len(time))
        _add(out, stroke * np.exp(-time / decay) * rng.uniform(0.8, 1), start * beat)
        for part in (0, 0.5):
            hiss = signal.sosfilt(sos, rng.normal(size=1600)) * np.exp(-np.arange(1600) / 320)
            _add(out, 0.2 * hiss, (start + part) * beat)
    return out / max(np.abs(out).max(), 1e-9)


def _reverberate(music: np.ndarray, level: float, rng: Generator) -> np.ndarray:
    """Add a room of decaying noise (Moorer 1979), 60 dB down after 1.2 s (our choice)."""
    time = np.arange(int(1.2 * SAMPLE_RATE)) / SAMPLE_RATE
    room = rng.normal(size=len(time)) * 10 ** (-3 * time / 1.2)
    wet = signal.fftconvolve(music, room)[: len(music)]
    return music + level * wet * np.std(music) / np.std(wet)


def _near(pitch: float, centre: float) -> float:
    """The octave of a MIDI `pitch` that lies nearest to `centre`."""
    return pitch + 12 * round((centre - pitch) / 12)


def _add(out: np.ndarray, sound: np.ndarray, seconds: float) -> None:
    """Mix `sound` into `out` from `seconds` on, in place; what lies outside is cut."""
    start = round(seconds * SAMPLE_RATE)
    sound = sound[max(-start, 0) : max(len(out) - start, 0)]
    start = max(start, 0)
    out[start : start + len(sound)] += sound
