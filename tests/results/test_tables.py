"""Table 1 and Table 2: the paper's own numbers, missing rho, baselines, and how they look."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.results.paper import paper_table1
from emoshare_utils.results.tables import table1, table2, table2_caption

NINE = list(PAPER_EMOTIONS)
SIX = ["Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad"]


def results(values: dict, emotions: list[str], seed: int = 0, split: str = "devel") -> pd.DataFrame:
    """Results from {(encoder, architecture): the rho of each emotion}."""
    rows = [
        {
            "encoder": encoder,
            "architecture": architecture,
            "emotion": emotion,
            "seed": seed,
            "split": split,
            "n": 100,
            "rho": rho,
            "ci_low": rho - 0.1,
            "ci_high": rho + 0.1,
            "note": "constant prediction" if np.isnan(rho) else "",
        }
        for (encoder, architecture), rhos in values.items()
        for emotion, rho in zip(emotions, rhos)
    ]
    return pd.DataFrame(rows)


def as_results(paper: pd.DataFrame) -> pd.DataFrame:
    """The paper's own table in the shape of our results."""
    rows = paper.dropna(subset=["architecture"]).astype({"architecture": int})
    return rows.assign(seed=0, split="devel", n=9925, ci_low=np.nan, ci_high=np.nan, note="")


def test_the_papers_table_has_the_means_it_should():
    paper = paper_table1()
    means = paper.groupby(["encoder", "architecture"])["rho"].mean().round(4)
    expected = {
        "wav2vec2-base": (0.4176, 0.4259),
        "wav2vec2-large": (0.2498, 0.2470),
        "hubert-base": (0.4941, 0.5021),
        "hubert-large": (0.5170, 0.5217),
        "mfcc": (0.2900, 0.2451),
        "fbank": (0.2900, 0.2451),
    }
    assert {name: (means[name, 1], means[name, 2]) for name in expected} == expected
    baseline = paper[paper["encoder"] == "baseline"]
    assert list(baseline["emotion"]) == NINE
    assert round(baseline["rho"].mean(), 3) == 0.500
    assert paper.groupby(["encoder", "architecture"], dropna=False)["emotion"].nunique().eq(9).all()


def test_the_papers_table_2_is_the_maximum_of_the_architectures_per_emotion(shown):
    table = table2(as_results(paper_table1()), NINE, corpus="compare23")
    ours = table[table["source"] == "ours"].set_index("encoder")
    expected = [0.4261, 0.2813, 0.5021, 0.5231, 0.2993]
    names = ["wav2vec2-base", "wav2vec2-large", "hubert-base", "hubert-large", "mfcc"]
    assert list(ours.loc[names, "max_rho"].round(4)) == expected
    best = ours.loc["hubert-large"]
    assert best["architecture"] == 2
    assert best["mean_rho"] == pytest.approx(0.52167, abs=1e-5)
    assert best["change_percent"] == pytest.approx(4.33, abs=0.01)
    assert best["max_change_percent"] == pytest.approx(4.62, abs=0.01)
    text = shown(table, table2_caption(table))
    assert "the paper prints 0.274 and -45.2 %" in text
    assert "baseline as the paper prints it" in text


def test_the_papers_rows_stand_beside_ours_and_never_win(shown, row_of):
    ours = results({("hubert-large", 1): [0.1] * 9, ("fbank", 2): [0.2] * 9}, NINE)
    table = table1(ours, NINE)
    text = shown(table)
    paper = row_of(text, "HuBERT (Large)", "Architecture 1 (paper)")
    assert "0.450" in paper and "**" not in paper
    assert "**0.200**" in row_of(text, "Mel filterbank", "Architecture 2 |")
    assert "0.428" in row_of(text, "Baseline (paper)")
    assert "measured on its own corpus" in text
    assert "40 mel bands" in text
    order = list(zip(table["encoder"], table["architecture"], table["source"]))[:3]
    assert order == [
        ("hubert-large", 1, "ours"),
        ("hubert-large", 1, "paper"),
        ("hubert-large", 2, "paper"),
    ]


@pytest.mark.parametrize(("emotions", "split"), [(SIX, "devel"), (NINE, "test")])
def test_the_paper_stays_away_from_other_emotions_and_splits(emotions, split):
    ours = results({("hubert-large", 1): [0.1] * len(emotions)}, emotions, split=split)
    table = table1(ours, emotions, split)
    assert list(table["source"]) == ["ours"]
    assert list(table.columns[3:-4]) == emotions
    if emotions == SIX:
        with pytest.raises(ValueError, match="Disgust.*paper=False"):
            table1(ours, emotions, split, paper=True)


