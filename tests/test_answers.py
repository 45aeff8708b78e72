"""Each notebook opens with its answer, whose numbers are the published ones, and its time."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.results.paper import paper_table1
from emoshare_utils.studies import paper_table

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = {path.name[:2]: path for path in sorted((PROJECT / "notebooks").glob("*.ipynb"))}
PUBLISHED = PROJECT / "figures" / "published"
CREMA, DEMO, PAPER = (PUBLISHED / name for name in ("crema_d", "demo", "paper"))
STUDIES = PUBLISHED / "crema_studies"
LANGUAGES = PUBLISHED / "languages"
PAGES = PROJECT / "docs" / "notebooks" / "demo"
SECONDS = {"second": 1, "minute": 60}
WORDS = {"a": 1, "half a": 0.5, "two": 2, "three": 3, "four": 4, "five": 5}


def part(number: str, name: str) -> str:
    """A paragraph of a notebook's first cell, without its name in bold."""
    first = "".join(json.loads(NOTEBOOKS[number].read_text())["cells"][0]["source"])
    return re.search(rf"^\*\*{name}\.\*\* (.+)$", first, re.M)[1]


def short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


@cache
def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


def shares(folder: Path) -> np.ndarray:
    return table(folder, "shares").drop(columns=["clip_id", "split"]).to_numpy()


def expected() -> list[str]:
    """The rho of the expected share on CREMA-D and in the demo."""
    crema = (PROJECT / "docs" / "results.md").read_text()
    demo = (PAGES / "04_results.md").read_text()
    said = re.search(r"expected share would give about (\.\d\d)", crema)
    return [said[1], re.search(r"\b0(\.\d\d) exact", demo)[1]]


def padding(folder: Path) -> float:
    seconds = table(folder, "durations")["duration_s"]
    return 1 - seconds.mean() / seconds.max()


def best_networks(folder: Path) -> pd.Series:
    """Mean devel rho by architecture of the features with the best network."""
    rows = table(folder, "fig3")
    rows = rows[(rows["split"] == "devel") & (rows["architecture"] > 0)]
    means = rows.pivot_table("mean_rho", "encoder", "architecture")
    return means.loc[means.max(axis=1).idxmax()]


def best_system(folder: Path) -> pd.Series:
    rows = table(folder, "fig3")
    return rows[rows["split"] == "devel"].sort_values("mean_rho").iloc[-1]


def gap() -> pd.Series:
    """HuBERT-mini less wav2vec2-mini on CREMA-D, by the last layer."""
    rows = table(CREMA, "objectives")
    return rows[rows["contrast"] == "HuBERT-mini − wav2vec2-mini, mean of A1 and A2"].iloc[0]


def between(row: pd.Series) -> list[str]:
    return [short(row["ci_speakers_low"]), short(row["ci_speakers_high"])]


SPEAKERS = ["ci_speakers_low", "ci_speakers_high"]


def difference(folder: Path, name: str, row: str | int, minus: bool = False) -> list[float]:
    """A difference of a published table with its interval, or the one the other way around."""
    found = table(folder, name).set_index("contrast")
    found = found.iloc[row] if isinstance(row, int) else found.loc[row]
    low, high = found[SPEAKERS]
    return [-found["difference"], -high, -low] if minus else [found["difference"], low, high]


def without_signs(*found: float) -> list[str]:
    return [short(abs(value)) for value in found]


