"""What a run will cost on this machine: an estimate, from the encoders and a few training steps."""

import contextlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from emoshare_utils.checking.hub import where_to_get
from emoshare_utils.checking.report import Report
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import choose_device, one_worker_per_core
from emoshare_utils.features.encoder import Encoder, EncoderError
from emoshare_utils.features.encoders import load_encoders
from emoshare_utils.features.extract import expected_frames, extract_layers
from emoshare_utils.features.metadata import MetadataError, metadata
from emoshare_utils.features.store import PAPER_SAMPLES, FeatureStore, open_store
from emoshare_utils.files import FolderError, size
from emoshare_utils.models.padding import max_frames
from emoshare_utils.models.regressor import Sizes, build
from emoshare_utils.names import all_members, split_layer, system
from emoshare_utils.paths import Run, home
from emoshare_utils.training.batches import loader_for
from emoshare_utils.training.loop import new_learners
from emoshare_utils.training.losses import LOSSES
from emoshare_utils.training.predictions import predict
from emoshare_utils.training.settings import Job, Training
from emoshare_utils.training.steps import step
from emoshare_utils.training.systems import collect

FEW, MANY = 4, 32  # clips that an encoder is tried on: a slow one on few
SLOW_S = 0.1  # a clip
TIMED = 2  # steps, after one that is not
FLOAT16 = 2  # bytes
NOTEBOOK_S = 20  # to start one and draw its figures, as measured on two cores


class Encoded(NamedTuple):
    """An encoder that was tried: the frames of each sampled clip, and what is still to encode."""

    encoder: Encoder
    frames: np.ndarray
    left: float  # fraction of the corpus
    seconds: float  # for what is left


def say_cost(
    corpus: Corpus, clips: pd.DataFrame, this: Run, parameters: Mapping[str, Any], report: Report
) -> None:
    """Try every encoder and every kind of training, and add up what is not finished.

    Args:
        corpus: all clips.
        clips: some of them with `duration_s` and `audio_checksum`, as `audio_facts.sampled`.
    """
    report.section("Time and disk, an estimate from short trials here; finished work is taken off")
    with tempfile.TemporaryDirectory() as folder:
        encoded = _encoders(corpus, clips, this, parameters, Path(folder), report)
        trained = _training(corpus, encoded, this, parameters, Path(folder), report)
    disk = sum(
        FLOAT16 * each.encoder.width * each.frames.mean() * len(corpus.clips) * each.left
        for each in encoded
    )
    least, most = (_spent(each) for each in sum(each.seconds for each in encoded) + trained)
    time_s = least if least == most else f"{least} to {most}"
    report.row(
        "together",
        f"{time_s} and {size(int(disk))}. Besides, a notebook takes about {NOTEBOOK_S} s to start "
        "and draw; the SVR and the studies are not counted",
    )
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores + 1:
        report.note(
            f"the machine is busy now (a load of {load:.1f} on {cores} cores), so that times are "
            "estimated too long",
            "check again when it is idle",
        )
    free = shutil.disk_usage(home()).free
    if disk > free:
        report.problem(
            f"the features need {size(int(disk))}, but {size(free)} are free in {home()}",
            "make room, name fewer encoders, or set EMOSHARE_HOME to a larger disk",
        )


def _encoders(
    corpus: Corpus,
    clips: pd.DataFrame,
    this: Run,
    parameters: Mapping[str, Any],
    folder: Path,
    report: Report,
) -> list[Encoded]:
    """Load and time each encoder; what cannot be loaded becomes a problem."""
    models: dict[str, list[str]] = {}
    for name in all_members([*_listed(parameters["encoder"]), *_listed(parameters["svr"])]):
        models.setdefault(split_layer(name)[0], []).append(name)
    about = [parameters[name] for name in ("device", "normalise", "precision")]
    found = []
    report.line(f"{'to encode':<30}   width      disk     time")
    for model, names in models.items():
        try:
            with _silent():
                tried = [
                    _tried(corpus, clips, this, layers, folder)
                    for layers in load_encoders(names, *about)
                ]
        except (EncoderError, FolderError) as error:
            what, remedy, stops = where_to_get(model, error)
            (report.problem if stops else report.note)(what, remedy)
            report.line(f"{model[:29]:<30}  not ready, see below")
            continue
        for each in [each for layers in tried for each in layers]:
            found.append(each)
            n_bytes = FLOAT16 * each.encoder.width * each.frames.mean() * len(corpus.clips)
            time_s = _spent(each.seconds) if each.left else "finished"
            cells = f"{each.encoder.width:>8,} {size(int(n_bytes)):>9}  {time_s:>7}"
            report.line(f"{each.encoder.name[:29]:<30}{cells}")
    return found