def test_a_constant_prediction_is_a_dash_with_a_note_and_leaves_no_mean(shown, row_of):
    emotions = ["A", "B", "C"]
    found = results({("fbank", 1): [np.nan, 0.9, 0.9], ("fbank", 2): [-0.1, 0.2, 0.3]}, emotions)
    table = table1(found, emotions)
    assert np.isnan(table.loc[0, "mean"]) and table.loc[1, "mean"] == pytest.approx(0.4 / 3)
    assert list(table["n_emotions"]) == [3, 3]
    text = shown(table)
    first, second = row_of(text, "Architecture 1"), row_of(text, "Architecture 2")
    assert "| –<sup>a</sup> | –<sup>a</sup> | **0.900** | **0.900** |" in first
    assert "| **-0.100** |" in second and "**0.133**" in second
    assert "<sup>a</sup> constant prediction: A; no mean over emotions." in text


def test_a_network_never_trained_is_named_and_nothing_at_all_is_a_dash(shown, row_of):
    found = results({("fbank", 1): [0.1, 0.2], ("mfcc", 1): [np.nan, np.nan]}, ["A", "B"])
    table = table1(found[(found["encoder"] == "mfcc") | (found["emotion"] == "A")], ["A", "B"])
    by_encoder = table.set_index("encoder")
    assert by_encoder.loc["fbank", "note"] == "no result: B; no mean over emotions"
    assert np.isnan(by_encoder.loc["mfcc", "mean"])
    assert "| –" in row_of(shown(table), "| MFCC")


def test_seeds_are_averaged_and_a_seed_without_rho_leaves_no_mean(shown):
    found = pd.concat(
        [
            results({("fbank", 1): [0.2, 0.4]}, ["A", "B"], seed=0),
            results({("fbank", 1): [0.4, np.nan]}, ["A", "B"], seed=1),
        ]
    )
    table = table1(found, ["A", "B"])
    assert table.loc[0, "A"] == pytest.approx(0.3) and table.loc[0, ["B", "mean"]].isna().all()
    assert table.loc[0, "note"] == "constant prediction: B (1 of 2 seeds); no mean over emotions"
    assert "means over 2 seeds" in shown(table)


def test_results_that_stand_twice_or_nowhere_are_refused():
    found = results({("fbank", 1): [0.2]}, ["A"])
    with pytest.raises(ValueError, match="'test'.*devel"):
        table1(found, ["A"], "test")
    with pytest.raises(ValueError, match="twice.*fbank"):
        table1(pd.concat([found, found]), ["A"])


def test_table_2_compares_with_a_baseline_measured_on_the_corpus_at_hand():
    found = results(
        {
            ("fbank", 1): [0.2, 0.2],
            ("fbank", 2): [0.1, 0.3],
            ("hubert-base", 1): [0.3, 0.5],
            ("hubert-base", 2): [0.5, 0.2],
        },
        ["A", "B"],
    )
    table = table2(found, ["A", "B"], corpus="simulated").set_index("encoder")
    row = table.loc["hubert-base"]
    assert row["architecture"] == 1
    assert (row["mean_rho"], row["baseline_mean_rho"]) == pytest.approx((0.4, 0.2))
    assert (row["max_rho"], row["baseline_max_rho"]) == pytest.approx((0.5, 0.25))
    assert (row["change_percent"], row["max_change_percent"]) == pytest.approx((100, 100))
    assert "Mel filterbank, measured here" in table2_caption(table)
    with pytest.raises(ValueError, match="'compare23'.*'simulated'.*fbank"):
        table2(found, ["A", "B"], baseline="paper", corpus="simulated")
    with pytest.raises(ValueError, match="'mfcc'.*hubert-base, fbank"):
        table2(found, ["A", "B"], baseline="mfcc")


