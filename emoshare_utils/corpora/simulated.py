r"""The embedded corpus: synthesised voices, heard by simulated listeners.

No person spoke or listened. Each clip i is spoken by a synthetic speaker s(i) in a language l(i)
with a hidden appraisal, its valence, arousal and dominance:

    a_i ~ Uniform([-1, 1]^3)                                                            (S1)

**Voice.** Eight cues (rate, pitch, pitch range, pause between words, level, spectral tilt, smile,
chest) shape a clip. Cue c has a base, a speaker's own deviation, the effect of the appraisal, and
a deviation of this one performance:

    x_ic = base_c + speaker_c z_sc + effect_c . a_i + clip_c e_ic,   z_sc, e_ic ~ N(0, 1)   (S2)

with z and e cut at two standard deviations. eSpeak NG speaks with the first four cues; then the
gain in dB at f Hz is

    G_i(f) = tilt_i max(0, log2(f / 500)) + smile_i exp(-log2(f / 2800)^2 / 0.5)
             + chest_i / (1 + (f / 300)^4),                                             (S3)

and the speech is brought to level_i (dBFS, RMS) and laid over a faint noise floor.

**Listeners.** Emotion k is a region of appraisal space: a centre p_k, a weight for each of the
three dimensions w_k and a radius r_k. Listener j hears the clip at a distance from it,

    d_ijk = sqrt(sum_m w_km (a_im + b_jm - p_km)^2),   b_j ~ N(0, bias^2 I),            (S4)

where b_j is the listener's bias, and ticks the emotion when a noisy look at that distance stays
below the listener's threshold t_j ~ N(0, threshold^2) on top of the radius:

    P(j ticks k for i) = q_ijk = Phi((r_k + t_j - d_ijk) / u_jl)                        (S5)

Phi is the normal distribution function. The uncertainty u_jl is `known` in the languages that
listener j knows and the larger `unknown` in the others.

**Shares.** A panel J_i of n_i listeners is drawn from the pool of P listeners; each ticks any
number of emotions. The share, and the share to be expected of a fresh panel, are

    y_ik = (1 / n_i) sum_{j in J_i} Bernoulli(q_ijk),   E[y_ik | i] = (1 / P) sum_j q_ijk   (S6)

Because the right-hand side is known, so is the ceiling: Spearman's rho between it and y.
"""

import hashlib
import importlib.metadata
import json
import wave
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import fft
from scipy.stats import norm, spearmanr

from emoshare_utils.corpora.clip_table import SPLITS, Corpus
from emoshare_utils.corpora.espeak import LIMITS, SAMPLE_RATE_HZ, Espeak, Utterance
from emoshare_utils.corpora.phrases import PHRASES
from emoshare_utils.progress import track

NAME = "simulated"
LAYOUT = "wav/ and manifest.json, both written by the simulation"
AUDIO = "wav"
APPRAISALS = ("valence", "arousal", "dominance")
LANGUAGES = tuple(PHRASES)
SPOKEN_CUES = ("rate_wpm", "pitch", "pitch_range", "word_gap_10ms")  # the rest is filtering
VARIANTS = ("f1", "m1", "f2", "m2", "f3", "m3", "f4", "m4", "f5", "m7")


@dataclass(frozen=True)
class Cue:
    """One row of (S2) in the cue's own unit; `effect` is of valence, arousal and dominance."""

    base: float
    speaker: float
    effect: tuple[float, float, float]
    clip: float


@dataclass(frozen=True)
class Profile:
    """One emotion's region in (S4): centre and weights per appraisal, and a radius."""

    centre: tuple[float, float, float]
    weight: tuple[float, float, float]
    radius: float


