"""Synthetic speakers: the cues of every clip (S1, S2), and the speech made of them (S3)."""

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import fft

from emoshare_utils.corpora.clip_table import SPLITS
from emoshare_utils.corpora.simulation.espeak import LIMITS, SAMPLE_RATE_HZ, Espeak, Utterance
from emoshare_utils.corpora.simulation.model import APPRAISALS, PHRASES, Model, Stream, generator
from emoshare_utils.files import atomic

SPOKEN_CUES = ("rate_wpm", "pitch", "pitch_range", "word_gap_10ms")
VARIANTS = ("f1", "m1", "f2", "m2", "f3", "m3", "f4", "m4", "f5", "m7")  # eSpeak NG's voices
WAV_HEADER_BYTES = 44


def plan(
    n_clips: int, seed: int, speakers: int, model: Model, languages: Sequence[str] = tuple(PHRASES)
) -> pd.DataFrame:
    """One row per clip: its name, speaker, appraisal, cues (S1, S2) and phrases to choose from."""
    voices = _voices(speakers, languages)
    base, speaker, effect, performance = map(np.array, zip(*model.cues.values()))
    rows = []
    for i in range(n_clips):
        voice = voices[i % speakers]
        z = _clipped_normal(generator(seed, Stream.VOICE, i % speakers), len(base))
        a = generator(seed, Stream.APPRAISAL, i).uniform(-1, 1, len(APPRAISALS))
        rng = generator(seed, Stream.PERFORMANCE, i)
        x = base + speaker * z + effect @ a + performance * _clipped_normal(rng, len(base))
        n_phrases = 1 + rng.choice(len(model.phrases), p=model.phrases)
        phrases = rng.permutation(PHRASES[voice["language"]]).tolist()
        rows.append(
            {
                "clip_id": f"sim_{i:05d}",
                **voice,
                **dict(zip(APPRAISALS, a)),
                **dict(zip(model.cues, x)),
                "phrases": phrases,
                "n_phrases": n_phrases,
            }
        )
    return pd.DataFrame(rows)


def perform(clip: tuple, seed: int, espeak: Espeak, model: Model) -> np.ndarray:
    """Speak one row of the plan, as `itertuples` gives it.

    Phrases are added or left out until the clip has a duration that the model allows.

    Returns:
        (n,) int16 at `SAMPLE_RATE_HZ`.

    Raises:
        ValueError: no number of phrases gives such a duration.
        SpeechError: eSpeak NG cannot speak.
    """
    shortest, longest = (round(limit * SAMPLE_RATE_HZ) for limit in model.duration_s)
    n_phrases, tried = clip.n_phrases, set()
    while True:
        speech = _speak(clip, clip.phrases[:n_phrases], espeak)
        speech = np.pad(speech, round(model.margin_s * SAMPLE_RATE_HZ))
        if shortest <= len(speech) <= longest:
            break
        tried.add(n_phrases)
        n_phrases += 1 if len(speech) < shortest else -1
        if n_phrases in tried or not 1 <= n_phrases <= len(clip.phrases):
            raise ValueError(
                f"{clip.clip_id}: no number of phrases lasts {model.duration_s} s at "
                f"{clip.rate_wpm:.0f} words per minute in {clip.language!r}"
            )
    speech = equalise(speech, clip.tilt_db, clip.smile_db, clip.chest_db)
    loud = np.abs(speech) > 0.05 * np.abs(speech).max()
    speech *= 10 ** (clip.level_dbfs / 20) / np.sqrt(np.mean(speech[loud] ** 2))
    noise = generator(seed, Stream.NOISE, clip.Index).standard_normal(len(speech))
    speech += 10 ** (model.noise_dbfs / 20) * noise
    speech *= min(1.0, 0.98 / np.abs(speech).max())
    return np.round(32767 * speech).astype(np.int16)


def equalise(speech: np.ndarray, tilt: float, smile: float, chest: float) -> np.ndarray:
    """Apply the gain of (S3), all in dB, without a shift in phase."""
    n = fft.next_fast_len(len(speech), real=True)
    f = np.maximum(fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ), 1.0)
    gain = tilt * np.maximum(0, np.log2(f / 500))
    gain += smile * np.exp(-(np.log2(f / 2800) ** 2) / 0.5) + chest / (1 + (f / 300) ** 4)
    return fft.irfft(fft.rfft(speech, n) * 10 ** (gain / 20), n)[: len(speech)]


def write_wav(file: Path, samples: np.ndarray) -> None:
    """Write (n,) int16 at `SAMPLE_RATE_HZ` as a WAV file, which is there whole or not at all."""
    with atomic(file) as whole, wave.open(whole, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE_HZ)
        wav.writeframes(samples.astype("<i2").tobytes())


def samples_in(file: Path) -> int | None:
    """The number of samples in a file of `write_wav`; None if it is damaged or not there."""
    try:
        with wave.open(str(file), "rb") as wav:
            n_samples = wav.getnframes()
    except (OSError, EOFError, RuntimeError, wave.Error):
        return None
    return n_samples if file.stat().st_size == WAV_HEADER_BYTES + 2 * n_samples else None


def _voices(speakers: int, languages: Sequence[str]) -> list[dict]:
    """Speaker, split, language and eSpeak NG voice.

    A language has each variant of the voice once before it has one twice.
    """
    others = max(2, round(0.2 * speakers))
    sizes = {"train": speakers - 2 * others, "devel": others, "test": others}
    voices, speakers_of = [], dict.fromkeys(languages, 0)
    for split in SPLITS:
        for i in range(sizes[split]):
            number = i % len(languages)
            language = languages[number]
            # Odd steps through the variants: women and men take turns.
            variant = VARIANTS[(3 * speakers_of[language] + number) % len(VARIANTS)]
            speakers_of[language] += 1
            speaker = f"{language}_{speakers_of[language]}_{variant}"
            voice = {"speaker": speaker, "language": language, "voice": f"{language}+{variant}"}
            voices.append({"split": split, **voice})
    return voices


def _clipped_normal(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.standard_normal(size).clip(-2, 2)


def _speak(clip: tuple, phrases: list[str], espeak: Espeak) -> np.ndarray:
    """What eSpeak NG makes of the spoken cues, without the silence around it: (n,) float64."""
    numbers = {name: round(np.clip(getattr(clip, name), *LIMITS[name])) for name in SPOKEN_CUES}
    spoken = espeak.speak(Utterance(" ".join(phrases), clip.voice, **numbers))
    speech = np.frombuffer(spoken, np.int16) / 32768
    sound = np.flatnonzero(np.abs(speech) > 0.005)
    return speech[sound[0] : sound[-1] + 1]
