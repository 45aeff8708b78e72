"""Any trained system of a run -> a folder that works on another machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.corpora.clip_table import Corpus, CorpusError, resolve_inside
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import read_json, slug
from emoshare_utils.models.regressor import Regressor, read_sizes
from emoshare_utils.names import BESIDE, members, nearest
from emoshare_utils.names import system as system_name
from emoshare_utils.predicting.intervals import HALVES, Intervals, calibrate
from emoshare_utils.predicting.trained import (
    LATER,
    SystemFolderError,
    TrainedSystem,
    load_system,
    matching_encoder,
    require_empty,
    write_system,
)
from emoshare_utils.results.metrics import spearman
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import load_network, read_system

SEEN = (
    "Early stopping chose each network's epoch on these speakers, so their errors, and with them "
    "the intervals, come out a little smaller than on new speakers."
)
OWN_DATA = "See the run's notebook 01 for the clips and who rated them."


@dataclass(frozen=True)
class About:
    """What a card says of a system that its run does not know.

    Attributes:
        split: whose predictions calibrate the intervals.
        seen: what training knew of that split's speakers.
        data: the corpus, in a few sentences.
        licence: of the corpus.
        stored_as: the type of the weights on disk.
    """

    split: str = "devel"
    seen: str = SEEN
    data: str = OWN_DATA
    licence: str = "see there"
    stored_as: torch.dtype = torch.float32


def export(
    run: str | Path, to: str | Path, encoder: str, architecture: int, seed: int = 0
) -> TrainedSystem:
    """Write a trained system of a run as a folder, and read it again.

    Its intervals are calibrated on the devel predictions, by speaker; its card says so.

    Args:
        run: the run's folder, such as runs/demo.
        to: a new folder.
        encoder, architecture, seed: the system, as notebook 03 trained it; several encoders with
            a plus, as "hubert-mini + fbank", are the system that averages their shares.

    Raises:
        SystemFolderError: the run has no such system, `to` has files already, or the encoder is
            not the one that made the run's frames.
        DamagedError: a file of the run is not as it was written.
    """
    run = Path(run)
    corpus = Corpus.load(run)
    systems = [_folder(run / "models", name, architecture, seed) for name in members(encoder)]
    return export_folder(corpus, systems, run / "features", Path(to), About())


def _folder(models: Path, encoder: str, architecture: int, seed: int) -> Path:
    folder = models / slug(encoder) / f"architecture_{architecture}-seed_{seed}"
    if (folder / "system.json").is_file():
        return folder
    there = sorted(f"{f.parts[-3]} {f.parts[-2]}" for f in models.glob("*/*/system.json"))
    if not there:
        raise SystemFolderError(f"{models} has no trained system: run notebook 03 first")
    asked = f"{slug(encoder)} architecture_{architecture}-seed_{seed}"
    raise SystemFolderError(f"{models} has no finished system {asked!r}: {nearest(asked, there)}")


def export_folder(
    corpus: Corpus, systems: Sequence[Path], features: Path, to: Path, about: About
) -> TrainedSystem:
    """Write the system in a folder, of `corpus` and a store in `features`; as `export`.

    Args:
        systems: its folder; or several, whose predicted shares are averaged: the first one is
            written into `to`, each other one into a folder of its own there.
    """
    require_empty(to)
    first, *others = (_read(corpus, folder, features) for folder in systems)
    beside = [slug(other.store["encoder"]) for other in others]
    for name, other in zip(beside, others):
        _write(corpus, [other], to / name, about, ())
    _write(corpus, [first, *others], to, about, beside)
    return load_system(to)


class _Read(NamedTuple):
    """A trained system of a run: its record, its store's settings, its networks, predictions."""

    trained: dict[str, Any]
    store: dict[str, Any]
    networks: dict[str, Regressor]
    predictions: pd.DataFrame


def _read(corpus: Corpus, folder: Path, features: Path) -> _Read:
    trained = read_json(folder / "system.json")
    if not (folder / f"{slug(corpus.emotions[0])}.safetensors").is_file():
        raise SystemFolderError(f"{folder} holds no networks: an SVR cannot be exported")
    if trained["clips"] != corpus.digest():
        raise SystemFolderError(
            f"{folder} was trained on other clips than the run has now: run notebook 03 again"
        )
    if metadata := trained["training"].get("metadata"):
        raise SystemFolderError(
            f"{folder} was trained with training.metadata = {metadata}, which a recording does not "
            "have: train a system without metadata, and export that"
        )
    store = FeatureStore(_inside(features, trained["store"]))
    matching_encoder(folder, store.settings, "cpu")  # before anything is written
    networks = {
        emotion: load_network(folder, emotion, store.width) for emotion in trained["emotions"]
    }
    return _Read(trained, store.settings, networks, read_system(folder).predictions)


