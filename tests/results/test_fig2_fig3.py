"""Fig. 2 and Fig. 3: they draw the data given, and say what they cannot show."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from figure_data import NINE, SIMULATED, SIX, summary, system, texts, third
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh

from emoshare_utils.names import ARCHITECTURES, GREY
from emoshare_utils.results.figures import bars, save, scatter
from emoshare_utils.results.figures.fig2_scatter import CELLS_ABOVE


@pytest.mark.parametrize(("emotions", "grid"), [(NINE, (3, 3)), (SIX, (2, 3)), (NINE[:5], (2, 3))])
def test_scatter_has_a_panel_an_emotion_in_the_corpus_order(emotions, grid):
    emotions = emotions[::-1]
    predictions, results = system(emotions)
    expected = dict.fromkeys(emotions[:1], 0.8321)
    figure = scatter(predictions, results, emotions, expected=expected, expected_kind="estimated")
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == emotions
    assert panels[0].get_subplotspec().get_gridspec().get_geometry() == grid
    assert {axes.get_xlim() + axes.get_ylim() for axes in panels} == {(-0.03, 1.03) * 2}
    said = [axes.texts[0].get_text() for axes in panels]
    assert said[0] == "ρ = 0.500 [0.400, 0.600]\nn = 60 clips\nρ of the expected share: 0.83"
    assert said[-1] == f"ρ = {0.5 + (len(emotions) - 1) / 100:.3f} [0.400, 0.600]\nn = 60 clips"
    assert figure.get_suptitle() == "untrained, Architecture 2, devel"
    below = "true share of listeners, 0 to 1\nin brackets: 95 % bootstrap interval over clips\n"
    assert figure.get_supxlabel() == below + "ρ of the expected share: estimated"
    assert figure.get_supylabel() == "predicted share of listeners, 0 to 1"
    figure.draw_without_rendering()
    for axes in panels:  # no text over points
        assert axes.texts[0].get_window_extent().y0 >= axes.get_window_extent().y1
        assert axes.texts[0].get_window_extent().y1 <= axes._left_title.get_window_extent().y0 + 3
    over = results.assign(ci_speakers_low=0.3, ci_speakers_high=0.7)
    figure = scatter(predictions, over, emotions, expected_kind="10 clips: too few (50)")
    assert "[0.300, 0.700]" in texts(figure) and "interval over speakers" in texts(figure)
    assert "no ρ of the expected share, 10 clips: too few (50)" in figure.get_supxlabel()


def test_the_csv_beside_the_scatter_holds_the_points(tmp_path):
    predictions, results = system(SIX)
    figure = scatter(predictions, results, SIX)
    save(figure, tmp_path, "scatter", predictions, "listeners")
    saved = pd.read_csv(tmp_path / "scatter.csv", dtype={"clip_id": "str"})
    for axes, emotion in zip(figure.axes, SIX):
        points = next(line for line in axes.lines if line.get_marker() == "o")
        rows = saved[saved["emotion"] == emotion]
        assert np.array_equal(points.get_xydata(), rows[["share", "prediction"]])
        assert points.get_rasterized()
        assert points.get_color() == ARCHITECTURES[2].colour


def test_many_clips_become_cells_on_one_scale():
    emotions = SIX[:2]
    predictions, results = system(emotions, n=CELLS_ABOVE + 1)
    predictions.loc[:9, "prediction"] = [-0.2, 1.3] * 5  # at the edge
    figure = scatter(predictions, results, emotions)
    cells = [axes.findobj(QuadMesh)[0] for axes in figure.axes[:2]]
    assert [int(each.get_array().sum()) for each in cells] == [CELLS_ABOVE + 1] * 2
    assert len({each.norm.vmax for each in cells}) == 1 and cells[0].get_rasterized()
    FigureCanvasAgg(figure).draw()
    assert "clips in a cell" in texts(figure) and "$" not in texts(figure)
    few, results = system(emotions, n=CELLS_ABOVE)
    assert len(scatter(few, results, emotions).axes) == 2  # and no colour bar


def test_scatter_names_what_hardly_varies_and_too_few_clips():
    predictions, results = system(SIX[:3], n=12)
    flat = predictions["emotion"] != "Fear"
    predictions.loc[flat, "prediction"] = 0.5 + predictions.loc[flat, "share"] / 1000
    note = "12 clips: too few for an interval (20)"
    results = results.assign(ci_low=np.nan, ci_high=np.nan, note=note)
    results.loc[:1, "note"] = f"predictions hardly vary: .50 to .50; {note}"
    figure = scatter(predictions, results, SIX[:3])
    assert figure.get_suptitle().endswith("devel: predictions hardly vary")
    said = [axes.texts[0].get_text() for axes in figure.axes[:3]]
    assert said[0] == "ρ = 0.500\nn = 12 clips\nhardly vary: .50 to .50"
    assert said[2] == "ρ = 0.520\nn = 12 clips"
    assert figure.get_supxlabel().endswith(note) and "brackets" not in figure.get_supxlabel()
    one = predictions["emotion"] == "Disgust"
    predictions.loc[one, "prediction"] = predictions.loc[one, "share"]
    results.loc[1, "note"] = note
    assert scatter(predictions, results, SIX[:3]).get_suptitle().endswith("devel")


def test_bars_stand_in_the_order_of_score_with_the_interval_to_trust():
    table = summary(("fbank", "mfcc", "untrained")).assign(n_speakers=8)
    table["mean_rho"] += table["encoder"].map({"fbank": 0.0, "mfcc": 0.2, "untrained": 0.1})
    table = table.assign(ci_speakers_low=0.1, ci_speakers_high=0.9)
    figure = bars(table)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["MFCC", "untrained", "Mel filterbank"]
    ends = [line.get_segments()[0][:, 0] for line in figure.axes[0].collections]
    np.testing.assert_allclose(ends, [[0.1, 0.9]] * 6)
    said = texts(figure)
    assert "n = 240 clips of 8 speakers" in said and "bootstrap interval over speakers" in said
    table["mean_mae"] = table["mean_rho"]
    labels = [tick.get_text() for tick in bars(table, metric="mae").axes[0].get_yticklabels()]
    assert labels == ["Mel filterbank", "untrained", "MFCC"]


def test_bars_that_are_not_ranked_are_open_last_and_named():
    table = summary(("fbank", "mfcc"))
    few = "3 speakers: too few for an interval over speakers (5)"
    hardly = "predictions hardly vary: Joy (.50 to .50)"
    table["note"] = [few, f"{hardly}; {few}", *[f"{hardly}; not ranked; {few}"] * 2]
    table.loc[2:, ["mean_rho", "ci_low", "ci_high"]] = [0.84, np.nan, np.nan]
    figure = bars(table, expected=np.nan, expected_kind="10 clips: too few (50)")
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["Mel filterbank", "MFCC"]
    faces = [bar.get_facecolor()[3] for bar in figure.axes[0].patches]
    assert faces == [1, 1, 0, 0]
    said = texts(figure)
    assert said.count("0.840 flat") == 2 and "predictions hardly vary; not ranked" in said
    caption = figure.get_supxlabel().replace("\n", " ")
    assert caption.count(few) == 1 and f"Mel filterbank (A2): {hardly}" in caption
    assert caption.count("hardly vary: Joy") == 1
    assert "no ρ of the expected share, 10 clips: too few (50)" in caption


def test_scatter_tells_what_it_cannot_show():
    predictions, results = system(SIX)
    results.loc[0, ["rho", "ci_low", "ci_high", "note"]] = [np.nan] * 3 + ["constant prediction"]
    predictions.loc[predictions["emotion"] == "Fear", "prediction"] -= 0.2
    outside = int((predictions.loc[predictions["emotion"] == "Fear", "prediction"] < 0).sum())
    figure = scatter(predictions, results, SIX)
    assert "ρ: none (constant prediction)" in figure.axes[0].texts[0].get_text()
    assert f"{outside} outside [0, 1]" in figure.axes[2].texts[0].get_text()


def test_scatter_draws_one_system_with_shares():
    predictions, results = system(SIX)
    other = predictions.assign(architecture=1)
    with pytest.raises(ValueError, match="2 systems.*one architecture"):
        scatter(pd.concat([predictions, other]), results, SIX)
    with pytest.raises(ValueError, match="0 systems"):
        scatter(predictions.assign(share=np.nan), results, SIX)


def test_bars_show_value_interval_expected_share_and_the_papers_means():
    figure = bars(summary(), expected=0.8321, expected_kind="exact", paper=True)
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.4, 0.5, 0.4, 0.5])
    colours = [mpl.colors.to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colours == [ARCHITECTURES[1].colour, ARCHITECTURES[2].colour] * 2
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["untrained", "Mel filterbank"]
    said = texts(figure)
    for words in (
        "0.400",
        "ρ of the expected share 0.83 (exact)",
        "n = 240 clips",
        "95 % bootstrap interval over clips",
        "paper",
    ):
        assert words in said
    markers = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert markers == pytest.approx([0.2900, 0.24511], abs=1e-4)


def test_bars_have_room_for_the_challenges_baseline():
    table = summary(("fbank",), seeds=(0, 1))
    svr = {"encoder": ["fbank", "egemaps"], "architecture": 0, "seed": 42, "split": "devel"}
    svr |= {"n": 240, "mean_rho": [0.25, 0.3], "ci_low": 0.2, "ci_high": 0.35}
    figure = bars(pd.concat([table, pd.DataFrame(svr)]))
    axes, said = figure.axes[0], texts(figure)
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.25, 0.405, 0.505, 0.3])
    grey, *_, alone = (mpl.colors.to_hex(bar.get_facecolor()) for bar in axes.patches)
    assert grey == alone == GREY
    edges = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches]
    assert all(end <= start for (_, end), (start, _) in zip(edges, edges[1:]))
    assert sum(edges[1]) / 2 == pytest.approx(0)  # three bars about their place
    assert sum(edges[3]) / 2 == pytest.approx(1)  # one alone in the middle of its own
    assert "SVR" in said and "eGeMAPS" in said and "dots: 2 seeds" in said
    assert "SVR" not in texts(bars(summary()))
    predictions, results = system(SIX, architecture=0)
    title = scatter(predictions, results, SIX).get_suptitle()
    assert title == "untrained, SVR, devel"


def test_bars_below_zero_missing_and_over_seeds():
    table = summary(seeds=(0, 1, 2))
    table.loc[:2, ["mean_rho", "ci_low", "ci_high"]] = [-0.03, -0.09, 0.03]
    table.loc[3:5, ["mean_rho", "ci_low", "ci_high"]] = np.nan
    table.loc[6, ["mean_rho", "ci_low", "ci_high"]] = np.nan
    table["note"] = np.where(table["mean_rho"].isna(), "constant prediction: Joy; no mean", "")
    figure = bars(table)
    said = texts(figure)
    for words in ("−0.030", "no ρ\n", "dots: 3 seeds"):
        assert words in said
    why = "Mel filterbank (A2), untrained (A1): constant prediction: Joy; no mean"
    assert why in said.replace("\n", " ")
    assert "0.415" not in said  # the mean of two of three seeds
    assert figure.axes[0].get_xlim()[0] < -0.09
    with pytest.raises(ValueError, match="'test'.*devel"):
        bars(table, split="test")


def test_bars_of_another_metric_with_the_intervals_it_has():
    table = summary().assign(mean_ccc=0.25)
    figure = bars(table, metric="ccc")
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.25] * 4
    said = texts(figure)
    assert "mean CCC over emotions" in said and "interval" not in said and "ρ" not in said
    table = table.assign(ccc_ci_low=0.2, ccc_ci_high=0.3)
    assert "95 % bootstrap interval" in texts(bars(table, metric="ccc"))


@pytest.mark.parametrize("architectures", [(1, 2), (0, 1, 2, 9)])
def test_long_encoder_ids_are_broken_and_nothing_leaves_the_picture(tmp_path, architectures):
    names = ("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", "utter-project/mHuBERT-147")
    table = summary(names, (0, 1), architectures)
    with third():
        figure = save(bars(table, expected=0.9, paper=True), tmp_path, "bars", table, SIMULATED)
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height
    labels = figure.axes[0].get_yticklabels()
    above, below = (label.get_window_extent() for label in labels)
    assert not above.overlaps(below)
    lines = labels[0].get_text().split("\n")
    assert "".join(lines) == names[0] and max(map(len, lines)) <= 26