def _tried(
    corpus: Corpus, clips: pd.DataFrame, this: Run, layers: Sequence[Encoder], folder: Path
) -> list[Encoded]:
    """The layers of one model, timed together on a few clips that are still to be encoded."""
    if not layers[0].reads_samples:
        expected_frames(corpus.clips, layers[0])  # whether every clip has its frames
    frames = [expected_frames(clips, each) for each in layers]
    left = [_left(corpus, this, each) for each in layers]
    to_do = [each for each, part in zip(layers, left) if part]
    seconds = 0.0
    for n_clips in (FEW, MANY):
        if to_do and seconds < SLOW_S:
            few = clips.iloc[np.linspace(0, len(clips) - 1, min(n_clips, len(clips))).astype(int)]
            few = few.drop_duplicates("clip_id")
            begun = time.perf_counter()
            extract_layers(corpus.with_clips(few), to_do, folder / f"{n_clips}")
            seconds = (time.perf_counter() - begun) / len(few)
    share = seconds / max(1, len(to_do)) * len(corpus.clips)
    return [Encoded(e, f, part, share * part) for e, f, part in zip(layers, frames, left)]


def _left(corpus: Corpus, this: Run, encoder: Encoder) -> float:
    """The fraction of the corpus that the run has not encoded yet."""
    try:
        store = open_store(this.features, encoder.name)
        settings = json.loads(json.dumps(encoder.settings | {"width": encoder.width}))
        same = store.settings == settings
        return float((~corpus.clips["clip_id"].isin(store.index.index)).mean()) if same else 1.0
    except (FileNotFoundError, FolderError):
        return 1.0


def _training(
    corpus: Corpus,
    encoded: Sequence[Encoded],
    this: Run,
    parameters: Mapping[str, Any],
    folder: Path,
    report: Report,
) -> np.ndarray:
    """Seconds, at least and at most, that training the systems takes that are not finished.

    A network stops at the soonest when its first epoch stays the best on devel.
    """
    training = Training.of(parameters["training"], parameters["device"])
    sizes, seeds = Sizes.of(parameters["sizes"]), _listed(parameters["seed"])
    try:
        for column in training.metadata:
            metadata(corpus, [column])
    except MetadataError as error:
        report.problem(str(error), "correct training.metadata, or leave it out")
        training = replace(training, metadata=())
    finished, timed = _finished(this, sizes, training), {}
    epochs = np.array([min(training.patience + 1, training.epochs), training.epochs])
    total, wanted = np.zeros(2), set(all_members(_listed(parameters["encoder"])))
    report.line(f"{'to train':<30}networks   weights  s/epoch  at least  at most")
    for each in (each for each in encoded if each.encoder.name in wanted):
        for architecture in _listed(parameters["architecture"]):
            name, width = each.encoder.name, each.encoder.width
            to_do = [seed for seed in seeds if (name, architecture, seed) not in finished]
            label = f"{system(name, architecture):<30}"
            if not to_do:
                report.line(f"{label}finished")
                continue
            of_one = replace(sizes, layers=each.encoder.settings.get("layers", 1))
            kind = (width, of_one.layers, architecture, round(float(each.frames.mean())))
            if kind not in timed:
                where = folder / "-".join(map(str, kind))
                with _silent():
                    timed[kind] = _epoch_s(
                        corpus, each, architecture, parameters, where, sizes, training
                    )
            seconds = timed[kind] * epochs * len(to_do)
            total += seconds
            networks = len(corpus.emotions) * len(to_do)
            weights = build(architecture, width, of_one).n_parameters
            report.line(
                f"{label}{networks:>8} {weights:>9,} {timed[kind]:>8.1f}"
                f"  {_spent(seconds[0]):>8}  {_spent(seconds[1]):>7}"
            )
    return total


