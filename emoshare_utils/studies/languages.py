"""Languages that an encoder never heard: what of each language's ceiling its systems reach.

A language may be easier than another for any system, and its votes noisier. So an encoder is set
against a control that heard no language more than another (mel bands), language by language and on
the same resamples of speakers; what it gains in the languages that it heard, less what it gains in
the others, is what having heard a language is worth.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.names import UnknownName, nearest
from emoshare_utils.results.bootstrap import bootstrap, interval, joint_interval, seeds_drawn
from emoshare_utils.results.enough import too_few, too_few_expected
from emoshare_utils.results.metrics import constant_shares, mean_over_emotions, rhos
from emoshare_utils.studies.groups import expected_shares

ARCHITECTURE = 1  # whose networks are compared
Heard = Mapping[str, Sequence[str]]  # encoder -> the languages that it was pretrained on


class Language(NamedTuple):
    """One language's clips: the fraction of the ceiling that each encoder reaches.

    Attributes:
        n, n_speakers: clips and speakers.
        ceiling: mean rho of the expected share; NaN of too few clips (`enough`).
        rho: encoder -> the mean over emotions and seeds.
        value: encoder -> the fraction of the ceiling.
        samples: encoder -> the same in each resample of speakers and seeds, (B,).
        note: why there is no interval, or no fraction.
    """

    n: int
    n_speakers: int
    ceiling: float
    rho: dict[str, float]
    value: dict[str, float]
    samples: dict[str, np.ndarray]
    note: str


def by_language(
    corpus: Corpus,
    predictions: pd.DataFrame,
    encoders: Sequence[str],
    split: str = "devel",
    resamples: int = 1000,
) -> dict[str, Language]:
    """What the networks of each encoder reach in each language of the corpus.

    Args:
        predictions: of several encoders, with the same seeds; those of Architecture 1 are used.
        resamples: of each language's speakers, and of the seeds (as `comparisons.compare` draws
            them).

    Raises:
        UnknownName: no predictions of an encoder.
        ValueError: clips have no language or speaker, or nothing is known of expected shares.
    """
    rated = corpus.clips.dropna(subset=list(corpus.emotions))
    here = (rated["split"] == split).to_numpy()
    if not here.any():
        raise ValueError(f"{split} has no shares to judge by: choose another split")
    expected, clips = expected_shares(corpus, rated)[:, here], rated[here]
    if clips[["language", "speaker"]].isna().any(axis=None):
        raise ValueError("the language or the speaker of a clip is not known: add it to the table")
    if not len(expected):
        raise ValueError("nothing is known of expected shares: n_raters says how many listened")
    systems, seeds = _predicted(predictions, clips, encoders, split, corpus.emotions)
    drawn, found = seeds_drawn(seeds, resamples), {}
    for number, language in enumerate(sorted(clips["language"].unique())):
        here = (clips["language"] == language).to_numpy()
        shares = clips.loc[here, list(corpus.emotions)].to_numpy(float)
        speakers = clips.loc[here, "speaker"].to_numpy()
        of = np.concatenate([systems[:, here], expected[:, here]])
        constant = constant_shares(shares)  # an emotion that nobody heard in this language
        samples = mean_over_emotions(bootstrap(shares, of, resamples, number, speakers), constant)
        value = mean_over_emotions(np.array([rhos(shares, one) for one in of]), constant)
        k, apart = len(systems), (len(encoders), seeds)
        few = too_few_expected(len(shares))
        ceiling, ceilings = value[k:].mean(), samples[:, k:].mean(axis=1)
        ceiling = np.nan if few else ceiling
        means = np.einsum("bes,bs->eb", samples[:, :k].reshape(-1, *apart), drawn) / ceilings
        rho, n_speakers = value[:k].reshape(apart).mean(axis=1), len(np.unique(speakers))
        found[language] = Language(
            n=len(shares),
            n_speakers=n_speakers,
            ceiling=float(ceiling),
            rho=dict(zip(encoders, rho.tolist())),
            value=dict(zip(encoders, (rho / ceiling).tolist())),
            samples=dict(zip(encoders, means)),
            note=too_few(len(shares), n_speakers) or few,
        )
    return found


def _predicted(
    predictions: pd.DataFrame,
    clips: pd.DataFrame,
    encoders: Sequence[str],
    split: str,
    emotions: Sequence[str],
) -> tuple[np.ndarray, int]:
    """What each encoder's networks of each seed predict, (encoders * seeds, n, E), and the seeds'
    number.
    """
    rows = predictions[
        (predictions["split"] == split) & (predictions["architecture"] == ARCHITECTURE)
    ]
    known = rows["encoder"].unique()
    for encoder in encoders:
        if encoder not in known:
            raise UnknownName(f"no {split} predictions of {encoder!r}: {nearest(encoder, known)}")
    rows = rows[rows["encoder"].isin(encoders)]
    about = ["encoder", "seed", "emotion"]
    wide = rows.pivot(index="clip_id", columns=about, values="prediction")
    seeds = sorted(rows["seed"].unique())
    columns = pd.MultiIndex.from_product([encoders, seeds, emotions])
    wide = wide.reindex(index=clips["clip_id"], columns=columns)
    if missing := sorted({each[:2] for each in columns[wide.isna().any()]}):
        raise ValueError(
            f"{split}: predictions are missing of {missing}: run notebooks/03_training.ipynb for "
            "each encoder with the same seeds"
        )
    systems = wide.to_numpy().reshape(len(clips), -1, len(emotions)).transpose(1, 0, 2)
    return systems, len(seeds)


def language_table(found: Mapping[str, Language], heard: Heard) -> pd.DataFrame:
    """A row per language and encoder: language, n, n_speakers, ceiling, encoder, heard, rho,
    of_ceiling with its interval over speakers and seeds (low, high), and note: why there is none.
    """
    rows = []
    for language, one in found.items():
        for encoder, value in one.value.items():
            ends = (np.nan, np.nan)
            if not one.note:
                ends = interval(one.samples[encoder], one.n_speakers)
            row = {"language": language, "n": one.n, "n_speakers": one.n_speakers}
            row |= {"ceiling": one.ceiling, "encoder": encoder}
            row |= {"heard": language in heard.get(encoder, ()), "rho": one.rho[encoder]}
            row |= {"of_ceiling": value} | dict(zip(("low", "high"), ends))
            rows.append(row | {"note": one.note})
    return pd.DataFrame(rows)


def worth_of_hearing(found: Mapping[str, Language], heard: Heard, control: str) -> pd.DataFrame:
    """What each encoder gains on the control in the languages it heard, and in the others.

    Languages count alike. Where encoders share out the languages, two of them or each as many,
    there is a row for their mean, in which the control cancels: each language's systems are
    compared with one another. Speakers are drawn within each language, n_l of them, so that a
    resample varies by (n_l - 1) / n_l of what it should: it is scaled to that, and intervals have
    as many degrees of freedom as the smaller part's speakers less its languages.

    Returns:
        One row per encoder, and "mean of all" where there is one: encoder, heard and others (how
        many languages), n_speakers (of the smaller part), gain_heard, gain_others,
        difference, low, high, and low_all, high_all: for all rows together (Bonferroni); note: why
        there is no interval.

    Raises:
        UnknownName: an encoder that `found` does not know.
        ValueError: an encoder heard all languages of the corpus, or none, or one that it has not.
    """
    for encoder in [*heard, control]:
        if encoder not in (known := next(iter(found.values())).value):
            raise UnknownName(f"heard or control: {encoder!r} is not among {', '.join(known)}")
    gains = {
        encoder: _gain(found, languages, encoder, control) for encoder, languages in heard.items()
    }
    if _shared_out(heard, found):
        values, samples, about = zip(*gains.values())
        small = min(about, key=lambda one: one["n_speakers"])
        gains["mean of all"] = np.mean(values, axis=0), np.mean(samples, axis=0), small
    rows = []
    for encoder, (value, samples, about) in gains.items():
        difference, drawn = value[0] - value[1], samples[0] - samples[1]
        units, note = about["freedom"] + 1, about["note"]
        alone = (np.nan, np.nan) if note else interval(drawn, units)
        all_of = (np.nan, np.nan) if note else joint_interval(difference, drawn, units, len(gains))
        row = {"encoder": encoder} | {x: about[x] for x in about if x != "freedom"}
        row |= {"gain_heard": value[0], "gain_others": value[1]}
        row |= {"difference": difference} | dict(zip(("low", "high"), alone))
        rows.append(row | dict(zip(("low_all", "high_all"), all_of)))
    return pd.DataFrame(rows)


def _gain(
    found: Mapping[str, Language], languages: Sequence[str], encoder: str, control: str
) -> tuple[np.ndarray, np.ndarray, dict]:
    """The mean gain in the languages that were heard and in the others, (2,); resamples (2, B)."""
    strange = (
        [languages] if isinstance(languages, str) else [x for x in languages if x not in found]
    )
    parts = [one for one in found if one in languages], [x for x in found if x not in languages]
    if strange or not all(parts):
        raise ValueError(
            f"heard: {encoder}: {languages!r}: expected a list of some, not all, of the languages "
            f"here: {', '.join(found)}"
        )
    gain = {}
    for x, one in found.items():
        value = one.value[encoder] - one.value[control]
        away = one.samples[encoder] - one.samples[control] - value
        gain[x] = value, value + away * np.sqrt(one.n_speakers / max(1, one.n_speakers - 1))
    value = np.array([np.mean([gain[x][0] for x in part]) for part in parts])
    samples = np.stack([np.mean([gain[x][1] for x in part], axis=0) for part in parts])
    speakers = [sum(found[x].n_speakers for x in part) for part in parts]
    note = next((f"{x}: {one.note}" for x, one in found.items() if one.note), "")
    about = {"heard": len(parts[0]), "others": len(parts[1]), "n_speakers": min(speakers)}
    freedom = min(n - len(part) for n, part in zip(speakers, parts))
    return value, samples, about | {"note": note, "freedom": freedom}


def _shared_out(heard: Heard, languages: Collection[str]) -> bool:
    """Whether each language was heard by one encoder: by one of two, or each heard as many."""
    parts = list(heard.values())
    apart = sorted(x for part in parts for x in part) == sorted(languages)
    return apart and (len(parts) == 2 or len(set(map(len, parts))) == 1)