def numbers(number: str) -> list[str]:
    """The decimals of a notebook's answer, in its order, from the published tables."""
    crema, demo = shares(CREMA), shares(DEMO)
    if number == "00":
        card = (PROJECT / "emoshare_utils/predicting/shipped/card.md").read_text()
        of_emotions = re.findall(r"^\| \w+ \| (0\.\d{3}) \|", card, re.M)
        return [short(np.mean([float(rho) for rho in of_emotions]))]
    if number == "01":
        values = [(crema == 0).mean(), (demo == 0).mean(), (crema > 0.5).mean()]
        values = [*map(short, [*values, (demo > 0.5).mean()]), ".5"]
        return [*values, *expected()]
    if number == "02":
        return [short(padding(CREMA)), short(padding(DEMO))]
    if number == "03":
        return [short(rho) for run in (CREMA, DEMO) for rho in best_networks(run)]
    if number == "04":
        best, lead = best_system(CREMA), [short(gap()["difference"])]
        return [
            short(best["mean_rho"]),
            *between(best),
            *lead,
            short(best_system(DEMO)["mean_rho"]),
        ]
    if number == "05":
        return [".523", ".299", ".274", ".005"]
    if number == "08":
        papers = paper_table1().groupby("encoder")["rho"].mean()
        base = papers["hubert-base"] - papers["wav2vec2-base"]
        return [short(gap()["difference"]), *between(gap()), short(base)]
    if number == "09":
        found = table(PUBLISHED / "objectives", "contrasts")
        found = found[["difference", "ci_all_low", "ci_all_high"]].abs()
        return [short(value) for value in found.to_numpy().ravel()]
    if number == "10":
        found = table(STUDIES, "groups").set_index(["by", "group"])
        reached = found["of_ceiling"]
        sexes = [reached["sex", "Female"], reached["sex", "Male"]]
        ages = reached["age"]
        told = difference(STUDIES, "metadata", -1), difference(DEMO, "metadata", -1, minus=True)
        return without_signs(*sexes, ages.min(), ages.max(), *told[0], *told[1])
    if number == "11":
        said = []
        for folder in (STUDIES, DEMO):
            means = table(folder, "attention_correlates").groupby("what")["average"].mean()
            said += [means[what] for what in ("entropy", "position", "loudness")]
            said += difference(folder, "attention_replaced", "learned − uniform")
            said += difference(folder, "attention_replaced", "learned − final state")
            said += difference(folder, "transformer", 0)
        return without_signs(*said)
    if number == "12":
        people, found = (
            table(folder, "losses").set_index(["loss", "metric"]) for folder in (STUDIES, DEMO)
        )
        bounds, best = ["difference", "low", "high"], "soft_rank recalibrated"
        assert (people.loc[best, "better"] >= 0).all() and (found.loc[best, "better"] >= 0).all()
        assert (
            people["better"].drop(best, level="loss") == 1
        ).sum() == 6  # binomial and poisson: rho, error and divergence
        rank = people.loc[(best, "rho"), bounds], found.loc[(best, "rho"), bounds]
        error = found.loc[[(x, "MAE") for x in (best, "mse", "soft_rank")], "score"]
        rare = found.loc[("smoothed_labels", "rho"), bounds]
        apart = difference(STUDIES, "one_trunk", "separate, soft_rank − separate")[0]
        smoothed = people.loc[("smoothed_features", "rho"), bounds]
        votes = [people.loc[(x, "rho"), bounds] for x in ("binomial", "poisson")]
        assert short(votes[0]["difference"]) == short(votes[1]["difference"])
        gain = [votes[0]["difference"], *votes[0][1:], *votes[1][1:]]
        return without_signs(*rank[0], apart, *rank[1], *error, *gain, *rare, *smoothed)
    if number == "13":
        said = []
        for folder in (STUDIES, DEMO):
            found = table(folder, "one_trunk").set_index("contrast")[["difference", *SPEAKERS]]
            squares, ranks = (found.loc[f"one trunk{x} − separate{x}"] for x in ("", ", soft_rank"))
            low, high = squares[SPEAKERS] if folder == STUDIES else sorted(squares[SPEAKERS].abs())
            said += [squares["difference"], low, high, *ranks]
            gains = table(folder, "ensembles")["difference"]
            if folder == STUDIES:
                said += [*found.loc["separate, soft_rank − separate"], gains.mean()]
            else:
                said += [gains.min(), gains.max()]
        return without_signs(*said)
    if number == "14":
        said = []
        for folder in (STUDIES, DEMO):
            rho = table(folder, "planning").set_index(["kind", "number"])["mean_rho"]
            whole = rho["clips"].loc[max(rho["clips"].index)]
            half = [rho[kind].sort_index().iloc[-2] for kind in ("clips", "speakers")]
            some = [rho["listeners", 4]] if folder == STUDIES else []
            said += [whole - x for x in [*half, *some, rho["listeners", 1]]]
        width = table(STUDIES, "planning_width").set_index("speakers")["width"]
        return without_signs(*said, width[10], width[40])
    if number == "15":
        said = []
        for folder in (STUDIES, DEMO):
            rho = table(folder, "layer_rho").drop_duplicates("encoder")
            rho = rho.set_index("encoder")["mean_rho"]
            single = rho[rho.index.str.fullmatch(r"hubert-mini(-3)?@\d")].iloc[:4]
            said += [single.max(), single.iloc[-1], rho[rho.index.str.endswith("@all")].item()]
            weights = table(folder, "layer_weights").groupby("layer")["weight"].mean()
            said += [weights.min(), weights.max()]
            said += difference(folder, "layer_contrasts", "fusion − beside alone")
        return without_signs(*said)
    if number == "16":
        worth = table(LANGUAGES, "worth_of_hearing").set_index("encoder")
        reached = table(LANGUAGES, "languages")
        reached["control"] = reached["encoder"] == "fbank"
        mean = reached.groupby(["control", "heard"])["of_ceiling"].mean()
        both = worth.loc["mean of all", ["difference", "low_all", "high_all"]]
        return without_signs(*both, mean[False, True], mean[False, False], mean[True, False])
    return []


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_the_answer_has_the_published_numbers(number):
    assert re.findall(r"(?<!\d)\.\d+", part(number, "Answer")) == numbers(number)