@dataclass(frozen=True)
class Model:
    """Every constant of the simulation. Appraisals have no unit and run from -1 to 1."""

    cues: dict[str, Cue] = field(
        default_factory=lambda: {
            "rate_wpm": Cue(165, 9, (5, 36, 0), 7),  # words a minute
            "pitch": Cue(46, 6, (4, 18, -8), 4),  # eSpeak NG's 0-99, about 1 % of F0 a step
            "pitch_range": Cue(50, 6, (20, 16, 0), 6),  # eSpeak NG's 0-99
            "word_gap_10ms": Cue(2, 1, (0, -3, -2), 1),  # 10 ms
            "level_dbfs": Cue(-31, 1, (0, 4, 3), 1),  # dB below full scale, RMS of the speech
            "tilt_db": Cue(0, 0.4, (0, 1.5, 0.4), 0.4),  # dB an octave above 500 Hz
            "smile_db": Cue(0, 0.8, (6, 0, 0), 1),  # dB around 2,800 Hz
            "chest_db": Cue(0, 0.8, (0, -1, 6), 1),  # dB below 300 Hz
        }
    )
    profiles: dict[str, Profile] = field(
        default_factory=lambda: {
            "Anger": Profile((-0.9, 0.9, 0.7), (1, 1, 1), 0.8),
            "Boredom": Profile((-0.6, -0.8, 0.3), (1, 1, 1), 0.65),
            "Calmness": Profile((0.7, -0.7, 0.3), (1, 1, 1), 0.75),
            "Concentration": Profile((0.0, -0.2, 0.9), (1, 1, 1), 0.65),
            "Determination": Profile((0.2, 0.5, 1.0), (1, 1, 1), 0.7),
            "Excitement": Profile((0.9, 0.9, 0.0), (1, 1, 1), 0.75),
            "Interest": Profile((0.7, 0.3, -0.4), (1, 1, 1), 0.65),
            "Sadness": Profile((-0.9, -0.3, -0.8), (1, 1, 1), 0.7),
            "Tiredness": Profile((-0.1, -1.0, -0.7), (1, 1, 1), 0.7),
        }
    )
    bias: float = 0.15  # of a listener, appraisal units, standard deviation a dimension
    threshold: float = 0.15  # of a listener, distance units, standard deviation
    known: float = 0.3  # uncertainty in a language the listener knows, distance units
    unknown: float = 0.5  # uncertainty in one the listener does not know
    second_language: float = 0.2  # chance to know a language that is not one's own
    panel: tuple[int, int] = (10, 18)  # fewest and most listeners to a clip
    phrases: tuple[float, ...] = (0.62, 0.28, 0.08, 0.02)  # chance of 1, 2, 3, 4 phrases in a clip
    duration_s: tuple[float, float] = (1.0, 7.95)  # shortest and longest; fits the paper's 398
    margin_s: float = 0.1  # before the first and after the last sound
    noise_dbfs: float = -72.0  # of the noise floor, RMS


