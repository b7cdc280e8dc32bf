"""Make music-like clips whose place on the plane of arousal and valence can be heard.

The place and some scatter give the cues; the cues and more scatter give notes. The cues follow the
literature: Juslin & Laukka 2003 table 11 and 2004 (tempo, level, articulation, attack,
high-frequency energy), Gabrielsson & Lindström 2010 (mode, register, consonance), Eerola, Friberg &
Bresin 2013 (cues add up almost linearly). Their directions are cited; the slopes and scatter are
our choice, so that neighbouring quadrants overlap in each single cue. Every cue can be
heard within 1 s. Recordings are divided by their peak, so loudness is also expressed by spectral
tilt, distortion (drive), crest factor and percussion.

Pitches are MIDI numbers (69 = 440 Hz), times are beats unless they are called seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import fft

from lib.corpora.synthetic import SAMPLE_RATE, TOP_HZ

# Chord roots, semitones: only primary triads, so that every second shows its mode (our choice)
ROOTS = ((0, 5, 7, 0), (0, 7, 5, 0), (0, 0, 5, 7))


class Instrument(NamedTuple):
    """A timbre; all values are our choice, by ear and spectrogram."""

    tilt: float = 0.0  # dB per octave of the partials, added to the clip's
    decay: float = 0.0  # nepers per second; above 0 the string is plucked
    vibrato: float = 0.0  # semitones
    scoop: float = 0.0  # semitones below from which a note slides


class Style(NamedTuple):
    """A repertoire: scales in semitones from the tonic, instruments, Hz of low and high drum."""

    major: tuple[int, ...]
    minor: tuple[int, ...]
    lead: tuple[Instrument, ...]
    chords: Instrument
    drums: tuple[float, float]


STYLES = {
    "western": Style(
        major=(0, 2, 4, 5, 7, 9, 11),
        minor=(0, 2, 3, 5, 7, 8, 10),
        lead=(
            Instrument(vibrato=0.15),
            Instrument(tilt=1.0, decay=1.5),
        ),
        chords=Instrument(tilt=-2.0, decay=0.4),
        drums=(55.0, 190.0),
    ),
    "chinese": Style(  # five notes, gong and yu; plucked and bowed strings
        major=(0, 2, 4, 7, 9),
        minor=(0, 3, 5, 7, 10),
        lead=(
            Instrument(tilt=2.0, decay=2.5, scoop=0.4),
            Instrument(tilt=2.0, vibrato=0.4, scoop=1.5),
        ),
        chords=Instrument(tilt=1.0, decay=2.0),
        drums=(110.0, 900.0),
    ),
}


class Clip:
    """A clip being made: the cues that follow from its place on the plane, and its instruments.

    arousal, valence : each in [-1, 1]
    """

    def __init__(
        self, style: Style, arousal: float, valence: float, seconds: float, rng: Generator
    ) -> None:
        scatter = rng.normal(size=10)
        tension = (arousal - valence) / 2  # 1 in the corner of Q2, -1 in that of Q4
        self.style, self.rng = style, rng
        self.beat = 0.6 / 2 ** (0.5 * arousal + 0.1 * valence + 0.1 * scatter[0])  # seconds
        self.density = np.clip(2 ** (arousal + 0.4 * scatter[1]), 0.5, 4)  # melody notes per beat
        legato = 0.75 - 0.35 * arousal - 0.05 * valence + 0.1 * scatter[2]
        self.legato = np.clip(legato, 0.25, 1.2)  # sounding part of a note; above 1 notes overlap
        self.attack = 0.03 * 10 ** (-0.65 * arousal + 0.15 * scatter[3])  # seconds
        self.register = 64 + 7 * valence + 1.5 * arousal + 2.5 * scatter[4]  # middle of the melody
        self.tilt = -9.5 + 3.5 * arousal + 2 * valence + scatter[5]  # dB per octave
        self.major = valence > 0
        dissonance = 0.1 + 0.6 * tension - 0.2 * valence + 0.05 * scatter[6]
        self.dissonance = np.clip(dissonance, 0, 0.8)  # probability of an adjacent note
        self.drive = np.exp(np.clip(2.2 * tension + 0.2 * scatter[7], 0, 3))  # into a tanh
        self.percussion = np.clip(0.9 * arousal + 0.15 * scatter[8], 0, 1)  # peak of the drums
        self.level = min(-7 + 5 * arousal + 0.8 * scatter[9], -1)  # dB of the peak
        self.length = round(seconds * SAMPLE_RATE)
        self.key = int(rng.integers(0, 12))
        self.beats = np.arange(rng.uniform(-4, 0), seconds / self.beat)  # starts within a bar

    def sound(self) -> np.ndarray:
        music = self._chords() + self._melody()
        music = np.tanh(self.drive * music / np.abs(music).max()) / np.tanh(self.drive)
        music += self.percussion * self._drums()
        music = music / np.abs(music).max() + 10 ** (-65 / 20) * self.rng.normal(size=self.length)
        return (music * 10 ** (self.level / 20) / np.abs(music).max()).astype(np.float32)

    def _chords(self) -> np.ndarray:
        """Triads with a bass: struck on every beat if detached, else held for two beats."""
        out = np.zeros(self.length)
        roots = ROOTS[self.rng.integers(len(ROOTS))]
        span = 1 if self.legato < 0.8 else 2
        centre = self.register - 9
        for index, start in enumerate(self.beats[::span]):
            root = self.key + roots[index * span // 2 % len(roots)]
            triad = (0, 4, 7) if self.major else (0, 3, 7)
            pitches = [_near(root + step, centre) for step in triad]
            pitches.append(_near(root, centre - 14))
            if self.rng.random() < self.dissonance:
                pitches.append(pitches[0] + self.rng.choice([1, 6]))
            for pitch in pitches:
                note = self._note(self.style.chords, pitch, span * min(self.legato, 1))
                self._add(out, 0.35 * note, start)
        return out

    def _melody(self) -> np.ndarray:
        """A random walk on the scale, pulled to the register, with few or many notes per beat."""
        out = np.zeros(self.length)
        lead = self.style.lead[self.rng.integers(len(self.style.lead))]
        scale = np.add(self.style.major if self.major else self.style.minor, self.key)
        ladder = np.sort(
            [_near(s, self.register) + octave for s in scale for octave in (-12, 0, 12)]
        )
        home = place = int(np.abs(ladder - self.register).argmin())
        time = self.beats[0]
        while time < self.beats[-1] + 1:
            notes = np.round(2 * self.density * self.rng.choice([0.5, 1, 1, 1.5])) / 2  # per beat
            length = 1 / max(0.5, notes)
            step = np.round(self.rng.normal(0.15 * (home - place), 1.5))
            place = int(np.clip(place + step, 0, len(ladder) - 1))
            accent = 10 ** (self.rng.normal(0, 1.5) / 20)
            beside = self.rng.random() < 0.6 * self.dissonance
            for pitch in ladder[place] + np.arange(1 + beside):
                note = self._note(lead, pitch, length * self.legato)
                self._add(out, 0.7 * accent * note, time)
            time += length
        return out

    def _drums(self) -> np.ndarray:
        """A low and a high, noisy drum on alternate beats, hiss on every half beat; peak 1."""
        out = np.zeros(self.length)
        time = np.arange(0.6 * SAMPLE_RATE) / SAMPLE_RATE
        glide = 2 ** np.exp(-time / 0.03)
        for index, start in enumerate(self.beats):
            high = index % 2
            drum = np.sin(2 * np.pi * np.cumsum(self.style.drums[high] * glide) / SAMPLE_RATE)
            drum += 0.6 * high * self.rng.normal(size=len(time))
            self._add(out, drum * np.exp(-time / (0.05 if high else 0.12)), start)
            for half in (0, 0.5):
                hiss = np.diff(self.rng.normal(size=len(time) + 1)) * np.exp(-time / 0.02)
                self._add(out, 0.15 * hiss, start + half)
        return out / np.abs(out).max()

    def _note(self, instrument: Instrument, pitch: float, beats: float) -> np.ndarray:
        """A note of peak about 1 that sounds for `beats` and its release."""
        seconds, release = beats * self.beat, 0.02 + 0.6 * self.attack
        time = np.arange(int((seconds + release) * SAMPLE_RATE)) / SAMPLE_RATE
        rate = self.rng.uniform(5.0, 6.2)  # Hz, usual vibrato (Sundberg 1987)
        bend = instrument.vibrato * np.sin(2 * np.pi * rate * time) * np.minimum(time / 0.3, 1)
        bend -= instrument.scoop * np.exp(-time / 0.04)
        f0 = 440 * 2 ** ((pitch - 69 + bend) / 12)
        partials = np.arange(1, max(2, int(TOP_HZ / f0.max()) + 1))
        slope = (self.tilt + instrument.tilt) / 20
        level = 10 ** (slope * np.log2(partials))
        turn = np.exp(2j * np.pi * self.rng.random(len(partials)))
        size = 2048  # points of one period, which is read at the phase of f0
        period = fft.irfft(np.append(0, level * turn), size) * (size / 2 / np.linalg.norm(level))
        phase = np.cumsum(f0) / SAMPLE_RATE
        wave = np.interp(phase, np.arange(size) / size, period, period=1)
        attack = min(self.attack, 0.005) if instrument.decay else self.attack
        rise, fall = np.minimum(time / attack, 1), (seconds + release - time) / release
        return wave * np.exp(-instrument.decay * time) * rise * np.clip(fall, 0, 1)

    def _add(self, out: np.ndarray, sound: np.ndarray, beat: float) -> None:
        """Mix `sound` into `out` from `beat` on, in place; samples outside `out` are cut."""
        start = round(beat * self.beat * SAMPLE_RATE)
        sound = sound[max(-start, 0) : max(len(out) - start, 0)]
        start = max(start, 0)
        out[start : start + len(sound)] += sound


def _near(pitch: float, centre: float) -> float:
    """`pitch`, moved by octaves to be nearest to `centre`."""
    return pitch + 12 * round((centre - pitch) / 12)