def _finished(this: Run, sizes: Sizes, training: Training) -> set[tuple[str, int, int]]:
    """Encoder, architecture and seed of the systems that are trained with these settings."""
    try:
        done = collect(this.models, Corpus.load(this.folder), sizes, training)
    except (FileNotFoundError, FolderError):
        return set()
    return set(done[["encoder", "architecture", "seed"]].itertuples(index=False, name=None))


def _epoch_s(
    corpus: Corpus,
    encoded: Encoded,
    architecture: int,
    parameters: Mapping[str, Any],
    folder: Path,
    sizes: Sizes,
    training: Training,
) -> float:
    """Seconds of an epoch over the corpus, from steps and predictions of one batch of noise.

    The first of each, which compiles kernels, does not count; of the others the fastest does.
    """
    fixed = PAPER_SAMPLES // encoded.encoder.settings.get("hop", 320)
    padded = max_frames(parameters["padding"], int(fixed))
    n_train, n_devel = len(corpus.split("train")), len(corpus.split("devel"))
    n = min(training.batch_size, n_train)
    noise, device = _noise(corpus, n), choose_device(parameters["device"])
    # what only the corpus itself can give costs no time worth telling
    loss = "binomial" if hasattr(LOSSES[training.loss], "fit_votes") else training.loss
    used = replace(training, max_frames=padded, metadata=(), loss=loss)
    job = Job(noise, _store(noise, encoded, folder), architecture, 0, sizes, used)
    shares, clip_ids = noise.shares("train"), noise.clips["clip_id"].to_numpy()
    named = pd.DataFrame(shares, clip_ids, list(noise.emotions))
    learners = list(new_learners(job, named, device).values())
    networks = [each.network for each in learners]
    targets = torch.tensor(shares, dtype=torch.float32)
    loader = loader_for(networks[0], job.store, used, device)
    shared, steps, predictions = training.shared_trunk, [], []
    with one_worker_per_core() as pool:
        given = pool, networks, loader, clip_ids, shared
        for _ in range(1 + TIMED):
            begun = time.perf_counter()
            for batch, micro_batches in loader.batches([np.arange(n)], clip_ids):
                step(pool, learners, micro_batches, targets[batch], shared)
            predict(*given)  # a GPU has finished the step, too, after it
            between = time.perf_counter()
            predict(*given)
            predictions.append(time.perf_counter() - between)
            steps.append(between - begun - predictions[-1])
    seconds = max(min(steps[1:]), 0.0) * n_train + min(predictions[1:]) * n_devel
    return seconds / n


def _noise(corpus: Corpus, n: int) -> Corpus:
    """So many clips of train with random shares."""
    clips = pd.DataFrame({"clip_id": [f"clip{i}" for i in range(n)], "split": "train"})
    clips["audio_checksum"] = ""
    shares = np.random.default_rng(0).random((n, len(corpus.emotions)))
    return corpus.with_clips(clips.join(pd.DataFrame(shares, columns=list(corpus.emotions))))


def _store(noise: Corpus, encoded: Encoded, folder: Path) -> FeatureStore:
    """Frames of noise, as many as clips of the corpus have."""
    rng, encoder = np.random.default_rng(0), encoded.encoder
    lengths = rng.choice(encoded.frames, len(noise.clips))
    kept = {key: encoder.settings[key] for key in ("hop", "layers") if key in encoder.settings}
    settings = {"encoder": encoder.name} | kept
    store = FeatureStore.create(folder, encoder.name, encoder.width, settings)
    frames = [rng.standard_normal((n, encoder.width), np.float32) for n in lengths]
    store.write_shard("shard-00000", noise.clips, frames)
    return store


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _listed(value: Any) -> list:
    values = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(each for each in values if each != ""))


def _spent(seconds: float) -> str:
    """As "40 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