def build(
    root: Path,
    n_clips: int = 1200,
    seed: int = 0,
    n_listeners: int = 200,
    speakers: int = 40,
    model: Model | None = None,
) -> Corpus:
    """Speak the corpus into `root / "wav"` and let the simulated listeners rate it.

    The same arguments give the same bytes, whatever was made before and wherever a former call
    was interrupted: clips already spoken with these arguments are kept, `manifest.json` comes
    last, and a second call speaks nothing.

    Args:
        n_clips: clips in all, dealt to the speakers in turn; at least one a speaker.
        seed: of everything random, 0 or more.
        n_listeners: the pool from which each clip's panel is drawn.
        speakers: 60 % for train, 20 % each for devel and test, two or more in each, so 6 or more.
        model: the constants; None for `Model()`.

    Returns:
        The corpus, with the columns valence, arousal, dominance and expected_<emotion> (the share
        to be expected of a fresh panel) after the shares.

    Raises:
        ValueError: an argument is out of range.
        SpeechError: eSpeak NG cannot speak.
    """
    model = model or Model()
    if speakers < 6:
        raise ValueError(f"speakers = {speakers}: expected 6 or more, two in each split")
    if n_clips < speakers:
        raise ValueError(
            f"n_clips = {n_clips} is less than one clip for each of {speakers} speakers: "
            "raise n_clips or lower speakers"
        )
    if n_listeners < model.panel[1]:
        raise ValueError(
            f"n_listeners = {n_listeners}: expected {model.panel[1]} or more, the largest panel"
        )
    if seed < 0:
        raise ValueError(f"seed = {seed}: expected 0 or more")

    clips = _plan(n_clips, seed, speakers, model)
    shares = _rate(clips, seed, n_listeners, model)
    arguments = {"n_clips": n_clips, "seed": seed, "speakers": speakers, "model": asdict(model)}
    root = root.resolve()
    samples = _speak_missing(clips, root, seed, model, _key(arguments))

    table = clips[["clip_id", "path", "split", "speaker", "language"]].copy()
    table["n_raters"] = shares.pop("n_raters").astype("Int64")
    table["duration_s"] = np.array(samples) / SAMPLE_RATE_HZ
    emotions = tuple(model.profiles)
    table = table.join(shares[list(emotions)]).join(clips[list(APPRAISALS)])
    table = table.join(shares.drop(columns=list(emotions)))
    return Corpus(NAME, root, emotions, table, listeners="simulated listeners")


def read(root: Path, **options) -> tuple[Corpus, Path]:
    """The adapter: `build(root, **options)`, and the file that stands for the labels."""
    return build(root, **options), root.resolve() / "manifest.json"


def ceiling(corpus: Corpus, split: str | None = None) -> pd.Series:
    """Spearman's rho between the expected and the panel's share, one value an emotion.

    No model of the clips can be expected to do better. NaN where either is constant.

    Args:
        corpus: one that `build` made.
        split: train, devel or test; None for all clips.

    Raises:
        ValueError: the corpus has no expected shares.
    """
    clips = corpus.clips if split is None else corpus.split(split)
    missing = [emotion for emotion in corpus.emotions if f"expected_{emotion}" not in clips]
    if missing:
        raise ValueError(
            f"corpus {corpus.name!r} has no column expected_{missing[0]}: the ceiling is known "
            "only for the simulated corpus"
        )

    def rho(emotion: str) -> float:
        pair = clips[[f"expected_{emotion}", emotion]]
        return spearmanr(*pair.to_numpy().T).statistic if (pair.nunique() > 1).all() else np.nan

    return pd.Series({emotion: rho(emotion) for emotion in corpus.emotions}, name="ceiling")


# Streams of random numbers, so that one clip's draws do not depend on any other's.
_VOICES, _APPRAISALS, _PERFORMANCE, _NOISE, _POOL, _PANEL = range(6)


def _rng(seed: int, stream: int, item: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, stream, item])


