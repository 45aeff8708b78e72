"""The contrasts of the study of objectives: their variance, intervals and p-values."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies import objective_figures
from emoshare_utils.studies.objective_cells import CELLS
from emoshare_utils.studies.objective_contrasts import (
    CONTRASTS,
    contrast,
    holm,
    keep_devel_for_the_end,
    score_cells,
)

NAMES = list(CELLS)


def table(rho: np.ndarray) -> pd.DataFrame:
    """rho (cells, seeds) as `score_cells` returns it."""
    rows = [(NAMES[c], p, 1, rho[c, p]) for c in range(len(rho)) for p in range(rho.shape[1])]
    return pd.DataFrame(rows, columns=["cell", "pretraining_seed", "networks", "rho"])


def test_every_contrast_adds_up_to_nothing_over_cells_that_exist():
    for weights in CONTRASTS.values():
        assert sum(weights.values()) == 0 and set(weights) <= set(CELLS)


def test_a_contrast_against_plain_sums():
    rng = np.random.default_rng(0)
    rho, n = rng.normal(0.5, 0.02, (5, 3)), 12
    noise = rng.normal(0, 0.01, (400, 5))
    samples = (rho[None] + noise[:, :, None]).reshape(400, 15)
    found = contrast(table(rho), samples, n).set_index("contrast")
    left = rho - rho.mean(1, keepdims=True) - rho.mean(0) + rho.mean()
    mean_square = (left**2).sum() / 8
    for name, weights in CONTRASTS.items():
        w = np.array([weights.get(cell, 0) for cell in NAMES])
        speakers = np.var(samples.reshape(400, 5, 3).mean(2) @ w, ddof=1) * 12 / 11
        seeds = mean_square * (w**2).sum() / 3
        row = found.loc[name]
        assert row["difference"] == pytest.approx(w @ rho.mean(1))
        assert row["se"] ** 2 == pytest.approx(speakers + seeds)
        df = (speakers + seeds) ** 2 / (speakers**2 / 11 + seeds**2 / 8)
        assert row["df"] == pytest.approx(df)
        half = stats.t.ppf(0.975, df) * row["se"]
        assert row["ci_high"] - row["difference"] == pytest.approx(half)
        assert row["ci_all_high"] - row["difference"] == pytest.approx(
            stats.t.ppf(1 - 0.05 / 8, df) * row["se"]
        )


def test_the_interval_holds_the_truth_for_other_speakers_and_other_pretrainings():
    """Speakers and pretrainings are drawn again and again around known means."""
    rng, truth, inside, together = (
        np.random.default_rng(1),
        np.array([0.5, 0.5, 0.52, 0.52, 0.55]),
        [],
        [],
    )
    n_speakers, n_seeds, runs = 15, 2, 400
    for _ in range(runs):
        by_speaker = rng.normal(0, 0.05, (n_speakers, 5)) + rng.normal(0, 0.1, (n_speakers, 1))
        rho = truth[:, None] + rng.normal(0, 0.015, (5, n_seeds)) + rng.normal(0, 0.03, n_seeds)
        drawn = rng.multinomial(n_speakers, [1 / n_speakers] * n_speakers, 300) / n_speakers
        samples = (drawn @ by_speaker)[:, :, None] + rho
        scored = rho + by_speaker.mean(0)[:, None]
        found = contrast(table(scored), samples.reshape(300, -1), n_speakers)
        true = [
            sum(w * truth[NAMES.index(c)] for c, w in one.items()) for one in CONTRASTS.values()
        ]
        inside.append((found["ci_low"] < true) & (true < found["ci_high"]))
        together.append(((found["ci_all_low"] < true) & (true < found["ci_all_high"])).all())
    assert np.mean(inside) == pytest.approx(0.955, abs=0.02)
    assert np.mean(together) > 0.93


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.5]), [1, 1])


def test_one_pretraining_is_no_sample():
    rho = np.full((5, 1), 0.5)
    with pytest.raises(ValueError, match="two pretraining seeds or more"):
        contrast(table(rho), np.zeros((10, 5)), 15)
    with pytest.raises(ValueError, match="predict a constant share"):
        contrast(table(np.full((5, 2), np.nan)), np.zeros((10, 10)), 15)
    with pytest.raises(ValueError, match="the same ones for every cell"):
        contrast(table(np.full((5, 2), 0.5)).iloc[:-1], np.zeros((10, 9)), 15)


@pytest.fixture
def corpus(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for speaker in range(16):
        split = "train" if speaker < 8 else "devel" if speaker < 14 else "test"
        rows += [(f"{speaker}-{i}", split, f"s{speaker}", *rng.uniform(size=2)) for i in range(4)]
    clips = pd.DataFrame(rows, columns=["clip_id", "split", "speaker", "Joy", "Fear"])
    return Corpus("made", tmp_path, ("Joy", "Fear"), clips)


def test_devel_is_kept_for_the_end(corpus):
    rated = keep_devel_for_the_end(corpus, 3)
    before, after = (c.clips.groupby("split")["speaker"].unique() for c in (corpus, rated))
    assert set(after["test"]) == set(before["devel"])
    assert len(after["devel"]) == 3 and set(after["devel"]) <= set(before["train"])
    assert set(after["train"]) == set(before["train"]) - set(after["devel"])
    assert len(rated.clips) == len(corpus.clips) - 8  # test is left out
    pd.testing.assert_frame_equal(keep_devel_for_the_end(corpus, 3).clips, rated.clips)
    half = keep_devel_for_the_end(corpus, 3, every=2).clips["split"].value_counts()
    assert half["test"] == 24 and half["train"] + half["devel"] == 16
    order = keep_devel_for_the_end(corpus, 3, every=2).clips.query("split == 'train'")["clip_id"]
    assert order.str[-1].nunique() == 4  # no pattern of the table's order
    for few in (0, 7):
        with pytest.raises(ValueError, match=f"{few} of 8 train speakers cannot choose"):
            keep_devel_for_the_end(corpus, few)
    lost = corpus.with_clips(
        corpus.clips.assign(speaker=corpus.clips["speaker"].mask(lambda s: s == "s0"))
    )
    with pytest.raises(ValueError, match="expected every clip's speaker"):
        keep_devel_for_the_end(lost, 3)


def test_cells_are_scored_over_their_networks_on_test_alone(corpus):
    rated, rng, rows = keep_devel_for_the_end(corpus, 3), np.random.default_rng(1), []
    for cell, pretraining, seed in [("wav2vec2", 0, 0), ("wav2vec2", 0, 1), ("hubert-1x1", 0, 0)]:
        for split in ("devel", "test"):
            clips = rated.split(split)
            for emotion in rated.emotions:
                about = {"encoder": f"{cell}-{pretraining}", "architecture": 1, "seed": seed}
                about |= {"cell": cell, "pretraining_seed": pretraining, "emotion": emotion}
                values = {"share": clips[emotion], "prediction": rng.uniform(size=len(clips))}
                rows.append(clips[["clip_id"]].assign(split=split, **about, **values))
    predictions = pd.concat(rows, ignore_index=True)
    speakers = rated.clips.set_index("clip_id")["speaker"]
    scored, samples = score_cells(predictions, rated.emotions, speakers, 50)
    of_test = predictions[predictions["split"] == "test"].groupby(["cell", "seed", "emotion"])
    rho = of_test.apply(lambda g: spearman(g["share"].to_numpy(), g["prediction"].to_numpy()))
    expected = rho.groupby("cell").mean()
    assert dict(zip(scored["cell"], scored["networks"])) == {"wav2vec2": 2, "hubert-1x1": 1}
    np.testing.assert_allclose(scored["rho"], expected[scored["cell"]])
    assert samples.shape == (50, 2)
    assert np.abs(samples.mean(0) - scored["rho"]).max() < 0.15


def test_the_pictures(corpus):
    rho = np.linspace(0.4, 0.5, 10).reshape(5, 2)
    samples = np.random.default_rng(0).normal(0.5, 0.01, (50, 10))
    (axes,) = objective_figures.cells(table(rho), 100, 15).axes
    assert [t.get_text() for t in axes.get_yticklabels()][0] == "wav2vec2.0"
    found = contrast(table(rho), samples, 15)
    figure = objective_figures.contrasts(found, 100, 15, 2)
    (axes,) = figure.axes
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert [name.partition(":")[0] for name in names] == list(CONTRASTS)
    assert names[0] == "objective:\nHuBERT − wav2vec2.0" and "2 − 1 iterations" in names[1]
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "n = 100 clips of 15 speakers" in caption and "all 4 together" in caption
    FigureCanvasAgg(figure).draw()
    ticks = [t.get_window_extent() for t in axes.get_xticklabels() if t.get_text()]
    assert not any(a.overlaps(b) for a, b in zip(ticks, ticks[1:]))
