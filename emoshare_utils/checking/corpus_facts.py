"""What a check says of a corpus: its labels, its audio, and what they mean for the results."""

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from emoshare_utils import corpora
from emoshare_utils.checking.audio_facts import CLIPPED, identical, sampled
from emoshare_utils.checking.report import Report
from emoshare_utils.corpora.clip_table import SPLITS, Corpus, CorpusError, cut
from emoshare_utils.corpora.reading import listed
from emoshare_utils.paths import Run, resolve
from emoshare_utils.results.expected_share import ESTIMATED, EXACT, expected_rhos, known

SHORT_S, LONG_S = 0.5, 30.0  # clips beyond these are worth a look
FEW_DEVEL = 100  # clips, whose rho is known to .2 at best
FEW_SPEAKERS = 5  # of devel: an interval over them says little
MOST_CLIPS = 20_000  # for the ceilings, which take seconds


def read_corpus(parameters: Mapping[str, Any], report: Report) -> Corpus | None:
    """Read the corpus as notebook 01 does; what it would refuse becomes problems.

    Returns:
        Without faulty clips; None where nothing can be read.
    """
    name, allowed = parameters["corpus"], parameters["allow_missing"]
    root = parameters["root"]
    folder = resolve(root) if root else Run(parameters["run"]).corpus_folder
    report.row("corpus", f"{name} in {folder}")
    refusal = ""
    try:
        corpus, dropped, said = _load(name, folder, allowed, parameters["options"])
    except CorpusError as error:
        refusal = str(error)
        try:
            corpus, dropped, said = _load(name, folder, True, parameters["options"])
        except CorpusError:
            report.problem(refusal, "correct that, then check again: other faults may follow")
            return None
    if not corpus.simulated:  # whose lines are of making it
        for line in said.splitlines():
            report.row("read", line)
    for reason, clips in dropped.groupby("reason", sort=False):
        if f": {reason}, " in refusal:  # it may also say why
            report.problem(refusal, "docs/corpora.md says what a corpus may hold")
            continue
        what = f"{reason}: {len(clips):,} clips, as {listed(clips['clip_id'])}"
        if allowed:
            report.note(what, "they are left out of the run, and listed in rejected.csv")
        else:
            report.problem(what, "correct the labels, or set allow_missing: true to leave them out")
    n_all = len(corpus.clips) + len(dropped)
    if len(dropped) > parameters["max_rejected"] * n_all:
        report.problem(
            f"{len(dropped):,} of {n_all:,} clips would be left out, more than "
            f"max_rejected = {parameters['max_rejected']:g} allows",
            "correct the labels, or set max_rejected higher if that is meant",
        )
    return corpus