def test_the_svr_stands_apart_and_is_the_baseline_of_table_2_unless_another_is_named(shown):
    found = results(
        {
            ("fbank", 0): [0.3, 0.1],
            ("mfcc", 0): [0.6, 0.2],
            ("fbank", 1): [0.2, 0.2],
            ("fbank", 2): [0.1, 0.3],
        },
        ["A", "B"],
    )
    table = table2(found, ["A", "B"], corpus="made")
    assert list(zip(table["encoder"], table["architecture"])) == [
        ("mfcc", 0),
        ("fbank", 1),
        ("fbank", 0),
    ]
    fbank = table.iloc[1]
    assert (fbank["mean_rho"], fbank["max_rho"]) == pytest.approx((0.2, 0.25))  # no SVR in it
    assert fbank["change_percent"] == pytest.approx(-50)  # of .4, the best SVR's
    assert fbank["max_change_percent"] == pytest.approx(-37.5)
    assert (table["baseline"] == "svr:mfcc").all()
    assert "a linear SVR on the mean over time of MFCC, measured" in table2_caption(table)
    text = shown(table)
    assert "| MFCC | SVR |" in text and "SVR: the challenge" in text
    named = table2(found, ["A", "B"], "svr:fbank").set_index(["encoder", "architecture"])
    assert named.loc[("mfcc", 0), "change_percent"] == pytest.approx(100)
    assert table2(found, ["A", "B"], "fbank")["baseline_mean_rho"].eq(0.2).all()
    with pytest.raises(ValueError, match="'svr:x'.*svr:mfcc, fbank, svr:fbank"):
        table2(found, ["A", "B"], "svr:x")
    with pytest.raises(ValueError, match="baseline 'svr': expected one of fbank"):
        table2(found[found["architecture"] > 0], ["A", "B"], "svr")
    rows = table1(found, ["A", "B"])
    assert list(rows["architecture"]) == [0, 0, 1, 2]
    assert "| SVR | **0.400** | **0.600** |" in shown(rows)


def test_on_the_papers_corpus_its_own_baseline_comes_first():
    rhos = {("fbank", 0): [0.6] * 9, ("fbank", 1): [0.5] * 9}
    table = table2(results(rhos, NINE), NINE, corpus="compare23")
    assert (table["baseline"] == "paper").all() and (table["baseline_mean_rho"] == 0.5).all()
    assert list(table["source"]) == ["ours", "paper", "ours"]
    measured = table2(results(rhos, NINE), NINE, "svr", corpus="compare23")
    assert list(measured["baseline_mean_rho"]) == pytest.approx([0.6] * 3)


def test_table_2_gives_no_percentage_where_it_would_mean_nothing():
    found = results(
        {("fbank", 1): [-0.1, -0.1], ("mfcc", 1): [0.1, np.nan], ("hubert-base", 1): [0.1, 0.3]},
        ["A", "B"],
    )
    below_zero = table2(found, ["A", "B"])
    assert below_zero["change_percent"].isna().all()
    assert below_zero["note"].str.contains("below zero").all()
    incomplete = table2(found, ["A", "B"], baseline="hubert-base").set_index("encoder")
    assert np.isnan(incomplete.loc["mfcc", "change_percent"])
    assert incomplete.loc["fbank", "change_percent"] == pytest.approx(-150)
    lacking = table2(found, ["A", "B"], baseline="mfcc")
    assert lacking["change_percent"].isna().all()
    assert lacking["note"].str.contains("the baseline has no mean over these emotions").all()


def test_any_number_of_architectures_and_the_best_of_them():
    found = results(
        {("fbank", 1): [0.2, 0.2], ("fbank", 2): [0.1, 0.1], ("fbank", 7): [0.5, 0.1]}, ["A", "B"]
    )
    assert list(table1(found, ["A", "B"])["architecture"]) == [1, 2, 7]
    (row,) = table2(found, ["A", "B"]).itertuples()
    assert row.architecture == 7
    assert (row.mean_rho, row.max_rho) == pytest.approx((0.3, 0.35))


def test_on_the_papers_corpus_features_that_the_paper_lacks_stand_alone():
    table = table2(results({("org/x", 1): [0.5] * 9}, NINE), NINE, corpus="compare23")
    assert list(table["source"]) == ["ours"] and (table["baseline"] == "paper").all()


def test_the_papers_one_acoustic_row_stands_beside_the_mel_bands_it_describes():
    def of_paper(*encoders):
        found = results({(encoder, 1): [0.5] * 9 for encoder in encoders}, NINE)
        table = table1(found, NINE)
        return list(table.loc[table["source"] == "paper", "encoder"])

    assert of_paper("mfcc", "fbank") == ["fbank", "fbank", "baseline"]
    assert of_paper("mfcc") == ["mfcc", "mfcc", "baseline"]