def _cut_normal(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.standard_normal(size).clip(-2, 2)


def _plan(n_clips: int, seed: int, speakers: int, model: Model) -> pd.DataFrame:
    """One row a clip: names, voice, appraisal, cues (S1, S2) and the phrases to choose from."""
    voices = _voices(speakers)
    base, own, performance = (
        np.array([getattr(cue, part) for cue in model.cues.values()])
        for part in ("base", "speaker", "clip")
    )
    effect = np.array([cue.effect for cue in model.cues.values()])  # (cues, 3)
    rows = []
    for i in range(n_clips):
        voice = voices[i % speakers]
        z = _cut_normal(_rng(seed, _VOICES, i % speakers), len(base))
        a = _rng(seed, _APPRAISALS, i).uniform(-1, 1, len(APPRAISALS))
        rng = _rng(seed, _PERFORMANCE, i)
        x = base + own * z + effect @ a + performance * _cut_normal(rng, len(base))
        n_phrases = 1 + rng.choice(len(model.phrases), p=model.phrases)
        phrases = rng.permutation(PHRASES[voice["language"]]).tolist()
        rows.append(
            {
                "clip_id": f"sim_{i:05d}",
                "path": f"{AUDIO}/sim_{i:05d}.wav",
                **voice,
                **dict(zip(APPRAISALS, a)),
                **dict(zip(model.cues, x)),
                "phrases": phrases,
                "n_phrases": n_phrases,
            }
        )
    return pd.DataFrame(rows)


def _voices(speakers: int) -> list[dict]:
    """Speaker, split, language and eSpeak NG voice; each language has each voice once at most."""
    others = max(2, round(0.2 * speakers))
    sizes = {"train": speakers - 2 * others, "devel": others, "test": others}
    voices = []
    turns = dict.fromkeys(LANGUAGES, 0)
    for split in SPLITS:
        for i in range(sizes[split]):
            number = i % len(LANGUAGES)
            language = LANGUAGES[number]
            # Odd steps through the variants: women and men take turns.
            variant = VARIANTS[(3 * turns[language] + number) % len(VARIANTS)]
            turns[language] += 1
            speaker = f"{language}_{turns[language]}_{variant}"
            voice = {"speaker": speaker, "language": language, "voice": f"{language}+{variant}"}
            voices.append({"split": split, **voice})
    return voices


def _speak_missing(clips: pd.DataFrame, root: Path, seed: int, model: Model, key: str) -> list[int]:
    """Make the WAV files that are not there yet; the number of samples of every clip."""
    folder, manifest, building = root / AUDIO, root / "manifest.json", root / "building.json"
    if key not in (_read_key(manifest), _read_key(building)):
        manifest.unlink(missing_ok=True)
        for stale in folder.glob("sim_*.wav"):
            stale.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        building.write_text(json.dumps({"key": key}) + "\n")
    samples = [_samples_in(root / path) for path in clips["path"]]
    missing = clips[[count is None for count in samples]]
    if len(missing):
        with Espeak() as espeak:
            for clip in track(list(missing.itertuples()), "speaking the simulated corpus"):
                wav = _perform(clip, espeak, _rng(seed, _NOISE, clip.Index), model)
                _write_wav(root / clip.path, wav)
                samples[clip.Index] = len(wav)
    if building.exists():
        building.replace(manifest)
    return samples


def _perform(clip: tuple, espeak: Espeak, rng: np.random.Generator, model: Model) -> np.ndarray:
    """Speak one row of the plan within the shortest and longest duration: int16 samples."""
    shortest, longest = (round(limit * SAMPLE_RATE_HZ) for limit in model.duration_s)
    count = clip.n_phrases
    tried = set()
    while True:
        speech = _voice(clip, clip.phrases[:count], espeak)
        speech = np.pad(speech, round(model.margin_s * SAMPLE_RATE_HZ))
        tried.add(count)
        if shortest <= len(speech) <= longest:
            break
        count += 1 if len(speech) < shortest else -1
        if count in tried or not 1 <= count <= len(clip.phrases):
            raise ValueError(
                f"{clip.clip_id}: no number of phrases lasts {model.duration_s} s at "
                f"{clip.rate_wpm:.0f} words a minute in {clip.language!r}"
            )
    speech = _equalise(speech, clip.tilt_db, clip.smile_db, clip.chest_db)
    loud = np.abs(speech) > 0.05 * np.abs(speech).max()
    speech *= 10 ** (clip.level_dbfs / 20) / np.sqrt(np.mean(speech[loud] ** 2))
    speech += 10 ** (model.noise_dbfs / 20) * rng.standard_normal(len(speech))
    speech *= min(1.0, 0.98 / np.abs(speech).max())
    return np.round(32767 * speech).astype(np.int16)


def _voice(clip: tuple, phrases: list[str], espeak: Espeak) -> np.ndarray:
    """What eSpeak NG makes of the first four cues, without the silence around it: float64."""
    numbers = {name: round(np.clip(getattr(clip, name), *LIMITS[name])) for name in SPOKEN_CUES}
    spoken = espeak.speak(Utterance(" ".join(phrases), clip.voice, **numbers))
    speech = np.frombuffer(spoken, np.int16) / 32768
    sound = np.flatnonzero(np.abs(speech) > 0.005)
    return speech[sound[0] : sound[-1] + 1]


def _equalise(speech: np.ndarray, tilt: float, smile: float, chest: float) -> np.ndarray:
    """Apply the gain of (S3), without a shift in phase."""
    n = fft.next_fast_len(len(speech), real=True)
    f = np.maximum(fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ), 1.0)
    gain = tilt * np.maximum(0, np.log2(f / 500))
    gain += smile * np.exp(-(np.log2(f / 2800) ** 2) / 0.5) + chest / (1 + (f / 300) ** 4)
    return fft.irfft(fft.rfft(speech, n) * 10 ** (gain / 20), n)[: len(speech)]


