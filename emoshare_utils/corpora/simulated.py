"""The simulated corpus, made here: `simulation` has its equations, this module its files."""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import Corpus, CorpusError
from emoshare_utils.corpora.simulation.espeak import SAMPLE_RATE_HZ, Espeak
from emoshare_utils.corpora.simulation.listeners import rate
from emoshare_utils.corpora.simulation.model import APPRAISALS, PHRASES, Model
from emoshare_utils.corpora.simulation.voices import perform, plan, samples_in, write_wav
from emoshare_utils.files import (
    DamagedError,
    checksum,
    locked,
    read_json,
    remove_leftovers,
    write_json,
)
from emoshare_utils.progress import track

NAME = "simulated"
LAYOUT = "wav/ and manifest.json, both written by the simulation"
AUDIO = "wav"
MANIFEST = "manifest.json"
KEY = "key"
MAKES_ITSELF = True


def read(
    root: Path,
    n_clips: int = 720,
    speakers: int = 40,
    seed: int = 0,
    n_listeners: int = 200,
    model: Model | None = None,
    languages: Sequence[str] | None = None,
) -> tuple[Corpus, Path]:
    """Speak the corpus into `root / "wav"` and let the simulated listeners rate it.

    The same arguments give the same bytes, whatever was made before and wherever an earlier call
    was interrupted. Clips already spoken with these arguments are kept.

    Args:
        n_clips: clips in all, dealt to the speakers in turn; at least one per speaker.
        speakers: 60 % for train, 20 % each for devel and test, two or more in each, so 6 or more.
        seed: of everything random, 0 or more.
        n_listeners: the pool from which each clip's panel is drawn.
        model: the constants; None for `Model()`.
        languages: of the speakers, who take them in turn; None: all of `model.PHRASES`.

    Returns:
        The corpus, with the columns valence, arousal, dominance and expected_<emotion> (the share
        expected of a new panel) after the shares; and the file that says what was made.

    Raises:
        CorpusError: an argument is out of range, or a language unknown.
        SpeechError: eSpeak NG cannot speak.
    """
    model = model or Model()
    for name, value, least, why in (
        ("speakers", speakers, 6, "two in each split"),
        ("n_clips", n_clips, speakers, "one for each speaker"),
        ("n_listeners", n_listeners, model.panel[1], "the largest panel"),
        ("seed", seed, 0, "a whole number"),
    ):
        if value < least:
            raise CorpusError(f"{name} = {value}: expected {least} or more, {why}")

    spoken = list(PHRASES) if languages is None else list(dict.fromkeys(languages))
    if not spoken or not set(spoken) <= set(PHRASES):
        raise CorpusError(f"languages = {spoken}: expected some of {', '.join(PHRASES)}")

    root = root.resolve()
    clips = plan(n_clips, seed, speakers, model, spoken)
    clips["path"] = AUDIO + "/" + clips["clip_id"] + ".wav"
    shares = rate(clips, seed, n_listeners, model)
    made_of = {"n_clips": n_clips, "seed": seed, "speakers": speakers, "model": asdict(model)}
    key = _key(made_of | ({} if languages is None else {"languages": spoken}))
    samples = _speak_missing(clips, root, seed, model, key)

    emotions = list(model.profiles)
    table = clips[["clip_id", "path", "split", "speaker", "language"]].copy()
    table["n_raters"] = shares.pop("n_raters").astype("Int64")
    table["duration_s"] = np.array(samples) / SAMPLE_RATE_HZ
    expected = shares.drop(columns=emotions)
    table = table.join(shares[emotions]).join(clips[list(APPRAISALS)]).join(expected)
    return Corpus(NAME, root, tuple(emotions), table, "simulated listeners"), root / MANIFEST


def _speak_missing(clips: pd.DataFrame, root: Path, seed: int, model: Model, key: str) -> list[int]:
    """Make the WAV files that are not there as they were; return every clip's number of samples.

    The manifest holds the key of the audio, whose files are deleted where it is another one, and
    the checksum of each file once all are there.
    """
    folder, manifest, paths = root / AUDIO, root / MANIFEST, list(clips["path"])
    written = _read_manifest(manifest, key)
    samples = [_samples_in(root / path, written) for path in paths]
    if None not in samples and written.keys() >= set(paths):
        return samples
    folder.mkdir(parents=True, exist_ok=True)
    with locked(root, wait=True), Espeak() as espeak:
        remove_leftovers(folder)
        written = _read_manifest(manifest, key)
        if KEY not in written:
            for stale in folder.glob("sim_*.wav"):
                stale.unlink()
            write_json(manifest, {KEY: key})
        samples = [_samples_in(root / path, written) for path in paths]
        missing = clips[[count is None for count in samples]]
        for clip in track(list(missing.itertuples()), "speaking the simulated corpus"):
            speech = perform(clip, seed, espeak, model)
            write_wav(root / clip.path, speech)
            samples[clip.Index] = len(speech)
        content = {path: checksum((root / path).read_bytes()) for path in paths}
        write_json(manifest, {KEY: key} | content)
    return samples


def _samples_in(file: Path, written: dict[str, str]) -> int | None:
    """The number of samples in a clip's file; None where it is not there as it was written."""
    expected = written.get(f"{AUDIO}/{file.name}")
    if expected and not (file.is_file() and checksum(file.read_bytes()) == expected):
        return None
    return samples_in(file)


def _key(arguments: dict) -> str:
    """What the audio depends on: the arguments, eSpeak NG, and the code and texts that use it."""
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode())
    digest.update(importlib.metadata.version("espeakng-loader").encode())
    for name in ("model.py", "voices.py", "espeak.py", "phrases.csv"):
        digest.update((Path(__file__).parent / "simulation" / name).read_bytes())
    return digest.hexdigest()


def _read_manifest(file: Path, key: str) -> dict[str, str]:
    """The key and the checksum of each file; empty where the audio is none, or of another key."""
    try:
        manifest = read_json(file)
    except (FileNotFoundError, DamagedError):
        return {}
    return manifest if manifest.get(KEY) == key else {}