def _load(
    name: str, folder: Any, allow_missing: bool, options: Mapping[str, Any]
) -> tuple[Corpus, pd.DataFrame, str]:
    """The corpus, the clips dropped from it, and what its adapter printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        corpus, dropped = corpora.load(name, folder, allow_missing, **options)
    return corpus, dropped, said.getvalue()


def say_labels(corpus: Corpus, report: Report) -> None:
    """Clips, speakers and raters, and what is worth a look in them."""
    clips, counts = corpus.clips, corpus.clips["split"].value_counts()
    by_split = ", ".join(f"{counts.get(split, 0):,} {split}" for split in SPLITS)
    report.row("clips", f"{len(clips):,}: {by_split}")
    speakers = clips.groupby("split")["speaker"].nunique()
    if clips["speaker"].isna().all():
        report.row("speakers", "not given")
        report.note(
            "speakers are not given: a voice may be in two splits, and intervals over speakers "
            "cannot be drawn",
            "give a column `speaker` if you know them",
        )
    else:
        each = ", ".join(f"{speakers.get(split, 0):,} in {split}" for split in SPLITS)
        report.row("speakers", f"{clips['speaker'].nunique():,}: {each}; none in two splits")
        if speakers.get("devel", 0) < FEW_SPEAKERS:
            report.note(
                f"few speakers in devel ({speakers.get('devel', 0)}): what holds for them may not "
                "hold for others",
                "move speakers from train to devel, or record more",
            )
    raters = clips["n_raters"].dropna().astype(int)
    if len(raters):
        least, middle, most = raters.min(), raters.median(), raters.max()
        report.row("raters", f"per clip {least} at least, {middle:g} (median), {most} at most")
    else:
        report.row("raters", "not given, so no ceiling is known")
    if (n := counts.get("devel", 0)) < FEW_DEVEL:
        within = 1.96 / np.sqrt(max(1, n - 1))
        report.note(
            f"devel has {n} clips: a rho over them "
            + (f"is uncertain by about {within:.2f} either way" if within < 1 else "says nothing"),
            "read differences that are smaller than this as none"
            if within < 1
            else "label more clips; until then read no score",
        )


def say_shares(corpus: Corpus, report: Report) -> None:
    """Mean, fraction of zeros and ceiling of every emotion."""
    clips = corpus.clips
    if len(clips) > MOST_CLIPS:
        clips = clips.sample(MOST_CLIPS, random_state=0).sort_index()
    ceilings, kind = known(expected_rhos(corpus.with_clips(clips)), "all")
    report.line(f"{'shares':<30}  mean  zero  {'largest':>7}  ceiling")
    for emotion in corpus.emotions:
        shares = corpus.clips[emotion].dropna()
        about = f"{shares.mean():5.2f} {(shares == 0).mean():4.0%}  {shares.max():7.2f}"
        ceiling = f"{ceilings[emotion]:7.2f}" if emotion in ceilings else "      -"
        report.line(f"  {cut(emotion, 28, quoted=False):<28} {about}  {ceiling}")
        for split in SPLITS:
            values = corpus.split(split)[emotion].dropna()
            if len(values) and values.nunique() == 1:
                report.note(
                    f"{emotion} is {values.iloc[0]:g} for every clip of {split}: rho is undefined",
                    "give the split other clips, or leave the emotion out (options: shares)",
                )
    if kind:
        of = f", over {MOST_CLIPS:,} clips" if len(clips) < len(corpus.clips) else ""
        known_how = {
            EXACT: "known, since listeners are simulated",
            ESTIMATED: "estimated from the votes",
        }
        how = known_how.get(kind, f"not known: {kind}")
        report.line(f"  ceiling: rho of the expected share, {how}{of}")


def say_audio(corpus: Corpus, parameters: Mapping[str, Any], report: Report) -> pd.DataFrame:
    """Hours, lengths and rates; returns the usable clips of the sample, measured."""
    sample = sampled(corpus)
    bad, clips = sample[sample["reason"] != ""], sample[sample["reason"] == ""]
    whole = len(sample) == len(corpus.clips)
    of = "all clips" if whole else f"a sample of {len(sample)} clips"
    seconds = clips["duration_s"]
    if len(clips):
        report.row(
            "audio",
            f"{seconds.mean() * len(corpus.clips) / 3600:.2f} hours; clips of "
            f"{seconds.min():.2f} to {seconds.max():.2f} s, {seconds.mean():.2f} on average ({of})",
        )
        rates = clips["rate"].value_counts()
        report.row(
            "rate", ", ".join(f"{rate:,} Hz ({n / len(clips):.0%})" for rate, n in rates.items())
        )
    for faulty, what, remedy in _suspicious(clips):
        if len(faulty):
            found = f"{len(faulty)} of {of}" if not whole else f"{len(faulty)} clips"
            report.note(f"{what}: {found}, as {listed(faulty['clip_id'])}", remedy)
    if len(bad):
        too_many = len(bad) > parameters["max_rejected"] * len(sample)
        say = report.problem if too_many else report.note
        kinds = bad["reason"].value_counts()
        say(
            f"{len(bad)} of {of} cannot be used, as {listed(bad['clip_id'])}: "
            + "; ".join(f"{reason} ({n})" for reason, n in kinds.head(3).items()),
            f"more than max_rejected = {parameters['max_rejected']:g} allows: mend or remove them"
            if too_many
            else "notebook 01 leaves them out and lists them in rejected.csv",
        )
    return clips.reset_index(drop=True)


def _suspicious(clips: pd.DataFrame) -> list[tuple[pd.DataFrame, str, str]]:
    rate = clips["rate"].mode().iloc[0] if len(clips) else 0
    return [
        (clips[clips["duration_s"] < SHORT_S], f"shorter than {SHORT_S} s",
         "listen to some: can an emotion be heard?"),
        (clips[clips["duration_s"] > LONG_S], f"longer than {LONG_S:g} s",
         "cut them into utterances: memory grows with the longest clip, and one share is one mood"),
        (clips[clips["clipped"] > CLIPPED], "clipped (over 0.1 % of samples at full scale)",
         "listen to some: loudness, which tells of arousal, is cut there"),
        (clips[clips["rate"] != rate], f"another rate than {rate:,} Hz, which most have",
         "all are resampled to 16 kHz; see that the rate does not tell speakers or emotions apart"),
    ]  # fmt: skip


def say_identical(corpus: Corpus, report: Report) -> None:
    """Files that hold the same bytes under two names."""
    same, left_out = identical(corpus)
    sets = same.groupby("same")
    across = [rows for _, rows in sets if rows["split"].nunique() > 1]
    for groups, where in ((across, "in two splits"), ([r for _, r in sets], "under two names")):
        if groups:
            pairs = [" = ".join(rows["clip_id"].astype(str).head(2)) for rows in groups]
            report.note(
                f"the same audio {where}: {listed(pairs, 3)}",
                "keep one clip of each: " + (
                    "what is tested was trained on" if groups is across else "it counts twice"
                ),
            )  # fmt: skip
            break
    compared = f"; {left_out:,} more of equal size were not compared" if left_out else ""
    report.row("same audio", f"{len(sets):,} recordings under more than one name{compared}")