def _rate(clips: pd.DataFrame, seed: int, n_listeners: int, model: Model) -> pd.DataFrame:
    """The listeners of (S4) to (S6): n_raters, the shares, and the expected_ shares."""
    rng = _rng(seed, _POOL)
    bias = model.bias * rng.standard_normal((n_listeners, 1, len(APPRAISALS)))
    threshold = model.threshold * rng.standard_normal((n_listeners, 1))
    knows = rng.random((n_listeners, len(LANGUAGES))) < model.second_language
    knows[np.arange(n_listeners), rng.integers(len(LANGUAGES), size=n_listeners)] = True
    uncertainty = np.where(knows, model.known, model.unknown)

    profiles = model.profiles.values()
    centre, weight = (
        np.array([getattr(p, part) for p in profiles]) for part in ("centre", "weight")
    )
    radius = np.array([profile.radius for profile in profiles])
    rows = []
    for i, clip in enumerate(clips.itertuples()):
        heard = np.array([clip.valence, clip.arousal, clip.dominance]) + bias  # (P, 1, 3)
        distance = np.sqrt((weight * (heard - centre) ** 2).sum(axis=-1))  # (P, emotions)
        u = uncertainty[:, [LANGUAGES.index(clip.language)]]
        ticks = norm.cdf((radius + threshold - distance) / u)

        rng = _rng(seed, _PANEL, i)
        n_raters = rng.integers(*model.panel, endpoint=True)
        panel = rng.choice(n_listeners, n_raters, replace=False)
        shares = (rng.random((n_raters, len(radius))) < ticks[panel]).mean(axis=0)
        expected = {f"expected_{k}": q for k, q in zip(model.profiles, ticks.mean(axis=0))}
        rows.append({"n_raters": n_raters, **dict(zip(model.profiles, shares)), **expected})
    return pd.DataFrame(rows)


def _key(arguments: dict) -> str:
    """What the audio depends on: the arguments, eSpeak NG, and the code and texts here."""
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode())
    digest.update(importlib.metadata.version("espeakng-loader").encode())
    for name in ("simulated.py", "espeak.py", "phrases.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def _read_key(file: Path) -> str | None:
    try:
        return json.loads(file.read_text())["key"]
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None


def _write_wav(file: Path, samples: np.ndarray) -> None:
    """A WAV file that is there whole or not at all."""
    partial = file.with_suffix(".part")
    with wave.open(str(partial), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE_HZ)
        wav.writeframes(samples.astype("<i2").tobytes())
    partial.replace(file)


def _samples_in(file: Path) -> int | None:
    """How many samples a WAV file of `_write_wav` holds; None if it is not there whole."""
    try:
        with wave.open(str(file), "rb") as wav:
            count = wav.getnframes()
    except (FileNotFoundError, EOFError, wave.Error):
        return None
    return count if file.stat().st_size == 44 + 2 * count else None