def _write(
    corpus: Corpus, systems: Sequence[_Read], to: Path, about: About, beside: Sequence[str]
) -> None:
    """Write the first of `systems`, calibrated as the mean of all of them."""
    trained, store, networks, _ = systems[0]
    key = ["emotion", "clip_id", "share", "split"]
    every = pd.concat([system.predictions for system in systems])
    predictions = every.groupby(key, sort=False, dropna=False)["prediction"].mean().reset_index()
    judged = predictions[predictions["split"] == about.split]
    interval = calibrate(judged, corpus.clips.set_index("clip_id")["speaker"])
    longest = round(corpus.split("train")["duration_s"].max() * SAMPLE_RATE)
    training = Training(**{k: v for k, v in trained["training"].items() if k not in LATER})
    rho = {
        emotion: spearman(rows["share"].to_numpy(), rows["prediction"].to_numpy())
        for emotion, rows in judged.groupby("emotion", sort=False)
    }
    what = {"corpus": corpus.name, "listeners": corpus.listeners, "seed": trained["seed"]}
    facts = what | {"licence": about.licence, "rho": rho}
    card = _card(
        corpus, [system.store for system in systems], trained, interval, rho, longest, about
    )
    write_system(
        to,
        networks,
        store,
        trained["architecture"],
        read_sizes(trained["sizes"]),
        training,
        longest,
        interval,
        card,
        about.stored_as,
        beside,
        **facts,
    )


def _inside(features: Path, name: str) -> Path:
    try:
        return resolve_inside(features, name)
    except CorpusError as error:
        raise SystemFolderError(
            f"the system names no feature store of {features}: {error}"
        ) from error


def _card(
    corpus: Corpus,
    stores: Sequence[Mapping[str, Any]],
    trained: Mapping[str, Any],
    interval: Intervals,
    rho: Mapping[str, float],
    longest: int,
    about: About,
) -> str:
    encoder = BESIDE.join(store["encoder"] for store in stores)
    revisions = [str(store.get("revision", "computed by this package")) for store in stores]
    splits = corpus.clips.groupby("split")["speaker"].agg(["size", "nunique"])
    template = files("emoshare_utils.predicting").joinpath("card.md").read_text("utf-8")
    return template.format(
        name=f"{system_name(encoder, trained['architecture'])}, {corpus.name}",
        encoder=encoder,
        revision="; ".join(revisions),
        architecture=trained["architecture"],
        emotions=", ".join(trained["emotions"]),
        corpus=corpus,
        clips=splits["size"],
        speakers=splits["nunique"],
        raters=_raters(corpus),
        table=_table(interval, rho),
        interval=interval,
        percent=f"{interval.level:.0%}",
        halves=HALVES,
        calibration=_calibration(interval, about),
        seconds=longest / SAMPLE_RATE,
        about=about,
    )


def _raters(corpus: Corpus) -> str:
    raters = corpus.clips.get("n_raters", pd.Series(dtype="Int64")).dropna()
    return f"{raters.mean():.1f} per clip" if len(raters) else "their number is not known"


def _calibration(interval: Intervals, about: About) -> str:
    clips = f"{interval.clips:,} devel clips of {interval.speakers} speakers"
    if not interval.quantiles:
        return f"There is no interval: {clips} are too few to calibrate one."
    return f"Calibrated on {clips}. {about.seen}"


def _table(interval: Intervals, rho: Mapping[str, float]) -> str:
    heads = ["emotion", "rho", "inside", "single speakers", "high shares"]
    rows = [heads, ["---", *["---:"] * 4]]
    for emotion, value in rho.items():
        inside = ["–"] * 3
        if found := interval.coverage.get(emotion):
            speakers = f"{found['lowest']:.0%} to {found['highest']:.0%}"
            inside = [f"{found['mean']:.1%}", speakers, f"{found['high_shares']:.1%}"]
        rows.append([emotion, f"{value:.3f}", *inside])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