def test_the_answer_on_the_papers_table_is_what_the_notebook_computes():
    derived = paper_table.readings().set_index("printed")["derived"]
    assert derived[0.523] == derived[0.299] == "better per emotion" and derived[0.274] == "none"
    gaps = paper_table1().groupby(["encoder", "architecture"])["rho"].mean()["hubert-large"]
    assert f"{gaps[2] - gaps[1]:.3f}"[1:] == ".005"


def test_the_answer_on_dead_starts_is_the_published_one():
    zeros = table(PAPER, "dead_starts")
    first, second = ((zeros[str(a)] == 1).sum() for a in (1, 2))
    said = part("06", "Answer")
    assert f"{first} of {len(zeros)} networks of Architecture 1" in said
    assert f"{second} of {len(zeros)} of Architecture 2" in said
    changes = table(DEMO, "variants").dropna(subset=["ci_speakers_low"])
    holds_0 = changes["ci_speakers_low"].lt(0) & changes["ci_speakers_high"].gt(0)
    assert ("their intervals over speakers and seeds hold 0" in said) == holds_0.all()
    end = table(DEMO, "variants").set_index(["architecture", "variant"]).loc[(2, "released")]
    constant = end["constant"] == end["networks"]
    assert ("all networks of Architecture 2 end as constants" in said) == constant


def test_the_answers_words_are_the_published_ones():
    claims = table(CREMA, "claims")
    assert claims[claims["claim"].str.startswith("attention")]["holds"].eq("open").all()
    worth = table(CREMA, "worth").set_index("who")["rho"]
    assert abs(worth.iloc[-1] - worth["4 other listeners"]) < 0.01  # the best system's
    assert "about as well as four listeners do" in part("04", "Answer")
    assert best_system(CREMA)["encoder"].startswith("hubert-mini")
    assert tuple(best_system(DEMO)[["encoder", "architecture"]]) == ("fbank", 0)
    assert gap()["ci_speakers_low"] > 0


def page_seconds(number: str) -> float:
    """What the notebook took in the published run."""
    (page,) = PAGES.glob(f"{number}_*.md")
    return float(re.search(r"Run `demo`, (\d+) s", page.read_text())[1])


@pytest.mark.parametrize("number", [number for number in NOTEBOOKS if number != "00"])
def test_the_time_is_about_that_of_the_published_run(number):
    said = part(number, "Running time")
    amount, unit = re.match(r"About ([\w ]+?) (second|minute)s?\b", said).groups()
    seconds = SECONDS[unit] * WORDS.get(amount, 0) or SECONDS[unit] * float(amount)
    assert 0.5 < seconds / page_seconds(number) < 2
