"""The pictures: the same bytes twice, what their words say, and that they draw the data given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.text import Text

from emoshare_utils.names import ARCHITECTURE_COLOURS
from emoshare_utils.results.figures.corpus import durations, share_distributions
from emoshare_utils.results.figures.fig1_padding import padding
from emoshare_utils.results.figures.fig2_scatter import HEXBIN_ABOVE, scatter
from emoshare_utils.results.figures.fig3_bars import bars
from emoshare_utils.results.figures.forest import forest
from emoshare_utils.results.figures.learning_curves import learning_curves
from emoshare_utils.results.figures.style import COLUMN_IN, GREY, save

NINE = list(tables.PAPER_EMOTIONS)
SIX = ["Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad"]
SIMULATED = "simulated listeners"


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def system(emotions, n=60, encoder="untrained", architecture=2):
    rng = np.random.default_rng(0)
    predictions, results = [], []
    about = {"encoder": encoder, "architecture": architecture, "seed": 0, "split": "devel"}
    for place, emotion in enumerate(emotions):
        share = np.round(rng.beta(0.6, 3, n) * 16) / 16
        predicted = np.clip(0.4 * share + rng.normal(0.1, 0.05, n), 0, 1)
        rows = {"emotion": emotion, "clip_id": [f"c{i}" for i in range(n)]}
        predictions.append(pd.DataFrame(about | rows | {"share": share, "prediction": predicted}))
        rho = {"rho": 0.5 + place / 100, "ci_low": 0.4, "ci_high": 0.6, "note": ""}
        results.append(about | {"emotion": emotion, "n": n} | rho)
    return pd.concat(predictions, ignore_index=True), pd.DataFrame(results)


def summary(encoders=("fbank", "untrained"), seeds=(0,)):
    rows = [
        {"encoder": encoder, "architecture": architecture, "seed": seed, "split": "devel"}
        | {"n": 240, "mean_rho": 0.3 + architecture / 10 + seed / 100}
        for encoder in encoders
        for architecture in (1, 2)
        for seed in seeds
    ]
    table = pd.DataFrame(rows)
    return table.assign(ci_low=table["mean_rho"] - 0.05, ci_high=table["mean_rho"] + 0.05)


def differences(by_speaker=True):
    table = pd.DataFrame({"contrast": ["MFCC: A2 − A1", "MFCC A1 − Spectrogram A2"]})
    table = table.assign(split="devel", n=240, n_speakers=8 * by_speaker, seeds=1)
    table = table.assign(difference=[0.03, -0.2], ci_low=[-0.01, -0.3], ci_high=[0.07, -0.1])
    speakers = {"ci_speakers_low": [-0.02, -0.4], "ci_speakers_high": [0.09, -0.05]}
    table = (
        table.assign(**speakers) if by_speaker else table.assign(**dict.fromkeys(speakers, np.nan))
    )
    return table.assign(sign=[0, -1])


def clips(emotions, n=90):
    rng = np.random.default_rng(0)
    shares = {emotion: np.maximum(0, rng.normal(0.05, 0.1, n)) for emotion in emotions}
    split = np.repeat(["train", "devel", "test"], n // 3)
    return pd.DataFrame(shares | {"split": split, "duration_s": rng.uniform(1, 8, n)})


def batch():
    lengths = np.array([3, 10, 7])
    features = np.random.default_rng(0).normal(size=(3, 12, 4))
    features[np.arange(12) >= lengths[:, None]] = 0
    return features, lengths


def history():
    rows = [
        {"encoder": "fbank", "architecture": architecture, "emotion": emotion, "seed": 0}
        | {"epoch": epoch, "train_mse": 1 / epoch, "devel_rho": 0.1 * min(epoch, 6 - epoch)}
        for architecture in (1, 2)
        for emotion, last in (("Anger", 3), ("Sadness", 5))
        for epoch in range(1, last + 1)
    ]
    return pd.DataFrame(rows)


def every_figure(listeners):
    predictions, results = system(NINE)
    return {
        "scatter": scatter(predictions, results, NINE, listeners=listeners),
        "bars": bars(summary(), listeners=listeners, ceiling=0.8, paper=True),
        "forest": forest(differences(), listeners=listeners),
        "shares": share_distributions(clips(NINE), NINE, listeners),
        "durations": durations(clips(NINE), listeners=listeners),
        "padding": padding(*batch(), listeners=listeners),
        "curves": learning_curves(history(), listeners=listeners),
    }


def test_a_picture_of_simulated_listeners_says_so_and_no_other_does():
    for name, figure in every_figure(SIMULATED).items():
        assert SIMULATED in texts(figure), name
    for name, figure in every_figure("listeners").items():
        assert "simulated" not in texts(figure), name


def test_no_setting_of_matplotlib_changes_and_no_figure_is_left_open(tmp_path):
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    every_figure(SIMULATED)
    save(bars(summary(), listeners=""), tmp_path, "bars", summary())
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    predictions, results = system(SIX)
    for folder in ("a", "b"):
        scatter = scatter(predictions, results, SIX, listeners=SIMULATED)
        save(scatter, tmp_path / folder, "scatter", predictions)
        save(bars(summary(), listeners=""), tmp_path / folder, "bars", summary())
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        f"{name}.{kind}" for name in ("bars", "scatter") for kind in ("csv", "pdf", "png")
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    pdf = (tmp_path / "a" / "bars.pdf").read_bytes()
    assert b"CreationDate" not in pdf and b"Matplotlib" not in pdf
    assert b"/CIDFontType2" in pdf and b"/Type3" not in pdf
    png = (tmp_path / "a" / "bars.png").read_bytes()
    assert b"Matplotlib" not in png
    assert int.from_bytes(png[16:20], "big") == round(COLUMN_IN * 200)


@pytest.mark.parametrize(("emotions", "grid"), [(NINE, (3, 3)), (SIX, (2, 3)), (NINE[:5], (2, 3))])
def test_scatter_has_a_panel_an_emotion_in_the_corpus_order(emotions, grid):
    emotions = emotions[::-1]
    predictions, results = system(emotions)
    ceilings = dict.fromkeys(emotions[:1], 0.8321)
    figure = scatter(
        *(predictions, results, emotions),
        listeners="listeners",
        ceilings=ceilings,
        ceiling_kind="estimated",
    )
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == emotions
    assert panels[0].get_subplotspec().get_gridspec().get_geometry() == grid
    assert {axes.get_xlim() + axes.get_ylim() for axes in panels} == {(-0.03, 1.03) * 2}
    said = [axes.texts[0].get_text() for axes in panels]
    assert said[0] == "ρ = 0.500 [0.400, 0.600]\nn = 60\nestimated ceiling 0.832"
    assert said[-1] == f"ρ = {0.5 + (len(emotions) - 1) / 100:.3f} [0.400, 0.600]\nn = 60"
    assert figure.get_suptitle() == "untrained, Architecture 2, devel"


def test_the_csv_beside_the_scatter_holds_the_points(tmp_path):
    predictions, results = system(SIX)
    figure = scatter(predictions, results, SIX, listeners="listeners")
    save(figure, tmp_path, "scatter", predictions)
    saved = pd.read_csv(tmp_path / "scatter.csv", dtype={"clip_id": "str"})
    for axes, emotion in zip(figure.axes, SIX):
        points = next(line for line in axes.lines if line.get_marker() == "o")
        rows = saved[saved["emotion"] == emotion]
        assert np.array_equal(points.get_xydata(), rows[["share", "prediction"]])
        assert points.get_rasterized()
        assert points.get_color() == ARCHITECTURE_COLOURS[2]


def test_thousands_of_clips_become_hexagons_on_one_scale():
    emotions = SIX[:2]
    predictions, results = system(emotions, n=HEXBIN_ABOVE + 1)
    figure = scatter(predictions, results, emotions, listeners="listeners")
    hexagons = [axes.findobj(PolyCollection)[0] for axes in figure.axes[:2]]
    assert [int(bins.get_array().sum()) for bins in hexagons] == [HEXBIN_ABOVE + 1] * 2
    assert len({bins.norm.vmax for bins in hexagons}) == 1
    assert "clips in a hexagon" in texts(figure)
    few, results = system(emotions, n=HEXBIN_ABOVE)
    assert not scatter(few, results, emotions, listeners="").findobj(PolyCollection)


def test_scatter_tells_what_it_cannot_show():
    predictions, results = system(SIX)
    results.loc[0, ["rho", "ci_low", "ci_high", "note"]] = [np.nan] * 3 + ["constant prediction"]
    predictions.loc[predictions["emotion"] == "Fear", "prediction"] -= 0.2
    outside = int((predictions.loc[predictions["emotion"] == "Fear", "prediction"] < 0).sum())
    figure = scatter(predictions, results, SIX, listeners="listeners")
    assert "(constant prediction)" in figure.axes[0].texts[0].get_text()
    assert f"{outside} outside [0, 1]" in figure.axes[2].texts[0].get_text()


def test_scatter_draws_one_system_with_shares():
    predictions, results = system(SIX)
    other = predictions.assign(architecture=1)
    with pytest.raises(ValueError, match="2 systems.*one architecture"):
        scatter(pd.concat([predictions, other]), results, SIX, listeners="listeners")
    with pytest.raises(ValueError, match="0 systems"):
        scatter(predictions.assign(share=np.nan), results, SIX, listeners="listeners")


def test_bars_show_value_interval_ceiling_and_the_papers_means():
    figure = bars(
        summary(),
        listeners="listeners",
        ceiling=0.8,
        ceiling_kind="exact",
        paper=True,
        interval="95 % interval of mine",
    )
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.4, 0.5, 0.4, 0.5])
    colours = [mpl.colors.to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colours == list(ARCHITECTURE_COLOURS.values()) * 2
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["untrained", "Mel filterbank"]
    said = texts(figure)
    for words in (
        "0.400",
        "exact ceiling 0.800",
        "n = 240 clips",
        "95 % interval of mine",
        "paper",
    ):
        assert words in said
    markers = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert markers == pytest.approx([0.2900, 0.24511], abs=1e-4)


def test_bars_have_room_for_the_challenges_baseline():
    table = summary(("fbank",), seeds=(0, 1))
    svr = {"encoder": ["fbank", "egemaps"], "architecture": 0, "seed": 42, "split": "devel"}
    svr |= {"n": 240, "mean_rho": [0.25, 0.3], "ci_low": 0.2, "ci_high": 0.35}
    figure = bars(pd.concat([table, pd.DataFrame(svr)]), listeners="listeners")
    axes, said = figure.axes[0], texts(figure)
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.25, 0.405, 0.505, 0.3])
    grey, *_, alone = (mpl.colors.to_hex(bar.get_facecolor()) for bar in axes.patches)
    assert grey == alone == GREY
    edges = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches]
    assert all(end <= start for (_, end), (start, _) in zip(edges, edges[1:]))
    assert sum(edges[1]) / 2 == pytest.approx(0)  # three bars about their place
    assert sum(edges[3]) / 2 == pytest.approx(1)  # one alone in the middle of its own
    assert "SVR" in said and "eGeMAPS" in said and "dots: 2 seeds" in said
    assert "SVR" not in texts(bars(summary(), listeners="listeners"))
    predictions, results = system(SIX, architecture=0)
    title = scatter(predictions, results, SIX, listeners="").get_suptitle()
    assert title == "untrained, SVR, devel"


def test_bars_below_zero_missing_and_over_seeds():
    table = summary(seeds=(0, 1, 2))
    table.loc[:2, ["mean_rho", "ci_low", "ci_high"]] = [-0.03, -0.09, 0.03]
    table.loc[3:5, ["mean_rho", "ci_low", "ci_high"]] = np.nan
    table.loc[6, ["mean_rho", "ci_low", "ci_high"]] = np.nan
    figure = bars(table, listeners="listeners")
    said = texts(figure)
    for words in ("−0.030", "no ρ\n", "no ρ: not every emotion", "0.415 (2 of 3)", "dots: 3 seeds"):
        assert words in said
    assert figure.axes[0].get_xlim()[0] < -0.09
    with pytest.raises(ValueError, match="'test'.*devel"):
        bars(table, listeners="listeners", split="test")


def test_a_forest_draws_differences_and_both_intervals():
    figure = forest(differences(), listeners="listeners")
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == [0.03, -0.2]
    assert [dot.get_markerfacecolor() for dot in dots] == ["white", "black"]
    drawn = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "None"]
    assert drawn[:4] == [[-0.01, 0.07], [-0.02, 0.09], [-0.3, -0.1], [-0.4, -0.05]]
    said = texts(figure)
    for words in (
        "+0.030 [−0.020, +0.090]",
        "240 clips of 8 speakers",
        "over speakers",
        "one seed",
    ):
        assert words in said
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["MFCC: A2 − A1", "MFCC A1 − Spectrogram A2"]


def test_a_forest_without_speakers_or_rho():
    table = differences(by_speaker=False)
    table.loc[1, ["difference", "ci_low", "ci_high", "sign"]] = [np.nan, np.nan, np.nan, 0]
    said = texts(forest(table, listeners="listeners"))
    assert "+0.030 [−0.010, +0.070]" in said and "no ρ" in said and "speakers" not in said
    with pytest.raises(ValueError, match="two systems"):
        forest(table.head(0), listeners="listeners")


def test_share_distributions_count_the_zeros():
    table = pd.DataFrame({"Anger": [0, 0, 0, 0.3, np.nan], "Sad": [0.1, 0.2, 0.3, 1.0, 0.7]})
    figure = share_distributions(table, ["Anger", "Sad"], "listeners")
    anger, sad = figure.axes
    assert "75 % exactly 0" in anger.texts[0].get_text()
    assert "n = 4" in anger.texts[0].get_text()
    assert [bar.get_height() for bar in sad.patches][:10] == [20, 20, 20, 0, 0, 0, 20, 0, 0, 20]


def test_durations_need_the_audio_check():
    assert "train: 30 clips" in texts(durations(clips(SIX)))
    with pytest.raises(ValueError, match="01_data_preparation"):
        durations(clips(SIX).assign(duration_s=np.nan))


def test_padding_draws_each_clip_to_its_own_end():
    features, lengths = batch()
    figure = padding(features, lengths)
    strips = figure.axes[:3]
    assert [axes.images[0].get_extent()[1] for axes in strips] == list(lengths)
    assert np.array_equal(strips[0].images[0].get_array(), features[0, :3].T)
    assert "padded to L = 12 frames, W = 4" in texts(figure)
    assert [axes.texts[0].get_text() for axes in strips] == ["3 frames", "10 frames", "7 frames"]
    features[0, 5] = 1
    with pytest.raises(ValueError, match="clip 0 of length 3.*zeros"):
        padding(features, lengths)
    with pytest.raises(ValueError, match=r"\(N, L, W\)"):
        padding(features[0], lengths)


def test_learning_curves_hold_a_stopped_network_at_its_last_epoch():
    figure = learning_curves(history())
    rho, mse = figure.axes[:2]
    mean = [line for line in mse.lines if line.get_linewidth() > 1][0]
    assert np.allclose(
        mean.get_ydata(), [1, 1 / 2, 1 / 3, (1 / 3 + 1 / 4) / 2, (1 / 3 + 1 / 5) / 2]
    )
    best = [line for line in rho.lines if line.get_marker() == "."][0]
    assert list(best.get_xdata()) == [3, 3]
    assert rho.get_title() == "Mel filterbank"


def test_long_encoder_ids_are_broken_and_nothing_leaves_the_picture():
    names = ("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", "utter-project/mHuBERT-147")
    figure = bars(summary(names, seeds=(0, 1)), listeners=SIMULATED, ceiling=0.9)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    frame = figure.bbox
    labels = figure.axes[0].get_yticklabels()
    drawn = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    for text in drawn:
        box = text.get_window_extent(canvas.get_renderer())
        assert box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1, text.get_text()
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
    assert not boxes[0].overlaps(boxes[1])
    lines = labels[0].get_text().split("\n")
    assert "".join(lines) == names[0] and max(map(len, lines)) <= 26
