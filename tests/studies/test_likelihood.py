"""Scores of shares as distributions, and losses compared by them."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from emoshare_utils.results.figures.style import LOSS_COLOURS
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies import likelihood_figures
from emoshare_utils.studies.likelihood import by_bin, by_entropy, compare_losses, macro_f1, of_clips

EMOTIONS = ("Joy", "Fear", "Anger")


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.multinomial(9, [0.6, 0.3, 0.1], 30) / 9, rng.uniform(0.05, 0.9, (30, 3))


def test_scores_of_clips_by_plain_sums(pair):
    y, p = pair
    found = of_clips(y, p)
    for clip in range(30):
        votes = [
            -(y[clip, e] * np.log(p[clip, e]) + (1 - y[clip, e]) * np.log(1 - p[clip, e]))
            for e in range(3)
        ]
        assert found["NLL"][clip] == pytest.approx(np.mean(votes))
        a, b = y[clip] / y[clip].sum(), p[clip] / p[clip].sum()
        jsd = sum(stats.entropy(x, (a + b) / 2, base=2) for x in (a, b)) / 2
        assert found["JSD"][clip] == pytest.approx(jsd)
        cosine = y[clip] @ p[clip] / np.sqrt((y[clip] @ y[clip]) * (p[clip] @ p[clip]))
        assert found["cosine"][clip] == pytest.approx(cosine)
    nobody = of_clips(np.zeros((1, 3)), p[:1])
    assert np.isnan(nobody["JSD"][0]) and nobody["MAE"][0] == pytest.approx(p[0].mean())


def test_macro_f1_at_one_over_the_number_of_emotions(pair):
    y, p = pair
    each = [f1_score(y[:, e] > 1 / 3, p[:, e] > 1 / 3) for e in range(3)]
    assert macro_f1(y, p) == pytest.approx(np.mean(each))
    of_six = [f1_score(y[:, e] > 1 / 6, p[:, e] > 1 / 6) for e in range(3)]
    assert macro_f1(y, p, 6) == pytest.approx(np.mean(of_six))


def table(noises: dict[str, float], seeds=2, speakers=12) -> tuple[pd.DataFrame, dict]:
    """Predictions of losses that miss the shares by so much noise."""
    rng, rows = np.random.default_rng(1), []
    shares = rng.dirichlet(np.ones(3), 240)
    for loss, noise in noises.items():
        for seed in range(seeds):
            predicted = (shares + rng.normal(0, noise, shares.shape)).clip(0, 1)
            for e, emotion in enumerate(EMOTIONS):
                about = {"encoder": loss, "architecture": 1, "seed": seed, "emotion": emotion}
                about |= {"split": "devel", "clip_id": [f"{i}" for i in range(240)]}
                values = {"share": shares[:, e], "prediction": predicted[:, e]}
                rows.append(pd.DataFrame(about | values))
    return pd.concat(rows, ignore_index=True), {f"{i}": f"s{i % speakers}" for i in range(240)}


def test_a_better_loss_is_better_by_every_score_and_the_same_one_by_none():
    predictions, speakers = table({"mse": 0.2, "better": 0.05, "worse": 0.5, "same": 0.2})
    found = compare_losses(predictions, "mse", EMOTIONS, speakers, 200)
    by_loss = found.pivot(index="loss", columns="metric", values="better")
    assert (by_loss.loc["better"] == 1).all() and (by_loss.loc["worse"] == -1).all()
    assert (by_loss.loc["mse"] == 0).all() and by_loss.loc["same"].abs().sum() <= 1
    rho = np.mean(
        [
            spearman(x["share"].to_numpy(), x["prediction"].to_numpy())
            for _, x in predictions.query("encoder == 'mse'").groupby(["seed", "emotion"])
        ]
    )
    row = found.query("loss == 'mse' and metric == 'rho'").iloc[0]
    assert row["score"] == pytest.approx(rho) and row["n_speakers"] == 12
    figure = likelihood_figures.differences(found, "mse", 2, "Mel filterbank (A1)")
    assert len(figure.axes) == 5
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == ["better", "same", "worse"]
    caption = figure.get_supxlabel()
    assert caption.startswith("Mel filterbank (A1); each loss less MSE\n")
    assert "all 3 together in each panel" in caption and "12 speakers" in caption
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    rho = [dot.get_xdata()[0] for dot in dots]
    assert rho == sorted(rho, reverse=True)


def test_few_speakers_have_no_interval():
    predictions, speakers = table({"mse": 0.2, "better": 0.05}, speakers=3)
    found = compare_losses(predictions, "mse", EMOTIONS, speakers, 50)
    assert found["low"].isna().all() and (found["better"] == 0).all()


def test_thirds_by_the_entropy_of_a_clips_shares():
    shares = {"a": (1, 0), "b": (0.9, 0.1), "c": (0.4, 0.2), "d": (0.5, 0.5), "e": (0.2, 0.2),
              "silent": (0, 0), "f": (0.3, 0.2)}  # fmt: skip
    rows = [
        {"encoder": loss, "seed": seed, "clip_id": clip, "emotion": emotion, "share": share,
         "prediction": share + 0.1 * (loss == "mse")}
        for loss in ("mse", "exact") for seed in (0, 1)
        for clip, pair in shares.items() for emotion, share in zip(EMOTIONS, pair)
    ]  # fmt: skip
    found = by_entropy(pd.DataFrame(rows)).set_index(["loss", "third"])
    assert found["n"].eq(2).all() and len(found) == 6  # silent is in none
    entropies = {clip: stats.entropy(pair, base=2) for clip, pair in shares.items()}
    for third, clips in {"agreed": "ab", "between": "cf", "divided": "de"}.items():
        expected = np.mean([entropies[clip] for clip in clips])
        assert found.loc[("mse", third), "entropy"] == pytest.approx(expected)
    assert found.loc["mse", "MAE"].to_numpy() == pytest.approx(0.1)
    assert found.loc["exact", "MAE"].abs().max() < 1e-9 < found.loc["mse", "JSD"].max()


def test_by_bin_of_the_observed_share():
    rows = {"encoder": "mse", "share": [0, 0, 0.1, 0.5, 1], "prediction": [0.1, 0.3, 0.1, 0.3, 0.4]}
    found = by_bin(pd.DataFrame(rows)).set_index("bin")
    assert found["n"].to_dict() == {"0": 2, "to 0.2": 1, "to 0.6": 1, "to 1": 1}
    assert found["error"].tolist() == pytest.approx([0.2, 0, -0.2, -0.6])
    table = found.reset_index().astype({"bin": str})
    others = [table.assign(loss=x) for x in ("poisson", "binomial", "soft_rank", "ccc")]
    for order in (others, others[::-1]):
        figure = likelihood_figures.bins(pd.concat([*order, table]), "MFCC (A1), 1 seeds")
        (axes,) = figure.axes
        *lines, zero = axes.lines
        colours = [line.get_color() for line in lines]
        assert colours == ["black", LOSS_COLOURS["ccc"], "0.6", "0.6"]  # whatever the order
        assert list(lines[0].get_xdata()) == [0, 1, 3, 4]
        assert lines[2].get_marker() != lines[3].get_marker()
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    assert names == ["0", "0–0.2", "0.2–0.4", "0.4–0.6", "0.6–1"]
    caption = figure.get_supxlabel()
    assert caption.startswith("MFCC (A1), 1 seeds\ndevel, n = 5 shares")
    assert "left out: soft rank" in caption
    assert "left out" not in likelihood_figures.bins(table).get_supxlabel()
